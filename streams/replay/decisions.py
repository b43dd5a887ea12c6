"""Which decisions would have been others: added, gone, different, with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas import topics
from schemas.alerts import Alert
from schemas.intents import Intent
from schemas.orders import Order
from schemas.rejections import Rejection
from streams.engine.ports import Output
from streams.replay.rerun import Entry

DECISIONS: dict[str, str] = {
    topics.alerts.name: "alert_id",
    topics.intents.name: "intent_id",
    topics.orders.name: "order_id",
    topics.rejections.name: "rejection_id",
    topics.dead_letters.name: "letter_id",
}
"""Topics whose records are decisions, and the field that holds the id."""
_INCIDENTAL = {
    *DECISIONS.values(),
    "opened_by",
    "evidence",
    "event_time",
    "receive_time",
    "expire_time",
}
"""Fields that differ with the record or version that is named, though the decision is the same."""


@dataclass(frozen=True)
class Decision:
    """A decision as it was made, or would have been. ``commit`` of ``application[partition]``."""

    topic: str
    id: str
    application: str
    partition: int
    commit: int
    record: Any


@dataclass(frozen=True)
class Change:
    """A decision that would have been another. ``was`` is None for one that is added, ``now`` for one that is gone."""

    was: Decision | None
    now: Decision | None
    reason: str
    before: str = ""
    """Of a different one: the reason that it had."""

    @property
    def kind(self) -> str:
        """added, gone or different."""
        return "added" if self.was is None else "gone" if self.now is None else "different"

    @property
    def decision(self) -> Decision:
        """The one that there is."""
        found = self.now or self.was
        assert found is not None  # noqa: S101 - one of both is there
        return found


class Ledger:
    """Collects the decisions that are not the same in both runs; ``made`` counts those that were made, by topic."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self._gone: dict[tuple[str, str], Decision] = {}
        self._added: dict[tuple[str, str], Decision] = {}
        self._pairs: list[tuple[Decision, Decision]] = []

    def same(self, outputs: Iterable[Output]) -> None:
        """A commit that is the same in both."""
        self.made.update(output.topic for output in outputs if output.topic in DECISIONS)

    def note(self, entry: Entry, was: Output | None, now: Output | None) -> None:
        """An output of both, or of one of them."""
        output = was or now
        if output is None or output.topic not in DECISIONS:
            return
        self.made[output.topic] += was is not None
        if was is not None and now is not None:
            if was.value != now.value:
                self._pairs.append((_decision(entry, was), _decision(entry, now)))
            return
        mine, others = (self._gone, self._added) if was is not None else (self._added, self._gone)
        one = _decision(entry, output)
        other = others.pop((one.topic, one.id), None)
        if other is None:
            mine[one.topic, one.id] = one
        else:  # in another commit, that is all
            self._pairs.append((one, other) if was is not None else (other, one))

    def changes(self) -> list[Change]:
        """Every decision that would have been another, oldest first."""
        pairs, gone, added = list(self._pairs), dict(self._gone), dict(self._added)
        by_subject = {_subject(one): key for key, one in added.items()}
        for key, one in self._gone.items():
            if (match := by_subject.pop(_subject(one), None)) is not None:
                pairs.append((gone.pop(key), added.pop(match)))
        found = [
            Change(was, now, _reason(now.record), _reason(was.record))
            for was, now in pairs
            if _essence(was) != _essence(now)
        ]
        found += (Change(None, one, _reason(one.record)) for one in added.values())
        found += (Change(one, None, _why_gone(one, added.values())) for one in gone.values())
        return sorted(found, key=lambda change: (change.decision.record.event_time, change.decision.id))


def _decision(entry: Entry, output: Output) -> Decision:
    record = topics.BY_NAME[output.topic].decode(output.value)
    name = str(getattr(record, DECISIONS[output.topic]))
    journal = entry.record
    return Decision(output.topic, name, journal.application, journal.partition, journal.commit, record)


def _essence(decision: Decision) -> dict[str, Any]:
    record = decision.record
    return {name: getattr(record, name) for name in record.__struct_fields__ if name not in _INCIDENTAL}


def _subject(decision: Decision) -> tuple[Any, ...]:
    """What it is about: the same in both runs though the id, which names the deciding record, is another."""
    record = decision.record
    about = (getattr(record, name, None) for name in ("kind", "book", "instrument", "device", "side", "at"))
    evidence = getattr(record, "evidence", None)
    return (decision.topic, record.event_time, evidence and evidence.decided_by, *map(str, about))


def _reason(record: Any) -> str:
    match record:
        case Alert():
            return record.message
        case Intent():
            return f"{record.evidence.decided_by} version {record.evidence.version} fires"
        case Order():
            return "every check passes"
        case Rejection():
            return "; ".join(record.reasons)
        case _:
            return str(getattr(record, "reason", ""))


def _why_gone(one: Decision, added: Iterable[Decision]) -> str:
    record = one.record
    if isinstance(record, (Order, Rejection)):
        for other in _answers(added):
            if other.intent_id == record.intent_id:
                return "is an order then" if isinstance(other, Order) else f"refused: {_reason(other)}"
        return f"its intent {record.intent_id} is gone"
    if isinstance(record, (Alert, Intent)):
        return f"{record.evidence.decided_by} does not decide so then"
    return ""


def _answers(decisions: Iterable[Decision]) -> Iterator[Order | Rejection]:
    return (one.record for one in decisions if isinstance(one.record, (Order, Rejection)))


def words(decision: Decision | None) -> dict[str, Any] | None:
    """A decision as plain values."""
    if decision is None:
        return None
    content: dict[str, Any] = msgspec.to_builtins(decision.record)
    return content
