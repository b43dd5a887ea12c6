"""``gridtape why ID``: a decision, what version decided it, and the exact records behind it, read back from Kafka."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from schemas import topics
from schemas.alerts import Alert
from schemas.base import Coordinates, Record
from schemas.evidence import Check, Evidence, Input
from schemas.fills import Fill
from schemas.intents import PricedIntent
from schemas.observations import Observation
from schemas.orders import Order
from schemas.positions import Position
from schemas.topics import Topic
from streams.commands.describe import describe, moment, plain
from streams.commands.errors import CommandError
from streams.commands.justify import Proof, prove
from streams.commands.ledger import Entry, Ledger, Missing
from streams.engine.cluster import Cluster

DECISIONS: dict[Topic[Any], str] = {
    topics.alerts: "alert_id",
    topics.orders: "order_id",
    topics.rejections: "rejection_id",
    topics.intents: "intent_id",
    topics.fills: "fill_id",
}
"""What can be explained, and the field that holds its id."""
MOST_RECORDS = 500
"""Records that are opened for one decision at most."""
NEWEST = 5


@dataclass
class Opened:
    """An input of a decision: where it stands, what the decision said of it, and what was found there.

    ``entry`` is None when it could not be opened; ``problem`` then says why. ``repeated``: shown with its own inputs
    already. ``proofs`` and ``inputs`` are empty for a record that was not decided but received.
    """

    at: Coordinates
    role: str
    said: str = ""
    entry: Entry | None = None
    problem: str = ""
    repeated: bool = False
    inputs: list[Opened] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)

    def walk(self) -> Iterator[Opened]:
        """This one and everything behind it."""
        yield self
        for one in self.inputs:
            yield from one.walk()


@dataclass
class Explanation:
    """A decision as it was found, and everything behind it."""

    found: Entry
    decision: Opened

    @property
    def missing(self) -> list[Opened]:
        """Inputs that could not be opened."""
        return [one for one in self.decision.walk() if one.entry is None]

    @property
    def refuted(self) -> list[Proof]:
        """Proofs that do not hold."""
        return [proof for one in self.decision.walk() for proof in one.proofs if proof.holds is False]


def explain(cluster: Cluster, decision_id: str) -> Explanation:
    """Find a decision by its id and open every record behind it.

    Raises CommandError naming the newest ids when there is none with this one, EngineError when Kafka does not answer.
    """
    with Ledger(cluster) as ledger:
        entry = _find(ledger, decision_id)
        root = Opened(entry.at, entry.topic.kind, entry=entry)
        _open_inputs(ledger, root, {entry.at: root})
        if isinstance(entry.record, Fill):
            _open_order(ledger, root, entry.record)
    _prove(root)
    return Explanation(entry, root)


def _find(ledger: Ledger, decision_id: str) -> Entry:
    """The decision; searches the newest records of all partitions first, then further and further back."""
    newest: list[tuple[int, str, str]] = []
    first = True
    # Every id is needed from the first window, for the error; further back only records that hold the id matter.
    for window in _windows(ledger, decision_id):
        for entry in window:
            found = getattr(entry.record, DECISIONS[entry.topic])
            if found == decision_id:
                return entry
            if first:
                newest.append((entry.time, found, describe(entry.record)))
        first = False
    lines = [f"  {name}  {words}" for _, name, words in heapq.nlargest(NEWEST, newest)]
    raise CommandError(
        f"no alert, order, rejection, intent or fill has the id {plain(decision_id)!r}. "
        + ("The newest ones are:\n" + "\n".join(lines) if lines else "There is none at all yet.")
    )


def _windows(ledger: Ledger, decision_id: str) -> Iterator[list[Entry]]:
    """First the newest window whole, then all windows as far as they hold the id."""
    yield next(ledger.newest_first(tuple(DECISIONS)), [])
    yield from ledger.newest_first(tuple(DECISIONS), decision_id.encode())


def _open_inputs(ledger: Ledger, parent: Opened, seen: dict[Coordinates, Opened]) -> None:
    if parent.entry is None:
        return
    for one in inputs_of(parent.entry.record):
        child = Opened(one.at, one.role, one.summary)
        parent.inputs.append(child)
        if one.at in seen:
            child.repeated = True
            child.entry, child.problem = seen[one.at].entry, seen[one.at].problem
            continue
        seen[one.at] = child
        if len(seen) > MOST_RECORDS:
            child.problem = f"not opened: more than {MOST_RECORDS} records stand behind this decision"
            continue
        try:
            child.entry = ledger.open(one.at)
        except Missing as why:
            child.problem = str(why)
        _open_inputs(ledger, child, seen)


def _open_order(ledger: Ledger, fill: Opened, record: Fill) -> None:
    """A fill names its order by id only; one of another system has none here."""
    for window in ledger.newest_first((topics.orders,), record.order_id.encode()):
        for entry in window:
            if isinstance(entry.record, Order) and entry.record.order_id == record.order_id:
                order = Opened(entry.at, "order", entry=entry)
                fill.inputs.append(order)
                _open_inputs(ledger, order, {entry.at: order})
                return


def inputs_of(record: Record) -> list[Input]:
    """The records that ``record`` was made from; none for one that came from outside."""
    evidence = getattr(record, "evidence", None)
    if isinstance(evidence, Evidence):
        return evidence.inputs
    match record:
        case Position():
            named = [("mark", record.marked_by), ("last fill", record.booked_by)]
        case Observation():
            named = [("origin", record.origin)]
        case PricedIntent():
            named = [("intent", record.intent_at), ("price", record.priced_by)]
        case _:
            named = []
    return [Input(at=at, role=role) for role, at in named if at is not None]


def _prove(node: Opened) -> None:
    for one in node.inputs:
        _prove(one)
    if node.entry is not None and not node.repeated:
        behind = [one.entry.record for child in node.inputs for one in child.walk() if one.entry is not None]
        complete = all(child.entry is not None for child in node.inputs)
        node.proofs = prove(node.entry.record, behind, complete)


# --- showing it -------------------------------------------------------------------------------------------------------


def render(explanation: Explanation, console: Console) -> None:
    """Print the decision as a tree: what it was made from, and what that was made from."""
    root = explanation.decision
    tree = Tree(_head(explanation.found), guide_style="dim")
    _grow(tree, root)
    console.print(tree)
    opened = sum(one.entry is not None and not one.repeated for one in root.walk()) - 1
    refuted, missing = explanation.refuted, explanation.missing
    text = Text.assemble("\n", f"{opened} records behind it were read back from Kafka")
    text.append(f"; {len(missing)} could not be" if missing else "; none is missing", "yellow" if missing else "")
    if refuted:
        text.append(f"; {len(refuted)} of the proofs do not hold", "bold red")
    else:
        text.append("; nothing speaks against the decision", "green")
    console.print(text, soft_wrap=True)


def _head(entry: Entry) -> Group:
    record = entry.record
    lines = [
        Text.assemble((f"{entry.topic.kind} ", "bold"), (plain(_id(entry)), "bold cyan")),
        Text.assemble((moment(_time(record)), "dim"), ("  ", ""), (str(entry.at), "dim")),
        Text(describe(record)),
    ]
    if isinstance(record, Alert):
        lines.append(Text(plain(record.message)))
    evidence = getattr(record, "evidence", None)
    if isinstance(evidence, Evidence):
        lines.append(Text.assemble("decided by ", (plain(evidence.decided_by), "bold"), f" version {evidence.version}"))
    checks: list[Check] = getattr(record, "checks", [])
    lines += [_mark(check.passed, plain(": ".join(filter(None, (check.name, check.reason))))) for check in checks]
    return Group(*lines)


def _grow(tree: Tree, node: Opened) -> None:
    for proof in node.proofs:
        tree.add(_mark(proof.holds, plain(proof.text)))
    for one in node.inputs:
        branch = tree.add(_input(one))
        if not one.repeated:
            _grow(branch, one)


def _input(one: Opened) -> Group:
    head = Text.assemble((f"{plain(one.role)} ", "bold"), (str(one.at), "dim"))
    if one.entry is None:
        said = [Padding(Text(f"the decision said: {plain(one.said)}", "dim"), (0, 0, 0, 2))] if one.said else []
        return Group(head.append(f"  {plain(one.problem)}", "yellow"), *said)
    head.append(f"  {moment(_time(one.entry.record))}", "dim")
    if one.repeated:
        head.append("  see above", "dim italic")
    lines: list[Any] = [head, Text(describe(one.entry.record))]
    if one.said and not one.repeated:
        lines.append(Text(f"the decision said: {plain(one.said)}", "dim"))
    return Group(*lines)


def _mark(holds: bool | None, text: str) -> Text:
    sign, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "yellow")}[holds]
    return Text.assemble((f"{sign} ", style), text)


def _id(entry: Entry) -> str:
    return str(getattr(entry.record, DECISIONS[entry.topic]))


def _time(record: Any) -> int:
    return int(record.event_time)
