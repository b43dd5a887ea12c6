"""What a command cannot do, in words for the person who asked."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from streams.engine.errors import Corrupted

_NO_ANSWER = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}
_WHERE_TO_LOOK = "Is the broker running and the address right (GRIDTAPE_KAFKA)? `gridtape doctor` looks closer."


class CommandError(Exception):
    """The message says what happened and what to do."""


def of_kafka(error: Exception) -> str | None:
    """What Kafka's client or the engine could not do, in words; None when ``error`` is no such thing."""
    if isinstance(error, KafkaException):
        cause, text = error, f"Kafka: {error.args[0].str()}"
    elif isinstance(error, Corrupted) and isinstance(error.__cause__, KafkaException):
        cause, text = error.__cause__, str(error)
    else:
        return None
    return f"{text}. {_WHERE_TO_LOOK}" if cause.args[0].code() in _NO_ANSWER else text
