"""A consumer's side of group membership: librdkafka's background state machine (rdkafka_cgrp.c), cooperative protocol.

Kept, also where it is a trap: an expelled member learns of it by a heartbeat (its partitions are lost) or by JoinGroup
(UNKNOWN_MEMBER_ID: it takes a new member id and goes on believing in its partitions); a new generation is known
before the assignment that came with it; a member that hears nothing for its session time-out forgets its id; a static
member does not leave when it closes, but does when it unsubscribes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError

from tests.simulator.group import Group
from tests.simulator.network import Network
from tests.simulator.scheduler import Process

_BEATS = 10
_REPLACED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()


class Op(NamedTuple):
    """What the application is to be told: kind assign, revoke, lost or failed. ``rejoin``: and then join again."""

    kind: str
    partitions: tuple[int, ...] = ()
    rejoin: bool = False
    code: int = 0
    text: str = ""


class Membership:
    """States: joining, syncing, calling (the application has to be told first), steady, leaving, over."""

    def __init__(
        self,
        process: Process,
        network: Network,
        group: Group,
        instance: str,
        timeout: float,
        poke: Callable[[], None],
    ) -> None:
        self._process = process
        self._network = network
        self._group = group
        self.instance = instance
        self._timeout = timeout
        self._poke = poke
        self.id = ""
        self.generation = -1
        self.owned: tuple[int, ...] = ()
        self._state = "joining"
        self._ops: deque[Op] = deque()
        self._attempt = 0
        self._heard = process.scheduler.now
        self._armed = False
        self._since = -1
        self._pending: Op | None = None
        process.at(timeout / _BEATS, self._beat)

    # --- towards the application -------------------------------------------------------------------------------

    def next_op(self) -> Op | None:
        """The next thing to tell."""
        return self._ops.popleft() if self._ops else None

    def served(self, op: Op) -> None:
        """The application was told, and has done its part."""
        if op.kind == "assign":
            self.owned += op.partitions
        else:
            self.owned = tuple(p for p in self.owned if p not in op.partitions)
        if self._state == "leaving":
            self._say_goodbye()
        elif self._pending is not None:
            self._ops.append(self._pending)
            self._pending = None
        elif op.rejoin:
            self.join()
        elif self._state == "calling":
            self._state = "steady"

    def leave(self) -> None:
        """Have everything revoked, then tell the coordinator."""
        if self._state == "over":
            return
        self._state = "leaving"
        self._attempt += 1
        self._ops.clear()
        if self.owned:
            self._ops.append(Op("revoke", self.owned))
            self._poke()
        else:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._state = "over"
        member = self.id
        if member:
            self._network.post(
                self._process,
                "group",
                "LeaveGroup",
                lambda: self._group.leave(member, self.instance),
                lambda value, code: None,
            )

    def close(self) -> None:
        """No more."""
        self._state = "over"
        self._attempt += 1
        self._ops.clear()

    # --- towards the coordinator -------------------------------------------------------------------------------

    def join(self) -> None:
        """Send a JoinGroup."""
        if self._state == "over":
            return
        self._state = "joining"
        self._attempt += 1
        attempt, member, owned, since = self._attempt, self.id, self.owned, self._since
        self._network.post_deferred(
            self._process,
            "group",
            f"JoinGroup {owned}",
            lambda reply: self._group.join(member, self.instance, owned, since, self._timeout, reply),
            lambda value, code: self._joined(attempt, value, code),
        )

    def _joined(self, attempt: int, value: Any, code: int | None) -> None:
        if attempt != self._attempt or self._state != "joining":
            return
        if code == KafkaError.FENCED_INSTANCE_ID:
            self._fenced()
        elif code is not None:
            if code == KafkaError.UNKNOWN_MEMBER_ID:
                self.id = ""
            self._later(self.join)
        else:
            self.id, self.generation = value
            self._state = "syncing"
            member, generation = value
            self._network.post(
                self._process,
                "group",
                "SyncGroup",
                lambda: self._group.sync(member, self.instance, generation),
                lambda value, code: self._synced(attempt, value, code),
            )

    def _synced(self, attempt: int, value: Any, code: int | None) -> None:
        if attempt != self._attempt or self._state != "syncing":
            return
        if code == KafkaError.FENCED_INSTANCE_ID:
            self._fenced()
        elif code == KafkaError.ILLEGAL_GENERATION:
            self.generation = -1
            self._lose()
        elif code == KafkaError.UNKNOWN_MEMBER_ID:
            self.id = ""
            self._lose()
        elif code is not None:
            self._later(self.join)
        else:
            self._heard, self._armed = self._process.scheduler.now, True
            self._since = self.generation
            added = tuple(p for p in value if p not in self.owned)
            revoked = tuple(p for p in self.owned if p not in value)
            if revoked:
                self._pending = Op("assign", added, rejoin=True)
                self._tell(Op("revoke", revoked))
            else:
                self._tell(Op("assign", added))

    def _beat(self) -> None:
        if self._state == "over":
            return
        self._process.at(self._timeout / _BEATS, self._beat)
        if self._state in ("calling", "steady"):
            if self._armed and self._process.scheduler.now - self._heard > self._timeout:
                self._armed = False
                self.id = ""
                self._lose_maybe()
                return
            member, generation = self.id, self.generation
            self._network.post(
                self._process,
                "group",
                "Heartbeat",
                lambda: self._group.heartbeat(member, self.instance, generation),
                self._beaten,
            )

    def _beaten(self, value: Any, code: int | None) -> None:
        if self._state not in ("calling", "steady"):
            return
        if code is None or code == KafkaError.REBALANCE_IN_PROGRESS:
            self._heard = self._process.scheduler.now
            if code is not None and self._state == "steady":
                self.join()
        elif code == KafkaError.UNKNOWN_MEMBER_ID:
            self.id = ""
            self._lose_maybe()
        elif code == KafkaError.ILLEGAL_GENERATION:
            self.generation = -1
            self._lose_maybe()
        elif code == KafkaError.FENCED_INSTANCE_ID:
            self._fenced()

    def _later(self, action: Callable[[], None]) -> None:
        attempt = self._attempt
        delay = 0.02 + self._process.scheduler.rng.random() * 0.2
        self._process.at(delay, lambda: action() if attempt == self._attempt else None)

    def _tell(self, op: Op) -> None:
        self._state = "calling"
        self._ops.append(op)
        self._poke()

    def _lose_maybe(self) -> None:
        if self._state == "steady":
            self._lose()

    def _lose(self) -> None:
        self._attempt += 1
        if self.owned:
            self._tell(Op("lost", self.owned, rejoin=True))
        else:
            self.join()

    def _fenced(self) -> None:
        """Fatal: the error's text is all that names the reason."""
        self._attempt += 1
        self._state = "over"
        self._ops.append(Op("failed", code=KafkaError._FATAL, text=f"Fatal consumer error: {_REPLACED}"))
        if self.owned:
            self._ops.append(Op("lost", self.owned))
        self._poke()
