"""The error taxonomy: what went wrong decides the reaction, as in Kafka Streams.

========== ================================================== =======================================================
class      meaning                                            reaction
========== ================================================== =======================================================
Migrated   fenced, or the group has gone on without us        drop the tasks, new producer and consumer, rejoin
Replaced   a Migrated: our place in the group is taken        the same; at the second time stop: a twin runs
Corrupted  an indefinite outcome: state cannot be trusted     as Migrated; state is rebuilt from the changelog
Abortable  this transaction failed, the producer is fine      abort, drop the overlay, go back to the committed offsets
Fatal      no retry can help                                  stop and say why
========== ================================================== =======================================================
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException


class EngineError(Exception):
    """Base of the taxonomy."""


class Migrated(EngineError):
    """Another worker owns these tasks now."""


class Replaced(Migrated):
    """Another member has taken this one's place in the group: a twin, or this worker's own request sent twice."""


class Corrupted(EngineError):
    """It is not known whether the last commit happened."""


class Abortable(EngineError):
    """The open transaction must be aborted; nothing of it was seen by anybody."""


class Fatal(EngineError):
    """The worker must stop; the message says why and what to do."""


_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError._ASSIGNMENT_LOST,
}
_HOPELESS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the principal lacks a right on the topic; see `gridtape doctor`",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the principal lacks Read on the consumer group; see `gridtape doctor`",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the principal lacks Write on the transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the principal lacks IdempotentWrite on the cluster",
    KafkaError.SASL_AUTHENTICATION_FAILED: "the user name or password is wrong",
    KafkaError._AUTHENTICATION: "the credentials or certificates are not accepted",
    KafkaError.UNSUPPORTED_VERSION: "the broker is too old; gridtape needs Apache Kafka 3.0 or later",
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: "the broker stores an old message format",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: "transaction.timeout.ms is above the broker's transaction.max.timeout.ms",
    KafkaError._UNKNOWN_TOPIC: "the topic does not exist; run `gridtape doctor`",
    KafkaError._UNKNOWN_PARTITION: "the partition does not exist; run `gridtape doctor`",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist; run `gridtape doctor`",
    KafkaError.MSG_SIZE_TOO_LARGE: "an output is larger than the topic's max.message.bytes",
    KafkaError._INVALID_ARG: "a client setting or an argument is not valid",
    KafkaError._AUTO_OFFSET_RESET: (
        "the committed offset is no longer in the topic (expired or deleted); nothing is skipped silently: "
        "reset the group's offsets knowingly"
    ),
}
_PASSING = {KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}
"""A commit that met a rebalance half-way: nobody has taken the tasks away, or a callback will say so."""
_INDEFINITE = {
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""The client says to abort, yet its request may still be under way, and would be taken for one of the next transaction
of the same producer and epoch."""
_REPLACED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()


def classify(error: KafkaError | KafkaException, doing: str) -> EngineError:
    """The taxonomy's verdict on a Kafka error; ``doing`` says in plain words what was attempted."""
    cause: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    code = cause.code()
    text = f"{doing}: {cause.name()}: {cause.str()}"
    if code == KafkaError.FENCED_INSTANCE_ID or (code == KafkaError._FATAL and _REPLACED in cause.str()):
        return Replaced(text)  # a consumer names the reason of a fatal error in its text only
    if code in _HOPELESS:
        return Fatal(f"{text} ({_HOPELESS[code]})")
    if code in _PASSING and cause.txn_requires_abort():
        return Abortable(text)
    if code in _FENCED:
        return Migrated(text)
    if cause.txn_requires_abort() and code not in _INDEFINITE:
        return Abortable(text)
    # Timeouts, transport errors, a broker that is gone: librdkafka cannot say whether the request took effect, and has
    # no KIP-890 with which a retry would be safe. Only a new epoch and a look at the log can tell.
    return Corrupted(text)
