"""Publishing what people decide, all or nothing; what everybody needs goes into every partition."""

from __future__ import annotations

import json
import os
import socket
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer

from schemas import cloudevents, topics
from schemas.base import key_of, route_of
from schemas.control import KillSwitch
from schemas.topics import Topic
from streams.engine.cluster import Cluster
from streams.engine.partitions import partition_of

Keyed = tuple[Topic[Any], str, Any]
_KINDS: dict[str, tuple[Topic[Any], tuple[str, ...]]] = {
    "instruments": (topics.instruments, ("instrument",)),
    "limits": (topics.limits, ("limit_id",)),
    "rules": (topics.rules, ("rule_id",)),
    "control": (topics.control, ("scope",)),
    "fills": (topics.fills, ("instrument",)),
    "device_settings": (topics.device_settings, ("process", "device")),
}
"""Table of the file, its topic, and the fields that make the key."""
_QUEUED = 10_000
"""Records that may wait in the client."""


class ControlError(Exception):
    """What was to be published cannot be; the message names file, key and what is allowed."""


def read_file(path: Path, now: int) -> list[Keyed]:
    """Records of a TOML file with tables [[instruments]], [[limits]], [[rules]], [[control]], [[fills]],
    [[device_settings]].

    A file named ``.json`` holds the same as one object of arrays.

    ``now`` (microseconds) becomes event and receive time, and the version where the file gives none, so that a later
    publication always has the higher version. Raises ControlError with all errors at once.
    """
    document = _document(path)
    errors: list[str] = []
    records: list[Keyed] = []
    for table, rows in document.items():
        if table not in _KINDS:
            errors.append(f"{path}: [[{table}]] is not known; allowed are {', '.join(sorted(_KINDS))}")
            continue
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            errors.append(f"{path}: {table} must be written as tables, each under a line [[{table}]] (JSON: an array)")
            continue
        topic, key_fields = _KINDS[table]
        for number, row in enumerate(rows):
            stamped = {"event_time": now, "receive_time": now, **row}
            if "version" in topic.record.__struct_fields__:
                stamped.setdefault("version", now)
            try:
                record = msgspec.convert(stamped, topic.record, strict=False)
            except (msgspec.ValidationError, ValueError) as error:
                errors.append(f"{path}: {table}[{number}]: {error}")
                continue
            if unknown := sorted(set(row) - set(topic.record.__struct_fields__)):
                allowed = ", ".join(topic.record.__struct_fields__)
                errors.append(f"{path}: {table}[{number}]: unknown {', '.join(unknown)}; allowed are {allowed}")
            records.append((topic, key_of(*(getattr(record, field) for field in key_fields)), record))
    if errors:
        raise ControlError("nothing was published:\n" + "\n".join(f"  {e}" for e in errors))
    return records


def _document(path: Path) -> dict[str, Any]:
    kind = "JSON" if path.suffix == ".json" else "TOML"
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except OSError as error:
        raise ControlError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # what both parsers raise, and decoding too
        raise ControlError(f"{path} is not {kind}: {error}") from error
    if not isinstance(document, dict):
        raise ControlError(f'{path} must hold an object such as {{"limits": [...]}}')
    return document


def publish(cluster: Cluster, records: Sequence[Keyed], partitions: int, *, timeout: float = 15.0) -> None:
    """Write records in one transaction, broadcast ones into every partition.

    Raises ControlError when Kafka refuses, or has not answered after ``timeout`` seconds.
    """
    producer = cluster.publisher(
        records[0][0].name if records else "",
        transactional_id=cluster.named(f"control-{socket.gethostname()}-{os.getpid()}"),
        transaction_timeout_ms=15_000,
    )
    try:
        producer.init_transactions(timeout)
        producer.begin_transaction()
        for topic, key, record in records:
            headers = cloudevents.headers(topic.kind, "operator", _event_id(topic, key, record), record.event_time)
            name, value = cluster.named(topic.name), topic.encode(record)
            for place in _places(topic, key, partitions):
                if len(producer) > _QUEUED:
                    producer.flush(timeout)
                producer.produce(name, value, key.encode(), place, headers=headers)
        producer.commit_transaction(timeout)
    except KafkaException as error:
        _give_up(producer)
        raise ControlError(
            f"Kafka at {cluster.bootstrap} did not take it, nothing was published: {error.args[0].str()}. "
            "`gridtape doctor` looks closer."
        ) from error
    finally:
        del producer  # the error's traceback would keep it, and its threads would go on trying


def _give_up(producer: Producer) -> None:
    """Abort, so that nobody who reads committed records has to wait for the transaction's timeout."""
    try:
        producer.abort_transaction(5)
    except KafkaException:
        producer.purge()  # there was none to abort, or the broker is away: then the timeout must do


def kill_switch(scope: str, engaged: bool, reason: str, actor: str, now: int) -> Keyed:
    """The record of a switch. Raises ControlError when the scope is neither ``all`` nor ``book:NAME``."""
    row = {
        "scope": scope,
        "version": now,
        "engaged": engaged,
        "reason": reason,
        "actor": actor,
        "event_time": now,
        "receive_time": now,
    }
    try:
        return topics.control, scope, msgspec.convert(row, KillSwitch)
    except msgspec.ValidationError as error:
        raise ControlError(f"kill switch: {error}") from error


def _places(topic: Topic[Any], key: str, partitions: int) -> Iterable[int]:
    if topic.broadcast:
        return range(partitions)
    return (partition_of(route_of(key), partitions),) if route_of(key) != key else (-1,)


def _event_id(topic: Topic[Any], key: str, record: Any) -> str:
    return getattr(record, "fill_id", None) or f"{topic.name}-{key}-{getattr(record, 'version', record.event_time)}"
