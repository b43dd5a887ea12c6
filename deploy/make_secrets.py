"""Makes the secrets that docker-compose.yml names, in deploy/secrets; those that are there already stay.

python3 deploy/make_secrets.py             the secrets
python3 deploy/make_secrets.py DEVICE ...  also an MQTT user for each device; its password is printed once

Needs nothing but Python. The folder is closed to other users of this machine; the files in it are readable, because
Compose mounts them as they are and the containers run as users of their own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "secrets"
ITERATIONS = 101
"""Of Mosquitto's own password tool; the passwords made here are random, so more would add nothing."""


def mosquitto_line(user: str, password: str) -> str:
    """A line of Mosquitto's password file: PBKDF2 with SHA-512, 12 bytes of salt, 64 bytes of hash, in base64."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS, 64)
    return f"{user}:$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def write(name: str, text: str) -> None:
    """Write one secret, readable but not writable; it is never seen half written."""
    part = FOLDER / f".{name}.part"
    part.write_text(text)
    part.chmod(0o444)
    part.replace(FOLDER / name)
    print(f"made: {FOLDER / name}")


def main(devices: list[str]) -> None:
    """Make what is missing, then add the devices."""
    for device in devices:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", device) or device == "gridtape":
            sys.exit(f"{device!r} cannot be a user name: letters, digits and . _ -, and not gridtape, which is taken")
    FOLDER.mkdir(exist_ok=True)
    FOLDER.chmod(0o700)
    if not (FOLDER / "webhook_secret").exists():
        write("webhook_secret", f"whsec_{base64.b64encode(os.urandom(32)).decode()}\n")
    if not (FOLDER / "grafana_admin_password").exists():
        write("grafana_admin_password", secrets.token_urlsafe(24))
    users = FOLDER / "mosquitto_passwords"
    if not (FOLDER / "mqtt_password").exists() or not users.exists():
        password = secrets.token_urlsafe(24)
        write("mqtt_password", f"{password}\n")
        write("mosquitto_passwords", mosquitto_line("gridtape", password))
    for device in devices:
        password = secrets.token_urlsafe(18)
        others = [line for line in users.read_text().splitlines(keepends=True) if not line.startswith(f"{device}:")]
        write("mosquitto_passwords", "".join(others) + mosquitto_line(device, password))
        print(f"MQTT user {device}, password {password}")


if __name__ == "__main__":
    main(sys.argv[1:])
