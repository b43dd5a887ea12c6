"""The connector with a clock of its own and a publisher that keeps what it is given."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.config import LineFaults, MarketConfig, MarketInstrument, Silence
from connectors.market.connector import DUPLICATES, MarketConnector
from connectors.publisher import Full
from schemas import topics
from schemas.gaps import GapReason

START = 1_790_000_000_000_000


class Kept:
    """Takes records as the publisher does; refuses every ``full``-th once."""

    def __init__(self, full: int = 0) -> None:
        self.records: list[tuple[Any, str, Any, str]] = []
        self._full = full
        self._calls = 0

    def publish(self, topic: Any, key: str, record: Any, *, event_id: str) -> None:
        self._calls += 1
        if self._full and self._calls % self._full == 0:
            raise Full("no room")
        assert topic.decode(topic.encode(record)) == record
        self.records.append((topic, key, record, event_id))

    def wait_for_room(self, stop: threading.Event) -> bool:
        return not stop.is_set()

    def of(self, topic: Any) -> list[Any]:
        return [record for one, _key, record, _id in self.records if one is topic]


def clock(step: int) -> Iterator[int]:
    now = START
    while True:
        yield now
        now += step


def replay(config: MarketConfig, *, step: int = 1000, full: int = 0) -> Kept:
    kept, ticking = Kept(full), clock(step)
    # Looks for silence ask for the time too: how many there are must not depend on how fast this machine is.
    steady = (n / 1000 for n in count())
    MarketConnector(config, kept, now=lambda: next(ticking), steady=lambda: next(steady)).run(  # type: ignore[arg-type]
        threading.Event()
    )
    return kept


def config(**given: Any) -> MarketConfig:
    return MarketConfig(**{"speed": "max", "max_ticks": 600, "ticks_per_day": 50, **given})


def test_replay_when_line_is_good_numbers_every_instrument_without_holes():
    kept = replay(config())
    for name in ("WTI", "BRENT", "HENRY-HUB"):
        mine = [tick for tick in kept.of(topics.ticks) if tick.instrument == name]
        assert [tick.sequence for tick in mine] == list(range(1, 201))
        times = [tick.event_time for tick in mine]
        assert times == sorted(set(times))
        assert all(tick.receive_time >= tick.event_time and tick.venue == "REPLAY" for tick in mine)
        assert all(tick.bid is not None and tick.ask is not None and tick.bid <= tick.ask for tick in mine)


def test_replay_when_it_ends_leaves_every_instrument_with_an_open_gap():
    gaps = replay(config()).of(topics.gaps)
    assert {(gap.key, gap.reason, gap.open, gap.detail) for gap in gaps} == {
        (name, GapReason.DISCONNECTED, True, "the replay has ended") for name in ("WTI", "BRENT", "HENRY-HUB")
    }


def test_replay_when_seed_is_the_same_gives_the_same_records_and_ids():
    faults = LineFaults(delete=0.05, duplicate=0.05, swap=0.05)
    first, again = replay(config(faults=faults)), replay(config(faults=faults))
    assert first.records == again.records
    assert first.of(topics.ticks) != replay(config(faults=faults, seed=2)).of(topics.ticks)


def test_replay_when_faults_change_keeps_the_prices():
    good = {(t.instrument, t.sequence): (t.bid, t.ask) for t in replay(config()).of(topics.ticks)}
    bad = replay(config(faults=LineFaults(delete=0.2, swap=0.2))).of(topics.ticks)
    assert all(good[t.instrument, t.sequence] == (t.bid, t.ask) for t in bad)


def test_replay_when_a_session_follows_another_gives_new_ids():
    ids = {identity for topic, _k, _r, identity in replay(config()).records if topic is topics.ticks}
    assert len(ids) == 600
    assert f"REPLAY/WTI/{START + 1000}/1" in ids


@settings(max_examples=25)
@given(st.floats(0, 0.3), st.floats(0, 0.3), st.floats(0, 0.3), st.integers())
def test_replay_when_line_is_bad_accounts_for_every_number(delete, duplicate, swap, seed):
    kept = replay(config(seed=seed, max_ticks=300, faults=LineFaults(delete=delete, duplicate=duplicate, swap=swap)))
    for name in ("WTI", "BRENT", "HENRY-HUB"):
        arrived = [tick.sequence for tick in kept.of(topics.ticks) if tick.instrument == name]
        assert len(arrived) == len(set(arrived)), "a duplicate was published"
        missing: set[int] = set()
        for gap in kept.of(topics.gaps):
            if gap.key == name and gap.reason is GapReason.SEQUENCE and gap.open:
                missing |= set(range(gap.first, gap.last + 1))
        first, last = arrived[0], max(arrived)
        assert set(range(first, last + 1)) <= set(arrived) | missing
        assert missing.isdisjoint(range(last + 1, 10_000))


def test_replay_when_a_tick_is_overtaken_publishes_it_with_its_older_time_and_closes_the_gap():
    kept = replay(config(max_ticks=6, faults=LineFaults(swap=1.0), instruments=[wti()]))
    assert [tick.sequence for tick in kept.of(topics.ticks)] == [2, 1, 4, 3, 6, 5]
    four, three = kept.of(topics.ticks)[2:4]
    assert three.event_time < four.event_time
    assert three.receive_time > four.receive_time
    hole = [gap for gap in kept.of(topics.gaps) if gap.first == 3]
    assert [gap.open for gap in hole] == [True, False]
    order = [record for _t, _k, record, _i in kept.records]
    assert order.index(hole[0]) < order.index(four) < order.index(hole[1]) < order.index(three)


def test_replay_when_a_tick_comes_twice_drops_and_counts_it():
    before = DUPLICATES.labels("WTI")._value.get()
    kept = replay(config(max_ticks=40, faults=LineFaults(duplicate=1.0), instruments=[wti()]))
    assert [tick.sequence for tick in kept.of(topics.ticks)] == list(range(1, 41))
    assert DUPLICATES.labels("WTI")._value.get() - before == 40


def test_replay_when_kafka_has_no_room_waits_and_loses_nothing():
    kept = replay(config(), full=3)
    assert len(kept.of(topics.ticks)) == 600


def test_source_when_silenced_sends_nothing_and_goes_on_without_a_hole():
    from connectors.market.source import sources

    given = config(instruments=[wti()], silences=[Silence(instrument="WTI", after=1, lasts=2)])
    (source,) = sources(given, START)
    arrived = [(second, sent.sequence) for second in range(6) for sent in source.next(START + second * 1_000_000)]
    assert arrived == [(0, 1), (3, 2), (4, 3), (5, 4)]


def test_replay_when_recording_ends_stops_by_itself(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("Date,Price\n2020-01-01,5\n2020-01-02,-7.5\n")
    given = config(
        instruments=[MarketInstrument(instrument="X", file=str(path))], loop=False, max_ticks=None, ticks_per_day=30
    )
    made = replay(given).of(topics.ticks)
    assert (len(made), made[-1].last) == (30, -7.5)


def wti() -> MarketInstrument:
    return MarketInstrument(instrument="WTI", file="wti-daily.csv")
