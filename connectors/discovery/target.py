"""Where to look: an address, or a settings file whose sections say only how to connect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

import tomlkit
from pydantic import BaseModel, ValidationError
from tomlkit import TOMLDocument
from tomlkit.items import AoT, Table

from connectors import config
from connectors.config import ConfigError
from connectors.discovery.document import section, sections
from connectors.discovery.names import name_of
from connectors.fields import is_loopback, refuse_plaintext
from connectors.modbus.config import ModbusDevice
from connectors.mqtt.broker import Broker
from connectors.mqtt.config import MqttConfig
from connectors.opcua.config import OpcUaServer
from connectors.sparkplug.config import SparkplugConfig
from connectors.templates import Templates

_FORMS = "mqtt://HOST:1883, mqtts://HOST:8883, opc.tcp://HOST:4840/PATH, modbus://HOST:502?unit=1, or a settings file"
_NAME = "of the device in every record: choose one, and keep it"


Connection = Broker | OpcUaServer | ModbusDevice


class TargetError(ValueError):
    """The address cannot be used; the message says why and what is expected."""


class Place(NamedTuple):
    """One section: ``kind`` is its name, ``table`` the section itself, ``connection`` what it says."""

    kind: str
    table: Table
    connection: Connection


class _Kind(NamedTuple):
    """``model``: what reads the connection. ``content``: the keys that say what is read, which must not be there.

    ``others``: further keys that may be. ``several``: a section in two brackets. ``stub``: what the model needs.
    """

    model: type[Connection]
    content: frozenset[str]
    others: frozenset[str] = frozenset()
    several: bool = False
    stub: Mapping[str, Any] = {}


def _keys(whole: type[BaseModel], *content: str) -> tuple[frozenset[str], frozenset[str]]:
    """``content``, and the keys of a section that are neither that nor a broker's."""
    return frozenset(content), frozenset(whole.model_fields) - Broker.model_fields.keys() - set(content)


_KINDS = {
    "mqtt": _Kind(Broker, *_keys(MqttConfig, "devices", "subscriptions", "status")),
    "sparkplug": _Kind(Broker, *_keys(SparkplugConfig, "devices")),
    "opcua": _Kind(OpcUaServer, frozenset({"nodes", "browse", "events"}), several=True, stub={"events": [{}]}),
    "modbus": _Kind(ModbusDevice, frozenset({"registers", "sunspec"}), several=True, stub={"sunspec": True}),
}


def addressed(target: str, *, allow_plaintext: bool) -> TOMLDocument:
    """A document with the connection to an address. Raises TargetError."""
    try:
        parts = urlsplit(target)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise TargetError(f"{target}: {error}; expected {_FORMS}") from error
    make = _SCHEMES.get(parts.scheme)
    if make is None or not host:
        raise TargetError(f"{target} is no address that can be looked at; expected {_FORMS}")
    if parts.username or parts.password:
        raise TargetError(
            "a user or password does not belong into the address: write a settings file with the connection only, "
            "where password_env or password_file says where the password stands, and give that"
        )
    kind, entries, encrypted = make(parts, host)
    try:
        refuse_plaintext(host, encrypted=encrypted, allow_plaintext=allow_plaintext)
    except ValueError as error:
        raise TargetError(f"{error}; here that is --allow-plaintext") from error
    document = tomlkit.document()
    entries["allow_plaintext"] = True if allow_plaintext and not encrypted else None
    remarks = {"tls": "the system's authorities", "name": _NAME, "client_id": "every connector needs its own"}
    table = section(entries, {key: words for key, words in remarks.items() if key in entries})
    document.add(kind, sections([table]) if _KINDS[kind].several else table)
    return document


def _mqtt(parts: SplitResult, host: str) -> tuple[str, dict[str, Any], bool]:
    if parts.path.strip("/") or parts.query:
        raise TargetError(f"{parts.geturl()}: nothing stands behind the port; --filter says which topics")
    encrypted = parts.scheme == "mqtts"
    entries = {"host": host, "port": parts.port or (8883 if encrypted else 1883), "client_id": "gridtape"}
    return "mqtt", entries | ({"tls": {}} if encrypted else {}), encrypted


def _opcua(parts: SplitResult, host: str) -> tuple[str, dict[str, Any], bool]:
    return "opcua", {"name": _device(host, "opcua"), "url": parts.geturl()}, False


def _modbus(parts: SplitResult, host: str) -> tuple[str, dict[str, Any], bool]:
    given = parse_qs(parts.query, keep_blank_values=True)
    unit = given.pop("unit", ["1"])[-1]
    if parts.path.strip("/") or given or not (unit.isascii() and unit.isdigit() and int(unit) < 256):
        raise TargetError(f"{parts.geturl()}: behind the port stands ?unit=0 to ?unit=255 and nothing else")
    entries = {"name": _device(host, "modbus"), "host": host, "port": parts.port or 502, "unit_id": int(unit)}
    return "modbus", entries, False


def _device(host: str, protocol: str) -> str:
    """A name for the device at an address: its host's, where that says something."""
    return f"{protocol}-1" if is_loopback(host) else name_of(host)


_SCHEMES: dict[str, Callable[[SplitResult, str], tuple[str, dict[str, Any], bool]]] = {
    "mqtt": _mqtt,
    "mqtts": _mqtt,
    "opc.tcp": _opcua,
    "modbus": _modbus,
}


def stored(path: Path) -> TOMLDocument:
    """The settings file as it stands, to be filled. Raises ConfigError, and TargetError when there is none."""
    if not path.exists():
        raise TargetError(f"{path} is neither a file nor an address that can be looked at; expected {_FORMS}")
    config.read(path)  # says in words what is wrong with it
    return tomlkit.parse(path.read_text(encoding="utf-8-sig"))


def places(document: TOMLDocument, where: Path | str, folder: Path) -> list[Place]:
    """The sections of ``document`` and their connections; relative paths in them start at ``folder``.

    What their templates say counts as if it stood there. Raises ConfigError, with ``where`` as its place.
    """
    found: list[Place] = []
    problems: list[str] = []
    templates = Templates(folder)
    for key, item in document.items():
        kind = _KINDS.get(key)
        if kind is None:
            problems.append(f"{key}: nothing can be looked for there; allowed: {', '.join(_KINDS)}")
            continue
        tables = _tables(item, several=kind.several)
        if not tables:
            problems.append(f"{key}: write it as one section, {'[[' + key + ']]' if kind.several else '[' + key + ']'}")
            continue
        given = [table.unwrap() for table in tables]
        if kind.several:
            templates.fill([(key, given)])
        for number, (table, entries) in enumerate(zip(tables, given, strict=True)):
            at = f"{key}[{number}]" if kind.several else key
            if content := sorted(kind.content & entries.keys()):
                problems += [f"{at}.{one}: says already what is read; leave the connection only" for one in content]
                continue
            entries = {name: value for name, value in entries.items() if name not in kind.others}
            try:
                connection = kind.model.model_validate({**kind.stub, **entries}, context={"folder": folder})
            except ValidationError as error:
                problems += config.described(error.errors(include_url=False), kind.model, at)
            else:
                found.append(Place(key, table, connection))
    problems = templates.problems + templates.explained(problems)
    if problems or not found:
        raise ConfigError(where, problems or [f"names no connection; allowed: {', '.join(_KINDS)}"])
    return found


def _tables(item: Any, *, several: bool) -> list[Table]:
    """The sections of one kind; none if they are not written as such."""
    if several:
        return list(item) if isinstance(item, AoT) else []
    return [item] if isinstance(item, Table) else []


def beside(mqtt: Place) -> Place:
    """A section ``sparkplug`` with the connection of the section ``mqtt``, not in its document yet."""
    shared = {key: value for key, value in mqtt.table.unwrap().items() if key in Broker.model_fields}
    return Place("sparkplug", section({**shared, "client_id": "gridtape-sparkplug"}), mqtt.connection)
