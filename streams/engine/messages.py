"""What the client hands over where it fetches: records, ends of partitions, and errors among them. Pure."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message

from streams.engine.errors import Replaced, classify


def joined(first: list[Message], more: list[Message]) -> list[Message]:
    """What two calls brought, in order: a pause between them makes the client fetch the first again."""
    if more and _is_after(first[0], more[0]):
        return more
    return first + more


def is_failure(message: Message) -> bool:
    """Whether it is an error and not just the end of a partition."""
    error = message.error()
    return error is not None and error.code() != KafkaError._PARTITION_EOF


def sorted_out(messages: list[Message]) -> tuple[list[Message], list[Message]]:
    """Records and ends of partitions; raises the verdict on any error."""
    good: list[Message] = []
    ends: list[Message] = []
    for message in messages:
        error = message.error()
        if error is None:
            good.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ends.append(message)
        else:
            raise classify(error, f"consuming {message.topic()}[{message.partition()}]@{message.offset()}")
    return good, ends


def replaced_among(messages: list[Message]) -> Replaced | None:
    """The error that says that somebody has taken this member's place, if one does."""
    for message in messages:
        error = message.error()
        if error is not None and isinstance(found := classify(error, "consuming"), Replaced):
            return found
    return None


def _is_after(one: Message, other: Message) -> bool:
    """Whether ``one`` comes after ``other`` in the same partition, or is the same."""
    at_same = one.partition() == other.partition() and one.topic() == other.topic()
    return at_same and (other.offset() or 0) <= (one.offset() or 0)
