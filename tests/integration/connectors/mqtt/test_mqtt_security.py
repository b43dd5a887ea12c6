"""TLS and passwords on a real Mosquitto."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import REGISTRY
from rich.console import Console

from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from connectors.sparkplug.config import SparkplugConfig
from connectors.sparkplug.connector import SparkplugConnector
from streams.commands import connect
from streams.commands.discover import How, discover
from streams.commands.errors import CommandError
from streams.local.mqtt import Mosquitto, find_mosquitto
from streams.local.service import HOST

DAY, HOUR = datetime.timedelta(days=1), datetime.timedelta(hours=1)


class Authority:
    """A certificate authority that writes PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._certificate(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, expired: bool = False) -> tuple[Path, Path]:
        """Certificate and key of ``name`` at 127.0.0.1, in the place of those that it had."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = self._certificate(subject, key.public_key(), DAY if expired else 0 * DAY)
        certificate = certificate.add_extension(addresses, critical=False)
        cert_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert_file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, age: datetime.timedelta = 0 * DAY
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC) - age - HOUR
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )


class SecureMosquitto(Mosquitto):
    """Asks for a client certificate and a password."""

    def __init__(self, folder: Path, authority: Authority, passwords: Path) -> None:
        super().__init__(folder)
        self._authority = authority
        self._passwords = passwords
        self._cert, self._key = authority.issue("broker")

    def configure(self) -> None:
        super().configure()
        path = self.folder / "mosquitto.conf"
        plain = path.read_text().replace("allow_anonymous true", "allow_anonymous false")
        path.write_text(
            f"{plain}password_file {self._passwords}\ncafile {self._authority.ca_file}\ncertfile {self._cert}\n"
            f"keyfile {self._key}\nrequire_certificate true\n"
        )

    def answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self._authority.ca_file))
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it may show one that has expired
        context.load_cert_chain(*self._authority.issue("prober"))
        with (
            socket.create_connection((HOST, self.port), timeout=1) as plain,
            context.wrap_socket(plain, server_hostname=HOST),
        ):
            return True


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def secure(tmp_path: Path, authority: Authority):
    tool = shutil.which("mosquitto_passwd")
    if find_mosquitto() is None or tool is None:
        pytest.skip("Mosquitto is not installed (Debian: apt-get install mosquitto)")
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run([tool, "-b", str(passwords), "gridtape", "right"], check=True, timeout=10)
    with SecureMosquitto(tmp_path / "mosquitto", authority, passwords) as broker:
        yield broker


@pytest.fixture
def secure_settings(tmp_path: Path, authority: Authority, settings, secure) -> Callable[..., object]:
    cert_file, key_file = authority.issue("gridtape")
    (tmp_path / "password").write_text("right\n", encoding="utf-8")

    def make(**changes):
        tls = {"ca_file": str(authority.ca_file), "cert_file": str(cert_file), "key_file": str(key_file)}
        access = {"username": "gridtape", "password_file": str(tmp_path / "password"), "tls": tls, **changes}
        return settings((HOST, secure.port), **access)

    return make


def test_mqtt_when_certificates_and_password_are_right_is_let_in(secure_settings, running, tape):
    config = secure_settings(devices=[{"name": "b1", "silence": 0.2}])
    with running(lambda publisher: MqttConnector(config, publisher)):
        # Silence is only spoken of while the connection stands.
        tape.until(lambda: tape.gaps("silence"), "a silent device on a live connection")
    assert not tape.gaps("disconnected")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("password", "refused the connection: Not authorized"),
        ("authority", "is signed by an authority that we do not know"),
    ],
)
def test_mqtt_when_a_credential_is_wrong_says_which_side_refused(tmp_path, secure_settings, running, tape, what, words):
    if what == "password":
        (tmp_path / "wrong").write_text("wrong", encoding="utf-8")
        config = secure_settings(password_file=str(tmp_path / "wrong"))
    else:
        config = secure_settings(tls={"ca_file": str(Authority(tmp_path, "other").ca_file)})
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: tape.gaps("disconnected"), "refused")
    assert words in tape.gaps("disconnected")[0].detail


def test_discover_when_the_connection_stands_in_a_file_uses_its_credentials_and_adds_to_it(tmp_path, authority, secure):
    cert_file, key_file = authority.issue("gridtape")
    (tmp_path / "password").write_text("right\n", encoding="utf-8")
    file, out, never = tmp_path / "broker.toml", tmp_path / "plant.toml", threading.Event()
    file.write_text(
        f"""[mqtt]
host = "{HOST}"   # the broker of the south plant
port = {secure.port}
username = "gridtape"
password_file = "password"

[mqtt.tls]
ca_file = "{authority.ca_file}"
cert_file = "{cert_file}"
key_file = "{key_file}"
"""
    )
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("gridtape", "right")
    client.tls_set(str(authority.ca_file), str(cert_file), str(key_file))
    client.connect(HOST, secure.port)
    client.loop_start()
    try:
        client.publish("south/meter-1/power", b"12.5", qos=1, retain=True).wait_for_publish(10)
        assert discover(str(file), How(0.5), out, never, Console(quiet=True), force=False)
    finally:
        client.disconnect()
        client.loop_stop()
    page = Console(record=True, width=150)
    connect.check(out, 1.5, never, page)
    assert " 12.5 " in page.export_text(), "read with the same credentials"
    text = out.read_text()
    assert "# the broker of the south plant" in text, "what the file said stays"
    assert "right" not in text
    (tmp_path / "password").write_text("wrong")
    with pytest.raises(CommandError, match="refused the connection: Not authorized"):
        discover(str(file), How(0.5), None, never, Console(quiet=True), force=False)


def mqtt_connector(config: MqttConfig):
    return lambda outlet: MqttConnector(config, outlet)


def sparkplug_connector(config: MqttConfig):
    """On the same broker, with the same access."""
    device = {"name": "d", "group": "g", "node": "n", "points": [{"metric": "m", "unit": "1"}]}
    access = ("host", "port", "client_id", "username", "password_file", "tls")
    found = {name: getattr(config, name) for name in access}
    wanted = SparkplugConfig.model_validate({**found, "backoff_ceiling": 0.5, "host_id": "h", "devices": [device]})
    return lambda outlet: SparkplugConnector(wanted, outlet)


@pytest.mark.parametrize(("name", "make"), [("mqtt", mqtt_connector), ("sparkplug", sparkplug_connector)])
@pytest.mark.parametrize("whose", ["broker", "gridtape"])
def test_mqtt_and_sparkplug_when_a_certificate_has_expired_say_whose_and_go_on_once_it_is_renewed(
    authority, secure, secure_settings, running, tape, capsys, name, make, whose
):
    config, said = secure_settings(), []

    def is_in(state):
        shown = {"connector": name, "device": "", "state": state}
        return REGISTRY.get_sample_value("gridtape_connector_state", shown) == 1

    def renew(*, expired):
        authority.issue(whose, expired=expired)
        if whose == "broker":
            secure.stop()
            secure.start()

    def has_said(words):
        said.append(capsys.readouterr().out)
        return words in "".join(said)

    renew(expired=True)
    with running(make(config)):
        tape.until(lambda: has_said("has expired") and is_in("down"), "refused")
        assert has_said(f"CN={whose}")
        assert has_said(f"to {datetime.datetime.now(datetime.UTC) - HOUR:%Y-%m-%d}")
        renew(expired=False)
        tape.until(lambda: is_in("live"), "connected")
