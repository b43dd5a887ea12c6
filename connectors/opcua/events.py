"""From an OPC UA event notification to a record: which fields are asked for, and what they say. Pure.

Events: OPC 10000-5, section 6.4. Conditions and alarms: OPC 10000-9, section 5. Filters: OPC 10000-4, section 7.22.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from connectors.opcua.values import UnusableTime, micros_of, quality_of, standard, status_name
from schemas.base import Quality
from schemas.events import Event

_LONGEST_ID = 64  # bytes of an EventId that are written out; servers take 16 to 40
_TEXT = 2000  # of schemas.base.Text


class Field(NamedTuple):
    """A field of an event: the type that brings it, and its browse path there; without one, the condition's NodeId."""

    type: int
    path: str


BASE = tuple(
    Field(ObjectIds.BaseEventType, path)
    for path in (
        "EventId",
        "EventType",
        "SourceNode",
        "SourceName",
        "Time",
        "ReceiveTime",
        "Message",
        "Severity",
    )
)
FIELDS = (
    *BASE,
    *(
        Field(ObjectIds.ConditionType, path)
        for path in ("", "ConditionName", "BranchId", "Retain", "EnabledState/Id", "Quality", "Comment")
    ),
    *(Field(ObjectIds.AcknowledgeableConditionType, path) for path in ("AckedState/Id", "ConfirmedState/Id")),
    *(
        Field(ObjectIds.AlarmConditionType, path)
        for path in ("ActiveState/Id", "ActiveState/EffectiveDisplayName", "SuppressedOrShelved")
    ),
    Field(ObjectIds.ExclusiveLimitAlarmType, "LimitState/CurrentState"),
)
Said = Mapping[str, object]
"""What a notification says, by the path of the field."""


def filters(severity: int) -> list[tuple[tuple[Field, ...], ua.EventFilter]]:
    """What to ask for, and with less and less of what not every server knows: the states, the least ``severity``.

    Conditions come whatever their severity: the end of a severe alarm often weighs little.
    """
    wheres = [_at_least(severity), ua.ContentFilter()] if severity > 1 else [ua.ContentFilter()]
    return [
        (chosen, ua.EventFilter(SelectClauses=[_operand(field) for field in chosen], WhereClause=where))
        for where in wheres
        for chosen in (FIELDS, BASE)
    ]


def by_path(chosen: Sequence[Field], values: Sequence[ua.Variant]) -> Said:
    """The values of a notification by path; what the server left out is not in it."""
    return {field.path: variant.Value for field, variant in zip(chosen, values, strict=False) if variant is not None}


def type_of(said: Said) -> ua.NodeId:
    """The event's type; that of all events if the server does not say."""
    found = said.get("EventType")
    return found if isinstance(found, ua.NodeId) else standard(ObjectIds.BaseEventType)


def _severity(said: Said) -> int | None:
    """1 to 1000 by the specification; None without a number that can be one."""
    found = said.get("Severity")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**16 else None


def event_of(
    said: Said, *, device: str, type_name: str, namespaces: Sequence[str], receive_time: int, clock_tolerance: int
) -> Event:
    """The record, not yet numbered. The time is the event's, else the server's, else ``receive_time`` (microseconds).

    ``type_name``: the name of its type; ``namespaces``: the server's, by index. A time more than ``clock_tolerance``
    ahead makes it uncertain. Raises UnusableTime for a time outside the years 2000 to 2099.
    """
    happened, learned = said.get("Time"), said.get("ReceiveTime")
    source_time = _micros_or_none(learned)
    if isinstance(happened, datetime):
        event_time = micros_of(happened)
    else:
        event_time = receive_time if source_time is None else source_time
    status = said.get("Quality")
    code = int(status.value) if isinstance(status, ua.StatusCode) else 0
    quality, reasons = quality_of(code), [status_name(code)] if code & 0xFFFF0000 else []
    if (ahead := event_time - receive_time) > clock_tolerance:
        reasons.append(f"the source's clock is {ahead / 1e6:.1f} s ahead")
        quality = Quality.UNCERTAIN if quality is Quality.GOOD else quality
    return Event(
        device=device,
        event_id=_event_id(said),
        type=type_name[:_TEXT],
        type_id=_place(type_of(said), namespaces) or "",
        source=_text(said.get("SourceName")),
        source_id=_place(said.get("SourceNode"), namespaces) or "",
        severity=_severity(said),
        message=_text(said.get("Message")),
        condition=_text(said.get("ConditionName")),
        condition_id=_place(said.get(""), namespaces),
        branch_id=_place(said.get("BranchId"), namespaces),
        retain=_flag(said.get("Retain")),
        enabled=_flag(said.get("EnabledState/Id")),
        active=_flag(said.get("ActiveState/Id")),
        acknowledged=_flag(said.get("AckedState/Id")),
        confirmed=_flag(said.get("ConfirmedState/Id")),
        suppressed=_flag(said.get("SuppressedOrShelved")),
        level=_text(said.get("LimitState/CurrentState")) or _text(said.get("ActiveState/EffectiveDisplayName")),
        comment=_text(said.get("Comment")),
        quality=quality,
        reason="; ".join(reasons),
        sequence=0,
        event_time=event_time,
        source_time=source_time,
        receive_time=receive_time,
    )


def _operand(field: Field) -> ua.SimpleAttributeOperand:
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=standard(field.type),
        BrowsePath=[ua.QualifiedName(name, 0) for name in field.path.split("/") if name],
        AttributeId=AttributeIds.Value if field.path else AttributeIds.NodeId,
    )


def _at_least(severity: int) -> ua.ContentFilter:
    least = ua.LiteralOperand(Value=ua.Variant(severity, ua.VariantType.UInt16))
    operands = [_operand(Field(ObjectIds.BaseEventType, "Severity")), least]
    condition = ua.LiteralOperand(Value=ua.Variant(standard(ObjectIds.ConditionType), ua.VariantType.NodeId))
    either = [ua.ElementOperand(Index=1), ua.ElementOperand(Index=2)]
    return ua.ContentFilter(
        Elements=[
            ua.ContentFilterElement(FilterOperator=ua.FilterOperator.Or, FilterOperands=either),
            ua.ContentFilterElement(FilterOperator=ua.FilterOperator.GreaterThanOrEqual, FilterOperands=operands),
            ua.ContentFilterElement(FilterOperator=ua.FilterOperator.OfType, FilterOperands=[condition]),
        ]
    )


def _event_id(said: Said) -> str:
    found = said.get("EventId")
    if isinstance(found, bytes) and 0 < len(found) <= _LONGEST_ID:
        return found.hex()
    # A server that gives none, or a book, still says the same of the same event.
    digest = hashlib.sha256(found if isinstance(found, bytes) and found else repr(sorted(said.items())).encode())
    return f"sha256-{digest.hexdigest()}"


def _micros_or_none(stamp: object) -> int | None:
    try:
        return micros_of(stamp) if isinstance(stamp, datetime) else None
    except UnusableTime:  # it is no more than an addition
        return None


def _flag(found: object) -> bool | None:
    return found if isinstance(found, bool) else None


def _text(found: object) -> str:
    text = found.Text if isinstance(found, ua.LocalizedText) else found
    return text[:_TEXT] if isinstance(text, str) else ""


def _place(found: object, namespaces: Sequence[str]) -> str | None:
    """A node by the URI of its namespace (OPC 10000-6, section 5.1.12); None without a node."""
    if not isinstance(found, ua.NodeId) or found.is_null():
        return None
    index, text = found.NamespaceIndex, str(ua.NodeId.to_string(found))
    if 0 < index < len(namespaces):
        text = f"nsu={namespaces[index]};{text.removeprefix(f'ns={index};')}"
    return text[:_TEXT]
