"""The files of a secured channel: our own certificates, whom we trust, and where a refused certificate is put.

The library's trust store reads whole folders and names no file when one is broken, and its validator leaves the host
name out, so that another trusted server could stand in for the one that is meant.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.uacrypto import CertProperties, load_certificate, load_private_key
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from connectors import clock
from connectors.opcua.config import CERTIFICATES, OpcUaServer, Security
from connectors.opcua.transport import LARGEST_CHUNK
from connectors.opcua.values import status_name
from connectors.tls import LOOK_SECONDS, certificate_words, files_digest

log = structlog.get_logger(__name__)
Validator = Callable[[x509.Certificate, ua.ApplicationDescription], Awaitable[None]]
_CHECKS = (
    CertificateValidatorOptions.TIME_RANGE
    | CertificateValidatorOptions.URI
    | CertificateValidatorOptions.EXT_KEY_USAGE
    | CertificateValidatorOptions.TRUSTED
    | CertificateValidatorOptions.PEER_SERVER
)
_WORDS = 1000
_MOST_REJECTED = 100  # whoever can stand in for the server could otherwise fill the disk
_ADVICE = {
    StatusCodes.BadCertificateTimeInvalid: "it has expired or is not valid yet: renew it there, check this clock",
    StatusCodes.BadCertificateUriInvalid: "it is for another application than the server says it is",
    StatusCodes.BadCertificateUseNotAllowed: "it was not made for a server (extendedKeyUsage serverAuth)",
    StatusCodes.BadCertificateInvalid: "it lacks subjectAltName or extendedKeyUsage: have it made anew there",
    StatusCodes.BadCertificateHostNameInvalid: "it is for another name: if it is the right server, set server_name",
}


class Own(NamedTuple):
    """A certificate of ours and its private key, as the library takes them."""

    certificate: x509.Certificate
    key: CertProperties

    @property
    def content(self) -> CertProperties:
        """The certificate in the library's own wrapping."""
        return CertProperties(self.certificate.public_bytes(Encoding.DER), "der")


class Certificates:
    """The certificate files of one server's settings, as they were when the session began."""

    def __init__(self, server: OpcUaServer, security: Security) -> None:
        self.refusal = ""
        """Why the server's certificate was not accepted last, and what to do."""
        self._accepted: tuple[x509.Certificate, ua.ApplicationDescription] | None = None
        self._server = server
        self._security = security
        self._used = self._digest()
        self._looked = time.monotonic()

    async def own(self) -> Own:
        """Our application's certificate. Raises ValueError that names the file when it cannot be used."""
        return await _own(self._security.certificate, self._security.private_key)

    async def user(self) -> Own | None:
        """The user's certificate, where one logs in with it. Raises ValueError."""
        login = self._server.login
        if login is None or login.certificate is None or login.private_key is None:
            return None
        return await _own(login.certificate, login.private_key)

    async def validator(self) -> Validator:
        """What accepts or refuses the server's certificate. Raises ValueError when a trusted file is unreadable."""
        security = self._security
        store = TrustStore([security.trust_folder], [])
        if trusted := self._trusted():
            for path in trusted:
                await _certificate(path)
            await store.load()  # it cannot be empty; one that is not loaded trusts nobody
        library = CertificateValidator(_CHECKS, store)
        wanted = security.server_name or self._server.host

        async def validate(certificate: x509.Certificate, application: ua.ApplicationDescription) -> None:
            try:
                await library(certificate, application)
                _check_host(certificate, wanted)
            except ServiceError as error:
                self.refusal = self._refused(certificate, int(error.code))
                raise
            self._accepted = (certificate, application)

        return validate

    async def outdated(self) -> str:
        """Why a new session is due: other certificates of ours, or the server's is trusted no more; empty when not.

        Looks every ten seconds at most. New files that cannot be used are logged, and nothing changes.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return ""
        self._looked = time.monotonic()
        if (digest := self._digest()) == self._used:
            return ""
        try:
            if digest[0] != self._used[0]:
                await self.own()
                await self.user()
            validate = await self.validator()
            if self._accepted is not None:
                await validate(*self._accepted)
        except ValueError as error:
            log.warning("changed certificate files cannot be used; we go on", device=self._server.name, why=str(error))
            return ""
        except ServiceError:
            return self.refusal
        changed, self._used = digest[0] != self._used[0], digest
        return "our certificate files have changed: a new session uses them" if changed else ""

    def _refused(self, certificate: x509.Certificate, code: int) -> str:
        # OPC 10000-6, section 6.2.2: a certificate goes by its SHA-1; nothing is trusted because of it.
        thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303
        what = (
            f"{self._server.url} is refused: {status_name(code)} for its certificate "
            f"({certificate_words(certificate)[:_WORDS]}; thumbprint {thumbprint}): "
        )
        if code != StatusCodes.BadCertificateUntrusted:
            return what + _ADVICE.get(code, "have it made anew there")
        trust, reject = self._security.trust_folder, self._security.reject_folder
        if reject is None:
            return f"{what}neither it nor its authority is in {trust}"
        file = reject / f"{thumbprint}.der"
        content = certificate.public_bytes(Encoding.DER)
        if len(content) > LARGEST_CHUNK:
            return f"{what}it has {len(content)} bytes, of which none is put into {reject}: have it made anew there"
        try:
            if not file.exists():
                if sum(1 for _ in reject.glob("*.der")) >= _MOST_REJECTED:
                    return f"{what}{reject} holds {_MOST_REJECTED} certificates already; look through it"
                file.write_bytes(content)
        except OSError as error:
            return f"{what}it cannot be put into {reject}: {error.strerror}"
        return f"{what}it lies in {file}; if the thumbprint is really the server's, move it to {trust}"

    def _trusted(self) -> list[Path]:
        return sorted(path for pattern in CERTIFICATES for path in self._security.trust_folder.glob(pattern))

    def _digest(self) -> tuple[str, str]:
        """Of our own files, and of the trusted ones."""
        security, login = self._security, self._server.login
        own = [security.certificate, security.private_key]
        if login is not None and login.certificate is not None and login.private_key is not None:
            own += [login.certificate, login.private_key]
        return files_digest(own), files_digest(self._trusted())


def certificates_of(server: OpcUaServer) -> Certificates | None:
    """The certificate files of a server's settings as they are now; None without security."""
    return None if server.security is None else Certificates(server, server.security)


def alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """For whom the certificate is; None when it does not say."""
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return None


def _check_host(certificate: x509.Certificate, host: str) -> None:
    """Raise ServiceError when the certificate is for another host."""
    names = alternative_names(certificate)
    try:
        fits = names is not None and ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        fits = names is not None and host.lower() in (n.lower() for n in names.get_values_for_type(x509.DNSName))
    if not fits:
        raise ServiceError(StatusCodes.BadCertificateHostNameInvalid)


async def _own(certificate_file: Path, key_file: Path) -> Own:
    certificate = await _certificate(certificate_file)
    content = _read(key_file)
    form = _form(content)
    try:
        key = await load_private_key(content, extension=form)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key_file} is no private key in PEM or DER without a password: {error}") from error
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{key_file} is not the key of {certificate_file} ({certificate_words(certificate)})")
    now = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError(
            f"our certificate {certificate_file} ({certificate_words(certificate)}) has expired or is not valid yet: "
            "have it renewed, and check this machine's clock"
        )
    return Own(certificate, CertProperties(content, form))


async def _certificate(file: Path) -> x509.Certificate:
    content = _read(file)
    try:
        found: x509.Certificate = await load_certificate(content, _form(content))
    except ValueError as error:
        raise ValueError(f"{file} is no certificate in PEM or DER: {error}") from error
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error


def _form(content: bytes) -> str:
    return "pem" if b"-----BEGIN" in content else "der"
