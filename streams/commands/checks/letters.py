"""What could not be processed lately, and why."""

from __future__ import annotations

import re
from collections import Counter

from schemas import topics
from schemas.dead_letters import DeadLetter
from streams.commands.checks.finding import Finding, ok, warn
from streams.commands.describe import plain
from streams.commands.ledger import Ledger
from streams.engine.cluster import Cluster

HOUR = 3_600_000_000
MOST = 20_000
"""Dead letters that are read at most."""
_TOP = 3
_CHANGING = re.compile(r"'[^']*'|\"[^\"]*\"|-?\d+(?:\.\d+)?")
"""What differs between two letters of the same reason: quoted names and numbers."""


def examine(cluster: Cluster, now: float, timeout: float) -> list[Finding]:
    """How many of the last hour, with the most frequent reasons. ``now``: seconds since the epoch."""
    since = int(now * 1e6) - HOUR
    reasons: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], DeadLetter] = {}
    read = 0
    with Ledger(cluster, timeout) as ledger:
        for window in ledger.newest_first([topics.dead_letters]):
            recent = [entry for entry in window if entry.time >= since]
            for entry in recent:
                letter = entry.record
                if isinstance(letter, DeadLetter):
                    kind = letter.application, _CHANGING.sub("…", letter.reason)
                    reasons[kind] += 1
                    examples.setdefault(kind, letter)
            read += len(window)
            if read >= MOST or len(recent) < len(window):
                break
    if not reasons:
        return [ok("no dead letters in the last hour")]
    total = sum(reasons.values())
    most = f"more than {total:,}" if read >= MOST else f"{total:,}"
    findings = []
    for kind, count in reasons.most_common(_TOP):
        letter = examples[kind]
        where = str(letter.at) if letter.at is not None else letter.source or "its source"
        findings.append(
            warn(
                f"{count:,} of {most} dead letters in the last hour are of {kind[0]}: {plain(letter.reason)[:200]}",
                f"Look at the record at {plain(where)}; mend what wrote it. Its bytes are kept in dead-letters.",
            )
        )
    return findings
