"""What is said of the devices: who is not live, why, and what rests on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas import topics
from schemas.base import Quality
from schemas.devices import REMOVED, Device, DevicePoint, DeviceState, Storage
from schemas.gaps import Feed, GapReason
from schemas.telemetry import Telemetry
from streams.commands.board import Board
from streams.commands.device_panel import News
from streams.commands.fleet import FORGOTTEN, Fleet, Standing, survey
from streams.commands.panels import positions
from streams.commands.watch import Lines
from tests.unit.commands.boards import opened, shown

NOW = 1_795_262_400_000_000
"""2026-11-21T12:00:00Z."""
MINUTE = 60_000_000


def device(name: str, state: DeviceState = DeviceState.LIVE, reason: str = "", **other: Any) -> Device:
    record = Device(
        device=name,
        connector="modbus",
        protocol="modbus-tcp",
        state=state,
        reason=reason,
        since=NOW - 13 * MINUTE,
        started=NOW - 60 * MINUTE,
        expires=NOW + MINUTE,
        event_time=NOW,
        receive_time=NOW,
    )
    return structs.replace(record, **other)


def points(*names: str) -> tuple[DevicePoint, ...]:
    return tuple(DevicePoint(point=name, unit="1") for name in names)


def board_of(*devices: Device, board: Board | None = None) -> Board:
    board = board or Board()
    for one in devices:
        board.take(topics.devices, one)
    return board


def told(fleet: Fleet) -> list[str]:
    return [one.told(NOW) for one in fleet.troubles]


def sample(name: str, point: str, **other: Any) -> Telemetry:
    record = Telemetry(device=name, point=point, value=1.0, unit="MW", sequence=1, event_time=NOW, receive_time=NOW)
    return structs.replace(record, **other)


DOWN = device("gas-1", DeviceState.DOWN, "no connection to 127.0.0.1:1502: refused")


def test_survey_when_all_is_live_has_no_trouble():
    fleet = survey(board_of(device("a"), device("b")), NOW)

    assert (fleet.live, fleet.total, fleet.troubles) == (2, 2, ())
    assert fleet.tally == "2 of 2 live"


def test_survey_when_a_device_is_down_says_since_when_and_why():
    assert told(survey(board_of(DOWN, device("b")), NOW)) == [
        "gas-1 down since 11:47:00Z: no connection to 127.0.0.1:1502: refused"
    ]
    yesterday = structs.replace(DOWN, since=NOW - 1000 * MINUTE)
    assert "gas-1 down since 2026-11-20 19:20Z: " in told(survey(board_of(yesterday), NOW))[0]


def test_survey_when_a_status_has_expired_says_that_nobody_watches_whatever_it_last_said():
    gone = [device(name, expires=NOW - 1, event_time=NOW - MINUTE) for name in ("a", "b")]

    fleet = survey(board_of(*gone), NOW)

    assert fleet.tally == "0 of 2 live"
    assert told(fleet) == ["a, b not watched since 11:59:00Z: not served by any running modbus connector"]


def test_survey_when_a_device_was_taken_out_or_is_long_gone_leaves_it_out():
    removed = device("a", DeviceState.DOWN, REMOVED)
    forgotten = device("b", expires=NOW - FORGOTTEN - 1)

    assert survey(board_of(removed, forgotten), NOW).total == 0


def test_survey_when_values_of_a_live_device_say_nothing_names_them_and_why():
    board = board_of(device("gas-1", points=points("output", "valve", "flow", "power")))
    board.take(topics.telemetry, sample("gas-1", "output", valid_until=NOW - 1))
    board.take(topics.telemetry, sample("gas-1", "valve", value=None, quality=Quality.BAD, event_time=NOW - 2))
    board.take(topics.telemetry, sample("gas-1", "power", valid_until=NOW + 1))
    board.take(topics.telemetry, sample("gas-1", "flow", receive_time=NOW - MINUTE))
    gap = opened(Feed.TELEMETRY, "gas-1", GapReason.SILENCE, NOW - MINUTE, point="flow", receive_time=NOW - 3)
    board.take(topics.gaps, gap)

    fleet = survey(board, NOW)

    assert fleet.tally == "1 of 1 live, 1 not quite"
    assert told(fleet) == [
        "gas-1 live, but not all of it since 11:59:00Z: "
        "3 of 4 missing: flow (silence), valve (bad), output (past its validity)"
    ]


def test_survey_when_records_wait_on_disk_says_so():
    late = device("gas-1", storage=Storage.DISK, waiting=1200, storage_reason="Kafka is away")

    assert told(survey(board_of(late), NOW)) == [
        "gas-1 live, but late since 11:47:00Z: 1,200 records wait (disk): Kafka is away"
    ]


def test_survey_when_a_drop_copy_has_a_gap_names_the_positions_until_it_closes(memory_day):
    copy = device("copy", connector="drop-copy", protocol="fix-4.4-drop-copy", points=points("WTI"))
    board = board_of(copy, board=memory_day.board)
    gap = opened(Feed.FILLS, "copy", GapReason.SEQUENCE, NOW)
    board.take(topics.gaps, gap)

    (trouble,) = survey(board, NOW).troubles

    assert trouble.standing is Standing.PARTLY
    assert set(trouble.rests) == {"position oil-desk WTI", "limit oil-gross", "limit oil-loss"}
    board.take(topics.gaps, structs.replace(gap, open=False, receive_time=NOW + 1))
    assert survey(board, NOW).troubles == ()


def test_survey_when_a_market_feed_dies_without_a_word_names_what_is_valued_by_it(memory_day):
    """Killed, it opens no gap, so that positions still look live."""
    feed = device("venue", connector="fix", protocol="fix-4.4", points=points("WTI"), expires=NOW - 1)
    board, later = board_of(feed, board=memory_day.board), memory_day.now + MINUTE

    fleet = survey(board, later)

    (trouble,) = fleet.troubles
    assert trouble.standing is Standing.UNWATCHED
    assert trouble.rests[:3] == ("position oil-desk WTI", "limit oil-gross", "limit oil-loss")
    assert set(trouble.rests[3:]) == {"rule wind-short", "rule wind-far-short"}
    row = next(line for line in shown(board, later, (140, 45)) if "oil-desk" in line and "12 000" in line)
    assert row.count("no feed") == 3


def test_positions_when_the_price_is_old_and_nobody_says_why_are_grey(memory_day):
    board, later = memory_day.board, memory_day.now + MINUTE

    def styles(now: int) -> set[str]:
        table = positions(board, survey(board, now), now, 10)
        return {str(cell.style) for cell in list(table.columns[4].cells)[1:]}  # gas-desk, the first, is unknown

    assert styles(memory_day.now) == {""}
    assert styles(later) == {"grey50"}


def test_survey_when_a_feed_is_away_but_another_still_brings_its_prices_nothing_rests_on_it(memory_day):
    feed = device("venue", DeviceState.DOWN, "off", connector="fix", points=points("WTI"))

    (trouble,) = survey(board_of(feed, board=memory_day.board), memory_day.now).troubles

    assert trouble.rests == ()


def test_survey_when_a_device_in_a_rule_is_down_names_the_rule(memory_day):
    board = board_of(device("wind-1", DeviceState.STALE, "silent"), DOWN, board=memory_day.board)

    wind, gas = survey(board, memory_day.now).troubles

    assert (wind.devices, set(wind.rests)) == (("wind-1",), {"rule wind-short", "rule wind-far-short"})
    assert gas.rests == (), "what nothing rests on comes later, though it is down and not only stale"


DEVICES = st.lists(
    st.builds(
        device,
        st.integers(0, 300).map(lambda n: f"d{n}"),
        st.sampled_from(DeviceState),
        st.sampled_from(["", "off", "no answer", REMOVED]),
        connector=st.sampled_from(["modbus", "fix", "drop-copy", "somebody's"]),
        since=st.integers(NOW - FORGOTTEN, NOW),
        expires=st.sampled_from([NOW + 1, NOW - 1, NOW - 2 * FORGOTTEN]),
        storage=st.sampled_from(Storage),
    ),
    max_size=60,
    unique_by=lambda one: one.device,
)


@given(DEVICES, st.randoms())
def test_survey_when_devices_are_any_tells_each_once_the_worst_first_in_whatever_order_they_come(devices, random):
    fleet = survey(board_of(*devices), NOW)

    listed = [name for one in fleet.troubles for name in one.devices]
    assert len(set(listed)) == len(listed)
    whole = fleet.total - len(listed)
    marred = sum(len(one.devices) for one in fleet.troubles if one.standing >= Standing.PARTLY)
    assert fleet.live == whole + marred
    order = [one.standing for one in fleet.troubles]
    assert order == sorted(order), "nothing rests on any of them, so that only how they stand counts"
    random.shuffle(devices)
    assert survey(board_of(*devices), NOW) == fleet


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_draw_when_twenty_of_two_hundred_devices_are_away_shows_the_worst_and_counts_the_rest(memory_day, size):
    devices = [device(f"inv-{n:03}") for n in range(180)]
    devices += [device(f"inv-{n:03}", DeviceState.DOWN, f"no answer from 192.0.2.{n}") for n in range(180, 199)]
    board = board_of(*devices, device("wind-1", DeviceState.DOWN, "cannot connect"), board=memory_day.board)

    lines = shown(board, NOW, size)

    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    assert "devices 180 of 200 live" in lines[0]
    assert "devices: 180 of 200 live" in lines[1]
    assert "✗ wind-1 down since 11:47:00Z: cannot connect" in lines[2]
    assert "on it: rule wind-far-short, rule wind-short" in lines[3] or "on it: rule wind-short, rule" in lines[3]
    assert any("more (inv-" in line and ", 180 live" in line for line in lines)
    assert any("next: gridtape connect check FILE" in line for line in lines)
    text = "\n".join(lines)
    assert "oil-desk" in text
    assert "alerts and their why" in text


@given(DEVICES, st.integers(80, 200), st.integers(24, 60))
def test_draw_when_devices_are_any_stays_within_the_screen(devices, width, height):
    lines = shown(board_of(*devices), NOW, (width, height))

    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_draw_when_a_device_speaks_in_control_characters_does_not_pass_them_on():
    text = "\n".join(shown(board_of(device("a\x1b[2J", DeviceState.DOWN, "off\x1b[2J")), NOW, (100, 30)))

    assert "\x1b" not in text
    assert "off�[2J" in text


def test_lines_when_devices_change_tells_each_change_once():
    board, now = board_of(DOWN, device("b")), NOW
    lines = Lines(board)

    first, second = lines.now(now), lines.now(now)
    board_of(device("gas-1", receive_time=NOW + 1), board=board)
    third = lines.now(now)

    assert first[0] == (
        "✗ gas-1 down since 11:47:00Z: no connection to 127.0.0.1:1502: refused · next: gridtape connect check FILE"
    )
    assert "devices 1 of 2 live (gas-1 down)" in first[1]
    assert second == first[1:]
    assert third[0] == "✓ gas-1 as it should be again"
    assert "devices 2 of 2 live" in third[1]


def test_lines_when_another_device_follows_tell_only_of_it_and_since_when():
    board = board_of(DOWN, device("b"))
    lines = Lines(board)
    lines.now(NOW)
    board_of(structs.replace(DOWN, device="b", since=NOW - MINUTE, receive_time=NOW + 1), board=board)

    news, tally = lines.now(NOW)

    assert news == (
        "✗ b down since 11:59:00Z: no connection to 127.0.0.1:1502: refused · next: gridtape connect check FILE"
    )
    assert "(b and 1 more down)" in tally
    assert told(survey(board, NOW)) == [
        "b, gas-1 down since 11:47:00Z, the last since 11:59:00Z: no connection to 127.0.0.1:1502: refused"
    ]


def test_news_when_a_whole_site_goes_says_no_more_than_a_screen_of_it():
    devices = [device(f"d{n}", DeviceState.DOWN, f"reason {n}") for n in range(200)]

    lines = News().of(survey(board_of(*devices), NOW), NOW)

    assert len(lines) == 11
    assert lines[-1] == "… and 190 more"
