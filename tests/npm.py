"""npm packages that tests need as the other side, installed as their lock says, once per lock and machine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest


def installed(sources: Path) -> Path:
    """node_modules of the package.json and package-lock.json in ``sources``, kept in the user's cache.

    Skips the test where Node.js, npm or the packages cannot be had.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed (Debian: apt-get install nodejs npm)")
    lock = (sources / "package-lock.json").read_bytes()
    name = json.loads((sources / "package.json").read_text())["name"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gridtape" / "npm"
    folder = cache / f"{name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        _install(sources, folder)
    return folder / "node_modules"


def _install(sources: Path, folder: Path) -> None:
    """Into a folder beside it, which then takes its place: test processes run side by side."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as work:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources / name, work)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--omit=optional"]
        result = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, timeout=100)
        if result.returncode:
            pytest.skip(f"npm could not install {sources}: {result.stderr.strip()[-300:]}")
        with suppress(OSError):  # another process was faster: its folder is not empty
            Path(work).rename(folder)
