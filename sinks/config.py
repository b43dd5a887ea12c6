"""Settings of the sinks. Secrets stand in files or environment variables, never in the settings themselves."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_SECRET_BYTES = (24, 64)
"""Least and most bytes of a webhook secret (Standard Webhooks 1.0.0, section "Signature scheme")."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookConfig(_Section):
    """Where alerts are posted.

    The secret (``whsec_`` and base64 of 24 to 64 bytes) stands in ``secret_file`` or ``secret_env``; two, separated by
    white space, while the receiver changes from the old one to the new: each request is then signed with both.
    ``timeout``: seconds for one attempt. ``attempts``: then the alert becomes a dead letter; the waits between them
    grow from 0.5 to 60 s. An address on another machine must be https unless ``allow_plaintext``: what is signed is
    not secret.
    """

    url: str
    secret_file: Path | None = None
    secret_env: EnvName | None = None
    timeout: Annotated[float, Field(gt=0, le=60)] = 15.0
    attempts: Annotated[int, Field(ge=1, le=1000)] = 12
    allow_plaintext: bool = False

    @model_validator(mode="after")
    def _usable(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the webhook's url is no address; expected https://host/path")
        if parts.scheme == "http" and not self.allow_plaintext and not _loopback(parts.hostname):
            raise ValueError(
                f"alerts would go to {parts.hostname} unencrypted; use https, "
                "or set allow_plaintext if the network itself is trusted"
            )
        if (self.secret_file is None) == (self.secret_env is None):
            raise ValueError("a webhook is signed: give secret_file or secret_env, one of them")
        self.secrets()
        return self

    def secrets(self) -> list[str]:
        """The signing secrets, read now. Raises ValueError that names their place, never the secret itself."""
        if self.secret_file is not None:
            place = f"secret_file {self.secret_file}"
            try:
                text = self.secret_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{place} cannot be read: {error}") from None
        else:
            place = f"secret_env {self.secret_env}"
            text = os.environ.get(self.secret_env or "", "")
        found = text.split()
        if not found:
            raise ValueError(f"{place} holds no secret")
        for secret in found:
            _check_secret(place, secret)
        return found


def _check_secret(place: str, secret: str) -> None:
    least, most = _SECRET_BYTES
    try:
        size = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not secret.startswith("whsec_") or not least <= size <= most:
        raise ValueError(f"{place} holds no webhook secret; expected whsec_ and base64 of {least} to {most} bytes")


class RedisConfig(_Section):
    """Which Redis. ``url``: redis://host:port/db, rediss:// for TLS, unix:// for a socket.

    ``prefix`` of all keys. ``max_entries``: a stream is trimmed to about so many. ``remember``: seconds for which an id
    is remembered, so that a repeat is not added again.
    """

    url: Annotated[str, Field(pattern=r"^(redis|rediss|unix)://")]
    password_file: Path | None = None
    password_env: EnvName | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:._-]*$")] = "gridtape"
    max_entries: Annotated[int, Field(ge=1)] = 100_000
    remember: Annotated[int, Field(ge=60, le=31_622_400)] = 604_800

    @property
    def where(self) -> str:
        """The address without user and password, for messages."""
        parts = urlsplit(self.url)
        return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("give password_file or password_env, not both")
        if self.password_env is not None and self.password_env not in os.environ:
            raise ValueError(f"password_env names {self.password_env}, but that environment variable is not set")
        return self

    def password(self) -> str | None:
        """The password, read now, or None. Raises OSError or KeyError when its source has gone."""
        if self.password_env is not None:
            return os.environ[self.password_env]
        return self.password_file.read_text(encoding="utf-8").rstrip("\r\n") if self.password_file else None


class VenueConfig(_Section):
    """The simulated venue.

    ``venue``: it takes the orders of this venue and fills them at the live ticks. ``fee``: per unit of quantity, in
    the order's currency. ``max_age``: seconds; an older tick is no price. ``longest_wait``: seconds; an order that has
    not been filled by then is over, even if its own time has not come.
    """

    venue: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/+-]*$")] = "REPLAY"
    fee: Annotated[Decimal, Field(ge=0, allow_inf_nan=False, max_digits=20)] = Decimal("0.02")
    max_age: Annotated[float, Field(gt=0, le=3600)] = 5.0
    longest_wait: Annotated[float, Field(gt=0, le=600)] = 60.0


class ParquetConfig(_Section):
    """Where Parquet files are written and of which topics.

    A file is written when ``rows`` records have come or the oldest of them has waited for ``seconds``.
    """

    folder: Path
    topics: Annotated[tuple[str, ...], Field(min_length=1)] = ("alerts", "orders", "fills", "rejections")
    rows: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    seconds: Annotated[float, Field(ge=0.1, le=3600)] = 30.0


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
