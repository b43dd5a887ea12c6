"""TLS for every protocol: contexts from the settings' files, renewed files noticed, and failures in a plant's words."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509

from connectors import clock
from connectors.fields import Tls
from connectors.network import in_words

log = structlog.get_logger(__name__)
LOOK_SECONDS = 10.0
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_ASK_SECONDS = 3.0
# OpenSSL, X509_verify_cert_error_string(3): the codes of x509_vfy.h.
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN = frozenset({2, 18, 19, 20, 21, 27})
_WRONG_NAME = frozenset({62, 63, 64})


class TlsError(ValueError):
    """The files of a ``tls`` section cannot be used; says which, why and what to do."""


class _Named(ssl.SSLContext):
    """Checks the server's certificate for ``name``, whatever name the protocol's library connects to."""

    name: str

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **{**options, "server_hostname": self.name})

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **{**options, "server_hostname": self.name})


class TlsFiles:
    """The files of one ``tls`` section, for connections to one host."""

    def __init__(self, tls: Tls, host: str) -> None:
        self._tls = tls
        self._host = host
        self._name = tls.server_name or host
        self._used = ""
        self._looked = time.monotonic()

    def context(self) -> ssl.SSLContext:
        """A context from the files as they are now. Raises TlsError."""
        tls = self._tls
        self._used = self._digest()
        context = _Named(ssl.PROTOCOL_TLS_CLIENT)
        context.name = self._name
        context.minimum_version = _VERSIONS[tls.min_version]
        if tls.ca_file is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(tls.ca_file)
            except (ssl.SSLError, OSError) as error:
                raise TlsError(f"ca_file {tls.ca_file} holds no usable certificate in PEM: {error}") from error
        if tls.cert_file is not None and tls.key_file is not None:
            _load_own(context, tls.cert_file, tls.key_file)
        return context

    def renewed(self) -> bool:
        """Whether the files are others than those of the last context, and usable: connect anew to use them.

        Looks at the files every ten seconds at most. New ones that cannot be used are logged, and nothing changes.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS or not self._used:
            return False
        self._looked = time.monotonic()
        if self._digest() == self._used:
            return False
        try:
            self.context()
        except TlsError as error:
            log.warning("renewed certificate files cannot be used; we go on", host=self._host, why=str(error))
            return False
        return True

    def explained(self, error: Exception, port: int) -> str:
        """Why a connection to ``port`` failed, with files, names and dates, and what to do.

        Asks the server once more for its certificate, to say what is in it; nothing is sent to it.
        """
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._unverified(error, port)
        if not isinstance(error, ssl.SSLError):
            return in_words(error)
        reason = error.reason or str(error)
        if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
            own = self._tls.cert_file
            said = reason.lower().replace("_", " ")
            if own is None:
                return f"{self._host}:{port} wants a client certificate ({said}): give tls.cert_file and tls.key_file"
            return (
                f"{self._host}:{port} refuses our certificate {_described(own)} ({said}): is its authority known there?"
            )
        if reason == "WRONG_VERSION_NUMBER":
            return f"{self._host}:{port} does not speak TLS: is the port right?"
        if "PROTOCOL_VERSION" in reason or reason == "UNSUPPORTED_PROTOCOL":
            return f"{self._host}:{port} does not speak TLS {self._tls.min_version} or newer (tls.min_version)"
        return f"TLS with {self._host}:{port} failed: {error}"

    def _unverified(self, error: ssl.SSLCertVerificationError, port: int) -> str:
        theirs = self._shown(port)
        what = f"the certificate of {self._host}:{port}"
        code = error.verify_code
        if code == _EXPIRED:
            return f"{what} or of its authority has expired{theirs}: have it renewed there, and check this clock"
        if code == _NOT_YET:
            return f"{what} is not valid yet{theirs}: check this machine's clock"
        if code in _WRONG_NAME:
            return f"{what} is for another name{theirs}: if it is the right server, set tls.server_name to a name in it"
        if code in _UNKNOWN:
            known = f"ca_file {_described(self._tls.ca_file)}" if self._tls.ca_file else "the system's authorities"
            return f"{what} is signed by an authority that we do not know{theirs}; known: {known}"
        return f"{what} is not accepted: {error.verify_message}{theirs}"

    def _shown(self, port: int) -> str:
        with suppress(OSError, ValueError):
            pem = ssl.get_server_certificate((self._host, port), timeout=_ASK_SECONDS)
            return f" ({certificate_words(x509.load_pem_x509_certificate(pem.encode()))})"
        return ""

    def _digest(self) -> str:
        return files_digest(
            path for path in (self._tls.ca_file, self._tls.cert_file, self._tls.key_file) if path is not None
        )


def files_digest(paths: Iterable[Path]) -> str:
    """A digest of what the files hold now; one that cannot be read, as in the middle of being replaced, differs too."""
    whole = hashlib.sha256()
    for path in paths:
        with suppress(OSError):
            whole.update(path.read_bytes())
        whole.update(b"\0")
    return whole.hexdigest()


def _load_own(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    try:
        # Without a password nobody is asked for one on the terminal.
        context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"key_file {key_file} is not the key of cert_file {_described(cert_file)}") from error
        raise TlsError(
            f"cert_file {cert_file} and key_file {key_file} cannot be used: {error.reason or error}; "
            "expected PEM, the key without a password"
        ) from error
    except OSError as error:
        raise TlsError(f"cert_file {cert_file} or key_file {key_file} cannot be read: {error.strerror}") from error
    own = _first(cert_file)
    now = datetime.fromtimestamp(clock.now() / 1e6, UTC)
    if own is not None and own.not_valid_after_utc < now:
        raise TlsError(f"cert_file {_described(cert_file)} has expired: have it renewed")
    if own is not None and own.not_valid_before_utc > now:
        raise TlsError(f"cert_file {_described(cert_file)} is not valid yet: check this machine's clock")


def _first(path: Path) -> x509.Certificate | None:
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    return None


def _described(path: Path) -> str:
    certificate = _first(path)
    return f"{path} ({certificate_words(certificate)})" if certificate else str(path)


def certificate_words(certificate: x509.Certificate) -> str:
    """Whose certificate it is, for what, from whom and how long, in one line."""
    names = [certificate.subject.rfc4514_string()]
    with suppress(x509.ExtensionNotFound, ValueError):
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += [f"for {name.value}" for name in found]
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    issuer = certificate.issuer.rfc4514_string()
    return f"{', '.join(names)}; from {issuer}; valid {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
