"""Values that expire: by the log's time, the same after every crash, on disk as in memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from streams.engine import expiry
from streams.engine.disk import DiskStore
from streams.engine.expiry import Dated, Expiring, until_of
from streams.engine.state import Table
from streams.engine.stores import MemoryStore
from streams.vocabulary import MemoryDriver
from tests.unit.streams.engine.test_memory import T, tick

TTL = 2_000_000


class Remembering(Processor):
    """Remembers the newest sequence of an instrument for two seconds."""

    name = "remembering"
    reads = (topics.ticks,)
    writes = ()
    seen = State(int, ttl=TTL)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for record in batch.values:
            if record.sequence == 13:
                raise ValueError("unlucky")
            self.seen.put(record.instrument, record.sequence)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from("abcd"), st.integers(0, 15)),
        st.tuples(st.just("run"), st.just(""), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 1500)),
    ),
    max_size=40,
)


def played(steps, crashes: set[int]):
    """Changelog and outputs, and what the processor sees in the end; by hand: what it must see."""
    driver = MemoryDriver([Remembering])
    driver.now = T
    put: dict[str, int] = {}
    waiting: list[str] = []
    now = 0
    for number, (what, key, value) in enumerate([*steps, ("run", "", 0)]):
        if what == "tick":
            driver.publish(topics.ticks, key, tick(key, value, T))
            now = driver.now
            waiting += [key] if value != 13 else []
        elif what == "wait":
            driver.now += value * 1000
        else:
            driver.run()
            put.update(dict.fromkeys(waiting, now))
            waiting.clear()
        if number in crashes:
            driver.crash()
    seen = driver.tasks[0].processor.seen
    return dict(driver.changelog["remembering", 0]), dict(seen.items()).keys(), put, now


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sets(st.integers(0, 40)))
def test_values_when_their_time_is_over_are_gone_from_state_and_changelog_whatever_crashes(steps, crashes):
    changelog, seen, put, now = played(steps, crashes)
    assert changelog == played(steps, set())[0]
    assert {key for key in put if put[key] + TTL > now} <= seen
    assert seen <= {key for key in put if put[key] + TTL + TTL // 500 >= now}
    assert {key.decode() for key in changelog if key.startswith(b"seen/")} == {f"seen/{key}" for key in seen}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5), st.booleans()), max_size=25))
def test_values_on_disk_expire_as_those_in_memory_do(tmp_path_factory, steps):
    disk = DiskStore(tmp_path_factory.mktemp("store"), "o", "test")
    both = [
        Expiring(Table("t", Dated[int], store.rows("t", Dated[int], until_of)), 10) for store in (MemoryStore(), disk)
    ]
    try:
        now = 0
        for key, later, commit in steps:
            now += later
            for one in both:
                one.now = now
                one.put(key, now)
                one.table.keep()
                one.sweep()
                one.table.keep()
                if commit:
                    with disk.writing():
                        one.table.merge()
                    one.begin(now)
            assert list(both[0].items()) == list(both[1].items())
            assert dict(both[0].items()).keys() >= {key}
    finally:
        disk.close()


def test_values_when_many_expire_at_once_go_by_and_by(monkeypatch):
    monkeypatch.setattr(expiry, "_AT_ONCE", 10)
    one = Expiring(Table("t", Dated[int], expires=until_of), 1000)
    for n in range(25):
        one.put(f"k{n}", n)
    left = []
    for _ in range(4):
        one.table.keep()
        one.table.merge()
        one.begin(5000)
        one.sweep()
        one.sweep()
        left.append(len(list(one.items())))
    assert left == [15, 5, 0, 0]
