"""``gridtape modbus write``: one value into one device, shown first, and never without a record of it in Kafka."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import socket
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
from msgspec import structs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors import clock
from connectors.config import load
from connectors.modbus.config import ModbusDevice
from connectors.modbus.connection import Lost
from connectors.modbus.messages import Refused, wire
from connectors.modbus.profile import profile
from connectors.modbus.writing.encoder import Unwritable
from connectors.modbus.writing.writer import Plan, Result, Writer
from processors.wording import clip, derived_id
from schemas import topics
from schemas.base import Identifier
from schemas.writes import Write, WriteOutcome
from streams import control, pipeline
from streams.commands.describe import plain
from streams.commands.errors import CommandError
from streams.commands.quiet import quiet
from streams.engine import layout
from streams.settings import Settings

_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9])?")
_LARGEST = 10**18
_PATIENCE_SECONDS = 5.0
_STYLES = {WriteOutcome.WRITTEN: "bold green", WriteOutcome.UNKNOWN: "bold yellow"}
Record = Callable[[Write], None]


def write(
    file: Path, device: str, point: str, value: str, reason: str, record: Record | None, console: Console
) -> bool:
    """Write ``value`` (in the point's unit) with ``record``, or show what that would do without; true when all is well.

    ``record`` is given every attempt, before anything is sent and after. Raises CommandError when nothing was written.
    """
    asked = _number(value)
    try:
        msgspec.convert(point, Identifier)
    except msgspec.ValidationError as error:
        raise CommandError(f"{point!r} is no name of a point") from error
    if not reason.strip():
        raise CommandError("--reason is empty: say why, for those who read it later")
    return asyncio.run(_write(_found(file, device), point, asked, reason, record, console))


def in_kafka(settings: Settings) -> Record:
    """Records go to the topic ``writes``, each acknowledged by Kafka before the next step.

    Raises EngineError when Kafka cannot be reached or the topic is not as it must be; what is returned raises
    ControlError when Kafka does not take a record.
    """
    cluster = quiet(settings.cluster())
    specs = [spec for spec in pipeline.layout(settings.partitions) if spec.name == topics.writes.name]
    layout.ensure(cluster, specs, replication=settings.replication, timeout=_PATIENCE_SECONDS)
    return lambda one: control.publish(cluster, [(topics.writes, one.device, one)], settings.partitions)


async def _write(
    device: ModbusDevice, point: str, asked: Decimal, reason: str, record: Record | None, console: Console
) -> bool:
    attempt = _attempt(device, point, asked, reason)
    writer = Writer(device)
    try:
        try:
            plan = await writer.plan(point, asked)
        except (Unwritable, Lost, Refused) as problem:
            raise await _refused(attempt, str(problem), record) from problem
        _show(device, point, plan, console)
        if record is None:
            console.print("nothing was written; --yes does it")
            return True
        attempt = _planned(attempt, plan)
        try:
            await asyncio.to_thread(record, attempt)
        except control.ControlError as error:
            raise CommandError(
                f"nothing was written to {device.name}, because the attempt could not be recorded: {error}"
            ) from error
        result = await writer.carry_out(plan)
    finally:
        writer.leave()
    console.print(Text.assemble((result.outcome.value, _STYLES.get(result.outcome, "bold red")), ": ", _said(result)))
    await _conclude(attempt, result, record)
    return result.outcome is WriteOutcome.WRITTEN


async def _refused(attempt: Write, why: str, record: Record | None) -> CommandError:
    """The refusal in words, recorded if attempts are."""
    told = f"nothing was written: {why}"
    if record is not None:
        try:
            await asyncio.to_thread(record, _stamped(attempt, outcome=WriteOutcome.REFUSED, detail=clip(why)))
        except control.ControlError as error:
            told += f"; and the attempt could not be recorded: {error}"
    return CommandError(plain(told))


async def _conclude(attempt: Write, result: Result, record: Record) -> None:
    """Record the outcome. Raises CommandError when only the attempt is recorded."""
    after = result.after
    seen = {} if after is None else {"after": after.value, "raw_after": after.raw}
    try:
        await asyncio.to_thread(record, _stamped(attempt, outcome=result.outcome, detail=clip(_said(result)), **seen))
    except control.ControlError as error:
        raise CommandError(
            f"the attempt is recorded as {attempt.write_id}, but not its outcome ({result.outcome.value}): {error}"
        ) from error


def _attempt(device: ModbusDevice, point: str, asked: Decimal, reason: str) -> Write:
    """As far as it is known before anybody looks."""
    now, host = clock.now(), socket.gethostname()
    return Write(
        write_id=derived_id("write", host, os.getpid(), now),
        actor=_user(),
        host=clip(host),
        reason=clip(plain(reason)),
        device=device.name,
        point=point,
        protocol=profile(device, ()).protocol,
        place=f"{device.address} unit {device.unit_id}",
        asked=asked,
        outcome=WriteOutcome.ASKED,
        asked_time=now,
        event_time=now,
        receive_time=now,
    )


def _planned(attempt: Write, plan: Plan) -> Write:
    return _stamped(
        attempt,
        unit=plan.register.unit,
        address=str(plan.change.request),
        function=int(plan.change.function),
        raw=wire(plan.change.words).hex(" "),
        before=plan.before.value,
        raw_before=plan.before.raw,
    )


def _stamped(attempt: Write, **changes: object) -> Write:
    now = clock.now()
    return structs.replace(attempt, event_time=now, receive_time=now, **changes)


def _user() -> str:
    """The operating system's user, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _said(result: Result) -> str:
    return plain(result.detail)


def _number(text: str) -> Decimal:
    """Raises CommandError."""
    if not _NUMBER.fullmatch(text) or abs(Decimal(text)) > _LARGEST:
        raise CommandError(
            f"{text!r} is no number within ±1e18; expected one such as 42, -0.5 or 1e3 (on and off: 1, 0)"
        )
    return Decimal(text)


def _found(file: Path, name: str) -> ModbusDevice:
    """Raises ConfigError and CommandError."""
    known = {device.name: device for device in load(file).modbus}
    if name not in known:
        raise CommandError(f"{file} has no Modbus device {name}; it has {', '.join(known) or 'none'}")
    return known[name]


def _show(device: ModbusDevice, point: str, plan: Plan, console: Console) -> None:
    change = plan.change
    bits = "" if change.mask is None else f", of it the bits {change.mask:016b}"
    rows = {
        "device": f"{device.name}, {device.address} unit {device.unit_id}",
        "point": f"{point}, may be set to {plan.allowed} {plan.register.unit}",
        "address": str(change.request) + bits,
        "function": str(change.function),
        "raw": wire(change.words).hex(" "),
        "now": str(plan.before),
        "new": str(plan.new),
    }
    table = Table(box=None, show_header=False)
    for head, said in rows.items():
        table.add_row(head, Text(plain(said)))
    console.print(table)
