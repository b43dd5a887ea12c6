"""The file in which records wait, on a real file system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.spool.store import Row, Store, StoreFull, StoreUnusable


def row(number: int, key: str = "d", payload: bytes = b"{}") -> Row:
    return Row(number, "telemetry", key, f"e{number}", payload)


def opened(path: Path, disk: int = 8, free: int = 0) -> Store:
    return Store(path, disk_megabytes=disk, keep_free_megabytes=free)


def test_store_when_opened_again_has_what_was_kept_in_order(tmp_path: Path) -> None:
    first = opened(tmp_path / "deep" / "s.sqlite")
    first.append([row(3), row(1), row(2, "other")])
    first.append([row(3, payload=b"a second copy is not taken")])
    first.remove([1])
    first.close()
    again = opened(first.path)
    assert again.after(0, 9, 9) == [row(2, "other"), row(3)]
    assert again.after(2, 9, 9) == [row(3)]
    assert (again.after(0, 2, 9), again.after(0, 9, 1)) == ([row(2, "other")], [row(2, "other")])
    assert (again.count, again.last_id, dict(again.per_key())) == (2, 3, {"d": 1, "other": 1})
    again.close()


def test_store_when_its_bound_is_reached_keeps_none_of_the_batch_and_takes_more_once_emptied(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.sqlite", disk=1)
    taken = 0
    said = ""
    while not said:
        try:
            store.append([row(taken + n, payload=b"x" * 1000) for n in range(1, 11)])
            taken += 10
        except StoreFull as full:
            said = str(full)
    assert "s.sqlite takes no more: it has its 1 MB (store.disk_megabytes)" in said
    assert 500 < taken < 1000
    assert store.count == taken == len(store.after(0, 10**9, 10**9))
    used = store.size
    store.remove(range(taken + 1))
    assert store.size < used / 10
    store.append([row(taken + 1, payload=b"x" * 1000)])
    store.close()
    assert store.path.stat().st_size < 100_000, "the disk is given back"


def test_store_when_the_disk_is_nearly_full_leaves_to_others_what_is_theirs(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.sqlite", free=1_000_000_000)
    with pytest.raises(StoreFull, match=r"only \d+ MB are free on the disk of .*keep_free_megabytes = 1000000000"):
        store.append([row(1)])
    assert store.count == 0
    store.close()


def test_store_when_the_disk_takes_no_more_bytes_says_so_and_what_was_kept_stays(tmp_path: Path) -> None:
    program = f"""
import resource, signal
from pathlib import Path
from connectors.spool.store import Row, Store, StoreFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path({str(tmp_path / "s.sqlite")!r}), disk_megabytes=100, keep_free_megabytes=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
kept = 0
try:
    while True:
        store.append([Row(kept + 1, "telemetry", "d", "e", b"x" * 5000)])
        kept += 1
except StoreFull as full:
    print(kept, full)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    kept, said = ended.stdout.split(" ", 1)
    assert int(kept) > 10
    assert "takes no more" in said
    again = opened(tmp_path / "s.sqlite")
    assert again.count == int(kept)
    again.close()


def test_store_when_another_process_has_it_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.sqlite")
    store.append([row(1)])
    with pytest.raises(StoreUnusable, match="another process uses it"):
        opened(store.path)
    store.close()


def test_store_when_the_file_is_damaged_puts_it_aside_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"no database at all, but quite long" * 100)
    store = opened(path)
    store.append([row(1)])
    assert store.count == 1
    store.close()
    assert [file.read_bytes()[:5] for file in tmp_path.glob("s.sqlite.damaged-*")] == [b"no da"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_store_when_the_folder_cannot_be_written_says_where(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnusable, match=r"s\.sqlite cannot be opened"):
        opened(tmp_path / "s.sqlite")
    tmp_path.chmod(0o700)
