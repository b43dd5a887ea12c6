"""``gridtape connect discover``: what a device, server or broker offers, and a settings file that reads it."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import tomlkit
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tomlkit import TOMLDocument
from tomlkit.items import AoT

from connectors.discovery.document import remark, written
from connectors.discovery.found import Found, NotFound
from connectors.discovery.target import Place, TargetError, addressed, beside, places, stored
from connectors.extras import libraries
from connectors.mqtt import topics
from connectors.mqtt.broker import Broker
from connectors.opcua.config import OpcUaServer
from connectors.sparkplug.address import NAMESPACE
from streams.commands.describe import plain
from streams.commands.errors import CommandError

_SHOWN = 200
_CELL = 200


@dataclass(frozen=True)
class How:
    """How is looked. ``seconds``: at most; ``filters``: which topics are listened for, left out: all of the section's
    kind; ``rebirth``: Sparkplug nodes are asked for their births."""

    seconds: float = 10.0
    filters: Sequence[str] = ()
    allow_plaintext: bool = False
    rebirth: bool = False


def discover(target: str, how: How, out: Path | None, stop: threading.Event, console: Console, *, force: bool) -> bool:
    """Show what there is at ``target``, and write settings that read it to ``out``; true when there is something.

    Raises CommandError or ConfigError.
    """
    if out is not None and out.exists() and not force:
        raise CommandError(f"{out} exists already; --force overwrites it")
    if out is not None and not out.parent.is_dir():
        raise CommandError(f"{out} cannot be written: there is no folder {out.parent}")
    how = replace(how, filters=[_filter(one) for one in how.filters])
    try:
        document, folder = _opened(target, how)
        looked_at = places(document, target, folder)
        if out is not None:
            places(document, out, out.parent)  # relative paths hold there, too
        found = _look_at_each(document, looked_at, how, stop, console)
    except (NotFound, TargetError) as error:
        raise CommandError(str(error)) from error
    _show([one for _, one in found], console)
    readable = any(one.readable for _, one in found)
    if not readable:
        words = "was found that can be read" + (f"; {out} is not written" if out else "")
        console.print(Text.assemble(("nothing", "red"), " ", words), soft_wrap=True)
    elif out is not None:
        for place, one in found:
            if not one.readable:
                _remove(document, place)
        _write(document, target, out, console)
    return readable


def _filter(text: str) -> str:
    """As it is subscribed; named levels are allowed as in settings."""
    try:
        return topics.parse(text).filter
    except ValueError as error:
        raise CommandError(f"--filter {text}: {error}") from error


def _opened(target: str, how: How) -> tuple[TOMLDocument, Path]:
    """The settings to be filled, and where relative paths in them start."""
    if "://" in target:
        return addressed(target, allow_plaintext=how.allow_plaintext), Path()
    path = Path(target)
    return stored(path), path.parent


def _look_at_each(
    document: TOMLDocument, looked_at: Sequence[Place], how: How, stop: threading.Event, console: Console
) -> list[tuple[Place, Found]]:
    """Of several those that do not answer do not stop the others. Raises NotFound when it is the only one."""
    found: list[tuple[Place, Found]] = []
    for place in looked_at:
        try:
            found += _look(document, place, how, stop, console)
        except NotFound as error:
            if len(looked_at) == 1:
                raise
            who = f"{place.kind} {place.table.get('name', '')}".rstrip()
            found.append((place, Found(notes=[f"{who} is left out: {error}"])))
    return found


def _look(
    document: TOMLDocument, place: Place, how: How, stop: threading.Event, console: Console
) -> list[tuple[Place, Found]]:
    """Only the libraries of what is looked at are loaded."""
    connection = place.connection
    if isinstance(connection, Broker):
        return _hear(document, place, connection, how, stop, console)
    if isinstance(connection, OpcUaServer):
        with libraries("opcua"):
            from connectors.opcua.discover import discover as discover_opcua
        return [(place, discover_opcua(place.table, connection, how.seconds, stop))]
    with libraries("modbus"):
        from connectors.modbus.discover import discover as discover_modbus
    return [(place, discover_modbus(place.table, connection, stop))]


def _hear(
    document: TOMLDocument, place: Place, broker: Broker, how: How, stop: threading.Event, console: Console
) -> list[tuple[Place, Found]]:
    """Of a section ``mqtt`` also what speaks Sparkplug on its broker, unless that has a section of its own."""
    alone = place.kind == "sparkplug"
    with libraries(place.kind):
        from connectors.mqtt.discovery.listen import listen
        from connectors.sparkplug.discover import Rebirths
        from connectors.sparkplug.discover import discover as discover_sparkplug

        if not alone:
            from connectors.mqtt.discover import discover as discover_mqtt
    filters = how.filters or ([f"{NAMESPACE}/#"] if alone else ["#"])
    console.print(
        f"listening to {broker.host}:{broker.port} for {how.seconds:g} s; Ctrl-C ends it sooner", soft_wrap=True
    )
    hearing = listen(broker, filters, how.seconds, stop, Rebirths() if how.rebirth else None)
    if alone:
        return [(place, discover_sparkplug(place.table, hearing))]
    plain_found = discover_mqtt(place.table, hearing, filters)
    found = [(place, plain_found)]
    if "sparkplug" not in document and any(one.topic.startswith(f"{NAMESPACE}/") for one in hearing.heard):
        other = beside(place)
        found.append((other, discover_sparkplug(other.table, hearing, plain_found.devices)))
        document.add("sparkplug", other.table)
    return found


def _remove(document: TOMLDocument, place: Place) -> None:
    section = document[place.kind]
    if isinstance(section, AoT) and len(section) > 1:
        section.remove(place.table)
    else:
        document.remove(place.kind)


def _show(found: Sequence[Found], console: Console) -> None:
    lines = [line for one in found for line in one.lines]
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("point", overflow="fold", ratio=3)
    table.add_column("found at", overflow="fold", ratio=4)
    table.add_column("kind", overflow="fold")
    table.add_column("value", overflow="fold", ratio=2)
    table.add_column("seen", overflow="fold", ratio=2)
    for line in lines[:_SHOWN]:
        table.add_row(*(plain(cell[:_CELL]) for cell in line), style="" if line.point else "dim")
    if lines:
        console.print(table)
    if len(lines) > _SHOWN:
        console.print(f"and {len(lines) - _SHOWN} more")
    for note in dict.fromkeys(note for one in found for note in one.notes):
        console.print(Text.assemble(("note", "yellow"), " ", plain(note)), soft_wrap=True)


def _write(document: TOMLDocument, target: str, out: Path, console: Console) -> None:
    began = f"Found at {target} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    head = tomlkit.document()
    for line in (f"{began} Units that nobody told are 1:", "say them (UCUM: MW, kW.h, Cel, bar, %)."):
        head.add(tomlkit.comment(remark(line)))
    head.add(tomlkit.nl())
    text = tomlkit.dumps(head) + written(document, out)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from error
    named = shlex.quote(str(out))
    console.print(f"written: {out}. Look at it: gridtape connect check {named}", soft_wrap=True, markup=False)
