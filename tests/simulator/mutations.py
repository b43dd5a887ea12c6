"""Planted bugs: what the engine would be if somebody had not known better. Each must be caught.

A mutation takes pytest's ``monkeypatch`` and breaks the engine until the test is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from streams.engine import errors, restore
from streams.engine.errors import Abortable, Corrupted
from streams.engine.members import Members
from streams.engine.ownership import Ownership
from streams.engine.session import Session
from streams.engine.transactions import Transactions
from tests.simulator import scripts
from tests.simulator.outside import SimCluster
from tests.simulator.world import World

Patch = pytest.MonkeyPatch
_NOBODY = ("", None, -1)
"""Group metadata that the coordinator does not check."""


def merge_before_commit(patch: Patch) -> None:
    """The overlay becomes the state before the transaction is committed."""
    commit = Session._commit

    def early(self: Session) -> None:
        pending = [task for task in self._own.tasks.values() if task.waiting]
        drained = [(task, task.drain()) for task in pending]
        for task, result in drained:
            offsets, segments = dict(task.offsets), task._segments
            task.committed()
            task.offsets, task._segments = offsets, segments
            task.drain = lambda result=result: result  # type: ignore[method-assign,misc]
        try:
            commit(self)
        finally:
            for task in pending:
                vars(task).pop("drain", None)

    patch.setattr(Session, "_commit", early)


def unfenced_offsets(patch: Patch) -> None:
    """Offsets are sent with an empty member id and generation -1: the coordinator asks nothing."""
    send = Transactions._send
    patch.setattr(Transactions, "_send", lambda self, offsets, member: send(self, offsets, _NOBODY))


def commit_after_revoke(patch: Patch) -> None:
    """A partition that was taken away is committed afterwards, with the next transaction."""

    def late(self: Session, consumer: Any, taken: list[TopicPartition]) -> None:
        partitions = [tp.partition for tp in taken]
        kept = {p: self._own.tasks[p] for p in partitions if p in self._own.tasks}
        self._let_go(consumer, taken)
        if not self._over:
            self._own.tasks.update(kept)

    patch.setattr(Session, "_on_revoke", late)


def ghost_reused(patch: Patch) -> None:
    """The producer lives on after a request of which nobody knows whether it will still take effect."""
    patch.setattr(errors, "_INDEFINITE", set())


def outcome_assumed(patch: Patch) -> None:
    """A commit of which nothing was heard is taken for one that did not happen: the state is kept."""
    abort = Transactions.abort

    def assume(self: Transactions) -> None:
        try:
            abort(self)
        except Corrupted:
            self._producer = self._renew()  # type: ignore[attr-defined]

    def remember(self: Transactions, cluster: Any, name: str, partitions: int, timeout_ms: int) -> None:
        begin(self, cluster, name, partitions, timeout_ms)

        def renew() -> Any:
            producer = self._connect(cluster, name, timeout_ms)
            producer.init_transactions(2 * timeout_ms / 1000)
            return producer

        self._renew = renew  # type: ignore[attr-defined]

    commit = Transactions.commit

    def hopeful(self: Transactions, *arguments: Any) -> None:
        try:
            commit(self, *arguments)
        except Corrupted as error:
            raise Abortable(str(error)) from error

    begin = Transactions.__init__
    patch.setattr(Transactions, "__init__", remember)
    patch.setattr(Transactions, "commit", hopeful)
    patch.setattr(Transactions, "abort", assume)


def restore_to_the_stable_end(patch: Patch) -> None:
    """A restore ends at the last stable offset: what is committed but not yet marked is missed."""
    bounds = restore.bounds

    def stable(cluster: SimCluster, partitions: Any, timeout: float) -> Any:
        return bounds(cluster, partitions, timeout, committed=True)

    patch.setattr(restore, "bounds", stable)
    patch.setattr(Ownership, "_check", lambda self, consumer, task: self._committed.pop(task.partition, None))


def restore_of_the_uncommitted(patch: Patch) -> None:
    """A restore reads read_uncommitted."""
    reader = SimCluster.reader

    def dirty(self: SimCluster, group: str, **extra: Any) -> Any:
        if group.endswith("-restore"):
            extra["isolation_level"] = "read_uncommitted"
        return reader(self, group, **extra)

    patch.setattr(SimCluster, "reader", dirty)
    patch.setattr(Ownership, "_check", lambda self, consumer, task: self._committed.pop(task.partition, None))


def offsets_of_others(patch: Patch) -> None:
    """Offsets are sent for every partition that was ever owned."""
    commit = Transactions.commit
    known: dict[int, dict[tuple[str, int], TopicPartition]] = {}

    def generous(self: Transactions, outputs: Any, changes: Any, offsets: Any, consumer: Any) -> None:
        mine = known.setdefault(id(self), {})
        mine.update({(tp.topic, tp.partition): tp for tp in offsets})
        commit(self, outputs, changes, list(mine.values()), consumer)

    patch.setattr(Transactions, "commit", generous)


def timers_unfenced(patch: Patch) -> None:
    """A commit that consumed nothing is not fenced by the group, as if it had no offsets."""
    send = Transactions._send

    def thrifty(self: Transactions, offsets: list[TopicPartition], member: Any) -> None:
        sent: dict[tuple[str, int], int] = self.__dict__.setdefault("sent", {})
        places = {(tp.topic, tp.partition): tp.offset for tp in offsets}
        consumed = any(sent.get(place) != offset for place, offset in places.items())
        sent.update(places)
        send(self, offsets, member if consumed else _NOBODY)

    patch.setattr(Transactions, "_send", thrifty)


def any_member(patch: Patch) -> None:
    """A consumer that was expelled and taken in again under a new id commits what it had before."""
    patch.setattr(Transactions, "check_member", lambda self, member: None)


def member_noted_late(patch: Patch) -> None:
    """Which member was given the tasks is noted at the first commit."""
    on_assign = Session._on_assign

    def assign(self: Session, consumer: Any, given: list[TopicPartition]) -> None:
        self._transactions.check_member = lambda member: None  # type: ignore[method-assign]
        try:
            on_assign(self, consumer, given)
        finally:
            del self._transactions.check_member

    patch.setattr(Session, "_on_assign", assign)


def no_second_look(patch: Patch) -> None:
    """State that is newer than the offsets that were read is taken for damage, not for another worker's commit."""
    patch.setattr(Ownership, "_check_still_ours", lambda self, consumer, task, found: None)


def nobody_makes_way(patch: Patch) -> None:
    """What the group has left to nobody is left there."""
    patch.setattr(Members, "_weigh", lambda self, present, due: None)


def deciding_too_early(patch: Patch) -> None:
    """A task decides before its broadcast inputs are read to their end."""

    def at_once(self: Ownership, consumer: Any, task: Any, ends: dict[str, int]) -> None:
        self._waiting[task.partition] = {}
        self._start(consumer, task.partition)

    patch.setattr(Ownership, "_wait", at_once)


PLANTS: tuple[tuple[Callable[[Patch], None], Callable[[World], None] | None], ...] = (
    (merge_before_commit, None),
    (commit_after_revoke, scripts.late_markers),
    (restore_of_the_uncommitted, None),
    (deciding_too_early, None),
    (unfenced_offsets, scripts.zombie),
    (timers_unfenced, scripts.zombie),
    (ghost_reused, scripts.ghost),
    (outcome_assumed, scripts.silence),
    (restore_to_the_stable_end, scripts.late_markers),
    (offsets_of_others, scripts.stale),
    (no_second_look, scripts.stale),
    (any_member, scripts.expelled),
    (member_noted_late, scripts.expelled),
    (nobody_makes_way, scripts.orphaned),
)
"""Each with the script that leads there soon; None where random schedules do."""
