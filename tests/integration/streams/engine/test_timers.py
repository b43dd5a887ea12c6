"""Timers on a real Kafka: they fire without input, once, and after a restart."""

from __future__ import annotations

import time

from tests.integration.streams.engine import counting as app

LONG = 3_600_000_000


def now() -> int:
    return time.time_ns() // 1000


def test_wall_timers_when_due_fire_once_without_input_and_survive_a_restart(field):
    for number, key in enumerate(["k0", "k1", "k2"]):
        field.put(app.hits, key, app.Hit(key, 200_000 * (number + 1), now()))
    field.put(app.hits, "later", app.Hit("later", LONG, now()))
    field.flush()
    with field.running(processor=app.Waking):
        field.await_(lambda: len(field.read(app.alarms)) == 3, "three alarms")
    field.put(app.hits, "overdue", app.Hit("overdue", 0, now() - LONG))
    field.flush()
    with field.running(processor=app.Waking):
        field.await_(lambda: len(field.read(app.alarms)) == 4, "the fourth alarm")
    alarms = field.read(app.alarms)
    assert sorted((alarm.key, alarm.n) for alarm in alarms) == [("k0", 1), ("k1", 1), ("k2", 1), ("overdue", 1)]
    # What made them fire is on record: an entry without a topic, with the clock as it was read.
    ticks = {s[4] for line in field.read(app.journal) for s in line.body["segments"] if s[0] == ""}
    assert ticks == {alarm.event_time for alarm in alarms}
