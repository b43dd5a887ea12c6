"""A secured server, who may log in to it, and a client's files."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from asyncua.ua import SecurityPolicyType
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from connectors.opcua.config import OpcUaServer
from tests.integration.connectors.opcua.plant import Plant, node, settings

POLICIES = [
    SecurityPolicyType.Basic256Sha256_Sign,
    SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]


class Users(UserManager):
    """Lets in the reader with the right password, and whoever has one of ``certificates`` (DER)."""

    def __init__(self) -> None:
        self.passwords: list[str] = []
        self.certificates: list[bytes] = []

    def get_user(self, iserver, username=None, password=None, certificate=None):
        if username is not None:
            self.passwords.append(password)
        known = (username, password) == ("reader", "right") or certificate in self.certificates
        return User(UserRole.User, username) if known else None


def make(folder: Path, name: str, usage: x509.ObjectIdentifier, days: int = 365) -> x509.Certificate:
    """A self-signed certificate for 127.0.0.1 as files NAME.pem and NAME.key.pem; of 0 days: it ends this second."""
    key = generate_private_key()
    names = [x509.UniformResourceIdentifier(f"urn:test:{name}"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = generate_self_signed_app_certificate(key, name, {}, names, [usage], days)
    (folder / f"{name}.key.pem").write_bytes(dump_private_key_as_pem(key))
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    return signed


class Site:
    """A secured server, and a folder for the client's files."""

    def __init__(self, plant: Plant, users: Users, certificate: x509.Certificate, folder: Path) -> None:
        self.users, self.certificate, self.folder = users, certificate, folder
        self.plant = plant
        self.trusted, self.rejected = folder / "trusted", folder / "rejected"
        self.trusted.mkdir()
        self.rejected.mkdir()
        (folder / "password").write_text("right\n")
        make(folder, "client", ExtendedKeyUsageOID.CLIENT_AUTH)
        users.passwords.clear()

    def trust(self) -> None:
        (self.trusted / "server.der").write_bytes(self.certificate.public_bytes(Encoding.DER))

    def settings(self, *, login: dict[str, str] | None = None, **security: str) -> OpcUaServer:
        own = {"certificate": "client.pem", "private_key": "client.key.pem", "trust_folder": "trusted"}
        login = login or {"username": "reader", "password_file": "password"}
        security = {**own, "reject_folder": "rejected", **security}
        return settings(
            self.plant.url, node("a", "A"), folder=self.folder, security=security, login=login, keep_alive=5
        )
