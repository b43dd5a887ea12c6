"""The field types that the connectors' settings share: names, units, times, addresses, TLS and secrets.

Settings are read with the folder of their file as validation context (``{"folder": Path}``), so that a relative path
means "beside the settings file".
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from schemas.base import IDENTIFIER_CHARACTERS


class Section(BaseModel):
    """Base of all settings: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _micros(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("expected a number of seconds, for example 2.5")
    return round(value * 1_000_000)


def seconds(*, least: float = 0.001, most: float = 86_400.0) -> Any:
    """Annotation metadata of a duration within [least, most]: seconds in the file, integer microseconds in the model.

    Use as ``silence: Annotated[int, seconds(least=0.1)] = 10_000_000``; the default is in microseconds.
    """

    def check(value: Any) -> int:
        micros = _micros(value)
        if not round(least * 1e6) <= micros <= round(most * 1e6):
            raise ValueError(f"{value} s is outside what is allowed: {least:g} to {most:g} seconds")
        return micros

    return BeforeValidator(check)


def spelled(pattern: str, expected: str) -> Any:
    """Annotation metadata of a text that fits ``pattern`` as a whole; the refusal says what is ``expected``."""
    whole = re.compile(pattern)

    def check(value: str) -> str:
        if not whole.fullmatch(value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


Seconds = Annotated[int, seconds()]
"""A duration of 1 ms to one day: seconds in the file, integer microseconds in the model."""

Name = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=200),
    spelled(
        rf"[A-Za-z0-9][{IDENTIFIER_CHARACTERS}]*", "letters, digits and . _ : @ / + - behind a first letter or digit"
    ),
]
"""A device, point or instrument: the pattern of ``schemas.base.Identifier``."""


def _unit(value: str) -> str:
    # UCUM case-sensitive codes are printable ASCII without spaces (UCUM section 2, rules 1 to 3).
    if not all("!" <= c <= "~" for c in value) or value.count("[") != value.count("]"):
        raise ValueError("expected a UCUM code of printable ASCII without spaces: MW, Cel, bar, %, m3/h, [bbl_us], 1")
    return value


Unit = Annotated[str, Field(strict=True, min_length=1, max_length=40), AfterValidator(_unit)]
"""A UCUM code, for example ``MW``, ``Cel``, ``%``; ``1`` for a plain number, a switch or a state."""


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False, ge=-1e18, le=1e18)]
"""A finite number, integer or decimal."""

Host = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=253),
    spelled(r"[A-Za-z0-9._:-]+", "a host name or an address, without scheme, port and path: plc-7.plant or 192.0.2.7"),
]
"""A host name or an IP address, without port and without scheme."""

Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]


class Range(Section):
    """The physical range of a point. A value outside keeps its number and is flagged ``uncertain``."""

    minimum: Number
    maximum: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum:g} must be below maximum {self.maximum:g}")
        return self

    def problem(self, value: float) -> str:
        """Why ``value`` is doubtful; empty when it is within the range."""
        if self.minimum <= value <= self.maximum:
            return ""
        return f"{value:g} is outside {self.minimum:g} to {self.maximum:g}"


class Identified(Section):
    """Where a device stands and whose it is: passed on with its status, so that nobody has to look it up elsewhere.

    ``site`` and ``asset``: names of your own. ``book``: the trading book that owns its output. ``template``: the file
    that the keys came from which do not stand with the device itself.
    """

    template: Annotated[str, Field(strict=True, max_length=1000)] | None = None
    site: Annotated[str, Field(max_length=200)] = ""
    asset: Annotated[str, Field(max_length=200)] = ""
    book: Name | None = None


def _zone(key: str) -> str:
    try:
        zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone; expected for example UTC, Europe/Berlin, America/New_York") from None
    return key


Zone = Annotated[str, AfterValidator(_zone)]
"""The IANA name of a time zone."""


def _file(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    whole = Path(folder, path.expanduser())
    if not whole.is_file():
        raise ValueError(f"there is no file {whole}")
    if not os.access(whole, os.R_OK):
        raise ValueError(f"the file {whole} cannot be read; give this user the right to read it")
    return whole


ExistingFile = Annotated[Path, AfterValidator(_file)]
"""A readable file; a relative path starts at the folder of the settings file."""


class Tls(Section):
    """Transport security: the authority that signed the server, and optionally who we are.

    ``ca_file``: PEM of the trusted authorities; the system's own when left out. ``cert_file`` and ``key_file``: PEM of
    the client certificate and its key (without a password), both or none. ``server_name``: the name in the server's
    certificate, where it differs from the host. ``min_version``: the oldest TLS that is spoken.
    """

    ca_file: ExistingFile | None = None
    cert_file: ExistingFile | None = None
    key_file: ExistingFile | None = None
    server_name: Host | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both or none")
        return self


Variable = Annotated[str, spelled(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]


class Credentials(Section):
    """A user name with a password that stands elsewhere: in an environment variable or in a file, never here."""

    username: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    password_env: Variable | None = None
    password_file: ExistingFile | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        if self.password_env is not None and self.password_env not in os.environ:
            raise ValueError(f"password_env names {self.password_env}, but that environment variable is not set")
        if self.username is None and (self.password_env or self.password_file):
            raise ValueError("a password without a username; give username as well")
        return self

    def password(self) -> str | None:
        """The password, read now; None when there is none. A file's trailing line end is dropped.

        Raises OSError or KeyError when the source has gone since the settings were loaded.
        """
        if self.password_env is not None:
            return os.environ[self.password_env]
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        return None


def is_loopback(host: str) -> bool:
    """Whether ``host`` certainly is this machine: a loopback address, ``localhost`` or a name below it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def refuse_plaintext(host: str, *, encrypted: bool, allow_plaintext: bool) -> None:
    """Raise ValueError when data would leave this machine unencrypted and nobody said that this is meant."""
    if not encrypted and not allow_plaintext and not is_loopback(host):
        raise ValueError(
            f"{host} is another machine and the connection would not be encrypted; "
            "configure TLS, or set allow_plaintext = true if the network itself is trusted"
        )
