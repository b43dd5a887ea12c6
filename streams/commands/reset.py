"""``gridtape reset``: what a fresh start of an application would change, and making one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas import topics
from streams import pipeline
from streams.commands.errors import CommandError
from streams.commands.quiet import quiet
from streams.engine.reset import Move, Plan, Reset, Start
from streams.settings import Settings
from streams.vocabulary import Words


def start_of(*, beginning: bool, end: bool, time: str | None, left: bool) -> Start | int:
    """The start that the options name; the beginning when none does. Raises CommandError."""
    if beginning + end + left + (time is not None) > 1:
        raise CommandError("--to-beginning, --to-end, --to-time and --skip-lost exclude one another: give one of them")
    if time is not None:
        try:
            moment = datetime.fromisoformat(time)
        except ValueError:
            raise CommandError(f"--to-time: {time!r} is no time such as 2026-11-21T07:00:00Z or 2026-11-21") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    return Start.LEFT if left else Start.END if end else Start.BEGINNING


def reset_of(settings: Settings, application: str) -> Reset:
    """The reset of an application of the wiring. Raises CommandError when there is none of this name."""
    known = {processor.name: processor for processor in pipeline.PROCESSORS}
    if application not in known:
        raise CommandError(f"no application {application}; there are {', '.join(known)}")
    specs = pipeline.layout(settings.partitions)
    return Reset(quiet(settings.cluster()), known[application], specs, Words(), settings.partitions)


def show(plan: Plan, console: Console, *, done: bool = False) -> None:
    """What changes in each partition, and what that means; in the past tense when it is ``done``."""
    table = Table("input", "committed", "kept in Kafka", "goes on at", "again", "left out", "lost", box=None)
    for move in plan.moves:
        at = "-" if move.committed is None else str(move.committed)
        numbers = (str(n or "") for n in (move.again, move.skipped, move.lost))
        table.add_row(f"{move.topic}[{move.partition}]", at, f"{move.low}-{move.high}", str(move.to), *numbers)
    console.print(table)
    for line in _meaning(plan):
        console.print(Text(f"- {line}"), soft_wrap=True)
    if done:
        console.print(Text(f"\n{plan.application} was reset; start it again", "green"), soft_wrap=True)
        return
    if plan.members:
        console.print(Text(f"\nstill at work, and must be stopped first: {', '.join(plan.members)}", "yellow"))
    console.print(Text("\nnothing was changed; --yes does it", "bold"), soft_wrap=True)


def _meaning(plan: Plan) -> Iterable[str]:
    processor: Any = next(p for p in pipeline.PROCESSORS if p.name == plan.application)
    if plan.changelog is None:
        lost = sum(move.lost for move in plan.moves)
        yield f"state and commit numbers stay; {_count(lost)} that are gone from Kafka are never processed"
        return
    deleted = ", ".join(f"[{p}] {_count(n)}" for p, n in sorted(plan.changelog.items())) or "none"
    yield f"the state is deleted with the topic {plan.application}-changelog: {deleted}"
    yield "what the records before the new start have led to is forgotten, timers too"
    yield from _outputs(plan.moves, processor)
    numbers = ", ".join(f"[{p}] {number + 1}" for p, number in sorted(plan.commits.items()))
    yield f"the journal goes on with commit {numbers}, which stands for the reset; `gridtape replay` knows it"


def _outputs(moves: list[Move], processor: Any) -> Iterable[str]:
    again, skipped = (sum(getattr(move, name) for move in moves) for name in ("again", "skipped"))
    if skipped:
        yield f"{_count(skipped)} of input are left out: nothing is ever decided on them"
    if not again:
        return
    readers: dict[str, list[str]] = defaultdict(list)
    for topic in processor.writes:
        readers[topic.name] = pipeline.readers(topic)
    written = "; ".join(f"{name} (read by {', '.join(who) or 'nobody here'})" for name, who in readers.items())
    yield f"{_count(again)} of input are processed again, and their outputs written again to {written}"
    yield "an output that comes from one record has the same id as before; whoever keeps the ids can drop it"
    if topics.orders in processor.writes:
        yield "orders are among them: `gridtape kill-switch on` before the start keeps the gate from giving them again"


def _count(number: int) -> str:
    return f"{number:,} offset{'' if number == 1 else 's'}".replace(",", " ")
