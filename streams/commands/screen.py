"""The drawing of a :class:`~streams.commands.board.Board`: everything on one screen, from 80 columns x 24 lines up."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime

from rich import box
from rich.console import RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from processors.wording import number
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Side
from schemas.fills import Fill
from schemas.orders import Order
from schemas.positions import MarkStatus
from schemas.rejections import Rejection
from streams.commands.board import Board, Trade
from streams.commands.describe import plain
from streams.commands.device_panel import devices, needed, plain_tally, tally
from streams.commands.fleet import Fleet, survey
from streams.commands.panels import field, limits, market, positions, price, share, urgency, uses_of

_SEVERITY = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
_FIELD_FROM = 8
"""Lines below the positions from which there is room for trades and samples both."""
_CLOSINGS = (AlertKind.BREACH_CLOSED, AlertKind.RULE_CLEARED)


def draw(board: Board, now: int, size: tuple[int, int]) -> RenderableType:
    """The screen at ``now`` (microseconds) for ``size`` = columns, lines. Never larger than that."""
    width, height = size
    uses, fleet = uses_of(board), survey(board, now)
    # Panels get the lines that they need, up to a share of the screen; the decisions get the rest.
    wanting = needed(fleet, now, width - 4)
    troubled = 2 + min(wanting, max(4, height // 5)) if wanting else 0
    above = 3 + _clamp(max(len(board.ticks), len(uses)), 3, (height - troubled) // 6)
    held = 3 + _clamp(len(board.positions), 2, (height - troubled) // 6)
    rest = height - 1 - troubled - above - held
    trades = rest - 3 - _clamp(len(board.telemetry), 2, rest // 2 - 3) if rest >= _FIELD_FROM else rest
    left = min(56, width * 9 // 20)
    narrow = min(width // 2, max(46, min(56, width * 2 // 5)))
    screen = Layout()
    screen.split_column(
        Layout(_header(board, fleet, now, width), size=1),
        *([Layout(devices(fleet, now, troubled - 2, width - 4), size=troubled)] if troubled else []),
        Layout(name="top", size=above),
        Layout(_panel("positions", positions(board, fleet, now, held - 3)), size=held),
        Layout(name="bottom", size=rest),
    )
    screen["top"].split_row(
        Layout(_panel("market", market(board, now, above - 3)), size=left),
        Layout(_panel("limits", limits(uses, above - 3, width - left - 4))),
    )
    alerts_width = width - narrow - 4
    screen["bottom"].split_row(
        Layout(_panel("alerts and their why", _alerts(board.alerts, rest - 2, alerts_width))),
        Layout(name="side", size=narrow),
    )
    screen["side"].split_column(
        Layout(_panel("orders, fills, rejections", _trades(board, trades - 2, narrow - 4)), size=trades),
        *([Layout(_panel("field", field(board, now, rest - trades - 3)))] if trades < rest else []),
    )
    return screen


def plain_line(board: Board, fleet: Fleet) -> str:
    """The same in one line, for a log."""
    counts = board.counts
    parts = [f"ticks {counts['ticks']:,}", f"telemetry {counts['telemetry']:,}"]
    parts += [f"{plain(name)} {price(tick.mark)}" for name, tick in sorted(board.ticks.items())[:3]]
    held = [position for position in board.positions.values() if position.quantity]
    unknown = sum(position.mark_status is not MarkStatus.LIVE for position in held)
    parts.append(f"positions {len(held)}" + (f" ({unknown} unknown)" if unknown else ""))
    worst = max((use for _, use in uses_of(board)), key=urgency, default=None)
    if worst is not None:
        parts.append(f"{plain(worst.limit_id)} {share(worst)} {worst.state.value}")
    if fleet.total:
        parts.append(plain_tally(fleet))
    names = ("alerts", "orders", "fills", "rejections", "gaps")
    parts += [f"{name} {counts[name]:,}" for name in names]
    if counts["dead-letters"]:
        parts.append(f"dead letters {counts['dead-letters']:,}")
    return " · ".join(parts)


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(body, title=title, title_align="left", border_style="grey42", box=box.ROUNDED, padding=(0, 1))


def _header(board: Board, fleet: Fleet, now: int, width: int) -> Text:
    text = Text.assemble(("gridtape", "bold cyan"), ("  " + _clock(now) + "Z", "bold"), no_wrap=True)
    for switch in board.engaged():
        text.append(f"  KILL SWITCH {plain(switch.scope)}: {plain(switch.reason)} ", "bold white on red")
    if fleet.total:
        text.append("  ").append_text(tally(fleet))
    text.append(f"  {board.ticks_per_second(now):,.0f} ticks/s", "green")
    words = {"telemetry": "samples", "rejections": "refused"}
    names = ("telemetry", "gaps", "alerts", "orders", "fills", "rejections")
    text.append("".join(f"  {board.counts[name]:,} {words.get(name, name)}" for name in names), "grey70")
    if letters := board.counts["dead-letters"]:
        text.append(f"  {letters:,} dead letters", "bold yellow")
    text.truncate(width, overflow="ellipsis")
    return text


def _alerts(alerts: Iterable[Alert], rows: int, width: int) -> Text:
    """Newest first, each with as much of its evidence as there is room for."""
    text = Text(overflow="ellipsis", no_wrap=True)
    left = rows
    for number_, alert in enumerate(sorted(alerts, key=lambda one: one.receive_time, reverse=True)):
        lines = _alert(alert, width, 3 if number_ <= rows // 12 else 1)
        shown = lines[:left]
        if len(shown) < min(2, len(lines)):
            break
        for line in shown:
            text.append_text(line).append("\n")
        left -= len(shown)
    if left == rows:
        return Text("none yet", "grey50")
    text.right_crop(1)
    return text


def _alert(alert: Alert, width: int, inputs: int) -> list[Text]:
    style = "green" if alert.kind in _CLOSINGS else _SEVERITY[alert.severity]
    head = Text.assemble(
        (_clock(alert.event_time), "grey62"), " ", (f" {alert.severity.value} ", f"reverse {style}"), " "
    )
    head.append(plain(alert.title), style)
    evidence = alert.evidence
    lines = [head, *_folded(plain(alert.message), width - 2, 2)]
    lines.append(Text(f"  why: {plain(evidence.decided_by)} version {evidence.version}", "grey70"))
    deciding = [one for one in evidence.inputs if one.role not in ("limit", "rule")]
    lines += [Text(f"   ← {one.at}  {plain(one.summary or one.role)}", "grey58") for one in deciding[:inputs]]
    if len(deciding) > inputs:
        lines[-1].append(f" (+{len(deciding) - inputs})")
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _trades(board: Board, rows: int, width: int) -> Text:
    """Newest first."""
    lines: list[Text] = []
    for trade in sorted(board.trades, key=lambda one: one.receive_time, reverse=True):
        lines += _trade(trade, width)
        if len(lines) >= rows:
            break
    return Text("\n").join(lines[: max(0, rows)]) if lines else Text("none yet", "grey50")


def _trade(trade: Trade, width: int) -> list[Text]:
    what = f"{trade.side.value} {number(trade.quantity)} {plain(trade.instrument)}"
    head = Text.assemble((_clock(trade.event_time), "grey62"), " ")
    lines = [head]
    match trade:
        case Order():
            sign = "≤" if trade.side is Side.BUY else "≥"
            head.append("order ", "bold cyan").append(f"{what} {sign} {price(trade.limit_price)}")
        case Fill():
            head.append("fill  ", "bold green").append(f"{what} @ {price(trade.price)}")
        case Rejection():
            head.append("refused ", "bold red").append(what)
            lines += [Text.assemble("  ", (plain(reason), "red")) for reason in trade.reasons]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _folded(text: str, width: int, most: int) -> list[Text]:
    """``text`` on at most ``most`` indented lines; what does not fit ends in an ellipsis."""
    lines = textwrap.wrap(text, max(10, width)) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [Text(f"  {line}") for line in lines]


def _clock(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%H:%M:%S")


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, max(low, high)))
