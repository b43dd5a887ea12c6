"""Secured channels to asyncua's server: policies, who is trusted, who logs in, and renewed files."""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from asyncua.ua import SecurityPolicyType
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from structlog.testing import capture_logs

from connectors.opcua import certificates
from connectors.opcua.config import OpcUaServer
from tests.conftest import wait_until
from tests.integration.connectors.opcua.plant import Plant, connector, node, settings, unused_port

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
        self._plant = plant
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
            self._plant.url, node("a", "A"), folder=self.folder, security=security, login=login, keep_alive=5
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plant, Users, x509.Certificate]]:
    """One server for all tests: it takes seconds to start."""
    folder = tmp_path_factory.mktemp("server")
    certificate = make(folder, "server", ExtendedKeyUsageOID.SERVER_AUTH)
    users = Users()
    own = {"certificate": folder / "server.pem", "key": folder / "server.key.pem", "uri": "urn:test:server"}
    with Plant(unused_port(), "A", secure={**own, "users": users, "policies": POLICIES}) as plant:
        yield plant, users, certificate


@pytest.fixture
def site(secured: tuple[Plant, Users, x509.Certificate], tmp_path: Path) -> Site:
    return Site(*secured, tmp_path)


def told(logs: list[dict[str, Any]], words: str) -> bool:
    return any(words in str(entry.get("why", "")) for entry in logs)


@pytest.mark.parametrize(
    ("trusted", "name", "password", "problem"),
    [
        (False, "127.0.0.1", "right", "BadCertificateUntrusted"),
        (True, "plc-7", "right", "BadCertificateHostNameInvalid"),
        (True, "127.0.0.1", "wrong", "BadUserAccessDenied"),
    ],
)
def test_channel_when_the_server_or_the_user_is_not_accepted_says_why_and_delivers_nothing(
    tape, running, site, trusted, name, password, problem
):
    if trusted:
        site.trust()
    (site.folder / "password").write_text(f"{password}\n")
    with capture_logs() as logs, running(connector(site.settings(server_name=name))):
        tape.until(lambda: told(logs, problem), f"the reason {problem}")
    assert not tape.samples("a")
    accepted = password == "wrong"
    assert bool(site.users.passwords) is accepted, "no password for a server that is not trusted"


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("Basic256Sha256", "sign"),
        ("Basic256Sha256", "sign-and-encrypt"),
        ("Aes128_Sha256_RsaOaep", "sign-and-encrypt"),
        ("Aes256_Sha256_RsaPss", "sign-and-encrypt"),
    ],
)
def test_channel_when_server_and_user_are_trusted_delivers_over_every_policy(tape, running, site, policy, mode):
    site.trust()
    with running(connector(site.settings(policy=policy, mode=mode))):
        tape.until(lambda: tape.samples("a"), "a value through the secured channel")
    assert site.users.passwords[0] == "right"


def test_channel_when_a_user_has_a_certificate_logs_in_with_it_and_no_other_user_does(tape, running, site):
    site.trust()
    known = make(site.folder, "operator", ExtendedKeyUsageOID.CLIENT_AUTH)
    make(site.folder, "visitor", ExtendedKeyUsageOID.CLIENT_AUTH)
    site.users.certificates.append(known.public_bytes(Encoding.DER))
    visitor = {"certificate": "visitor.pem", "private_key": "visitor.key.pem"}
    with capture_logs() as logs, running(connector(site.settings(login=visitor))):
        tape.until(lambda: told(logs, "BadUserAccessDenied"), "the visitor is refused")
    assert not tape.samples("a")
    operator = {"certificate": "operator.pem", "private_key": "operator.key.pem"}
    with running(connector(site.settings(login=operator))):
        tape.until(lambda: tape.samples("a"), "the operator's value")


def test_channel_when_a_refused_certificate_is_moved_to_trust_delivers_without_a_restart(tape, running, site):
    thumbprint = site.certificate.fingerprint(hashes.SHA1()).hex().upper()
    refused = site.rejected / f"{thumbprint}.der"
    with capture_logs() as logs, running(connector(site.settings())):
        tape.until(lambda: told(logs, f"it lies in {refused}"), "where the certificate lies")
        assert site.users.passwords == []
        assert refused.read_bytes() == site.certificate.public_bytes(Encoding.DER)
        refused.rename(site.trusted / refused.name)
        tape.until(lambda: tape.samples("a"), "a value from the server that is trusted now")


def test_channel_when_files_are_renewed_begins_anew_and_when_they_are_unusable_goes_on(
    tape, running, site, monkeypatch
):
    monkeypatch.setattr(certificates, "LOOK_SECONDS", 0.0)
    site.trust()
    with capture_logs() as logs, running(connector(site.settings())):
        tape.until(lambda: tape.samples("a"), "the first value")
        (site.folder / "client.key.pem").write_text("half a file")
        tape.until(lambda: told(logs, "client.key.pem is no private key"), "that the new key is refused")
        make(site.folder, "client", ExtendedKeyUsageOID.CLIENT_AUTH)
        tape.until(lambda: len(tape.gaps("disconnected")) == 4, "a new session")
        assert "our certificate files have changed" in tape.gaps("disconnected")[2].detail
        (site.trusted / "server.der").unlink()
        tape.until(lambda: told(logs, "BadCertificateUntrusted"), "that the server is trusted no more")
        tape.until(lambda: len(tape.gaps("disconnected")) == 5, "its gap")
    assert len(tape.gaps("disconnected")) == 5, "the unusable key disturbed nothing"


def test_channel_when_the_servers_certificate_has_expired_says_whose_and_goes_on_once_it_is_renewed(
    tape, running, tmp_path
):
    port, trusted = unused_port(), tmp_path / "trusted"
    trusted.mkdir()
    make(tmp_path, "client", ExtendedKeyUsageOID.CLIENT_AUTH)
    files = {"certificate": tmp_path / "server.pem", "key": tmp_path / "server.key.pem", "uri": "urn:test:server"}
    secure = {**files, "users": Users(), "policies": POLICIES}
    security = {"certificate": "client.pem", "private_key": "client.key.pem", "trust_folder": "trusted"}
    expired = make(tmp_path, "server", ExtendedKeyUsageOID.SERVER_AUTH, days=0)
    shutil.copy(tmp_path / "server.pem", trusted)
    wait_until(lambda: datetime.now(UTC) > expired.not_valid_after_utc)
    (tmp_path / "password").write_text("right\n")
    login = {"username": "reader", "password_file": "password"}
    url = f"opc.tcp://127.0.0.1:{port}/plant"
    one = settings(url, node("a", "A"), folder=tmp_path, security=security, login=login)
    with ExitStack() as stack, capture_logs() as logs:
        stack.enter_context(Plant(port, "A", secure=secure))
        with running(connector(one)):
            tape.until(lambda: told(logs, "it has expired or is not valid yet"), "why it is refused")
            assert not tape.samples("a")
            stack.close()
            make(tmp_path, "server", ExtendedKeyUsageOID.SERVER_AUTH)
            shutil.copy(tmp_path / "server.pem", trusted)
            with Plant(port, "A", secure=secure):
                tape.until(lambda: tape.samples("a"), "a value under the renewed certificate")
    why = next(entry["why"] for entry in logs if "has expired" in str(entry.get("why")))
    assert "CN=server" in why
    assert f"{expired.not_valid_after_utc:%Y-%m-%d %H:%M}" in why
