"""``gridtape replay --with FILE``: which decisions would have been others under other limits, rules or switches."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from schemas import topics
from streams import control
from streams.commands.describe import describe, moment, plain
from streams.commands.errors import CommandError
from streams.commands.quiet import quiet
from streams.commands.replay import chosen, places
from streams.engine.cluster import Cluster
from streams.engine.ports import TopicPort
from streams.replay.decisions import Change, words
from streams.replay.run import Outcome
from streams.replay.span import Span
from streams.replay.store import KafkaStore
from streams.replay.suppose import Supposition, affected

_SIGNS = {"added": ("+", "green"), "gone": ("-", "red"), "different": ("~", "yellow")}


@dataclass(frozen=True)
class Answer:
    """What would have been. ``made``: decisions of the span as it was, by topic; ``outcomes``: the tasks played."""

    changes: list[Change]
    made: dict[str, int]
    outcomes: list[Outcome]

    @property
    def trustworthy(self) -> bool:
        """Whether every task could be replayed, and came out as it was before the hypothesis was put to it."""
        return all(outcome.equal for outcome in self.outcomes)


def read_records(file: Path) -> dict[TopicPort, dict[str, Any]]:
    """The hypothesis of a file as ``gridtape publish`` takes it. Raises ControlError, CommandError for fills."""
    found: dict[TopicPort, dict[str, Any]] = defaultdict(dict)
    for topic, key, record in control.read_file(file, time.time_ns() // 1000):
        if topic is topics.fills:
            raise CommandError(
                f"{file}: fills are facts; a replay can suppose other instruments, limits, rules and switches"
            )
        found[topic][key] = record
    if not found:
        raise CommandError(f"{file} supposes nothing: it has neither instruments, limits, rules nor control")
    return dict(found)


def suppose(cluster: Cluster, names: Sequence[str], span: Span, file: Path) -> Answer:
    """Play the applications that the hypothesis reaches, in the order of the flow.

    Raises CommandError for a span in commit numbers, which mean another time in each task, and EngineError.
    """
    if any(mark is not None and mark.commit is not None for mark in (span.begin, span.end)):
        raise CommandError("with --with, --from and --to must be times: commits are counted by each task for itself")
    records = read_records(file)
    processors = affected(chosen(names), set(records))
    if not processors:
        raise CommandError(f"none of the chosen applications reads {', '.join(topic.name for topic in records)}")
    outcomes = []
    with KafkaStore(quiet(cluster)) as store:
        supposition = Supposition(store, records, span, time.time_ns() // 1000)
        for processor, partition in places(store, processors, None):
            outcomes.append(supposition.play(processor, partition))
            store.rest()
    return Answer(supposition.ledger.changes(), dict(supposition.ledger.made), outcomes)


# --- showing it -------------------------------------------------------------------------------------------------------


def show(answer: Answer, console: Console) -> None:
    """Print the changes as a table, oldest first."""
    for outcome in answer.outcomes:
        place = f"{outcome.application}[{outcome.partition}]"
        if outcome.difference is not None:
            why = f"{outcome.difference.what}; `gridtape replay {outcome.application}` shows it"
            text = f"{place} does not come out as it was, so nothing is supposed from there on: {why}"
            console.print(Text(text, "bold red"), soft_wrap=True)
        elif outcome.gone:
            console.print(Text(f"{place} could not be replayed: {plain(outcome.gone)}", "bold red"), soft_wrap=True)
        elif outcome.note:
            console.print(Text(f"{place}: {plain(outcome.note)}", "dim"), soft_wrap=True)
    if answer.changes:
        table = Table("", Column("time", no_wrap=True), "what", "decision", "reason", box=None, pad_edge=False)
        for change in answer.changes:
            table.add_row(*_row(change))
        console.print(table)
    made = ", ".join(f"{name} {count}" for name, count in sorted(answer.made.items())) or "no decisions"
    kinds = [f"{sum(c.kind == kind for c in answer.changes)} {kind}" for kind in _SIGNS]
    console.print(
        f"\nMade in the span: {made}. Under the hypothesis: {', '.join(kinds)}.", soft_wrap=True, highlight=False
    )


def as_json(answer: Answer) -> str:
    """The same as one JSON object."""
    changes = [
        {
            "change": change.kind,
            "topic": change.decision.topic,
            "id": change.decision.id,
            "application": change.decision.application,
            "partition": change.decision.partition,
            "commit": change.decision.commit,
            "reason": change.reason,
            "reason_before": change.before,
            "was": words(change.was),
            "now": words(change.now),
        }
        for change in answer.changes
    ]
    problems = [
        {
            "application": outcome.application,
            "partition": outcome.partition,
            "problem": outcome.gone or (outcome.difference.what if outcome.difference else ""),
        }
        for outcome in answer.outcomes
        if not outcome.equal
    ]
    return json.dumps({"made": answer.made, "changes": changes, "problems": problems}, ensure_ascii=False)


def _row(change: Change) -> tuple[Text, ...]:
    sign, style = _SIGNS[change.kind]
    said = _brief(change.decision.record, change.reason)
    if change.was is not None and change.now is not None:
        before = _brief(change.was.record, change.before)
        said = said if before == said else f"{said} (was: {before})"
    reason = f"{change.reason} (was: {change.before})" if change.before else change.reason
    topic = topics.BY_NAME[change.decision.topic].kind
    cells = (moment(change.decision.record.event_time), topic, said, plain(reason))
    return (Text(sign, f"bold {style}"), *(Text(cell) for cell in cells))


def _brief(record: Any, reason: str) -> str:
    """What a decision says without the reason, which stands in a column of its own."""
    return describe(record).removesuffix(f": {plain(reason)}")
