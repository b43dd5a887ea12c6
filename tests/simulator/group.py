"""The group coordinator, as Apache Kafka 4 serves the classic protocol: members, generations, offsets.

Kept: generations, static members (replaced by instance id, kept until their session is over), two-step cooperative
rebalances, parked JoinGroup requests, the checks on transactional offset commits (those of Kafka's
``ClassicGroup.validateOffsetCommit``), offsets pending until their transaction is decided, UNSTABLE_OFFSET_COMMIT.
Simplified: the coordinator itself assigns (sticky, cooperative) instead of a leading member; only one subscription; the
rebalance time-out (five minutes) never comes. When two claim a partition, the claim of the higher generation counts
and the other one has to wait; librdkafka can hand it to the other one at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError

from tests.simulator.network import Refused
from tests.simulator.scheduler import Scheduler

Reply = Callable[[Any, int | None], None]
Place = tuple[str, int]
Offset = tuple[int, str | None]


@dataclass
class Member:
    """A member. ``since``: the generation in which it was given what it owns. ``parked``: its JoinGroup that waits."""

    id: str
    instance: str
    timeout: float
    owned: tuple[int, ...] = ()
    since: int = -1
    assigned: tuple[int, ...] = ()
    parked: Reply | None = None
    heard: float = 0.0


class Group:
    """One consumer group on the partitions of one topic."""

    def __init__(self, scheduler: Scheduler, partitions: int, away: Callable[[], bool]) -> None:
        self._scheduler = scheduler
        self._away = away
        self._partitions = partitions
        self._count = 0
        self.generation = 0
        self.state = "empty"
        self.members: dict[str, Member] = {}
        self.offsets: dict[Place, Offset] = {}
        self._pending: dict[int, dict[Place, Offset]] = {}
        self._epochs: dict[int, int] = {}

    # --- membership --------------------------------------------------------------------------------------------

    def join(
        self, member_id: str, instance: str, owned: tuple[int, ...], since: int, timeout: float, reply: Reply
    ) -> None:
        """JoinGroup: answered with (member id, generation) when every member has come."""
        back = not member_id and any(other.instance == instance for other in self.members.values())
        member = self._find(member_id, instance) if member_id else self._welcome(instance, timeout)
        known = member.owned
        member.owned, member.since = owned, since
        if member_id and self.state == "stable" and known == owned:
            self._answer(member, reply)
            return
        if back and self.state == "stable":
            # A static member that comes back gets what it had, be it nothing, without a rebalance (KIP-345).
            self._answer(member, reply)
            return
        if member.parked is not None:
            member.parked(None, KafkaError.REBALANCE_IN_PROGRESS)
        member.parked = reply
        if self.state != "preparing":
            self.state = "preparing"
            self._scheduler.note("group", "rebalances", self.generation, list(self.members))
        self._complete()

    def sync(self, member_id: str, instance: str, generation: int) -> tuple[int, ...]:
        """SyncGroup: the member's partitions."""
        member = self._find(member_id, instance)
        if generation != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)
        if self.state == "preparing":
            raise Refused(KafkaError.REBALANCE_IN_PROGRESS)
        self._hear(member)
        return member.assigned

    def heartbeat(self, member_id: str, instance: str, generation: int) -> None:
        """Heartbeat."""
        member = self._find(member_id, instance)
        if generation != self.generation:
            raise Refused(KafkaError.ILLEGAL_GENERATION)
        self._hear(member)
        if self.state == "preparing":
            raise Refused(KafkaError.REBALANCE_IN_PROGRESS)

    def rebalance(self) -> None:
        """As when a member comes or goes."""
        self.state = "preparing"
        self._complete()

    def leave(self, member_id: str, instance: str) -> None:
        """LeaveGroup."""
        member = self._find(member_id, instance)
        if member.parked is not None:
            member.parked(None, KafkaError.UNKNOWN_MEMBER_ID)
        self._drop(member)

    def _find(self, member_id: str, instance: str) -> Member:
        member = self.members.get(member_id)
        if member is not None:
            return member
        if any(other.instance == instance for other in self.members.values()):
            raise Refused(KafkaError.FENCED_INSTANCE_ID)
        raise Refused(KafkaError.UNKNOWN_MEMBER_ID)

    def _welcome(self, instance: str, timeout: float) -> Member:
        self._count += 1
        member = Member(f"{instance}/{self._count}", instance, timeout)
        for old in [m for m in self.members.values() if m.instance == instance]:
            self._scheduler.note("group", "replaces", old.id, member.id)
            del self.members[old.id]
            member.assigned, member.owned = old.assigned, old.owned
            if old.parked is not None:
                old.parked(None, KafkaError.FENCED_INSTANCE_ID)
        self.members[member.id] = member
        self._hear(member)
        return member

    def _hear(self, member: Member) -> None:
        member.heard = self._scheduler.now
        self._scheduler.at(member.timeout, lambda: self._expire(member))

    def _expire(self, member: Member) -> None:
        silent = self._scheduler.now - member.heard >= member.timeout - 1e-9
        if self.members.get(member.id) is not member or not silent or member.parked is not None:
            return
        if self._away():
            self._hear(member)  # a coordinator that comes back gives everybody a new session
            return
        self._drop(member)

    def _drop(self, member: Member) -> None:
        self._scheduler.note("group", "expels", member.id)
        del self.members[member.id]
        if not self.members:
            self.state = "empty"
            self.generation += 1
        else:
            self.state = "preparing"
            self._complete()

    def _answer(self, member: Member, reply: Reply) -> None:
        self._hear(member)
        reply((member.id, self.generation), None)

    def _complete(self) -> None:
        if any(member.parked is None for member in self.members.values()):
            return
        self.generation += 1
        self.state = "stable"
        self._assign()
        self._scheduler.note(
            "group", "generation", self.generation, {member.id: member.assigned for member in self.members.values()}
        )
        for member in self.members.values():
            reply, member.parked = member.parked, None
            if reply is not None:
                self._answer(member, reply)

    def _assign(self) -> None:
        """Sticky: what is claimed stays while the balance allows. Cooperative: what another still claims waits.

        Two may claim one partition, after one of them was expelled without knowing.
        """
        order = list(self.members.values())
        self._scheduler.rng.shuffle(order)
        room = -(-self._partitions // len(order))
        shares: dict[str, list[int]] = {member.id: [] for member in order}
        for partition in range(self._partitions):
            claims = [member for member in order if partition in member.owned]
            owner = max(claims, key=lambda member: member.since, default=None)
            if owner is None:
                least = min(order, key=lambda member: len(shares[member.id]))
                shares[least.id].append(partition)
            elif len(shares[owner.id]) < room:
                shares[owner.id].append(partition)
        for member in order:
            member.assigned = tuple(shares[member.id])

    # --- offsets -----------------------------------------------------------------------------------------------

    def commit(
        self, pid: tuple[int, int], member_id: str, instance: str | None, generation: int, offsets: dict[Place, Offset]
    ) -> None:
        """TxnOffsetCommit: pending until the transaction is decided."""
        if self._epochs.get(pid[0], -1) > pid[1]:
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        if generation >= 0 or member_id or instance is not None:
            self._find(member_id, instance or "")
            if generation != self.generation:
                raise Refused(KafkaError.ILLEGAL_GENERATION)
        self._epochs[pid[0]] = pid[1]
        self._pending.setdefault(pid[0], {}).update(offsets)

    def decide(self, producer: int, *, commit: bool) -> None:
        """The marker of a transaction with offsets."""
        pending = self._pending.pop(producer, {})
        if commit:
            self.offsets.update(pending)

    def fetch(self, places: list[Place]) -> list[Offset]:
        """OffsetFetch that requires stable offsets."""
        if any(place in pending for pending in self._pending.values() for place in places):
            raise Refused(KafkaError.UNSTABLE_OFFSET_COMMIT)
        return [self.offsets.get(place, (-1001, None)) for place in places]
