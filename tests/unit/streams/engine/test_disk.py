"""State in files: the same as state in memory, over every re-opening; what cannot be trusted is thrown away."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from streams.engine.disk import DiskStore, Marker
from streams.engine.errors import Corrupted, Fatal
from streams.engine.state import Table
from streams.engine.stores import MemoryStore

KEYS = st.sampled_from(["a", "b", "ab", "a/b", "ä|€", "", "k" * 700])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(-3, 3)),
        st.tuples(st.just("delete"), KEYS, st.just(0)),
        st.sampled_from(["commit", "abort", "forget", "keep", "reopen"]).map(lambda what: (what, "", 0)),
    ),
    max_size=25,
)


def stored(path: Path, origin: str = "topic/0/shape") -> DiskStore:
    return DiskStore(path, origin, "test")


def filled(path: Path, count: int = 100) -> None:
    store = stored(path)
    rows = store.rows("t", int)
    with store.writing():
        for n in range(count):
            rows.restore(f"k{n:05d}", n)
        store.position = count
    store.close()


def wiped() -> float:
    return REGISTRY.get_sample_value("gridtape_engine_state_wiped_total", {"application": "test"}) or 0.0


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, start=KEYS, end=st.none() | KEYS, reverse=st.booleans())
def test_disk_table_when_used_like_one_in_memory_holds_the_same(tmp_path_factory, steps, start, end, reverse):
    path = tmp_path_factory.mktemp("store")
    store, memory = stored(path), MemoryStore()
    here: Table[int] = Table("t", int, store.rows("t", int))
    there: Table[int] = Table("t", int, memory.rows("t", int))
    other: Table[int] = Table("t0", int, store.rows("t0", int))  # a neighbour whose rows must not show
    try:
        for what, key, value in steps:
            if what == "reopen":
                store.close()
                store = stored(path)
                here, other = Table("t", int, store.rows("t", int)), Table("t0", int, store.rows("t0", int))
                there.abort()
            elif what == "commit":
                other.put("mine", 7)
                for table in (here, there, other):
                    table.keep()
                with store.writing():
                    here.merge()
                    other.merge()
                there.merge()
            else:
                for table in (here, there):
                    call = getattr(table, what)
                    call(key, value) if what == "put" else call(key) if what == "delete" else call()
            assert list(here.range(start, end, reverse=reverse)) == list(there.range(start, end, reverse=reverse))
            assert here.get(key) == there.get(key)
        assert list(here.items()) == list(there.items())
    finally:
        store.close()


def test_store_when_opened_again_goes_on_where_it_was(tmp_path):
    filled(tmp_path)
    store = stored(tmp_path)
    assert store.position == 100
    assert store.rows("t", int).get("k00042") == 42
    store.close()


def test_store_when_a_batch_fails_keeps_nothing_of_it(tmp_path):
    filled(tmp_path)
    store = stored(tmp_path)
    rows = store.rows("t", int)

    def half() -> None:
        with store.writing():
            rows.restore("k00001", -1)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        half()
    assert rows.get("k00001") == 1
    store.close()


@pytest.mark.parametrize(
    "spoil",
    ["another changelog or type", "too old", "from the future", "no marker", "unreadable marker", "damaged catalogue"],
)
def test_store_when_it_cannot_be_trusted_begins_empty(tmp_path, spoil):
    filled(tmp_path)
    before = wiped()
    origin = "topic/0/shape"
    if spoil == "another changelog or type":
        origin = "topic/0/other"
    elif spoil == "damaged catalogue":
        (tmp_path / "CURRENT").write_bytes(b"junk")
    else:
        store = stored(tmp_path)
        age = {"too old": 13 * 3600, "from the future": -3600}.get(spoil, 0)
        marker = msgspec.json.encode(Marker(origin, 100, int(time.time()) - age))
        if spoil == "no marker":
            del store._db[b"\0meta"]
        else:
            store._db[b"\0meta"] = b"{" if spoil == "unreadable marker" else marker
        store.close()
    store = stored(tmp_path, origin)
    assert store.position is None
    assert store.rows("t", int).get("k00042") is None
    assert wiped() == before + 1
    store.close()


def test_store_when_a_block_is_damaged_says_so_and_begins_empty_the_next_time(tmp_path):
    filled(tmp_path, 20_000)
    store = stored(tmp_path)
    store._db.flush()
    store.close()
    (file,) = tmp_path.glob("*.sst")
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3] ^= 255
    file.write_bytes(raw)
    store = stored(tmp_path)
    rows = store.rows("t", int)
    with pytest.raises(Corrupted, match=r"cannot be used.*checksum"):
        list(rows.keys_from("", None, False))
    with pytest.raises(Corrupted, match=r"cannot be used.*checksum"):
        [rows.get(f"k{n:05d}") for n in range(20_000)]
    store.close()
    store = stored(tmp_path)
    assert store.position is None
    store.close()


def test_store_when_a_value_has_another_type_is_corrupted(tmp_path):
    filled(tmp_path)
    store = stored(tmp_path)
    with pytest.raises(Corrupted, match="Expected `str`"):
        store.rows("t", str).get("k00001")
    store.close()


def test_store_when_another_one_has_it_open_is_left_alone(tmp_path):
    filled(tmp_path)
    store = stored(tmp_path)
    with pytest.raises(Fatal, match="in use by another process"):
        stored(tmp_path)
    assert store.rows("t", int).get("k00042") == 42
    store.close()
