"""Windows and the as-of join against models that look at everything anew each time."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.asof import AsOf
from processors.windows import Hopping, Session, Sessions, Span, Tumbling, Windows
from streams.engine.state import Table
from streams.engine.timers import EVENT, Timers

KEYS = st.sampled_from(["a", "b|c"])
BATCHES = st.lists(st.lists(st.tuples(KEYS, st.integers(0, 60)), min_size=1, max_size=5), max_size=12)
END = 10_000


class Clock:
    """Timers and a watermark that follows the newest time of each batch, as the engine's does."""

    def __init__(self) -> None:
        self.table: Table[int] = Table("__timers", int)
        self.timers = Timers(self.table)

    def advance(self, time: int) -> list[str]:
        """What fires."""
        self.timers.watermark = max(self.timers.watermark, time)
        return self.timers.take_due(EVENT, self.timers.watermark)


@settings(max_examples=150, deadline=None)
@given(
    BATCHES, st.integers(1, 12).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))), st.integers(0, 9)
)
def test_windows_when_records_come_in_any_order_hold_what_a_look_at_all_says(batches, shape, grace):
    size, step = shape
    clock = Clock()
    windows: Windows[list[int]] = Windows("w", Table("w", list[int]), clock.timers, Hopping(size, step), grace=grace)
    opened: dict[tuple[str, Span], list[int]] = defaultdict(list)
    for batch in [*batches, []]:
        watermark = clock.timers.watermark
        for key, time in batch:
            spans = [Span(s, s + size) for s in range(0, time + 1, step) if s <= time < s + size]
            late = [span for span in spans if span.end + grace <= watermark]
            for span in spans:
                if span not in late:
                    opened[key, span].append(time)
            assert windows.add(key, time, lambda held, time=time: [*(held or []), time]) == late
        fired = clock.advance(max((time for _, time in batch), default=END))
        found = [done for timer in fired if (done := windows.complete(timer))]
        due = {at: opened.pop(at) for at in list(opened) if at[1].end + grace <= clock.timers.watermark}
        assert {(done.key, done.span): done.value for done in found} == due
    assert not opened
    assert not dict(clock.table.items())


@settings(max_examples=150, deadline=None)
@given(BATCHES, st.integers(1, 12), st.integers(0, 9))
def test_sessions_when_records_come_in_any_order_hold_what_a_look_at_all_says(batches, gap, grace):
    clock = Clock()
    sessions: Sessions[list[int]] = Sessions(
        "s", Table("s", Session[list[int]]), clock.timers, gap, lambda early, late: early + late, grace=grace
    )
    opened: dict[str, list[int]] = defaultdict(list)
    for batch in [*batches, []]:
        for key, time in batch:
            alone = all(abs(time - other) >= gap for other in opened[key])
            late = alone and time + gap + grace <= clock.timers.watermark
            if not late:
                opened[key].append(time)
            assert sessions.add(key, time, lambda held, time=time: [*(held or []), time]) is late
        fired = clock.advance(max((time for _, time in batch), default=END))
        found = [done for timer in fired if (done := sessions.complete(timer))]
        expected = []
        for key, times in opened.items():
            groups: list[list[int]] = []
            for time in sorted(times):
                if groups and time - groups[-1][-1] < gap:
                    groups[-1].append(time)
                else:
                    groups.append([time])
            for group in groups:
                if group[-1] + gap + grace <= clock.timers.watermark:
                    expected.append((key, Span(group[0], group[-1] + gap), group))
                    for time in group:
                        times.remove(time)
        assert sorted((done.key, done.span, sorted(done.value)) for done in found) == sorted(expected)
    assert not any(opened.values())
    assert not dict(clock.table.items())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.tuples(KEYS, st.integers(0, 60), st.booleans()), min_size=1, max_size=5), max_size=12),
    st.integers(0, 30),
)
def test_join_when_records_come_in_any_order_finds_the_value_that_was_valid(batches, keep):
    clock = Clock()
    values: Table[int] = Table("v", int)
    join: AsOf[int, int] = AsOf("j", values, Table("p", list[int]), clock.timers, keep)
    known: dict[str, dict[int, int]] = defaultdict(dict)
    asked: dict[int, tuple[str, int]] = {}
    number = 0
    for batch in [*batches, []]:
        horizon = clock.timers.watermark - keep
        for key, time, is_value in batch:
            number += 1
            if is_value:
                assert join.learn(key, time, number) is (time < horizon)
                if time >= horizon:
                    known[key][time] = number
            else:
                assert join.ask(key, time, number) is (time < horizon)
                if time >= horizon:
                    asked[number] = (key, time)
        for timer in clock.advance(max((time for _, time, _ in batch), default=END)):
            for match in join.matched(timer):
                key, time = asked.pop(match.record)
                since = max((t for t in known[key] if t <= time), default=None)
                assert (match.key, match.since) == (key, since)
                assert match.value == (None if since is None else known[key][since])
    assert not asked
    for key in known:
        join.learn(key, END, 0)
        assert len(list(values.items(f"{key}|"))) <= 2, "what was replaced long ago is forgotten"


@pytest.mark.parametrize(("size", "step"), [(10, 0), (10, 11), (0, 0)])
def test_hopping_when_it_would_leave_out_time_is_refused(size, step):
    with pytest.raises(ValueError, match="leave out some of the time"):
        Hopping(size, step)


def test_tumbling_when_a_time_is_on_the_border_takes_it_into_the_later_window():
    assert Tumbling(10).of(20) == [Span(20, 30)]
