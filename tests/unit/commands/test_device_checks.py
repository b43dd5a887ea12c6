from __future__ import annotations

from msgspec import structs

from schemas.devices import Device, DeviceState, Storage
from streams.commands.checks.devices import judge

NOW = 1_800_000_000_000_000
ONE = Device(
    device="d",
    connector="modbus",
    protocol="modbus-tcp",
    state=DeviceState.LIVE,
    since=NOW,
    started=NOW,
    expires=NOW + 1,
    event_time=NOW,
    receive_time=NOW,
)


def test_devices_when_a_whole_site_is_down_shows_some_and_names_how_many_more():
    devices = [structs.replace(ONE, device=f"d{n:02}", state=DeviceState.DOWN, reason="off") for n in range(20)]
    found = judge([ONE, *devices], NOW)
    assert len(found) == 1 + 5 + 1
    assert found[0].what == "devices that are live: 1"
    assert found[-1].what == "devices that are not live besides these: d05, d06, d07, d08, d09 and 10 more"


def test_devices_when_records_wait_says_where_and_why():
    waits = structs.replace(ONE, storage=Storage.DISK, waiting=1200, storage_reason="Kafka is\x1b[2J away")
    assert "1,200 records of d wait (disk): Kafka is�[2J away" in judge([waits], NOW)[1].what


def test_devices_when_there_are_none_says_nothing():
    assert judge([], NOW) == []
