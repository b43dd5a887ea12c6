"""What is fed to the workers, and the record of it that the oracle judges by."""

from __future__ import annotations

from streams.engine.partitions import partition_of
from tests.simulator import application as app
from tests.simulator.broker import Broker, Place, Record
from tests.simulator.oracle import FACTOR, At
from tests.simulator.outside import EPOCH
from tests.simulator.scheduler import Scheduler

_KEYS = 4


class Source:
    """``sent``: the committed input by place, None for what cannot be decoded. ``undecided``: open transactions."""

    def __init__(self, scheduler: Scheduler, broker: Broker, partitions: int) -> None:
        self._scheduler = scheduler
        self._rng = scheduler.rng
        self._broker = broker
        self._partitions = partitions
        self.sent: dict[At, app.Hit | None] = {}
        self.undecided = 0
        self.dry = False
        self._ids = 0
        self._producers = 1_000_000
        for partition in range(partitions):
            broker.append((app.factors.name, partition), [(0, b"factor", app.factors.encode(app.Factor(FACTOR)), None)])

    def feed(self) -> None:
        """Send some records of one key now, and again later, until ``dry``."""
        if self.dry:
            return
        rng = self._rng
        topic = rng.choice(app.INPUTS)
        key = f"k{rng.randrange(_KEYS)}"
        place = (topic.name, partition_of(key, self._partitions))
        batch = [self._hit(key) for _ in range(rng.choice((1, 2, 5)))]
        records: list[Record] = [(0, key.encode(), b"{" if hit is None else topic.encode(hit), None) for hit in batch]
        first = self._broker.logs[place].end
        accepted: dict[At, app.Hit | None] = {(*place, first + n): hit for n, hit in enumerate(batch)}
        if rng.random() < 0.7:
            self._broker.append(place, records)
            self.sent.update(accepted)
        else:
            self._feed_transaction(place, records, accepted)
        self._scheduler.at(rng.random() * 1.2, self.feed)

    def _feed_transaction(self, place: Place, records: list[Record], accepted: dict[At, app.Hit | None]) -> None:
        """The source writes in a transaction, commits or aborts it, and takes its time."""
        self._producers += 1
        pid, commit = (self._producers, 0), self._rng.random() < 0.6
        self.undecided += 1
        self._broker.append(place, records, pid, 1)

        def decide() -> None:
            self.undecided -= 1
            self._broker.decided[pid[0], 1] = commit
            self._broker.logs[place].mark(pid, 1, commit=commit, time=self._scheduler.now)
            self._broker.tell(place)
            if commit:
                self.sent.update(accepted)

        self._scheduler.at(self._rng.random() * self._rng.choice((0.05, 1.0)), decide)

    def _hit(self, key: str) -> app.Hit | None:
        rng = self._rng
        self._ids += 1
        if rng.random() < 0.02:
            return None
        amount = app.BROKEN if rng.random() < 0.02 else rng.randrange(1, 100)
        wake = rng.randrange(1, 3_000_000) if rng.random() < 0.15 else 0
        return app.Hit(self._ids, key, amount, int((EPOCH + self._scheduler.now) * 1e6), wake)
