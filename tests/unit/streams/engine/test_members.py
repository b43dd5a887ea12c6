"""Who is in the group: asked without waiting, and of another client when the first has no answer."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition

from streams.engine.members import Members


class Clock:
    """Time as told."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Field:
    """Admin clients that answer when they are told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clients: list[list[tuple[Future[Any], float]]] = []
        self.members = Members(self.connect, self.clock, "positions", "positions-0")  # type: ignore[arg-type]

    def connect(self) -> Any:
        asked: list[tuple[Future[Any], float]] = []
        self.clients.append(asked)

        def describe(groups: list[str], *, request_timeout: float) -> dict[str, Future[Any]]:
            asked.append((Future(), request_timeout))
            return {groups[0]: asked[-1][0]}

        return SimpleNamespace(describe_consumer_groups=describe)

    def look(self, later: float = 0.0) -> Any:
        self.clock.now += later
        return self.members.look(4)

    def answer(self, *owned: int) -> None:
        assignment = SimpleNamespace(topic_partitions=[TopicPartition("ticks", p) for p in owned])
        member = SimpleNamespace(member_id="m", group_instance_id="positions-0", assignment=assignment)
        found = SimpleNamespace(state=ConsumerGroupState.STABLE, members=[member])
        self.clients[-1][-1][0].set_result(found)


def test_members_when_a_partition_is_nobodys_twice_it_is_abandoned():
    field = Field()
    for _ in range(2):
        assert field.look(4.0) is None
        assert not field.members.abandoned
        field.answer(0, 1, 3)
        assert len(field.look()) == 1
    assert field.members.abandoned == [2]


def test_members_when_the_question_fails_it_is_asked_again():
    field = Field()
    field.look()
    field.clients[-1][-1][0].set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
    assert field.look() is None
    field.look(4.0)
    field.answer(0, 1, 2, 3)
    assert len(field.look()) == 1
    assert len(field.clients) == 1


def test_members_when_nobody_answers_another_client_asks_and_no_question_is_ever_taken_back():
    field = Field()
    field.look()
    field.look(9.0)
    assert [len(asked) for asked in field.clients] == [1]
    field.look(2.0)
    assert [len(asked) for asked in field.clients] == [1, 1]
    field.answer(0, 1, 2, 3)
    assert len(field.look()) == 1
    assert {patience for asked in field.clients for _, patience in asked} == {3600.0}
