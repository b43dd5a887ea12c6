from __future__ import annotations

import asyncio

from msgspec import structs

from connectors.market.outbox import Outbox
from connectors.outlet import Full, Waiting
from schemas import topics
from schemas.devices import Device, DeviceState
from schemas.gaps import Feed, Gap, GapReason

GAP = Gap(gap_id="g", feed=Feed.TICKS, key="NG", reason=GapReason.SILENCE, open=True, event_time=1, receive_time=1)
VENUE = Device(
    device="venue",
    connector="fix",
    protocol="fix-4.4",
    state=DeviceState.LIVE,
    since=1,
    started=1,
    expires=2,
    event_time=1,
    receive_time=1,
)


class Outlet:
    """Has room or not, as it is told, and keeps what it is given."""

    def __init__(self) -> None:
        self.full = True
        self.taken: list[tuple[str, str]] = []

    def publish(self, topic, _key, _record, *, event_id, done=None, headers=()) -> None:
        if self.full:
            raise Full("no room")
        self.taken.append((topic.name, event_id))

    def waiting(self) -> Waiting:
        return Waiting()


def test_outbox_when_kafka_is_away_for_long_keeps_of_each_device_the_newest_status_and_all_that_was_read_in_order():
    outlet = Outlet()
    outbox = Outbox(outlet)
    for beat in range(1000):
        outbox.status(structs.replace(VENUE, event_time=beat + 1), f"{beat}")
    assert outbox.empty, "a status does not stop the reading"
    for number in range(3):
        outbox.put(topics.gaps, "NG", GAP, f"gap {number}")
    outbox.status(structs.replace(VENUE, event_time=1001), "newest")
    assert not outbox.empty
    outlet.full = False
    asyncio.run(outbox.room(lambda: False))
    assert outlet.taken == [*(("gaps", f"gap {number}") for number in range(3)), ("devices", "newest")]
