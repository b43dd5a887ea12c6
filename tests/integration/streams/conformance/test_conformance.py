"""What every driver must do with a processor. What only some do is in test_faust.py and in the engine's own tests."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from schemas import topics
from schemas.base import Side
from schemas.control import KillSwitch
from schemas.fills import Fill
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from tests.integration.streams.conformance.conftest import PATIENCE
from tests.integration.streams.conformance.deciding import BROKEN, PAUSE, REFUSED

NAMES = [f"I{n}" for n in range(12)]
"""Instruments, over all partitions."""
START = 1_795_000_000_000_000
SECOND = 1_000_000


def tick(name: str, at: float = 0, sequence: int = 0) -> Tick:
    time = START + round(at * SECOND)
    return Tick(instrument=name, venue="v", bid=1.0, ask=1.0, sequence=sequence, event_time=time, receive_time=time)


def fill(name: str, number: int, time: int = START, side: Side = Side.BUY) -> Fill:
    named = {"fill_id": f"{name}-{number}", "order_id": "o", "book": "b", "instrument": name, "venue": "v"}
    figures = {"quantity": Decimal(1), "price": Decimal(1), "currency": "USD", "side": side}
    return Fill(**named, **figures, event_time=time, receive_time=time)


def switch(version: int) -> KillSwitch:
    named = {"scope": "all", "version": version, "engaged": False, "reason": "", "actor": "x"}
    return KillSwitch(**named, event_time=START, receive_time=START)


def await_(read: Callable[[], Any], enough: Callable[[Any], bool], what: str) -> Any:
    """What ``read`` gives as soon as it is ``enough``."""
    deadline = time.monotonic() + PATIENCE
    while not enough(found := read()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}; there is {found}"
        time.sleep(0.05)
    return found


def said(driver: Any, *points: str) -> dict[str, list[Telemetry]]:
    found = defaultdict(list)
    for record in driver.all(topics.telemetry):
        if record.point in points:
            found[record.device].append(record)
    return found


def counted(driver: Any, each: int) -> dict[str, list[Telemetry]]:
    """Wait until ``each`` records of every instrument were counted."""

    return await_(
        lambda: said(driver, "ticks", "fills"),
        lambda found: all(len(found[name]) >= each for name in NAMES),
        f"{each} counts of each of {len(NAMES)}",
    )


def test_driver_when_fed_counts_each_record_once_in_the_order_of_its_key(driver):
    for n in range(20):
        for name in NAMES:
            driver.put(topics.ticks, name, tick(name, n / 1000))
            if n % 5 == 0:
                driver.put(topics.fills, name, fill(name, n))
    driver.start()
    found = counted(driver, 24)
    driver.stop()
    assert {name: [r.value for r in records] for name, records in found.items()} == {
        name: [float(n) for n in range(1, 25)] for name in NAMES
    }
    ticks = {name: [r.event_time for r in records if r.point == "ticks"] for name, records in found.items()}
    assert ticks == {name: [START + n * 1000 for n in range(20)] for name in NAMES}


def test_driver_when_started_again_goes_on_with_its_state(driver):
    for name in NAMES:
        driver.put(topics.ticks, name, tick(name))
        driver.put(topics.control, "all", switch(5))
    driver.start()
    counted(driver, 1)
    driver.stop()
    for name in NAMES:
        driver.put(topics.ticks, name, tick(name, 0.1))
    driver.start()
    found = counted(driver, 2)
    driver.stop()
    assert {name: [r.value for r in records] for name, records in found.items()} == {n: [1.0, 2.0] for n in NAMES}
    assert {r.sequence for records in found.values() for r in records} == {5}, "the switch is part of the state"


def test_driver_when_something_is_broadcast_before_the_start_decides_nothing_without_it(driver):
    for name in NAMES:
        driver.put(topics.ticks, name, tick(name))
    for version in range(1, 300):
        driver.put(topics.control, "all", switch(version))
    driver.start()
    found = counted(driver, 1)
    driver.stop()
    assert {r.sequence for records in found.values() for r in records} == {299}


def test_driver_when_records_are_bad_sets_them_aside_and_goes_on(driver):
    for name in NAMES:
        driver.put(topics.ticks, name, tick(name))
    driver.put(topics.ticks, "I0", raw=b"{")
    driver.put(topics.ticks, "I1", raw=None)
    driver.put(topics.ticks, "I2", tick("I2", sequence=REFUSED))
    driver.put(topics.ticks, "I3", tick("I3", sequence=BROKEN))
    for name in NAMES:
        driver.put(topics.ticks, name, tick(name, 0.1))
    driver.start()
    counted(driver, 2)
    letters = await_(driver.letters, lambda found: len(found) >= 4, "four dead letters")
    driver.stop()
    assert {letter.key: letter.reason.split(":")[0] for letter in letters} == {
        "I0": "not a valid record of ticks",
        "I1": "the record has no value (a tombstone); retire it with active = false instead",
        "I2": "refused on purpose",
        "I3": "processor deciding failed",
    }
    assert {letter.raw for letter in letters if letter.key == "I0"} == {b"{"}
    assert all(letter.at.topic.endswith("ticks") and letter.application == "deciding" for letter in letters)


def test_driver_when_event_time_passes_fires_timers_once(driver):
    """The fills fall silent, so after a while the ticks alone carry event time on: those of other instruments do."""
    for name in NAMES:
        driver.put(topics.fills, name, fill(name, 1))
        driver.put(topics.ticks, name, tick(name))
    driver.start()

    def carried_on() -> dict[str, list[Telemetry]]:
        for name in NAMES:
            driver.put(topics.ticks, f"other-{name}", tick(f"other-{name}", 10))
        return said(driver, "event")

    fired = await_(carried_on, lambda found: all(found[name] for name in NAMES), "all timers")
    driver.stop()
    assert {name: len(fired[name]) for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert all(fired[name][0].event_time >= START + PAUSE for name in NAMES)


def test_driver_when_wall_clock_passes_fires_timers_that_were_set_before_a_restart(driver):
    now = time.time_ns() // 1000
    for name in NAMES:
        driver.put(topics.fills, name, fill(name, 1, now + 2 * SECOND, Side.SELL))
    driver.start()
    counted(driver, 1)
    driver.stop()
    driver.start()
    fired = await_(lambda: said(driver, "wall"), lambda found: all(found[name] for name in NAMES), "all timers")
    driver.stop()
    due = now + 2 * SECOND + PAUSE
    assert {name: len(records) for name, records in fired.items()} == dict.fromkeys(NAMES, 1)
    assert all(records[0].event_time >= due for records in fired.values())
