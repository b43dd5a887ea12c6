from __future__ import annotations

import io
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from schemas import topics
from schemas.base import Quality
from schemas.gaps import Feed, GapReason
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.commands.board import KEPT, Board
from streams.commands.fleet import survey
from streams.commands.screen import plain_line
from streams.commands.watch import draw, save_svg
from tests.unit.commands.boards import opened, shown

NOW = 1_795_262_400_000_000


def tick(price: float, *, at: int = NOW, name: str = "WTI") -> Tick:
    return Tick(
        instrument=name, venue="REPLAY", bid=price, ask=price, last=price, sequence=1, event_time=at, receive_time=at
    )


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (140, 45), (220, 60)])
def test_draw_when_a_day_has_happened_fits_and_shows_one_of_everything(memory_day, size):
    lines = shown(memory_day.board, memory_day.now, size)

    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    text = "\n".join(lines)
    for word in ("WTI", "oil-desk", "unknown", "critical", "refused", "why: limit:oil-gross version 3", "battery-1"):
        assert word in text or (size[1] < 45 and word.startswith(("why", "critical", "battery")))


def test_draw_when_screen_is_of_readme_size_shows_the_input_records_of_the_newest_alert(memory_day):
    text = "\n".join(shown(memory_day.board, memory_day.now, (140, 45)))

    assert "← telemetry[0]@" in text
    assert "Hard limit breached: oil-gross" in text
    assert "← positions[1]@" in text


def test_draw_when_mark_is_unknown_never_shows_the_old_mark_as_if_live(memory_day):
    lines = shown(memory_day.board, memory_day.now, (140, 45))

    row = next(line for line in lines if "gas-desk" in line and "HENRY-HUB" in line)
    assert row.count("unknown") == 3
    market = next(line for line in lines if "HENRY-HUB" in line and "7.51" in line)
    assert "silence" in market


@given(st.integers(80, 240), st.integers(24, 80), st.integers(0, 40), st.text(max_size=60))
@settings(max_examples=40, deadline=None)
def test_draw_when_names_and_sizes_are_any_stays_within_the_screen(width: int, height: int, count: int, name: str):
    board = Board()
    for i in range(count):
        board.take(topics.ticks, tick(1e9 - i, name=f"{name}{i}"))
        board.take(
            topics.telemetry,
            Telemetry(
                device=f"{name}{i}", point=name or "p", value=-1e18, unit="[Btu_IT]", quality=Quality.BAD, sequence=i,
                event_time=NOW, receive_time=NOW,
            ),
        )  # fmt: skip

    out = io.StringIO()
    console = Console(file=out, width=width, height=height, no_color=True)
    console.print(draw(board, NOW, (width, height)))

    lines = out.getvalue().split("\n")
    assert len(lines) == height + 1
    assert "\x1b" not in out.getvalue()


def test_board_when_an_older_tick_comes_late_keeps_the_newer_one():
    board = Board()
    board.take(topics.ticks, tick(75.0, at=NOW + 5))
    board.take(topics.ticks, tick(74.0, at=NOW))

    assert board.ticks["WTI"].bid == 75.0
    assert board.counts["ticks"] == 2


def test_board_when_gap_is_open_is_unknown_until_a_later_tick():
    board = Board()
    gap = opened(Feed.TICKS, "WTI", GapReason.SILENCE, NOW + 10)
    board.take(topics.ticks, tick(75.0))
    board.take(topics.gaps, gap)
    assert board.unknown_tick("WTI") is gap

    board.take(topics.gaps, msgspec.structs.replace(gap, open=False, receive_time=NOW + 20))
    assert board.unknown_tick("WTI") is gap, "the missing came late, but no fresh price"

    board.take(topics.ticks, tick(75.0, at=NOW + 30))
    assert board.unknown_tick("WTI") is None


def test_board_when_a_whole_device_is_gone_marks_each_of_its_points():
    board = Board()
    sample = Telemetry(device="d", point="p", value=1.0, unit="MW", sequence=1, event_time=NOW, receive_time=NOW)
    gap = opened(Feed.TELEMETRY, "d", GapReason.DISCONNECTED, NOW + 1)
    board.take(topics.telemetry, sample)
    assert board.unknown_sample("d", "p") is None
    board.take(topics.gaps, gap)

    assert board.unknown_sample("d", "p") is gap


def test_board_when_more_alerts_come_than_are_kept_forgets_the_oldest(memory_day):
    board = Board()
    alert = memory_day.driver.records(topics.alerts)[0]
    for i in range(KEPT + 10):
        board.take(topics.alerts, msgspec.structs.replace(alert, alert_id=f"a{i}"))

    assert len(board.alerts) == KEPT
    assert board.alerts[0].alert_id == "a10"
    assert board.counts["alerts"] == KEPT + 10


def test_rate_when_ticks_come_steadily_is_their_number_a_second():
    board = Board()
    for second in range(4):
        rate = board.ticks_per_second(NOW + second * 1_000_000)
        for _ in range(50):
            board.take(topics.ticks, tick(75.0, at=NOW + second))

    assert rate == pytest.approx(50.0)


def test_plain_line_when_a_day_has_happened_names_counts_prices_and_the_worst_limit(memory_day):
    line = plain_line(memory_day.board, survey(memory_day.board, memory_day.now))

    assert "\n" not in line
    assert "WTI 110.00" in line
    assert "positions 3 (1 unknown)" in line
    assert "oil-gross 102% hard" in line
    assert "orders 1 · fills 3 · rejections 1" in line


def test_plain_line_when_nothing_has_come_yet_is_all_zeros():
    assert plain_line(Board(), survey(Board(), NOW)) == (
        "ticks 0 · telemetry 0 · positions 0 · alerts 0 · orders 0 · fills 0 · rejections 0 · gaps 0"
    )


def test_save_svg_when_written_shows_the_board_and_fetches_nothing(memory_day, tmp_path):
    path = tmp_path / "watch.svg"

    save_svg(memory_day.board, path, now=memory_day.now)

    drawing = path.read_text()
    assert "oil-desk" in drawing
    assert set(re.findall(r"https?://[^\"<>\s)]+", drawing)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    }
