"""What many devices have in common stands once, in a file that each of them names: ``template = "inverter.toml"``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

Settings = dict[str, Any]
_PLACE = re.compile(r"((?:\w+\.)?\w+\[\d+\])\.(\w+)(.*)", re.DOTALL)


class _Origin(NamedTuple):
    file: str
    keys: frozenset[str]


class Templates:
    """The templates of one settings file. ``read``: a TOML file's content; it raises ValueError saying what is wrong.

    ``problems``: what is wrong with the templates themselves, a line each.
    """

    def __init__(self, folder: Path, read: Callable[[Path], Settings]) -> None:
        self._folder = folder
        self._read = read
        self._files: dict[Path, Settings | None] = {}
        self._origins: dict[str, _Origin] = {}
        self.problems: list[str] = []

    def fill(self, lists: Iterable[tuple[str, list[Any]]]) -> None:
        """Give each device the keys that only its template has. ``lists``: their section, ``modbus`` for one, and they;
        changed in place."""
        for section, devices in lists:
            for place, device in enumerate(devices):
                if isinstance(device, dict) and isinstance(device.get("template"), str):
                    devices[place] = self._filled(f"{section}[{place}]", device)

    def explained(self, problems: Iterable[str]) -> list[str]:
        """The same problems, each once: what is wrong in a template is told of its file and not of every device."""
        return list(dict.fromkeys(map(self._explained, problems)))

    def _filled(self, place: str, device: Settings) -> Settings:
        file = Path(self._folder, Path(device["template"]).expanduser())
        if file not in self._files:
            self._files[file] = self._template(place, file)
        template = self._files[file] or {}
        self._origins[place] = _Origin(file.name, frozenset(template.keys() - device.keys()))
        return {**template, **device}

    def _template(self, place: str, file: Path) -> Settings | None:
        if not file.is_file():
            self.problems.append(f"{place}.template: there is no file {file}")
            return None
        try:
            found = self._read(file)
        except ValueError as error:
            self.problems.append(f"{place}.template: {' '.join(str(error).split())}")
            return None
        self.problems += [
            f"{file.name}: {key}: does not stand in a template; {why}"
            for key, why in (("name", "each device needs its own"), ("template", "a template has none itself"))
            if key in found
        ]
        return found

    def _explained(self, problem: str) -> str:
        found = _PLACE.match(problem)
        origin = self._origins.get(found[1]) if found else None
        if found is None or origin is None or found[2] not in origin.keys:
            return problem
        return f"{origin.file}: {found[2]}{found[3]}"
