"""What a Modbus device says of itself: its SunSpec map or its name, and the settings that read it. It only reads."""

from __future__ import annotations

import threading
from typing import Any

from tomlkit.items import Table

from connectors.discovery.document import noted, rows
from connectors.discovery.found import Found, Line, NotFound
from connectors.discovery.tasks import run
from connectors.modbus import identification
from connectors.modbus.config import ModbusDevice, SunSpec
from connectors.modbus.connection import Lines, Lost, Unreachable
from connectors.modbus.line import Framing
from connectors.modbus.messages import Refused
from connectors.modbus.plan import Request
from connectors.modbus.registers import Kind, Type
from connectors.modbus.sunspec.discovery import Found as Map
from connectors.modbus.sunspec.discovery import NotSunSpec
from connectors.modbus.sunspec.discovery import discover as read_map
from connectors.modbus.transport import Link

_PARTS = 8  # of an identification that are asked for
_SHEET = (
    "Modbus does not say what a device has: registers come from its data sheet (kind, address, type, unit). Those "
    "found here show only that it answers; connectors/modbus/example.toml has every key"
)


def discover(section: Table, device: ModbusDevice, stop: threading.Event) -> Found:
    """Ask the device, and fill its ``section``. Raises NotFound."""
    return run(lambda: _discover(section, device), stop)


async def _discover(section: Table, device: ModbusDevice) -> Found:
    link = Link(device, Lines().to(device))
    how = SunSpec.model_validate({})
    try:
        try:
            told, _ = await read_map(link, device, how)
        except Unreachable:
            raise
        except NotSunSpec:
            places = ", ".join(map(str, how.bases))
            return await _plain(section, device, link, f"it has no SunSpec map at holding {places}")
        except Lost as error:  # no answer to that; perhaps to something else
            return await _plain(section, device, link, f"whether it has a SunSpec map is not known: {error}")
        return _described(section, device, told)
    except Unreachable as error:
        raise NotFound(str(error)) from error
    except Lost as error:
        raise NotFound(f"{error}; is the unit right (modbus://HOST:PORT?unit={device.unit_id})?") from error
    finally:
        link.leave()


def _described(section: Table, device: ModbusDevice, told: Map) -> Found:
    section.add("sunspec", noted(True, f"{told.nameplate}, {len(told.registers)} points"))
    found = Found(readable=True)
    for one in told.registers:
        seen = "perhaps" if one.point in told.optional else "SunSpec"
        found.lines.append(Line(f"{device.name}/{one.point}", f"{one.kind} {one.address}", one.type, one.unit, seen))
    found.notes.append(f"a SunSpec device ({told.nameplate}): it needs no registers in the settings")
    if told.optional:
        found.notes.append("perhaps: what a device may leave out; it has samples from its first value on")
    return found


async def _plain(section: Table, device: ModbusDevice, link: Link, why: str) -> Found:
    found = Found(notes=[why])
    if name := await _identified(link, device):
        found.notes.append(f"it says of itself: {name}")
    entries = await _answering(link, device, found)
    if entries:
        if name:
            section.add("asset", name[:200])
        section.add("registers", rows(entries))
        found.readable = True
        found.notes.append(_SHEET)
    return found


async def _identified(link: Link, device: ModbusDevice) -> str:
    """Vendor, product and revision; empty where it does not say. RTU frames of this function do not tell their end."""
    if device.framing in (Framing.RTU, Framing.RTU_OVER_TCP):
        return ""
    objects: dict[int, str] = {}
    first = 0
    for _ in range(_PARTS):
        try:
            said = await link.ask("identification", identification.question(first), identification.answer)
        except Unreachable:
            raise
        except (Lost, Refused):
            break
        objects |= said.objects
        if said.following is None:
            break
        first = said.following
    return str(identification.Said(objects, None)) if objects else ""


async def _answering(link: Link, device: ModbusDevice, found: Found) -> list[tuple[dict[str, Any], str]]:
    """Entries for the first address of each table that can be read. Raises Lost when none answers at all."""
    entries: list[tuple[dict[str, Any], str]] = []
    silent: list[Lost] = []
    for kind in Kind:
        place = f"{kind} 0"
        try:
            (word,) = await link.read(Request(kind, 0, 1))
        except Unreachable:
            raise
        except (Lost, Refused) as error:
            silent += [error] if isinstance(error, Lost) else []
            found.lines.append(Line("", place, "", "", f"not read: {error}"))
            continue
        type_ = Type.BOOL if kind.is_bit else Type.UINT16
        point = f"{kind}_0"
        shown = str(int(word)) if kind.is_bit else f"{word} (0x{word:04x})"
        entry = {"point": point, "kind": kind.value, "address": 0, "type": type_.value, "unit": "1"}
        entries.append((entry, f"{shown} now; what is it?"))
        found.lines.append(Line(f"{device.name}/{point}", place, type_.value, shown, "answers"))
    if len(silent) == len(Kind):
        raise silent[0]
    return entries
