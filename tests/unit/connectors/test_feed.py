from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.feed import FeedTracker, event_id
from schemas import topics
from schemas.gaps import Feed, Gap, GapReason

T0 = 1_790_000_000_000_000
SECOND = 1_000_000


def arrive(tracker: FeedTracker, number: int | None, at: int, *, received: int | None = None, point: str = "soc"):
    return tracker.arrived("b1", point, sequence=number, event_time=T0 + at, receive_time=T0 + (received or at))


def missing_numbers(gaps: list[Gap]) -> set[int]:
    return {n for gap in gaps if gap.open and gap.first is not None for n in range(gap.first, (gap.last or 0) + 1)}


@st.composite
def journeys(draw: st.DrawFn) -> list[int]:
    """Numbers as they arrive: some of 0..n lost, some repeated, some displaced by a few places."""
    sent = list(range(draw(st.integers(1, 60))))
    kept = [n for n in sent if n == 0 or draw(st.integers(0, 9)) > 1]
    repeated = [n for n in kept for _ in range(2 if draw(st.integers(0, 9)) == 0 else 1)]
    places = [(i + draw(st.integers(0, 4)), i) for i in range(1, len(repeated))]
    return [repeated[0], *(repeated[i] for _, i in sorted(places))]


@given(journeys())
def test_feed_when_messages_are_lost_repeated_and_swapped_accounts_for_every_number(journey: list[int]) -> None:
    tracker = FeedTracker(Feed.TELEMETRY, max_missing=1000)
    gaps, first_time, repeats = [], [], []
    for place, number in enumerate(journey):
        # The event time belongs to the number, the receive time to the place.
        seen = arrive(tracker, number, number, received=1000 + place)
        gaps += seen.gaps
        (repeats if seen.duplicate else first_time).append(number)

    # Number 0 comes first, and what precedes a stream's first number is never called a repeat.
    assert Counter(n for n in first_time if n) == Counter(set(journey) - {0})
    assert all(n in first_time for n in repeats)
    opened = {gap.gap_id: gap for gap in gaps if gap.open}
    closed = {gap.gap_id for gap in gaps if not gap.open}
    assert len(opened) + len(closed) == len(gaps), "each gap opens once and closes at most once"
    still_open = [gap for gap_id, gap in opened.items() if gap_id not in closed]
    lost = set(range(max(journey) + 1)) - set(journey)
    assert lost <= missing_numbers(still_open)
    for gap in still_open:
        assert missing_numbers([gap]) & lost, "an open gap misses something"
    assert len({event_id(gap) for gap in gaps}) == len(gaps)


@given(journeys(), st.integers(1, 5))
def test_feed_when_memory_is_small_never_calls_a_first_arrival_a_repeat(journey: list[int], cap: int) -> None:
    tracker = FeedTracker(Feed.TICKS, max_missing=cap)
    met: set[int] = set()
    for place, number in enumerate(journey):
        seen = arrive(tracker, number, number, received=1000 + place)
        if seen.duplicate:
            assert number in met
        met.add(number)
        stream = tracker._sequences["b1", "soc", ""]
        assert len(stream.missing) <= cap


@given(journeys())
def test_feed_when_replayed_gives_the_same_records(journey: list[int]) -> None:
    def run() -> list[Gap]:
        tracker = FeedTracker(Feed.TELEMETRY)
        return [g for i, n in enumerate(journey) for g in arrive(tracker, n, n, received=1000 + i).gaps]

    first = run()
    assert first == run()
    for gap in first:
        assert topics.gaps.decode(topics.gaps.encode(gap)) == gap


def test_feed_when_a_number_is_skipped_opens_a_gap_and_closes_it_when_it_comes_late() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    assert arrive(tracker, 7, 0).gaps == []
    opened = arrive(tracker, 10, 3).gaps
    assert [(g.reason, g.first, g.last, g.count, g.open) for g in opened] == [(GapReason.SEQUENCE, 8, 9, 2, True)]
    assert opened[0].receive_time < T0 + 3, "the record that shows the hole counts as received later"
    assert arrive(tracker, 9, 2, received=4).gaps == []
    late = arrive(tracker, 8, 1, received=5)
    assert [(g.gap_id, g.open, g.detail) for g in late.gaps] == [(opened[0].gap_id, False, "came late")]
    assert arrive(tracker, 8, 1, received=6).duplicate


def test_feed_when_the_oldest_hole_is_given_up_passes_its_late_numbers_and_leaves_it_open() -> None:
    tracker = FeedTracker(Feed.TELEMETRY, max_missing=1)
    arrive(tracker, 1, 1)
    arrive(tracker, 3, 3)
    arrive(tracker, 5, 5)
    late = arrive(tracker, 2, 2, received=6)
    assert not late.duplicate
    assert late.gaps == []
    assert [g.open for g in arrive(tracker, 4, 4, received=7).gaps] == [False]


def test_feed_when_the_source_counts_anew_says_so_and_drops_nothing() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    arrive(tracker, 900, 10)
    seen = arrive(tracker, 1, 20)
    assert not seen.duplicate
    assert [(g.open, g.first, g.count) for g in seen.gaps] == [(True, None, None), (False, None, None)]
    assert arrive(tracker, 2, 21) == arrive(FeedTracker(Feed.TELEMETRY), 2, 21)


def test_feed_when_silent_for_too_long_opens_one_gap_and_closes_it_with_the_next_arrival() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    tracker.watch("b1", None, silence=5 * SECOND, now=T0)
    assert tracker.silent(T0 + 5 * SECOND) == []
    (gap,) = tracker.silent(T0 + 5 * SECOND + 1)
    assert (gap.key, gap.point, gap.reason, gap.open) == ("b1", None, GapReason.SILENCE, True)
    assert tracker.silent(T0 + 60 * SECOND) == []
    (back,) = arrive(tracker, None, 61 * SECOND).gaps
    assert (back.gap_id, back.open) == (gap.gap_id, False)
    assert tracker.silent(T0 + 66 * SECOND) == []
    (again,) = tracker.silent(T0 + 67 * SECOND)
    assert again.gap_id != gap.gap_id


def test_feed_when_the_source_says_that_it_is_there_it_is_not_silent_but_no_gap_ends() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    tracker.watch("b1", None, silence=5 * SECOND, now=T0)
    tracker.alive("b1", T0 + 4 * SECOND)
    assert tracker.silent(T0 + 9 * SECOND) == []
    (gap,) = tracker.silent(T0 + 10 * SECOND)
    tracker.alive("b1", T0 + 11 * SECOND)
    tracker.alive("never-watched", T0)
    assert [(g.gap_id, g.open) for g in arrive(tracker, None, 12 * SECOND).gaps] == [(gap.gap_id, False)]


def test_feed_when_a_stream_has_several_counters_each_is_held_against_itself_and_named_in_its_gaps() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)

    def at(counter: str, number: int, time: int) -> list[Gap]:
        seen = tracker.arrived(
            "b1", None, sequence=number, event_time=T0 + time, receive_time=T0 + time, counter=counter
        )
        return seen.gaps

    assert at("s/{device}", 1, 0) == at("m/{device}", 7, 1) == at("s/{device}", 2, 2) == []
    (one,) = at("s/{device}", 4, 3)
    (other,) = at("m/{device}", 9, 3)
    assert (one.point, one.count, one.detail) == (None, 1, "number 4 followed 2 on s/{device}")
    assert (other.detail, one.gap_id != other.gap_id) == ("number 9 followed 7 on m/{device}", True)


def test_feed_when_disconnected_opens_one_gap_keeps_quiet_about_silence_and_closes_with_data() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    tracker.watch("b1", "soc", silence=SECOND, now=T0)
    (gap,) = tracker.disconnected("b1", now=T0, detail="broker went away")
    assert tracker.disconnected("b1", now=T0 + 1, detail="again") == []
    assert tracker.silent(T0 + 10 * SECOND) == []
    assert [g.gap_id for g in arrive(tracker, 1, 11 * SECOND).gaps] == [gap.gap_id]
    assert arrive(tracker, 2, 12 * SECOND).gaps == []


def test_feed_when_another_point_arrives_keeps_the_overflow_of_the_first_open() -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    (gap,) = tracker.overflowed("b1", "soc", event_time=T0, receive_time=T0, count=3, detail="queue")
    assert arrive(tracker, 1, 1, point="power").gaps == []
    assert [(g.gap_id, g.count) for g in arrive(tracker, 1, 2).gaps] == [(gap.gap_id, 3)]


@pytest.mark.parametrize(("second", "together"), [(4, 7), (None, None)])
def test_feed_when_more_is_dropped_before_data_comes_says_at_the_end_how_much_it_was(second, together) -> None:
    tracker = FeedTracker(Feed.TELEMETRY)
    (gap,) = tracker.overflowed("b1", "soc", event_time=T0, receive_time=T0, count=3, detail="queue")
    assert tracker.overflowed("b1", "soc", event_time=T0 + 1, receive_time=T0, count=second, detail="queue") == []
    assert [(g.gap_id, g.count, g.open) for g in arrive(tracker, 1, 2).gaps] == [(gap.gap_id, together, False)]


@given(st.text("ab/", min_size=1, max_size=200), st.integers(0, 2**62), st.sampled_from(["x", "y" * 200]))
def test_feed_when_names_are_long_gap_ids_stay_valid_and_distinct(key: str, number: int, point: str) -> None:
    key = "k" + key[1:]
    tracker = FeedTracker(Feed.TELEMETRY)
    gaps = []
    for sequence in (number, number + 2, number + 4):
        gaps += tracker.arrived(key, point, sequence=sequence, event_time=T0, receive_time=T0).gaps
    assert len({g.gap_id for g in gaps}) == 2
    for gap in gaps:
        topics.gaps.decode(msgspec.json.encode(gap))
