"""The kept start of a broker: it is used where it is there, and does no harm where it is damaged."""

from __future__ import annotations

import subprocess
from pathlib import Path

from streams.local import jars, jvm
from streams.local.prepare import prepare
from streams.local.progress import Progress


def uuid_by(archives: list[Path], *flags: str) -> subprocess.CompletedProcess[str]:
    command = [*jvm.command(archives, jvm.SHORT_LIVED, *flags), "kafka.tools.StorageTool", "random-uuid"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_command_when_a_start_was_kept_uses_it() -> None:
    cache = prepare()
    before = cache.stat().st_mtime_ns
    archives = jars.class_path(Progress())
    assert f"-XX:AOTCache={cache}" in jvm.command(archives)
    # the JVM refuses to start without it, so it fits this Java and these archives
    assert uuid_by(archives, "-XX:AOTMode=on").returncode == 0
    assert prepare() == cache
    assert cache.stat().st_mtime_ns == before, "made once"


def test_command_when_the_kept_start_is_damaged_runs_without_and_says_nothing(tmp_path: Path) -> None:
    copies = []
    for archive in jars.class_path(Progress()):
        copies.append(tmp_path / archive.name)
        copies[-1].symlink_to(archive)
    assert not any(part.startswith("-XX:AOTCache") for part in jvm.command(copies)), "none was made for these"
    with prepare().open("rb") as whole:
        jvm.start_cache(copies).write_bytes(whole.read(5_000_000))
    assert any(part.startswith("-XX:AOTCache") for part in jvm.command(copies))
    done = uuid_by(copies)
    assert len(done.stdout.strip()) == 22
    assert "aot" not in (done.stdout + done.stderr).lower()
