"""Tables against a dict, timers against a list: whatever is kept, forgotten, merged, aborted and restored."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.engine.state import Table
from streams.engine.timers import EVENT, WALL, Timers

KEYS = st.sampled_from(["a", "b", "ab", "a/b", "ä|€", ""])
VALUES = st.integers(-3, 3)


class TableMachine(RuleBasedStateMachine):
    """Three layers, each a plain dict in the model."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Table[int] = Table("t", int)
        self.log: dict[bytes, bytes] = {}
        self.committed: dict[str, int] = {}
        self.dirty: dict[str, int] = {}
        self.now: dict[str, int] = {}

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: int) -> None:
        self.table.put(key, value)
        self.now[key] = value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.table.delete(key)
        self.now.pop(key, None)

    @rule()
    def keep(self) -> None:
        self.table.keep()
        self.dirty = dict(self.now)

    @rule()
    def forget(self) -> None:
        self.table.forget()
        self.now = dict(self.dirty)

    @rule()
    def commit(self) -> None:
        """What the engine does: keep, write the changes to the changelog, merge."""
        self.keep()
        for key, value in self.table.changes():
            if value is None:
                self.log.pop(key, None)
            else:
                self.log[key] = value
        self.table.merge()
        self.committed = dict(self.now)

    @rule()
    def abort(self) -> None:
        self.table.abort()
        self.now, self.dirty = dict(self.committed), dict(self.committed)

    @rule()
    def crash(self) -> None:
        """Everything in memory is gone; the changelog brings back what was committed."""
        self.table = Table("t", int)
        for key, value in self.log.items():
            self.table.restore(key.decode().partition("/")[2], value)
        self.now, self.dirty = dict(self.committed), dict(self.committed)

    @invariant()
    def reads_agree(self) -> None:
        for key in ("a", "b", "ab", "a/b", "ä|€", "", "never"):
            assert self.table.get(key) == self.now.get(key)

    @rule(start=KEYS, end=st.none() | KEYS, reverse=st.booleans())
    def ranges_agree(self, start: str, end: str | None, reverse: bool) -> None:
        """Not an invariant, so that some histories are never asked for an order and others are in the middle."""
        expected = sorted((k, v) for k, v in self.now.items() if k >= start and (end is None or k < end))
        assert list(self.table.range(start, end, reverse=reverse)) == (expected[::-1] if reverse else expected)

    @rule(prefix=KEYS)
    def prefixes_agree(self, prefix: str) -> None:
        expected = sorted((k, v) for k, v in self.now.items() if k.startswith(prefix))
        assert list(self.table.items(prefix)) == expected


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_range_when_its_keys_change_underneath_leaves_out_the_deleted_and_shows_the_new_value():
    table: Table[int] = Table("t", int)
    for key in "abcd":
        table.put(key, 1)
    table.keep()
    table.merge()
    found = []
    for key, value in table.range("a", "z"):
        found.append((key, value))
        table.put("c", 2)
        table.delete("b")
        table.put(f"{key}-new", 3)
    assert found == [("a", 1), ("c", 2), ("d", 1)]


def test_table_when_a_restored_value_has_another_type_says_so():
    with pytest.raises(ValueError, match="Expected `int`"):
        Table("t", int).restore("a", b'"seven"')


class TimersMachine(RuleBasedStateMachine):
    """A dict of times per clock is the model; a batch and a transaction may each be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Table[int] = Table("__timers", int)
        self.timers = Timers(self.table)
        self.timers._room = 4  # so that the heaps are rebuilt for lack of room, too
        empty: dict[tuple[str, str], int] = {}
        self.now, self.dirty, self.committed = dict(empty), dict(empty), dict(empty)

    @rule(clock=st.sampled_from([EVENT, WALL]), key=KEYS, time=st.integers(0, 20))
    def set(self, clock: str, key: str, time: int) -> None:
        (self.timers.at_event if clock == EVENT else self.timers.at_wall)(key, time)
        self.now[clock, key] = time

    @rule(key=KEYS)
    def cancel(self, key: str) -> None:
        self.timers.cancel(key)
        self.now.pop((EVENT, key), None)
        self.now.pop((WALL, key), None)

    @rule(clock=st.sampled_from([EVENT, WALL]), until=st.integers(0, 20))
    def fire(self, clock: str, until: int) -> None:
        due = sorted((time, key) for (c, key), time in self.now.items() if c == clock and time <= until)
        assert self.timers.take_due(clock, until) == [key for _, key in due]
        for _, key in due:
            del self.now[clock, key]

    @rule()
    def keep(self) -> None:
        self.table.keep()
        self.dirty = dict(self.now)

    @rule()
    def forget(self) -> None:
        self.timers.forget()
        self.now = dict(self.dirty)

    @rule()
    def commit(self) -> None:
        self.keep()
        self.table.merge()
        self.committed = dict(self.now)

    @rule()
    def abort(self) -> None:
        self.timers.abort()
        self.now, self.dirty = dict(self.committed), dict(self.committed)

    @invariant()
    def next_agrees(self) -> None:
        for clock in (EVENT, WALL):
            times = [time for (c, _), time in self.now.items() if c == clock]
            assert self.timers.next_due(clock) == min(times, default=None)


TestTimers = TimersMachine.TestCase
TestTimers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_timers_when_one_is_put_off_again_and_again_do_not_pile_up(steps):
    timers = Timers(Table("__timers", int))
    now = 0
    for step in steps * 60:
        now += step
        timers.at_event("device", now + 60_000_000)
    assert len(timers._heaps[EVENT]) <= 1025
    assert timers.take_due(EVENT, now + 60_000_000) == ["device"]
