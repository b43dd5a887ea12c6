"""``gridtape doctor``: examines the cluster as gridtape needs it, and says how to mend each finding."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import DescribeClusterResult
from rich.console import Console
from rich.text import Text

from connectors import toml
from streams.commands.checks import broker, clocks, devices, lag, layout, letters, rights
from streams.commands.checks.finding import Finding, Level, warn
from streams.commands.errors import CommandError
from streams.commands.ledger import Place
from streams.commands.quiet import quiet
from streams.engine.cluster import Cluster
from streams.engine.errors import EngineError
from streams.engine.layout import TopicSpec

__all__ = ["Finding", "Level", "changes_of", "examine", "render"]

_SELF = re.compile(r"[;.,]? (?:see |run )?`gridtape doctor`(?: shows more\.| gives the command that grants it)?")
"""What errors advise that the doctor cannot."""
_SIGN = {Level.OK: ("✓", "green"), Level.WARN: ("!", "bold yellow"), Level.FAIL: ("✗", "bold red")}


def changes_of(file: Path) -> str:
    """The name under which a connectors file lets records on ``device-settings`` change devices; empty: it does not.

    A file that is not there, or cannot be read, lets nothing: `gridtape run connectors` says what is wrong with it.
    """
    try:
        changes = toml.read(file).get("changes")
    except ValueError:
        return ""
    return str(changes.get("name", "")) if isinstance(changes, dict) else ""


def examine(cluster: Cluster, specs: Sequence[TopicSpec], *, changes: str = "", timeout: float = 10.0) -> list[Finding]:
    """Everything that the doctor looks at, in an order in which the first failure explains the next.

    Nothing of the user's is changed: a topic of the doctor's own is made and deleted to read the brokers' clocks.
    ``changes``: as :func:`changes_of`. ``timeout``: seconds for one answer of Kafka. Raises nothing: what cannot be
    examined is a finding.
    """
    cluster = quiet(cluster)
    admin, ear = broker.listening_admin(cluster)
    found = broker.reach(cluster, admin, timeout)
    if not isinstance(found, DescribeClusterResult):
        return [found]
    now = time.time()
    ends: dict[Place, lag.Ends] = {}

    def measure() -> list[Finding]:
        ends.update(lag.ends_of(cluster, admin, [spec.name for spec in specs], timeout))
        return lag.stuck_transactions(cluster, specs, ends, now, timeout)

    subjects: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("the brokers", lambda: broker.examine(cluster, admin, ear, found, timeout)),
        ("the topics", lambda: layout.examine(cluster, admin, specs, timeout)),
        ("the rights", lambda: rights.examine(cluster, admin, found, changes, timeout)),
        ("the clocks", lambda: clocks.examine(cluster, admin, found, timeout)),
        ("open transactions", measure),
        ("the consumer groups", lambda: lag.examine(cluster, admin, now, timeout) if ends else []),
        ("the devices", lambda: devices.examine(cluster, now, timeout) if ends else []),
        ("the dead letters", lambda: letters.examine(cluster, now, timeout) if ends else []),
    ]
    findings: list[Finding] = []
    for subject, look in subjects:
        try:
            findings += look()
        except (KafkaException, EngineError, CommandError, TimeoutError) as error:
            why = error.args[0].str() if isinstance(error, KafkaException) else _SELF.sub("", str(error))
            findings.append(warn(f"{subject} could not be examined: {why}", "Mend what is told above, then ask again."))
    return findings


def render(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings, each with how to mend it, and how many there are of each kind."""
    for finding in findings:
        sign, style = _SIGN[finding.level]
        console.print(Text.assemble((f"{sign} ", style), finding.what), soft_wrap=True)
        if finding.how:
            console.print(Text(f"    {finding.how}", "dim"), soft_wrap=True)
    counts = Counter(finding.level for finding in findings)
    style = _SIGN[max(counts, key=[Level.OK, Level.WARN, Level.FAIL].index, default=Level.OK)][1]
    text = f"\n{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, {counts[Level.FAIL]} to mend"
    console.print(Text(text, style))
