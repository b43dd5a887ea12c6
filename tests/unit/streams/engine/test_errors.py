"""What an error means: each group of codes has its reaction."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.engine.errors import Abortable, Corrupted, Fatal, Migrated, Replaced, classify

TWIN = "Broker: Static consumer fenced by other consumer with same group.instance.id"


def error(code: int, text: str = "why", *, fatal: bool = False, abortable: bool = False) -> KafkaError:
    return KafkaError(code, text, fatal, False, abortable)


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        (error(KafkaError._FENCED, fatal=True), Migrated),
        (error(KafkaError.PRODUCER_FENCED, fatal=True), Migrated),
        (error(KafkaError.INVALID_PRODUCER_EPOCH), Migrated),
        (error(KafkaError.UNKNOWN_MEMBER_ID, abortable=True), Migrated),
        (error(KafkaError._MAX_POLL_EXCEEDED), Migrated),
        (error(KafkaError.ILLEGAL_GENERATION), Migrated),
        (error(KafkaError.ILLEGAL_GENERATION, abortable=True), Abortable),
        (error(KafkaError.REBALANCE_IN_PROGRESS, abortable=True), Abortable),
        (error(KafkaError.FENCED_INSTANCE_ID, abortable=True), Replaced),
        (error(KafkaError._FATAL, f"Fatal error: {TWIN}: why"), Replaced),
        (error(KafkaError._FATAL, "Fatal error: something else"), Corrupted),
        (error(KafkaError.NOT_ENOUGH_REPLICAS, abortable=True), Abortable),
        (error(KafkaError._TIMED_OUT), Corrupted),
        (error(KafkaError._TIMED_OUT, abortable=True), Corrupted),  # the request may still be on its way
        (error(KafkaError.REQUEST_TIMED_OUT, abortable=True), Corrupted),
        (error(KafkaError.COORDINATOR_NOT_AVAILABLE, abortable=True), Corrupted),
        (error(KafkaError._TRANSPORT), Corrupted),
        (error(KafkaError._ALL_BROKERS_DOWN), Corrupted),
        (error(KafkaError._STATE), Corrupted),
        (error(KafkaError.INVALID_TXN_STATE, fatal=True), Corrupted),
        (error(KafkaError.TOPIC_AUTHORIZATION_FAILED, abortable=True), Fatal),
        (error(KafkaError.GROUP_AUTHORIZATION_FAILED), Fatal),
        (error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True), Fatal),
        (error(KafkaError.MSG_SIZE_TOO_LARGE, abortable=True), Fatal),
        (error(KafkaError.UNKNOWN_TOPIC_OR_PART), Fatal),
        (error(KafkaError._AUTO_OFFSET_RESET), Fatal),
        (error(KafkaError._INVALID_ARG), Fatal),
    ],
)
def test_classify_when_given_an_error_says_what_to_do(cause, verdict):
    for given in (cause, KafkaException(cause)):
        found = classify(given, "committing")
        assert type(found) is verdict
        assert str(found).startswith(f"committing: {cause.name()}: ")
        assert cause.str() in str(found)


def test_classify_when_it_is_hopeless_says_how_to_mend_it():
    assert "gridtape doctor" in str(classify(error(KafkaError.TOPIC_AUTHORIZATION_FAILED), "reading"))
    assert "reset the group's offsets knowingly" in str(classify(error(KafkaError._AUTO_OFFSET_RESET), "reading"))


def test_replaced_when_caught_as_migrated_is_one():
    assert isinstance(classify(error(KafkaError.FENCED_INSTANCE_ID), "committing"), Migrated)
