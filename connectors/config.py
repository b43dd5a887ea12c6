"""Loads the connectors' settings: every mistake at once, each with file, key, what is wrong and what is allowed."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from connectors import toml
from connectors.fields import Name, Section
from connectors.market.config import MarketConfig
from connectors.market.dropcopy.config import DropCopyConfig
from connectors.market.fix.config import FixConfig
from connectors.market.recorded.config import RecordedConfig
from connectors.market.websocket.config import WebSocketConfig
from connectors.modbus.config import ModbusDevice
from connectors.mqtt.config import MqttConfig
from connectors.opcua.config import OpcUaServer
from connectors.sparkplug.config import SparkplugConfig
from connectors.spool.config import StoreConfig
from connectors.templates import Templates

_SECRETS = ("password", "passphrase", "secret", "token", "credential")
_Key = str | int
_NONE = (
    "names no connector; allowed: [mqtt], [sparkplug], [[modbus]], [[opcua]], [market], [[recorded]], [[websocket]], "
    "[[fix]], [[drop_copy]]"
)


class ChangesConfig(Section):
    """Devices may be changed by records on the topic ``device-settings``, those for the process of this ``name``.

    Whoever may write there decides where this process connects, and with which of its secrets.
    """

    name: Name


class Config(Section):
    """All connectors of one process; a section that is left out is a connector that is not run."""

    mqtt: MqttConfig | None = None
    sparkplug: SparkplugConfig | None = None
    modbus: Annotated[list[ModbusDevice], Field(max_length=10_000)] = Field(default_factory=list)
    opcua: Annotated[list[OpcUaServer], Field(max_length=10_000)] = Field(default_factory=list)
    market: MarketConfig | None = None
    recorded: Annotated[list[RecordedConfig], Field(max_length=100)] = Field(default_factory=list)
    websocket: Annotated[list[WebSocketConfig], Field(max_length=1000)] = Field(default_factory=list)
    fix: Annotated[list[FixConfig], Field(max_length=1000)] = Field(default_factory=list)
    drop_copy: Annotated[list[DropCopyConfig], Field(max_length=1000)] = Field(default_factory=list)
    store: StoreConfig = StoreConfig()
    changes: ChangesConfig | None = None


class ConfigError(ValueError):
    """The settings cannot be used. ``where``: the file; ``problems``: one line each."""

    def __init__(self, where: Path | str, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{where}: {count}", *(f"  {problem}" for problem in problems)]))


def load(path: Path) -> Config:
    """Read and check the settings. Raises :class:`ConfigError` with every problem."""
    return check(read(path), path)


def read(path: Path) -> dict[str, Any]:
    """The settings as they stand in the file, not yet checked. Raises ConfigError when it is no TOML."""
    try:
        return toml.read(path)
    except ValueError as error:
        raise ConfigError(path, [str(error)]) from error


def check(data: dict[str, Any], path: Path) -> Config:
    """Check settings that were read from ``path``; relative paths in them start at its folder. Raises ConfigError.

    ``data`` is filled in from the templates that its devices name.
    """
    templates = Templates(path.parent)
    templates.fill(_lists(data))
    problems = templates.problems + _repeated_devices(data)
    config = None
    try:
        config = Config.model_validate(data, context={"folder": path.parent})
    except ValidationError as error:
        problems = templates.explained(described(error.errors(include_url=False))) + problems
    if config is None or problems:
        raise ConfigError(path, problems)
    if config == Config(store=config.store, changes=config.changes):
        raise ConfigError(path, [_NONE])
    return config


def _repeated_devices(data: dict[str, Any]) -> list[str]:
    """A device name addresses the state of everything downstream: two devices with one name would be mixed up."""
    first: dict[str, str] = {}
    problems = []
    for key, name in _named_devices(data):
        if name in first:
            problems.append(f"{key}: the device name {name!r} is taken by {first[name]}; each device needs its own")
        first.setdefault(name, key)
    return problems


def _named_devices(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for where, found in _lists(data):
        for place, one in enumerate(found):
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                yield f"{where}[{place}].name", one["name"]


def _lists(data: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """The lists of devices, by their section."""
    mqtt, sparkplug = data.get("mqtt"), data.get("sparkplug")
    lists = {
        "mqtt.devices": mqtt.get("devices") if isinstance(mqtt, dict) else None,
        "sparkplug.devices": sparkplug.get("devices") if isinstance(sparkplug, dict) else None,
        "modbus": data.get("modbus"),
        "opcua": data.get("opcua"),
        "recorded": data.get("recorded"),
        "websocket": data.get("websocket"),
        "fix": data.get("fix"),
        "drop_copy": data.get("drop_copy"),
    }
    return [(section, found) for section, found in lists.items() if isinstance(found, list)]


def described(errors: list[ErrorDetails], root: type[BaseModel] = Config, section: str = "") -> list[str]:
    """One line per key of ``root``; of a union's alternatives all that would be allowed.

    ``section``: where ``root`` stands in the file.
    """
    said: dict[str, list[str]] = {}
    places = [error["loc"] for error in errors]
    for error in errors:
        here = error["loc"]
        if error["type"] == "too_short" and any(here == other[: len(here)] != other for other in places):
            continue  # pydantic misses in a list what it refused in it; the refusal says enough
        keys, model = _resolve(error["loc"], root)
        said.setdefault(".".join(filter(None, (section, _path(keys)))) or "the file", []).append(
            _sentence(error, keys, model)
        )
    return [f"{key}: {' - or: '.join(dict.fromkeys(texts))}" for key, texts in said.items()]


def _resolve(loc: tuple[_Key, ...], root: type[BaseModel]) -> tuple[list[_Key], type[BaseModel] | None]:
    """The keys as they stand in the file, without pydantic's names of union members, and the model around the last."""
    keys: list[_Key] = []
    around: type[BaseModel] | None = None
    here: Any = root
    for step in loc:
        model = _model_of(here)
        if isinstance(step, int):
            keys.append(step)
            here = _item_of(here)
        elif model is None:
            # A union member or a dict's key; the former never stands in the file.
            continue
        else:
            keys.append(step)
            around = model
            field = _fields(model).get(step)
            here = None if field is None else field
    return keys, around


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _members(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _model_of(annotation: Any) -> type[BaseModel] | None:
    found = [one for one in _members(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return found[0] if found else None


def _item_of(annotation: Any) -> Any:
    for one in _members(annotation):
        if get_origin(one) in (list, tuple):
            return get_args(one)[0]
    return None


def _path(keys: list[_Key]) -> str:
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def _header(keys: list[_Key]) -> str:
    """The keys as they stand in the brackets of a TOML section."""
    return ".".join(key for key in keys if isinstance(key, str))


def _sentence(error: ErrorDetails, keys: list[_Key], model: type[BaseModel] | None) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown(str(keys[-1]), list(_fields(model)) if model else [])
    if kind == "missing":
        return "is missing and has no default"
    if kind in ("list_type", "tuple_type") and isinstance(error["input"], dict):
        return f"is a list of sections: write [[{_header(keys)}]], in two brackets"
    if kind == "model_type" and isinstance(error["input"], list):
        return f"is one section: write [{_header(keys)}], in one bracket"
    text = error["msg"].removeprefix("Value error, ")
    text = text.replace("Input should be", "should be").replace("String should", "should")
    found = error["input"]
    if isinstance(found, str | int | float) and not any(word in str(keys[-1:]).lower() for word in _SECRETS):
        return f"is {found!r:.80}; {text}"
    return text


def _unknown(key: str, allowed: list[str]) -> str:
    for word in _SECRETS:
        others = [name for name in allowed if word in name]
        if word in key.lower() and others:
            return f"secrets do not stand in this file; use {' or '.join(others)} instead"
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"is no known key; {hint}allowed here: {', '.join(allowed)}"
