"""Certificates for tests, made for the occasion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)


class Authority:
    """Signs certificates and writes them as PEM files."""

    def __init__(self, folder: Path, name: str = "Plant CA") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        authority = self._build(self._name, self._key.public_key(), NOW - timedelta(days=9), NOW + timedelta(days=9))
        constraint = x509.BasicConstraints(ca=True, path_length=None)
        made = authority.add_extension(constraint, critical=True).sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, start: int = -1, end: int = 1, host: str = "127.0.0.1") -> tuple[Path, Path]:
        """Certificate and key files; ``start`` and ``end`` in days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        first, last = NOW + timedelta(days=start), NOW + timedelta(days=end)
        try:
            names: list[x509.GeneralName] = [x509.IPAddress(ip_address(host))]
        except ValueError:
            names = [x509.DNSName(host)]
        built = self._build(subject, key.public_key(), first, last)
        made = built.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(self._key, hashes.SHA256())
        cert, private = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
        return cert, private

    def _build(self, subject: x509.Name, public: Any, first: datetime, last: datetime) -> x509.CertificateBuilder:
        start = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        numbered = start.serial_number(x509.random_serial_number())
        return numbered.not_valid_before(first).not_valid_after(last)
