from __future__ import annotations

from msgspec import structs

from schemas.devices import REMOVED, Device, DeviceState, Storage
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


def away(number: int, reason: str) -> Device:
    return structs.replace(ONE, device=f"d{number:02}", state=DeviceState.DOWN, reason=reason)


def test_devices_when_each_is_down_for_a_reason_of_its_own_shows_some_and_names_how_many_more():
    found = judge([ONE, *(away(n, f"no answer from 192.0.2.{n}") for n in range(20))], NOW)
    assert len(found) == 1 + 5 + 1
    assert found[0].what == "devices that are live: 1"
    assert found[-1].what == "devices that are not live besides these: d05, d06, d07, d08, d09 and 10 more"


def test_devices_when_a_whole_site_is_down_for_one_reason_is_one_finding():
    (found,) = judge([away(n, "the broker is away") for n in range(20)], NOW)
    assert found.what.startswith("d00, d01, d02, d03, d04 and 15 more (modbus-tcp) are down since 2027-01-15 08:00:00")
    assert found.what.endswith("Z: the broker is away")


def test_devices_when_one_was_taken_out_of_the_settings_says_nothing_of_it():
    assert judge([away(1, REMOVED)], NOW) == []


def test_devices_when_records_wait_says_where_and_why():
    waits = structs.replace(ONE, storage=Storage.DISK, waiting=1200, storage_reason="Kafka is\x1b[2J away")
    assert "d: 1,200 records wait (disk): Kafka is�[2J away" in judge([waits], NOW)[1].what


def test_devices_when_there_are_none_says_nothing():
    assert judge([], NOW) == []
