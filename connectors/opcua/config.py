"""Settings of the OPC UA servers: where each is, how it is trusted, and what is subscribed."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from connectors.fields import (
    Credentials,
    ExistingFile,
    Host,
    Identified,
    Name,
    Section,
    refuse_plaintext,
    seconds,
)
from connectors.opcua.nodes import Browse, Identifier, Namespace, Node, browse_path

DEFAULT_PORT = 4840
CERTIFICATES = ("*.der", "*.pem")


def _plain_path(value: str) -> str:
    if re.search(r"[*?]", browse_path(value)):
        raise ValueError(f"{value!r} must name one object; * and ? find variables only")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "opc.tcp" or not parts.hostname:
        raise ValueError(f"{value!r} is no OPC UA address; expected opc.tcp://HOST:{DEFAULT_PORT}/PATH")
    if parts.username or parts.password:
        raise ValueError("a user or password does not belong into the address; use login with password_env or _file")
    return value


def _folder(path: Path, info: ValidationInfo) -> Path:
    whole = Path((info.context or {}).get("folder", Path()), path.expanduser())
    if not whole.is_dir():
        raise ValueError(f"there is no folder {whole}")
    return whole


ExistingFolder = Annotated[Path, AfterValidator(_folder)]


class Policy(enum.StrEnum):
    """Security policies that are not broken (OPC 10000-7); what is older is not offered."""

    BASIC256SHA256 = "Basic256Sha256"
    AES128 = "Aes128_Sha256_RsaOaep"
    AES256 = "Aes256_Sha256_RsaPss"


class Mode(enum.StrEnum):
    """``sign`` proves origin and integrity, ``sign-and-encrypt`` hides the content as well."""

    SIGN = "sign"
    SIGN_AND_ENCRYPT = "sign-and-encrypt"


class Security(Section):
    """A secured channel: our certificate, and the folder of those we trust.

    ``certificate`` and ``private_key``: PEM or DER; the certificate's own application URI is used. ``trust_folder``:
    the server's certificates or their authorities, as files ``*.pem`` and ``*.der``. ``reject_folder``: a certificate
    that is not trusted is put here as ``THUMBPRINT.der``, so that a person can move it into ``trust_folder``.
    ``server_name``: the DNS name or address in the server's certificate, where it differs from the host in ``url``.
    """

    policy: Policy = Policy.BASIC256SHA256
    mode: Mode = Mode.SIGN_AND_ENCRYPT
    certificate: ExistingFile
    private_key: ExistingFile
    trust_folder: ExistingFolder
    reject_folder: ExistingFolder | None = None
    server_name: Host | None = None

    @model_validator(mode="after")
    def _somebody_is_trusted(self) -> Self:
        trust, reject = self.trust_folder, self.reject_folder
        if reject is not None and reject.resolve() == trust.resolve():
            raise ValueError("reject_folder must be another folder than trust_folder")
        if reject is None and not any(found for pattern in CERTIFICATES for found in trust.glob(pattern)):
            raise ValueError(
                f"{trust} holds no certificate (*.der or *.pem), so that no server would be trusted; "
                "put the server's there, or give reject_folder to find it there after the first attempt"
            )
        return self


class Login(Credentials):
    """Who we are to the server: a user name with its password, or a user's certificate with its key (PEM or DER)."""

    certificate: ExistingFile | None = None
    private_key: ExistingFile | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both or none")
        if (self.certificate is None) == (self.username is None):
            raise ValueError("give either username or certificate")
        return self


class Events(Section):
    """The events of an object and of all that reports to it; by default the Server object, to which everything does.

    ``namespace`` with ``identifier``, or ``path`` (browse names from the Objects folder on, separated by ``/``):
    another object. ``severity``: the least that is taken, 1 to 1000; a condition that once had it is told to its end.
    ``types``: names of event types, whose subtypes count; left out: all. ``queue_size``: how many events the server
    keeps between two publishings.
    """

    namespace: Namespace = "http://opcfoundation.org/UA/"
    identifier: Identifier = "i=2253"
    path: Annotated[str, Field(max_length=1000), AfterValidator(_plain_path)] | None = None
    severity: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    types: Annotated[frozenset[str], Field(max_length=100)] = frozenset()
    queue_size: Annotated[int, Field(strict=True, ge=2, le=100_000)] = 1000

    @property
    def place(self) -> str:
        """Where the object is, in words."""
        return self.path or f"{self.identifier} in {self.namespace}"

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path is not None and self.model_fields_set & {"namespace", "identifier"}:
            raise ValueError("give either path, or namespace and identifier")
        return self


class OpcUaServer(Identified):
    """One server; its ``name`` is the device of all its points.

    ``keep_alive``: after this time without data the server says that it is there; three of them missed, and the
    connection is made anew. ``timeout``: of one request. ``backoff_ceiling``: the longest wait between attempts.
    ``clock_tolerance``: how far a source's clock may be ahead of ours before its samples become uncertain.
    ``backfill``: after a lost connection the server's history is read, at most this far back; left out: it is not.
    ``rebrowse``: how often variables are looked for anew that fit ``browse``.
    """

    name: Name
    url: Annotated[str, AfterValidator(_url)]
    publishing_interval: Annotated[int, seconds(least=0.01, most=600)] = 500_000
    keep_alive: Annotated[int, seconds(least=0.1, most=600)] = 5_000_000
    timeout: Annotated[int, seconds(least=0.1, most=60)] = 4_000_000
    backoff_ceiling: Annotated[int, seconds(least=0.5, most=3600)] = 30_000_000
    clock_tolerance: Annotated[int, seconds(least=0, most=3600)] = 60_000_000
    backfill: Annotated[int, seconds(least=1, most=2_678_400)] | None = None
    allow_plaintext: bool = False
    security: Security | None = None
    login: Login | None = None
    nodes: list[Node] = Field(default_factory=list)
    browse: Annotated[list[Browse], Field(max_length=100)] = Field(default_factory=list)
    rebrowse: Annotated[int, seconds(least=1)] = 300_000_000
    events: Annotated[list[Events], Field(max_length=100)] = Field(default_factory=list)

    @property
    def host(self) -> str:
        """The host in ``url``."""
        return urlsplit(self.url).hostname or ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        try:
            refuse_plaintext(self.host, encrypted=self.security is not None, allow_plaintext=self.allow_plaintext)
        except ValueError as error:
            problems.append(f"url: {error}")
        if self.login is not None and self.login.certificate is not None and self.security is None:
            problems.append("login: a user's certificate needs [opcua.security]; without it nothing is signed")
        if self.keep_alive < self.publishing_interval:
            problems.append("keep_alive must not be shorter than publishing_interval")
        if not self.nodes and not self.browse and not self.events:
            problems.append("nothing is watched: give at least one of nodes, browse and events")
        counts = Counter(node.point for node in self.nodes)
        for point in (point for point, count in counts.items() if count > 1):
            places = " and ".join(f"nodes[{i}]" for i, node in enumerate(self.nodes) if node.point == point)
            problems.append(f'{places} have the same point "{point}"; each point of a device needs its own name')
        problems += self._unfit_triggers()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unfit_triggers(self) -> Iterator[str]:
        """A trigger is known before the server is, and reported by itself."""
        nodes = {node.point: node for node in self.nodes}
        watched = [(f"nodes[{i}]", node) for i, node in enumerate(self.nodes)]
        for place, one in [*watched, *((f"browse[{i}]", browse) for i, browse in enumerate(self.browse))]:
            if one.triggered_by is None:
                continue
            said = f'{place}: triggered_by = "{one.triggered_by}"'
            trigger = nodes.get(one.triggered_by)
            if trigger is None:
                yield f"{said} is no point of nodes ({', '.join(nodes)}); what browse finds cannot be a trigger"
            elif trigger is one:
                yield f"{said} is the node itself"
            elif trigger.triggered_by is not None:
                yield f'{said} waits for "{trigger.triggered_by}" itself; a trigger must be reported by its own changes'
