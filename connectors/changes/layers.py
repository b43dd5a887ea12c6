"""The settings that hold: those of the file, and over them what records have asked for, device by device."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.config import Config, ConfigError, check, read
from connectors.runner import services
from schemas.base import Coordinates
from schemas.device_settings import DeviceChange, DeviceSection, DeviceSettings

_SECTIONS = frozenset(DeviceSection)
_PLACE = re.compile(r"(?P<section>[a-z_.]+)\[(?P<place>\d+)\]")


@dataclass(frozen=True)
class Change:
    """A record of the topic: where it stands, its key, when it was written (microseconds), its size in bytes.

    ``wanted`` is None for a tombstone, which says the same as a reset; ``problem`` says why it is no record at all.
    """

    at: Coordinates
    device: str
    time: int
    size: int
    wanted: DeviceSettings | None = None
    problem: str = ""


@dataclass(frozen=True)
class Refusal:
    """A change that cannot be used; what held before holds."""

    change: Change
    reason: str


class Layers:
    """Not thread-safe. ``config`` is what holds now: checked, and with every library that it needs."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError when the file cannot be used."""
        self._path = path
        self._file = read(path)
        self._over: dict[str, Change] = {}
        self.config = _usable(self._file, {}, path)

    def reload(self) -> list[Refusal]:
        """Read the file again. Raises ConfigError when it cannot be used; what holds then stays.

        Returns what the changes ask for that does not fit the file any more. A file that follows another name, or none,
        forgets them.
        """
        file = read(self._path)
        config = _usable(file, {}, self._path)
        over = self._over if config.changes == self.config.changes else {}
        self._file, self._over, self.config = file, {}, config
        return self.apply(list(over.values()))

    def apply(self, changes: Sequence[Change]) -> list[Refusal]:
        """Take ``changes`` in, in their order; those that cannot be used are left out and returned."""
        good, refusals = [], []
        for change in changes:
            try:
                _check_alone(change, self._path)
            except ConfigError as error:
                refusals.append(Refusal(change, "; ".join(error.problems)))
            else:
                good.append(change)
        return refusals + self._apply_good(good)

    def _apply_good(self, changes: Sequence[Change]) -> list[Refusal]:
        """What is right by itself may not fit the others. All are checked at once, since that takes long."""
        try:
            self._take(changes)
        except ConfigError as error:
            if len(changes) == 1:
                return [Refusal(changes[0], "; ".join(error.problems))]
            middle = len(changes) // 2
            return self._apply_good(changes[:middle]) + self._apply_good(changes[middle:])
        return []

    def _take(self, changes: Iterable[Change]) -> None:
        over = dict(self._over)
        for change in changes:
            over.pop(change.device, None)
            if change.wanted is not None and change.wanted.change is not DeviceChange.RESET:
                over[change.device] = change
        config = _usable(self._file, over, self._path)
        self._over, self.config = over, config


def _check_alone(change: Change, path: Path) -> None:
    if change.problem:
        raise ConfigError(path, [change.problem])
    wanted = change.wanted
    if wanted is not None and wanted.section is not None and "." not in wanted.section:  # else it needs its broker
        _usable({}, {change.device: change}, path)


def _usable(file: dict[str, Any], over: dict[str, Change], path: Path) -> Config:
    data = copy.deepcopy(file)
    for change in over.values():
        if change.wanted is not None:
            _put(data, change.wanted, path)
    try:
        config = check(data, path)
        services(config)
    except ConfigError as error:
        raise ConfigError(path, [_own_words(problem, data, over) for problem in error.problems]) from error
    return config


def _put(data: dict[str, Any], wanted: DeviceSettings, path: Path) -> None:
    """Replace the device where it stands, add it, or take it away."""
    settings = None if wanted.section is None else _settings(wanted, path)
    for section in DeviceSection:
        devices = _devices(data, section)
        for place, device in enumerate(devices):
            if device["name"] == wanted.device:
                if section is wanted.section:
                    devices[place] = settings
                    return
                del devices[place]
                break
    if wanted.section is not None:
        around, _, inner = wanted.section.partition(".")
        if inner and around not in data:
            raise ConfigError(path, [f"section: the file has no [{around}], whose broker the device would need"])
        (data[around] if inner else data).setdefault(inner or around, []).append(settings)


def _settings(wanted: DeviceSettings, path: Path) -> dict[str, Any]:
    text = wanted.settings
    try:
        found: dict[str, Any] = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(path, [f"settings: is neither TOML nor one JSON object: {error}"]) from error
    if found.setdefault("name", wanted.device) != wanted.device:
        raise ConfigError(path, [f"settings.name: is {found['name']!r:.80}; the record is for {wanted.device!r}"])
    return found


def _devices(data: dict[str, Any], section: str) -> list[Any]:
    around, _, inner = section.partition(".")
    found: list[Any] = data.get(around, {}).get(inner, []) if inner else data.get(around, [])
    return found


def _own_words(problem: str, data: dict[str, Any], over: dict[str, Change]) -> str:
    """A problem of a changed device in the words of its record: ``settings.port`` for ``modbus[3].port``."""
    found = _PLACE.match(problem)
    if found is None or found["section"] not in _SECTIONS:
        return problem
    name = _devices(data, found["section"])[int(found["place"])].get("name")
    return f"settings{problem[found.end() :]}" if name in over else problem
