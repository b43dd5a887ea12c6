"""deploy/mosquitto/mosquitto.conf on a real Mosquitto, with the password file that deploy/make_secrets.py makes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streams.local.mqtt import CONNACK, CONNECT, Mosquitto, find_mosquitto
from streams.local.service import exchange

DEPLOY = Path(__file__).parents[3] / "deploy"


class Deployed(Mosquitto):
    """Mosquitto with the configuration of the containers, their paths replaced by ones on this machine."""

    passwords: Path

    def configure(self) -> None:
        text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1")
        text = text.replace("/mosquitto/data", str(self.data)).replace(
            "/run/secrets/mosquitto_passwords", str(self.passwords)
        )
        (self.folder / "mosquitto.conf").write_text("user root\n" + text)

    def answers(self) -> bool:
        return exchange(self.port, CONNECT, 4)[:2] == CONNACK[:2]


def connect(user: str, password: str) -> bytes:
    """MQTT 3.1.1 CONNECT with user name and password (OASIS MQTT 3.1.1, section 3.1)."""
    fields = b"".join(len(part).to_bytes(2, "big") + part for part in (b"gt2", user.encode(), password.encode()))
    body = b"\x00\x04MQTT\x04\xc2\x00\x05" + fields
    return bytes([0x10, len(body)]) + body


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed (Debian: apt-get install mosquitto)")
def test_mosquitto_when_deployed_lets_in_known_users_only(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "make_secrets.py", tmp_path)
    said = subprocess.run([sys.executable, script, "battery-1"], capture_output=True, text=True, check=True).stdout
    device = re.search(r"password (\S+)$", said, re.MULTILINE)
    assert device
    own = (tmp_path / "secrets" / "mqtt_password").read_text().strip()
    broker = Deployed(tmp_path / "mosquitto")
    broker.passwords = tmp_path / "secrets" / "mosquitto_passwords"
    with broker:
        assert exchange(broker.port, connect("gridtape", own), 4) == CONNACK
        assert exchange(broker.port, connect("battery-1", device[1]), 4) == CONNACK
        assert exchange(broker.port, connect("battery-1", own), 4) == b"\x20\x02\x00\x05"  # 5: not authorised
        assert exchange(broker.port, CONNECT, 4) == b"\x20\x02\x00\x05"
