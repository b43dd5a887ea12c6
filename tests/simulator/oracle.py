"""What must be true of the logs after a schedule, derived from the committed input alone.

Nothing of the engine is used here: expected values are computed from what the source has sent.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import Any

from tests.simulator import application as app
from tests.simulator.broker import Broker
from tests.simulator.partition import ALONE, Entry

FACTOR = 3
At = tuple[str, int, int]


class Finding(AssertionError):
    """The engine has broken a promise (or the simulator is wrong)."""


def require(holds: bool, what: str) -> None:
    """Raise Finding unless it holds."""
    if not holds:
        raise Finding(what)


class Oracle:
    """Checks one broker. ``sent``: the committed input; ``poison``: those of it that cannot be processed."""

    def __init__(self, broker: Broker, partitions: int, sent: dict[At, app.Hit | None]) -> None:
        self._broker = broker
        self._partitions = range(partitions)
        self._sent = sent
        self._good = {at: hit for at, hit in sent.items() if hit is not None and hit.amount != app.BROKEN}

    def check(self) -> None:
        """Raise Finding at the first promise that is broken."""
        final = self._tallies()
        self._totals(final)
        self._alarms()
        self._letters()
        for partition in self._partitions:
            commits = self._journal(partition)
            self._state(partition, final, commits)
            self._offsets(partition, commits)
        self._hashes()

    def committed(self, topic: str, partition: int) -> list[Entry]:
        """What a read_committed reader sees, judged by the coordinator's verdicts instead of by markers."""
        decided = self._broker.decided
        return [
            entry
            for entry in self._broker.logs[topic, partition].entries
            if entry.control is None and (entry.pid == ALONE or decided.get((entry.pid[0], entry.transaction)))
        ]

    def _records(self, topic: app.Topic) -> list[Any]:
        return [topic.decode(e.value or b"") for p in self._partitions for e in self.committed(topic.name, p)]

    def _tallies(self) -> dict[str, app.Tally]:
        found = self._records(app.tallies)
        steps: dict[str, list[app.Tally]] = defaultdict(list)
        seen: set[At] = set()
        for tally in found:
            require(tally.at in self._good, f"{tally.at} was decided but is no committed input")
            require(tally.at not in seen, f"{tally.at} was decided twice")
            seen.add(tally.at)
            steps[tally.key].append(tally)
        lost = sorted(self._good.keys() - seen)
        require(not lost, f"never decided: {lost}")
        final: dict[str, app.Tally] = {}
        for key, tallies in steps.items():
            total, amounts = 0, list[int]()
            reached: dict[str, int] = {}
            for n, tally in enumerate(tallies, 1):
                hit = self._good[tally.at]
                assert hit is not None
                require(hit.key == key, f"{tally.at} was counted for {key}, is of {hit.key}")
                topic, _, offset = tally.at
                require(offset > reached.get(topic, -1), f"{key}: {tally.at} was decided out of order")
                reached[topic] = offset
                amounts.append(hit.amount * FACTOR)
                total += amounts[-1]
                expected = app.Tally(key, n, total, min(amounts), max(amounts), tally.at)
                require(tally == expected, f"{key}: wrote {tally}, must be {expected}")
            final[key] = tallies[-1]
        return final

    def _totals(self, final: dict[str, app.Tally]) -> None:
        newest = {tally.key: tally for tally in self._records(app.totals)}
        require(newest == final, f"newest totals {newest} are not the last tallies {final}")

    def _alarms(self) -> None:
        fired = sorted(alarm.id for alarm in self._records(app.alarms))
        due = sorted(hit.id for hit in self._good.values() if hit is not None and hit.wake)
        require(fired == due, f"timers fired {fired}, must be {due}")

    def _letters(self) -> None:
        found = sorted((letter.at, letter.reason) for letter in self._records(app.letters))
        bad = sorted(self._sent.keys() - self._good.keys())
        require([at for at, _ in found] == bad, f"dead letters {found}, must be {bad}")

    def _journal(self, partition: int) -> int:
        """Commit numbers have no holes, and the segments hold every input once, in order."""
        entries = [app.journal.decode(e.value or b"") for e in self.committed(app.journal.name, partition)]
        numbers = [entry.commit for entry in entries]
        require(numbers == list(range(1, len(entries) + 1)), f"journal[{partition}] has commits {numbers}")
        inputs = {
            topic.name: [e.offset for e in self.committed(topic.name, partition)]
            for topic in (*app.INPUTS, app.factors)
        }
        fed: dict[str, list[int]] = defaultdict(list)
        for entry in entries:
            for topic, first, last, records, _ in entry.segments:
                if first >= 0:
                    offsets = [offset for offset in inputs[topic] if first <= offset <= last]
                    require(
                        len(offsets) == records, f"journal[{partition}] commit {entry.commit}: {topic} {first}-{last}"
                    )
                    fed[topic] += offsets
        for topic, offsets in inputs.items():
            require(fed[topic] == offsets, f"journal[{partition}]: {topic} was fed {fed[topic]}, must be {offsets}")
        return len(entries)

    def _state(self, partition: int, final: dict[str, app.Tally], commits: int) -> None:
        changelog: dict[str, bytes] = {}
        for entry in self.committed(app.CHANGELOG, partition):
            key = (entry.key or b"").decode()
            if entry.value is None:
                changelog.pop(key, None)
            else:
                changelog[key] = entry.value
        held = {
            key.removeprefix("held/"): app.tallies.decode(value)
            for key, value in changelog.items()
            if key.startswith("held/")
        }
        mine = {key: tally for key, tally in final.items() if tally.at[1] == partition}
        require(held == mine, f"changelog[{partition}] holds {held}, must be {mine}")
        timers = [key for key in changelog if key.startswith("__timers/")]
        require(not timers, f"changelog[{partition}] still holds {timers}")
        number = json.loads(changelog.get("__task/commits", b"0"))
        require(number == commits, f"changelog[{partition}] is of commit {number}, the journal of {commits}")

    def _offsets(self, partition: int, commits: int) -> None:
        for topic in (*app.INPUTS, app.factors):
            inputs = [entry.offset for entry in self.committed(topic.name, partition)]
            offset, metadata = self._broker.group.offsets.get((topic.name, partition), (0, "0"))
            place = f"{topic.name}[{partition}]"
            require(
                metadata.split(" ")[0] == str(commits),
                f"offset of {place} is of commit {metadata}, the journal of {commits}",
            )
            end = self._broker.logs[topic.name, partition].end
            require(offset <= end and not [o for o in inputs if o >= offset], f"offset of {place} is {offset} of {end}")

    def _hashes(self) -> None:
        """Each journal record's hash is that of the outputs written before it in the same transaction."""
        written: dict[tuple[int, int], list[tuple[int, str, Entry]]] = defaultdict(list)
        for topic in app.OUTPUTS:
            for partition in self._partitions:
                for entry in self.committed(topic.name, partition):
                    written[entry.pid[0], entry.transaction].append((entry.number, topic.name, entry))
        for transaction, outputs in written.items():
            digest, count = hashlib.blake2b(digest_size=16), 0
            for _, name, entry in sorted(outputs, key=lambda output: output[0]):
                if name != app.journal.name:
                    digest.update(b"%s\0%s\0%s\n" % (name.encode(), entry.key, entry.value))
                    count += 1
                    continue
                record = app.journal.decode(entry.value or b"")
                right = (record.outputs, record.hash) == (count, digest.hexdigest())
                require(right, f"transaction {transaction}: {record} does not tell of its {count} outputs")
                digest, count = hashlib.blake2b(digest_size=16), 0
