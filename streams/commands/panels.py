"""The tables of the live view: market, positions, limits, field."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from processors.wording import number, unit_name
from schemas.base import Quality
from schemas.exposures import Exposure, LimitState, LimitUse
from schemas.positions import MarkStatus, Position
from schemas.telemetry import Telemetry
from streams.commands.board import Board
from streams.commands.describe import plain
from streams.commands.fleet import STALE, Fleet, unpriced

T = TypeVar("T")
Use = tuple[Exposure, LimitUse]

_STATE = {
    LimitState.WITHIN: "green",
    LimitState.SOFT: "yellow",
    LimitState.HARD: "bold red",
    LimitState.UNKNOWN: "magenta",
}
_QUALITY = {Quality.GOOD: ("●", "green"), Quality.UNCERTAIN: ("◐", "yellow"), Quality.BAD: ("✗", "bold red")}


def _table(*columns: tuple[str, str]) -> Table:
    """A table of one-line cells; a column is its heading and ``left`` or ``right``."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="grey62")
    for heading, justify in columns:
        side = "right" if justify == "right" else "left"
        table.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    return table


def market(board: Board, now: int, rows: int) -> Table:
    """Bid, ask, last and age of the newest tick of each instrument."""
    table = _table(("instrument", "left"), ("bid", "right"), ("ask", "right"), ("last", "right"), ("age", "right"))
    names = sorted(board.ticks)
    for name in _room(names, rows):
        tick = board.ticks[name]
        gap = board.unknown_tick(name)
        style = "magenta" if gap else "grey50" if now - tick.receive_time > STALE else ""
        age = gap.reason.value if gap else _age(now - tick.receive_time)
        prices = (tick.bid, tick.ask, tick.last)
        table.add_row(*(Text(t, style) for t in (plain(name), *map(price, prices), age)))
    _more(table, len(names), rows)
    return table


def positions(board: Board, fleet: Fleet, now: int, rows: int) -> Table:
    """What the books hold; an unknown mark, or one whose feed is away, is a word, never an old number.

    One that is old though nobody says why, as of a killed replay, is grey like its price.
    """
    headings = ("book", "left"), ("instrument", "left")
    numbers = "quantity", "average", "mark", "value", "unrealised", "realised"
    table = _table(*headings, *((name, "right") for name in numbers))
    held = sorted(board.positions.values(), key=_weight)
    for position in _room(held, rows):
        cells = [Text(plain(position.book)), Text(plain(position.instrument))]
        unit = unit_name(position.unit)
        cells.append(Text(f"{number(position.quantity)} {unit}".rstrip()))
        cells.append(Text(price(position.average_price)))
        away = unpriced(position, fleet)
        if position.mark_status is MarkStatus.LIVE and position.mark is not None and not away:
            tick = board.ticks.get(position.instrument)
            old = "grey50" if tick is not None and now - tick.receive_time > STALE else ""
            cells += [Text(price(position.mark), old), Text(_whole(position.market_value), old)]
            cells.append(_pnl(position.unrealised_pnl, style=old))
        else:
            word = "no feed" if away else "unknown" if position.mark_status is MarkStatus.UNKNOWN else "no mark"
            cells += [Text(word, "magenta") for _ in range(3)]
        cells.append(_pnl(float(position.realised_pnl), position.currency))
        table.add_row(*cells)
    _more(table, len(held), rows)
    return table


def limits(uses: Sequence[Use], rows: int, width: int) -> Table:
    """A bar per limit; ``width``: columns of the whole table."""
    table = _table(("limit", "left"), ("use", "left"), ("used of hard", "right"))
    shown = [(plain(f"{e.book} {use.instrument or ''} {use.measure.value}"), _used(e, use), use) for e, use in uses]
    shown = list(_room(shown, rows))
    names = max((len(name) for name, _, _ in shown), default=0)
    bar = max(6, width - names - max((len(amount) for _, amount, _ in shown), default=0) - 2)
    for name, amount, use in shown:
        style = _STATE[use.state]
        table.add_row(Text(name, style), _bar(use, bar, style), Text(amount, style))
    _more(table, len(uses), rows)
    return table


def _used(exposure: Exposure, use: LimitUse) -> str:
    if use.used is None:
        return "unknown"
    if use.used < 0:  # of a loss limit alone: the book is in profit
        return f"profit {_short(-use.used)} {exposure.currency}"
    return f"{_short(use.used)} of {_short(use.hard)} {exposure.currency} {share(use):>4}"


def _short(value: float) -> str:
    """Three digits and a magnitude: ``2.03 M``, ``499 k``."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}" if value < 999.5 * size else f"{value / size:.0f}{letter}"
    return f"{value:.3g}"


def _bar(use: LimitUse, width: int, style: str) -> Text:
    """From nothing to a little above hard, with a stroke at soft and at hard."""
    top = use.hard * 1.15 or 1.0
    marks = {min(width - 1, int(width * level / top)): sign for level, sign in ((use.soft, "┊"), (use.hard, "┃"))}
    full = width if use.used is None else max(0, min(width, round(width * use.used / top)))
    text = Text(no_wrap=True)
    for column in range(width):
        filled = column < full
        sign = marks.get(column) or ("░" if use.used is None or not filled else "█")
        text.append(sign, style if filled or column in marks else "grey30")
    return text


def field(board: Board, now: int, rows: int) -> Table:
    """The newest sample of each point with its quality and age."""
    table = _table(("point", "left"), ("value", "right"), ("", "left"), ("age", "right"))
    newest = sorted(board.telemetry)
    for device, point in _room(newest, rows):
        sample = board.telemetry[device, point]
        gap = board.unknown_sample(device, point)
        sign, style = _QUALITY[sample.quality]
        old = "magenta" if gap or _over(sample, now) else "grey50" if now - sample.receive_time > STALE else ""
        value = "none" if sample.value is None else f"{number(sample.value, 5)} {unit_name(sample.unit)}".rstrip()
        age = gap.reason.value if gap else "expired" if _over(sample, now) else _age(now - sample.receive_time)
        cells = Text(f"{plain(device)}/{plain(point)}", old), Text(plain(value), old), Text(sign, style), Text(age, old)
        table.add_row(*cells)
    _more(table, len(newest), rows)
    return table


def _over(sample: Telemetry, now: int) -> bool:
    return sample.valid_until is not None and sample.valid_until < now


# --- helpers ----------------------------------------------------------------------------------------------------------


def uses_of(board: Board) -> list[Use]:
    """Every limit's use with its exposure, by book and limit."""
    found = [(exposure, use) for _, exposure in sorted(board.exposures.items()) for use in exposure.limits]
    return sorted(found, key=lambda pair: (pair[0].book, pair[1].limit_id))


def share(use: LimitUse) -> str:
    """Used of hard in percent."""
    if use.used is None:
        return "unknown"
    return f"{use.used / use.hard:.0%}" if use.hard else "over" if use.used > 0 else "0%"


def urgency(use: LimitUse) -> tuple[int, float]:
    """The more urgent, the larger: an unknown use comes between soft and hard."""
    order = (LimitState.WITHIN, LimitState.SOFT, LimitState.UNKNOWN, LimitState.HARD)
    return order.index(use.state), (use.used or 0.0) / (use.hard or 1.0)


def price(value: float | Decimal | None) -> str:
    """At least two decimals, at most four, thousands apart; ``-`` for none."""
    if value is None:
        return "-"
    text = f"{value:,.4f}".replace(",", " ")
    return text[:-2] if text.endswith("00") else text.removesuffix("0")


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}".replace(",", " ")


def _pnl(value: float | None, currency: str = "", *, style: str = "") -> Text:
    if value is None:
        return Text("-")
    text = f"{value:+,.0f}".replace(",", " ") if round(value) else "0"
    return Text(f"{text} {currency}".rstrip(), style or ("green" if value > 0 else "red" if value < 0 else ""))


def _age(micros: int) -> str:
    seconds = max(0.0, micros / 1e6)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _weight(position: Position) -> tuple[bool, float, str, str]:
    """Held ones first, unknown before known, the largest value first."""
    value = float("inf") if position.market_value is None else abs(position.market_value)
    return not position.quantity, -value, position.book, position.instrument


def _room(rows: Sequence[T], most: int) -> Sequence[T]:
    """What is shown: all, or one less than there is room for, so that the last line can say how many are not."""
    return rows if len(rows) <= most else rows[: max(0, most - 1)]


def _more(table: Table, have: int, most: int) -> None:
    if have > most > 0:
        table.add_row(Text(f"… {have - most + 1} more", "grey50"))
    elif not have:
        table.add_row(Text("none yet", "grey50"))
