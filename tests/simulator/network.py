"""Requests to the broker: each is an await point, and each may be slow, lost, answered in vain, or the last.

A request is an effect on the broker that takes place some time after it was sent, whether or not its sender is still
there or still waits for it. As in librdkafka, what fails on the way is sent again until the call's time-out.

Simplified: a connection that breaks is known to the sender after ``_BROKEN`` seconds; a broker is four nodes that can
be away one by one (``txn`` and ``group`` coordinators, ``offsets`` for the producer's own connection to the latter,
``leader`` of all partitions): gone, or stopped, and then they serve in any order what has come meanwhile. Once a call
has its answer, earlier copies of its request are dead: what librdkafka sends twice within one call and a broker without
KIP-890 takes in the wrong order cannot be seen from outside the client. A call that gave up, or whose process died,
leaves its request alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError

from tests.simulator.scheduler import Process, Scheduler

_BROKEN = 0.4
_BACKOFF = 0.02
_BACKOFF_MOST = 0.15
_DECISIVE = ("TxnOffsetCommit", "EndTxn commit")
"""Where a missing answer hurts most: there it is missing ten times as often."""
_AGAIN = {
    KafkaError._TRANSPORT,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


class Refused(Exception):
    """The broker's answer is an error code that the client does not retry."""

    def __init__(self, code: int) -> None:
        super().__init__(KafkaError(code).name())
        self.code = code


class TimedOut(Exception):
    """No answer in time: the request may have had its effect, may still have it, or may never have it."""


@dataclass
class Rates:
    """How probable each fate of a request is. All zero: the network and the processes are fine."""

    slow: float = 0.0
    lost: float = 0.0
    mute: float = 0.0
    crash: float = 0.0
    freeze: float = 0.0
    hang: float = 0.0
    strand: float = 0.0


class _Answer:
    def __init__(self) -> None:
        self.there = False
        self.value: Any = None
        self.code: int | None = None


class Network:
    """Between the processes and the broker. ``on_crash``: told when a request was the last of its process.
    ``on_ask``: told of every request that is sent, before anything has become of it."""

    def __init__(self, scheduler: Scheduler, rates: Rates) -> None:
        self.scheduler = scheduler
        self.rates = rates
        self.away_until: dict[str, float] = {}
        self._stopped: set[str] = set()
        self._unanswered = ""
        self.on_crash: Callable[[Process], None] = Process.kill
        self.on_ask: Callable[[Process, str], None] = _nobody

    def heal(self) -> None:
        """From now on nothing happens to requests."""
        self.rates = Rates()
        self.away_until.clear()
        self.on_ask = _nobody

    def take_away(self, node: str, seconds: float, *, stopped: bool) -> None:
        """Nobody answers at a node for so long. ``stopped``: what is sent to it is served afterwards."""
        self.away_until[node] = self.scheduler.now + seconds
        (self._stopped.add if stopped else self._stopped.discard)(node)

    def leave_unanswered(self, what: str) -> None:
        """The next request that begins so takes effect, but nobody ever answers."""
        self._unanswered = what

    def is_away(self, node: str) -> bool:
        """Whether nobody answers there now."""
        return self.away_until.get(node, 0.0) > self.scheduler.now

    def call(self, process: Process, node: str, what: str, effect: Callable[[], Any], timeout: float) -> Any:
        """The effect's result; raises Refused, or TimedOut after ``timeout`` seconds. Blocks the process."""
        clock = self.scheduler
        deadline = clock.now + timeout
        settled = _Answer()
        backoff = _BACKOFF
        while True:
            answer = _Answer()

            def take(value: Any, code: int | None, answer: _Answer = answer) -> None:
                answer.there, answer.value, answer.code = True, value, code
                process.wake()

            self._send(process, node, what, lambda reply: reply(effect(), None), take, settled)
            while not answer.there and clock.now < deadline:
                process.wait(deadline - clock.now)
            if answer.there:
                settled.there = answer.code not in _AGAIN
                if answer.code is None:
                    return answer.value
                if settled.there:
                    raise Refused(answer.code)
                process.wait(backoff * (1 + clock.rng.random()))
                backoff = min(2 * backoff, _BACKOFF_MOST)
            if clock.now >= deadline:
                clock.note(process.name, "gave up", what)
                raise TimedOut

    def post(
        self,
        process: Process,
        node: str,
        what: str,
        effect: Callable[[], Any],
        take: Callable[[Any, int | None], None],
    ) -> None:
        """Send one request; ``take`` gets result or error code in the process's background."""
        self._send(process, node, what, lambda reply: reply(effect(), None), take)

    def post_deferred(
        self,
        process: Process,
        node: str,
        what: str,
        effect: Callable[[Callable[[Any, int | None], None]], None],
        take: Callable[[Any, int | None], None],
    ) -> None:
        """As :meth:`post`, for a request that the broker answers when it sees fit."""
        self._send(process, node, what, effect, take)

    def _send(
        self,
        process: Process,
        node: str,
        what: str,
        effect: Callable[[Callable[[Any, int | None], None]], None],
        take: Callable[[Any, int | None], None],
        settled: _Answer | None = None,
    ) -> None:
        scheduler, rng = self.scheduler, self.scheduler.rng
        scheduler.note(process.name, "asks", what)
        self.on_ask(process, what)
        rates, draw = self.rates, rng.random()
        if draw < rates.crash:
            if rng.random() < 0.5:
                scheduler.note(process.name, "dies before", what)
                self.on_crash(process)
                return
            take = self._fatal(process, what)
        elif draw < rates.crash + rates.freeze:
            seconds = rng.choice((0.5, 2.0, 4.0, 7.0))
            if rng.random() < 0.5:
                scheduler.note(process.name, "stops after", what, seconds)
                process.stop(seconds)
            else:
                scheduler.at(rng.random() * 0.01, lambda: process.stop(seconds))
        often = 10 if what.startswith(_DECISIVE) else 1
        stranded = rng.random() < rates.strand * often and not self.is_away(node)
        if stranded and rng.random() < 0.5:
            self.take_away(node, rng.choice((4.5, 7.0)), stopped=rng.random() < 0.7)
            scheduler.note(process.name, "finds nobody for", what)
            stranded = False
        if self._unanswered and what.startswith(self._unanswered):
            self._unanswered, stranded = "", True

        def answer(value: Any, code: int | None) -> None:
            if stranded:
                scheduler.note(process.name, "is left without an answer to", what)
                self.take_away(node, rng.choice((4.5, 7.0)), stopped=False)
            if stranded or rng.random() < rates.mute:
                scheduler.note(process.name, "never hears of", what)
                process.at(_BROKEN, lambda: take(None, KafkaError._TRANSPORT))
            else:
                process.at(self._latency(), lambda: take(value, code))

        def arrive() -> None:
            if settled is not None and settled.there:
                return
            if self.is_away(node) and node in self._stopped:
                scheduler.at(self.away_until[node] - scheduler.now + rng.random() * 0.01, arrive)
                return
            if self.is_away(node):
                process.at(_BROKEN * rng.random(), lambda: take(None, KafkaError._TRANSPORT))
                return
            try:
                effect(answer)
            except Refused as refused:
                scheduler.note(process.name, "is refused", what, str(refused))
                answer(None, refused.code)

        if rng.random() < rates.lost:
            scheduler.note(process.name, "loses", what)
            process.at(_BROKEN, lambda: take(None, KafkaError._TRANSPORT))
        elif rng.random() < rates.slow:
            # The connection breaks, and what was sent over it is still read one day.
            delay = rng.random() * rng.choice((0.5, 2.0, 6.0))
            scheduler.note(process.name, "is slow with", what, round(delay, 3))
            scheduler.at(delay, arrive)
            if delay > _BROKEN:
                sent = take
                take = _once(sent)
                process.at(_BROKEN, lambda: take(None, KafkaError._TRANSPORT))
        else:
            scheduler.at(self._latency(), arrive)

    def _latency(self) -> float:
        return 0.0003 + self.scheduler.rng.random() * 0.002

    def _fatal(self, process: Process, what: str) -> Callable[[Any, int | None], None]:
        def die(value: Any, code: int | None) -> None:
            self.scheduler.note(process.name, "dies after", what)
            self.on_crash(process)

        return die


def _nobody(process: Process, what: str) -> None:
    """Who is told when nobody wants to know."""


def _once(take: Callable[[Any, int | None], None]) -> Callable[[Any, int | None], None]:
    """The first answer counts."""
    used = False

    def first(value: Any, code: int | None) -> None:
        nonlocal used
        if not used:
            used = True
            take(value, code)

    return first
