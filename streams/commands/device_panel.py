"""The devices that are not as they should be: on the screen, in one line, and as news for a log."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from rich import box
from rich.panel import Panel
from rich.text import Text

from streams.commands.fleet import Fleet, Standing, Trouble, advice, named

_STYLE = {
    Standing.UNWATCHED: ("✗", "bold red"),
    Standing.DOWN: ("✗", "bold red"),
    Standing.STALE: ("✗", "magenta"),
    Standing.CONNECTING: ("…", "yellow"),
}
_PARTLY = ("◐", "yellow")
_NEWS = 10
"""Lines of news that are told at once."""


def tally(fleet: Fleet) -> Text:
    """How many are live of how many, for the head of the screen; nothing if there are no devices."""
    if not fleet.total:
        return Text()
    style = "green" if not fleet.troubles else "bold red" if fleet.live < fleet.total else "yellow"
    return Text(f"devices {fleet.tally}", style)


def needed(fleet: Fleet, now: int, width: int) -> int:
    """Lines that all of it would take, without the frame; none when all is well."""
    return sum(len(_block(one, now, width)) for one in fleet.troubles)


def devices(fleet: Fleet, now: int, rows: int, width: int) -> Panel:
    """The worst first, each with what rests on it, on ``rows`` lines of ``width`` columns; below what to do next."""
    blocks = [_block(one, now, width) for one in fleet.troubles]
    if sum(map(len, blocks)) > rows:  # no second lines for reasons, so that more devices are seen
        blocks = [_block(one, now, width, folded=1) for one in fleet.troubles]
    text, left, shown = Text(), rows, 0
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        if len(block) > left - (not last):
            if number:
                break
            block = block[: max(1, left - (not last))]  # the worst is shown whatever the room
        for line in block:
            text.append_text(line).append("\n")
        left -= len(block)
        shown += 1
    if rest := fleet.troubles[shown:]:
        names = [name for one in rest for name in one.devices]
        line = Text(f"… {len(names):,} more ({named(names)}), {fleet.live:,} live", "grey62")
        line.truncate(width, overflow="ellipsis")
        text.append_text(line).append("\n")
    text.right_crop(1)
    commands = dict.fromkeys(advice(one.standing) for one in fleet.troubles)
    head = Text(f"devices: {fleet.tally}", tally(fleet).style)
    return Panel(
        text,
        title=head,
        title_align="left",
        subtitle=Text("next: " + " · ".join(commands), "cyan"),
        subtitle_align="left",
        border_style="red" if fleet.live < fleet.total else "yellow",
        box=box.ROUNDED,
        padding=(0, 1),
    )


def _block(one: Trouble, now: int, width: int, folded: int = 2) -> list[Text]:
    sign, style = _STYLE.get(one.standing, _PARTLY)
    told = textwrap.wrap(f"{sign} {one.told(now, 3 if folded > 1 else 1)}", width, subsequent_indent="  ")
    if len(told) > folded:
        told = [*told[: folded - 1], "  " * (folded > 1) + " ".join(part.strip() for part in told[folded - 1 :])]
    lines = [Text(line, style) for line in told]
    if one.rests:
        lines.append(Text(f"  on it: {named(one.rests, len(one.rests))}", "default"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def plain_tally(fleet: Fleet) -> str:
    """``devices 3 of 4 live (gas-1 down)``."""
    worst = ", ".join(f"{named(one.devices, 1)} {one.word}" for one in fleet.troubles[:2])
    more = sum(len(one.devices) for one in fleet.troubles[2:])
    return f"devices {fleet.tally}" + (f" ({worst}{f', {more:,} more' if more else ''})" if worst else "")


class News:
    """What has changed among the devices since the last look, for who reads lines and no screen."""

    def __init__(self) -> None:
        self._told: dict[str, Standing] = {}

    def of(self, fleet: Fleet, now: int) -> list[str]:
        """A line for those that stand otherwise than before, by reason, and one for all that are well again."""
        present = {name: one.standing for one in fleet.troubles for name in one.devices}
        lines = []
        for one in fleet.troubles:
            new = tuple(member for member in one.members if self._told.get(member.device) is not one.standing)
            if new:
                lines.append(_news(replace(one, members=new), now))
        if over := sorted(self._told.keys() - present.keys()):
            lines.append(f"✓ {named(over)} as it should be again")
        self._told = present
        left = len(lines) - _NEWS
        return lines if left <= 0 else [*lines[:_NEWS], f"… and {left:,} more"]


def _news(one: Trouble, now: int) -> str:
    told = f"{_STYLE.get(one.standing, _PARTLY)[0]} {one.told(now)}"
    return " · ".join(
        [told, *([f"on it: {', '.join(one.rests)}"] if one.rests else []), f"next: {advice(one.standing)}"]
    )
