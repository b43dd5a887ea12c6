"""Secured channels to asyncua's server: policies, who is trusted, who logs in, renewed files, and recording within."""

from __future__ import annotations

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import uatcp_to_binary
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from rich.console import Console
from structlog.testing import capture_logs

from connectors.capture.frames import Direction, Header, Writer, read
from connectors.capture.wire import Entry, Recorder
from connectors.config import load
from connectors.opcua import certificates
from streams.commands import connect
from streams.commands.discover import How, discover
from streams.commands.errors import CommandError
from tests.conftest import wait_until
from tests.integration.connectors.capture.diary import Diary, assert_same, captured, played
from tests.integration.connectors.opcua.plant import MOMENT, URI, Plant, connector, node, settings, unused_port
from tests.integration.connectors.opcua.site import POLICIES, Site, Users, make


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plant, Users, x509.Certificate]]:
    """One server for all tests: it takes seconds to start."""
    folder = tmp_path_factory.mktemp("server")
    certificate = make(folder, "server", ExtendedKeyUsageOID.SERVER_AUTH)
    users = Users()
    own = {"certificate": folder / "server.pem", "key": folder / "server.key.pem", "uri": "urn:test:server"}
    with Plant(unused_port(), "A", "B", secure={**own, "users": users, "policies": POLICIES}) as plant:
        plant.historize("A")
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


def test_discover_when_the_connection_stands_in_a_file_looks_through_the_secured_channel(site):
    file, out, never = site.folder / "c.toml", site.folder / "out.toml", threading.Event()
    file.write_text(
        f"""[[opcua]]
name = "plc"
url = "{site.plant.url}"
login = {{ username = "reader", password_file = "password" }}
[opcua.security]
certificate = "client.pem"
private_key = "client.key.pem"
trust_folder = "trusted"
reject_folder = "rejected"
"""
    )
    with pytest.raises(CommandError, match="BadCertificateUntrusted"):
        discover(str(file), How(), out, never, Console(quiet=True), force=False)
    site.trust()
    assert discover(str(file), How(), out, never, Console(quiet=True), force=False)
    (server,) = load(out).opcua
    assert ({one.point for one in server.nodes}, server.security is not None) == ({"A", "B"}, True)


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


RECORDED = """
[[opcua]]
name = "plant"
url = "{url}"
publishing_interval = 0.05
keep_alive = 1
backoff_ceiling = 0.5
timeout = 5
backfill = 3600
login = {{ username = "reader", password_file = "password" }}
security = {{ certificate = "client.pem", private_key = "client.key.pem", trust_folder = "trusted" }}
nodes = [
  {{ point = "a", namespace = "{uri}", identifier = "s=A", unit = "MW", queue_size = 100 }},
  {{ point = "b", namespace = "{uri}", identifier = "s=B", unit = "MW" }},
]
"""


def test_recording_when_the_server_was_cut_off_plays_back_every_value_as_it_was_and_names_what_is_asked_otherwise(
    tmp_path, monkeypatch, site
):
    plant = site.plant
    site.trust()
    written: list[float] = []

    def moments(count: int) -> list[tuple[float, datetime]]:
        """Values that no decimal writes exactly, a microsecond apart."""
        numbers = range(len(written) + 1, len(written) + 1 + count)
        written.extend(numbers)
        return [(number / 3, MOMENT + timedelta(microseconds=number)) for number in numbers]

    def run(found: Diary) -> bool:
        came = found.count["plant", "a"]
        if came >= 10 and len(written) < 50:
            plant.write("B", 7.0, StatusCodes.BadSensorFailure)
            plant.cut("A", moments(40))
        elif 0 < came <= 70:
            ((value, moment),) = moments(1)
            plant.write("A", value, moment=moment)
        return came > 70 and any(reason == "historical" for *_, reason in list(found.history))

    plant.write("A", 0.0)
    plant.write("B", 0.0)
    then = captured(tmp_path, RECORDED.format(url=plant.url, uri=URI), monkeypatch, run)
    tape, page = tmp_path / "tape.jsonl", Console(record=True, width=300)
    frames = read(tape)[1]
    assert {1, 2} <= {frame.link for frame in frames}
    assert not any(secret in frame.data for frame in frames for secret in (b"right", b"reader"))
    assert {reason for *_, reason in then.history} == {"", "historical", "BadSensorFailure"}
    assert_same(then, played(tape, tmp_path / "c.toml"), 70)
    monkeypatch.undo()
    tape.write_text(tape.read_text().replace("s=B", "s=C"))
    assert not connect.replay(tape, threading.Event(), page)
    said = page.export_text()
    assert re.search(r"connection 1: CreateMonitoredItems.ItemsToCreate\[1\].ItemToMonitor.NodeId: .*'B'", said), said


def test_capture_when_the_login_is_refused_says_what_to_look_at(tmp_path, site):
    site.trust()
    (tmp_path / "c.toml").write_text(RECORDED.format(url=site.plant.url, uri=URI))
    (tmp_path / "password").write_text("wrong\n")
    page = Console(record=True, width=400)
    assert not connect.capture(tmp_path / "c.toml", tmp_path / "tape.jsonl", 0.5, threading.Event(), page)
    assert "BadUserAccessDenied" in (said := page.export_text())
    assert "check login: the user, and where its password or key stands" in said


def test_recorder_when_somebody_else_connects_hangs_up(tmp_path, site):
    """Whoever gets through has the login of the settings."""
    site.trust()
    writer = Writer(tmp_path / "tape.jsonl", Header(file="c.toml", settings="", started=0))
    recorder = Recorder(writer)
    try:
        port = recorder.place("127.0.0.1", 4840, Entry(site.settings(), "/known"), None)
        heard = []
        for path in ("known", "plant"):
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                hello = ua.Hello(EndpointUrl=f"opc.tcp://127.0.0.1:{port}/{path}")
                client.sendall(uatcp_to_binary(ua.MessageType.Hello, hello))
                client.settimeout(5)
                heard.append(client.recv(3))
        assert heard == [b"ACK", b""]
        wait_until(lambda: writer.frames == 7)
    finally:
        recorder.close()
        writer.close()
    said = [frame.direction for frame in read(tmp_path / "tape.jsonl")[1] if frame.link == 2]
    assert said == [Direction.OPENED, Direction.SENT, Direction.CLOSED]
