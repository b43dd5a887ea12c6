"""``gridtape replay``: the same processors, fed what they were fed, must write what they wrote."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from processors.processor import Processor
from schemas import topics
from streams import pipeline
from streams.commands.describe import plain
from streams.commands.errors import CommandError
from streams.commands.quiet import quiet
from streams.engine.cluster import Cluster
from streams.replay.difference import Difference
from streams.replay.run import Outcome, replay
from streams.replay.span import Mark, Span
from streams.replay.store import KafkaStore

_SHOWN = 2_000
"""Characters of a record that are shown."""


def span_of(begin: str | None, end: str | None) -> Span:
    """The span that two options name. Raises CommandError saying what is allowed."""
    try:
        return Span(Mark.parse(begin) if begin else None, Mark.parse(end) if end else None)
    except ValueError as error:
        raise CommandError(str(error)) from error


def chosen(names: Sequence[str]) -> list[type[Processor]]:
    """The processors of these names in the order of the wiring, all for none or ``all``. Raises CommandError."""
    known = {processor.name: processor for processor in pipeline.PROCESSORS}
    if unknown := [name for name in names if name not in known and name != "all"]:
        raise CommandError(f"no application {', '.join(unknown)}; there are {', '.join(known)}, and all")
    return [known[name] for name in known if not names or name in names or "all" in names]


def places(
    store: KafkaStore, processors: Sequence[type[Any]], partition: int | None
) -> Iterator[tuple[type[Any], int]]:
    """Each task of the processors. Raises CommandError when a topic is missing."""
    for processor in processors:
        wanted = (*processor.reads, *processor.writes, topics.journal)
        if missing := [topic.name for topic in wanted if not store.partitions(topic.name)]:
            raise CommandError(
                f"there is no topic {', '.join(missing)}. Is the prefix (GRIDTAPE_TOPIC_PREFIX) right, and has "
                "gridtape run on this Kafka? `gridtape doctor` shows more."
            )
        count = store.partitions(processor.reads[0].name)
        if partition is not None and partition >= count:
            raise CommandError(f"there is no partition {partition}; {processor.reads[0].name} has {count}")
        for number in range(count) if partition is None else [partition]:
            yield processor, number


def verify(
    cluster: Cluster, processors: Sequence[type[Any]], span: Span, partition: int | None = None
) -> Iterator[Outcome]:
    """Replay every task, one after the other. Raises CommandError and EngineError."""
    now = time.time_ns() // 1000
    with KafkaStore(quiet(cluster)) as store:
        for processor, number in places(store, processors, partition):
            yield replay(store, processor, number, span, now)
            store.rest()


# --- showing it -------------------------------------------------------------------------------------------------------


def show(outcomes: Iterator[Outcome], console: Console) -> bool:
    """Print a line for each task and then the first difference of each; whether all came out the same."""
    found: list[Outcome] = []
    with console.status("replaying"):
        for outcome in outcomes:
            found.append(outcome)
            console.print(_line(outcome), soft_wrap=True)
    for outcome in found:
        if outcome.difference is not None:
            _difference(outcome.difference, console)
    commits, records, outputs = (sum(getattr(o, name) for o in found) for name in ("commits", "records", "outputs"))
    total = f"\n{commits} commits with {records} records fed and {outputs} written were made again"
    wrong, gone = sum(o.difference is not None for o in found), sum(bool(o.gone) for o in found)
    text = Text(total)
    if wrong or gone:
        said = [f"{wrong} tasks came out otherwise"] * bool(wrong) + [f"{gone} could not be replayed"] * bool(gone)
        text.append(f"; {' and '.join(said)}", "bold red")
    else:
        text.append(": every one came out the same" if commits else "", "green")
    console.print(text, soft_wrap=True)
    return not wrong and not gone


def as_json(outcomes: Iterator[Outcome]) -> tuple[str, bool]:
    """The same as one JSON object, and whether all came out the same."""
    found = list(outcomes)
    equal = all(outcome.equal for outcome in found)
    tasks = [{**dataclasses.asdict(outcome), "equal": outcome.equal} for outcome in found]
    return json.dumps({"equal": equal, "tasks": tasks}, ensure_ascii=False), equal


def _line(outcome: Outcome) -> Text:
    name = f"{outcome.application}[{outcome.partition}]".ljust(18)
    if outcome.commits:
        span = f"commits {outcome.first}-{outcome.last}, {outcome.records} records, {outcome.outputs} outputs"
    else:
        span = "no commits"
    if outcome.difference is not None:
        sign = Text("✗ ", "bold red")
        end = f", differs in commit {outcome.difference.commit}"
    elif outcome.gone:
        sign, end = Text("· ", "yellow"), f", then not: {plain(outcome.gone)}"
    else:
        sign, end = Text("✓ ", "green"), ""
    line = sign.append(f"{name} {span}{end}", "")
    return line.append(f"\n  {plain(outcome.note)}", "dim") if outcome.note else line


def _difference(found: Difference, console: Console) -> None:
    head = f"\n{found.application}[{found.partition}] commit {found.commit} ({found.journal}): {plain(found.what)}"
    console.print(Text(head, "bold"), soft_wrap=True)
    if found.topic:
        console.print(Text(f"{found.topic} key {plain(found.key)}  {found.at}".rstrip()), soft_wrap=True)
    if found.fields:
        table = Table("field", "committed", "replayed", box=None, pad_edge=False)
        for row in found.fields:
            table.add_row(*(Text(plain(cell)) for cell in row))
        console.print(table)
        return
    for name, text in (("committed", found.committed), ("replayed", found.replayed)):
        if text is not None:
            console.print(Text(f"{name}: {plain(text)[:_SHOWN]}"), soft_wrap=True)
