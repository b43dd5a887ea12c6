"""The contracts: a JSON Schema per record and one AsyncAPI document, generated from the Structs and topics.

JSON Schema 2020-12 (json-schema.org/draft/2020-12) for each record; AsyncAPI 3.0.0 (asyncapi.com/docs/reference) with
Kafka bindings 0.5.0 for the topics. AsyncAPI's own schema format is a superset of JSON Schema draft 07, so the records
are embedded there in the words that both drafts share.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from schemas.topics import (
    ALL,
    DAYS,
    HOURS,
    Topic,
    control,
    device_settings,
    fills,
    gaps,
    instruments,
    intents,
    limits,
    rules,
    telemetry,
    ticks,
)

CONTRACTS = Path(__file__).parent / "contracts"
RELEASED = CONTRACTS / "released"
"""The contracts as last released: what :func:`schemas.compatibility.compatible` compares with."""
VERSION = "0.1.0"
"""Version of the contracts; raised when they are released with a change."""
INBOUND = frozenset({telemetry, ticks, gaps, fills, instruments, limits, rules, control, intents, device_settings})
"""Topics that others may write; every topic may be read."""

Document = dict[str, Any]


def documents() -> dict[str, Document]:
    """File name to contract: ``tick.schema.json`` and so on, and ``asyncapi.json``."""
    found = {f"{topic.kind}.schema.json": record_schema(topic) for topic in ALL}
    return {**found, "asyncapi.json": asyncapi()}


def record_schema(topic: Topic[Any]) -> Document:
    """JSON Schema 2020-12 of the record of ``topic``."""
    body = _tidy(msgspec.json.schema(topic.record))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:gridtape:schema:{topic.kind}:v1"}
    return {**head, **body}


def asyncapi() -> Document:
    """AsyncAPI 3.0.0 document of every topic: key, headers, payload, retention; who may send and receive."""
    _, records = msgspec.json.schema_components([t.record for t in ALL], ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "id": "urn:gridtape:contracts",
        "info": {
            "title": "gridtape",
            "version": VERSION,
            "description": "Field telemetry and market ticks in; live positions, limits, alerts and trades out. "
            "Transactions are committed exactly once: read with isolation.level=read_committed.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in ALL},
        "operations": _operations(),
        "components": {
            "messages": {topic.kind: _message(topic) for topic in ALL},
            "schemas": {
                **{name: _draft_07(_tidy(schema)) for name, schema in sorted(records.items())},
                "CloudEventsHeaders": _HEADERS,
            },
        },
    }


_HEADERS: Document = {
    "type": "object",
    "description": "CloudEvents 1.0 in Kafka's binary mode; ce_id is the same when the same event is written again.",
    "properties": {
        "ce_id": {"type": "string"},
        "ce_type": {"type": "string", "description": "gridtape.KIND.v1"},
        "ce_source": {"type": "string", "description": "/gridtape/PROCESS/NAME"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "content-type": {"type": "string", "const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context, where there is one"},
    },
    "required": ["ce_id", "ce_type", "ce_source", "ce_time", "ce_specversion", "content-type"],
}


def _channel(topic: Topic[Any]) -> Document:
    if topic.compacted:
        settings: Document = {"cleanup.policy": ["compact"], "min.compaction.lag.ms": topic.retention_ms}
    else:
        settings = {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms}
    return {
        "address": topic.name,
        "title": topic.name,
        "description": _first_line(topic),
        "messages": {topic.kind: {"$ref": f"#/components/messages/{topic.kind}"}},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": settings, "bindingVersion": "0.5.0"}},
        "x-broadcast": topic.broadcast,
    }


def _message(topic: Topic[Any]) -> Document:
    key = {"type": "string", "description": f"{topic.key}; the part before the first | decides the partition (murmur2)"}
    return {
        "name": f"gridtape.{topic.kind}.v1",
        "title": topic.record.__name__,
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/CloudEventsHeaders"},
        "payload": {"$ref": f"#/components/schemas/{topic.record.__name__}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }


def _operations() -> Document:
    """Seen from gridtape, as AsyncAPI 3 has it: it sends on every topic, and receives what others write."""
    found: Document = {}
    for topic in ALL:
        channel = {"$ref": f"#/channels/{topic.name}"}
        found[f"send-{topic.name}"] = {"action": "send", "channel": channel, "summary": f"Read {topic.name}"}
        if topic in INBOUND:
            found[f"receive-{topic.name}"] = {"action": "receive", "channel": channel, "summary": f"Write {topic.name}"}
    return found


def _tidy(node: Any) -> Any:
    """Docstrings without their indentation; no ``discriminator``, which is OpenAPI's word and not JSON Schema's."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: inspect.cleandoc(value) if name == "description" and isinstance(value, str) else _tidy(value)
        for name, value in node.items()
        if not (name == "discriminator" and isinstance(value, dict) and "propertyName" in value)
    }


def _draft_07(node: Any) -> Any:
    """``prefixItems`` of 2020-12 is ``items`` with a list in draft 07."""
    if isinstance(node, list):
        return [_draft_07(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {"items" if name == "prefixItems" else name: _draft_07(value) for name, value in node.items()}


def _first_line(topic: Topic[Any]) -> str:
    return inspect.cleandoc(topic.record.__doc__ or "").splitlines()[0]


# --- files ------------------------------------------------------------------------------------------------------------


def generate(path: Path = CONTRACTS) -> list[Path]:
    """Write every contract into the folder ``path``, remove those of records that are gone; return the files."""
    path.mkdir(parents=True, exist_ok=True)
    made = documents()
    for stale in path.glob("*.json"):
        if stale.name not in made:
            stale.unlink()
    for name, document in made.items():
        (path / name).write_text(_text(document), encoding="utf-8")
    return [path / name for name in made]


def check(path: Path = CONTRACTS) -> list[str]:
    """What differs between the files in ``path`` and the code, one sentence each; empty when they are current."""
    made = documents()
    there = {file.name for file in path.glob("*.json")}
    found = [f"{path / name} is missing; run gridtape contracts" for name in sorted(made.keys() - there)]
    found += [f"{path / name} belongs to no record; run gridtape contracts" for name in sorted(there - made.keys())]
    for name in sorted(made.keys() & there):
        if (path / name).read_text(encoding="utf-8") != _text(made[name]):
            found.append(f"{path / name} is not what the code says; run gridtape contracts")
    return found


def _text(document: Document) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


# --- the README's table -----------------------------------------------------------------------------------------------


def topic_table(
    writers: Callable[[Topic[Any]], Iterable[str]] | None = None,
    readers: Callable[[Topic[Any]], Iterable[str]] | None = None,
) -> str:
    """Markdown table of the topics: key, record, who writes and reads (as the wiring says), how long it is kept."""
    heads = ["topic", "key", "record", *(["written by"] if writers else []), *(["read by"] if readers else []), "kept"]
    rows = [heads, ["---"] * len(heads)]
    for topic in ALL:
        record = f"[`{topic.record.__name__}`](schemas/contracts/{topic.kind}.schema.json)"
        names = [", ".join(who(topic)) or "anyone" for who in (writers, readers) if who is not None]
        rows.append([f"`{topic.name}`", topic.key.replace("|", "\\|"), record, *names, _kept(topic)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _kept(topic: Topic[Any]) -> str:
    units = ((365 * DAYS, "year"), (DAYS, "day"), (HOURS, "hour"))
    length, unit = next((length, unit) for length, unit in units if topic.retention_ms >= length)
    count = topic.retention_ms // length
    span = f"{count} {unit}{'s' * (count > 1)}"
    kept = f"newest per key; overwritten for {span}" if topic.compacted else span
    return f"{kept}; in every partition" if topic.broadcast else kept
