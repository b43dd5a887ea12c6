"""Which topics an application works on: their ids and partition counts, at the start and ever after.

A topic that is deleted and created anew has the same name and offsets that begin again: whoever goes on by name and
offset skips records or takes others for those it has done. Its id tells (KIP-516), and so does every committed offset,
which carries the ids that it was committed for.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, TopicCollection

from streams.engine.errors import Fatal, classify
from streams.engine.outside import Admin, Clock

_GLANCE = 5.0
"""Seconds between two looks at the topics of a running worker."""


def way_out(application: str) -> str:
    """What to do when state, offsets and topics no longer belong together."""
    return f"`gridtape reset {application}` shows what a fresh start means, and with --yes makes one"


@dataclass(frozen=True)
class Mark:
    """What a committed offset says of itself, in its metadata: ``COMMIT PARTITIONS INPUTS TOPIC-ID CHANGELOG-ID``.

    ``commit``: number of the task's commit. ``partitions``: how many the topics had. ``inputs``: how many topics got an
    offset in that commit.
    """

    commit: int
    partitions: int
    inputs: int
    topic: str
    changelog: str

    def __str__(self) -> str:
        return f"{self.commit} {self.partitions} {self.inputs} {self.topic} {self.changelog}"

    @classmethod
    def parse(cls, metadata: str | None) -> Mark | None:
        """None when somebody else has set the offset."""
        parts = (metadata or "").rstrip("\0").split(" ")
        if len(parts) != 5 or not all(part.isdigit() for part in parts[:3]):
            return None
        return cls(int(parts[0]), int(parts[1]), int(parts[2]), parts[3], parts[4])


class Identities:
    """Ids of an application's inputs and its changelog (names as on the cluster), which must never change."""

    def __init__(
        self,
        admin: Admin,
        clock: Clock,
        application: str,
        inputs: Iterable[str],
        changelog: str,
        partitions: int,
        timeout: float,
    ) -> None:
        self._application = application
        self._names = [*inputs, changelog]
        self._changelog = changelog
        self._partitions = partitions
        self._timeout = timeout
        self._admin = admin
        self._clock = clock
        self._ids: dict[str, str] = {}
        self._asked: dict[str, Future[Any]] = {}
        self._next_glance = 0.0

    def mark(self, name: str, commit: int) -> str:
        """Metadata for an offset of topic ``name``."""
        return str(Mark(commit, self._partitions, len(self._names) - 1, self._ids[name], self._ids[self._changelog]))

    def look(self) -> None:
        """Ask for all of them. Raises Fatal when one is missing, has other partitions or is no longer the same."""
        for name, answer in self._ask().items():
            try:
                self._compare(name, answer.result())
            except KafkaException as error:
                raise classify(error, f"asking for topic {name}") from error

    def glance(self) -> None:
        """Ask now and then without waiting, and take what was answered; what was not is asked again. Raises Fatal."""
        if self._clock.monotonic() < self._next_glance:
            return
        self._next_glance = self._clock.monotonic() + _GLANCE
        for name, answer in self._asked.items():
            if answer.done() and answer.exception() is None:
                self._compare(name, answer.result())
        self._asked = self._ask()

    def check(self, name: str, partition: int, offset: int, mark: Mark) -> None:
        """Whether a committed offset was made for these topics. Raises Fatal."""
        where = f"the committed offset {offset} of {name}[{partition}], of commit {mark.commit},"
        if mark.partitions != self._partitions:
            raise Fatal(
                f"{where} was made when the topics had {mark.partitions} partitions; now they have "
                f"{self._partitions}. Keys are in other partitions since then, and their state is not: "
                f"{way_out(self._application)}."
            )
        for what, then, now in (
            (name, mark.topic, self._ids[name]),
            (self._changelog, mark.changelog, self._ids[self._changelog]),
        ):
            if then != now:
                raise Fatal(f"{where} was made for another topic of the same name. {self._recreated(what, then, now)}")

    def check_all(self, partition: int, missing: list[str], marks: list[Mark]) -> None:
        """Whether the topics without a committed offset never had one: a new input. Raises Fatal.

        Kafka forgets the offsets of a topic that is deleted.
        """
        if marks and missing and len(self._names) - 1 - len(missing) < marks[0].inputs:
            raise Fatal(
                f"{missing[0]}[{partition}] has no committed offset, but the other inputs have those of commit "
                f"{marks[0].commit}, which wrote one for each: the topic was deleted and created anew, or its offset "
                f"was deleted. Nothing is skipped or done again silently: {way_out(self._application)}."
            )

    def _ask(self) -> dict[str, Future[Any]]:
        answers: dict[str, Future[Any]] = self._admin.describe_topics(
            TopicCollection(self._names), request_timeout=self._timeout
        )
        return answers

    def _compare(self, name: str, found: Any) -> None:
        count = len(found.partitions)
        if count != self._partitions:
            raise Fatal(
                f"topic {name} has {count} partitions, must have {self._partitions}: partitions were added, or "
                "GRIDTAPE_PARTITIONS was changed. Keys would go to other tasks than those that keep their state. "
                f"Create the topic anew with {self._partitions} partitions; or give all topics {count}, set "
                f"GRIDTAPE_PARTITIONS={count}, and start afresh: {way_out(self._application)}."
            )
        now = str(found.topic_id)
        then = self._ids.setdefault(name, now)
        if then != now:
            raise Fatal(self._recreated(name, then, now))

    def _recreated(self, name: str, then: str, now: str) -> str:
        return (
            f"Topic {name} was deleted and created anew: its id was {then} and is {now}, so the offsets mean other "
            f"records. Nothing is skipped or done again silently: {way_out(self._application)}."
        )
