"""What fails all night is in the log a dozen times, and what is new at once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from connectors.deliveries import Deliveries
from connectors.lifecycle import Lifecycle, Profile
from connectors.outlet import Waiting
from connectors.repeats import FIRST, LONGEST, QUIET, Repeats, Seldom
from schemas.dead_letters import DeadLetter
from schemas.devices import Device, DeviceState, Storage
from streams.engine.cluster import Cluster

HALF_MINUTE = 30_000_000


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_795_262_400_000_000
        for name in ("now", "steady"):
            monkeypatch.setattr(f"connectors.clock.{name}", lambda: self.now)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_repeats_when_the_same_fails_for_ten_hours_tells_it_at_growing_intervals_and_how_often(time):
    repeats, told = Repeats(), []
    for attempt in range(1200):
        if (again := repeats.again(f"session is off, attempt {attempt}")) is not None:
            told.append((attempt / 2, again.get("times", 1)))
        time.now += HALF_MINUTE

    assert [minute for minute, _ in told] == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543]
    assert sum(times for _, times in told) == 2 * 543 + 1, "each attempt up to the last line is counted once"


def test_repeats_when_the_reason_changes_or_it_went_well_tells_at_once(time):
    repeats = Repeats()

    assert repeats.again("refused") == {}
    assert repeats.again("refused") is None
    assert repeats.again("no route to host") == {}
    assert repeats.again("refused") is None, "two reasons that take turns are no change each time"
    repeats.ended()
    assert repeats.again("refused") == {}
    time.now += QUIET + 1
    assert repeats.again("refused") == {}, "nobody said that it went well, but it did not fail either"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, QUIET * 2)), max_size=200))
def test_repeats_when_reasons_come_in_any_order_each_is_told_at_once_and_counted_once(attempts):
    with pytest.MonkeyPatch.context() as monkeypatch:
        time, repeats = Clock(monkeypatch), Repeats()
        counted, untold, lines = Counter[str](), Counter[str](), dict[str, int]()
        for what, pause in attempts:
            time.now += pause
            again = repeats.again(what)
            if again is None:
                untold[what] += 1
                assert time.now - lines[what] < LONGEST
                continue
            assert what not in lines or time.now - lines[what] >= FIRST
            lines[what] = time.now
            counted[what] += again.get("times", 1)
            untold[what] = 0
        assert counted + untold == Counter(what for what, _ in attempts)


def test_repeats_when_a_source_makes_up_new_reasons_tells_some_and_then_seldom(time):
    repeats = Repeats()
    told = 0
    for number in range(1200):
        told += repeats.again("".join(chr(97 + int(digit)) for digit in str(number))) is not None
        time.now += HALF_MINUTE

    assert told == 16 + 15


def test_dead_letters_when_a_device_sends_bad_values_all_night_are_summed_up(time):
    deliveries = Deliveries(Cluster("127.0.0.1:1"), "mqtt", lambda *_: None)
    letter = DeadLetter(
        letter_id="l",
        application="mqtt",
        reason="no number: 'x'",
        at=None,
        raw=b"x",
        size=1,
        event_time=1,
        receive_time=1,
    )
    with capture_logs() as lines:
        for _ in range(100):
            deliveries.put_aside(letter)
            deliveries.tell(0)
            time.now += 1_000_000

    assert [(line["records"], line["last_reason"]) for line in lines] == [(1, "no number: 'x'"), (60, "no number: 'x'")]


def test_lifecycle_when_kafka_is_slow_and_records_wait_now_and_then_does_not_say_each_time(time):
    written: list[Device] = []
    life = Lifecycle("modbus", Profile("gas-1", "modbus-tcp"), lambda record, _: written.append(record))
    life.state(DeviceState.LIVE)
    with capture_logs() as lines:
        for number in range(100):
            life.waits(Waiting(Storage.MEMORY, number, "the way to Kafka is full"))
            life.waits(Waiting())
            time.now += 500_000

    assert [line["where"] for line in lines] == ["memory", "direct"]
    assert len(written) == 201, "who looks at the devices sees each"


def night(time: Clock, life: Lifecycle, *states: tuple[DeviceState, str]) -> list[dict]:
    with capture_logs() as lines:
        for _ in range(1200):
            for state, why in states:
                life.failed()
                life.state(state, why)
                time.now += HALF_MINUTE // len(states)
    return lines


def test_lifecycle_when_a_venue_is_off_all_night_says_it_a_few_times_and_counts_every_attempt(time):
    written: list[Device] = []
    life = Lifecycle("fix", Profile("venue", "fix-4.4"), lambda record, _: written.append(record))
    lines = night(time, life, (DeviceState.DOWN, "the venue logged out: session is off"))

    assert [line["log_level"] for line in lines] == ["warning"] * 15
    assert {line["why"] for line in lines} == {"the venue logged out: session is off"}
    assert "times" not in lines[0]
    assert lines[1]["times"] == 2
    life.state(DeviceState.LIVE)
    assert written[-1].errors == 1200


def test_lifecycle_when_a_link_comes_and_goes_all_night_does_not_say_each_time(time):
    life = Lifecycle("fix", Profile("venue", "fix-4.4"), lambda *_: None)
    lines = night(time, life, (DeviceState.LIVE, ""), (DeviceState.DOWN, "logged out: session is off"))

    assert [line["event"] for line in lines[:3]] == ["fix device is live", "fix device is down", "fix device is live"]
    assert 20 < len(lines) < 40


def test_lifecycle_when_it_was_live_for_a_while_tells_the_next_failure_and_an_error_for_a_person(time):
    life = Lifecycle("fix", Profile("venue", "fix-4.4"), lambda *_: None)
    with capture_logs() as lines:
        for _ in range(2):
            life.state(DeviceState.LIVE)
            time.now += 2 * FIRST
            life.state(DeviceState.DOWN, "the logon was refused", person=True)
    assert [line["log_level"] for line in lines] == ["info", "error"] * 2


def test_lifecycle_when_its_link_is_shared_leaves_it_to_who_keeps_the_link(time):
    life = Lifecycle("mqtt", Profile("battery-1", "mqtt"), lambda *_: None, shared=True)
    assert len(night(time, life, (DeviceState.DOWN, "the broker is away"))) == 1


def test_client_log_when_kafka_is_away_for_half_an_hour_repeats_the_clients_complaint_a_few_times(time):
    told = Seldom("Kafka", connector="fix")
    with capture_logs() as logs:
        for attempt in range(900):
            told.log(40, "%s [%s] %s", "FAIL", "connectors-fix", f"Connection refused (after {attempt % 3}ms)")
            time.now += 2_000_000
    assert [one["log_level"] for one in logs] == ["error"] * len(logs)
    assert [one.get("times", 1) for one in logs] == [1, 30, 60, 120, 240]
    assert logs[0]["words"] == "FAIL [connectors-fix] Connection refused (after 0ms)"
    assert logs[0]["connector"] == "fix"
