"""What many devices have in common stands once, in a file that each of them names: ``template = "inverter.toml"``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from connectors import toml

Settings = dict[str, Any]
_PLACE = re.compile(r"((?:\w+\.)?\w+\[\d+\])(?:\.(\w+))?(.*)", re.DOTALL)


class _Origin(NamedTuple):
    """``keys``: those that a device has of its template; None: that cannot be read. ``own``: those of its own."""

    file: str
    keys: frozenset[str] | None
    own: frozenset[str]


class Templates:
    """The templates of one settings file, which lies in ``folder``.

    ``problems``: what is wrong with the templates themselves, a line each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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
        """The same problems, each once: what is wrong in a template is told of its file and not of every device.

        What a device lacks because its template cannot be read is left out.
        """
        return list(dict.fromkeys(said for one in problems if (said := self._explained(one)) is not None))

    def _filled(self, place: str, device: Settings) -> Settings:
        file = Path(self._folder, Path(device["template"]).expanduser())
        if file not in self._files:
            self._files[file] = self._template(place, file)
        template = self._files[file]
        own = frozenset(device)
        self._origins[place] = _Origin(file.name, None if template is None else frozenset(template) - own, own)
        return {**(template or {}), **device}

    def _template(self, place: str, file: Path) -> Settings | None:
        if not file.is_file():
            self.problems.append(f"{place}.template: there is no file {file}")
            return None
        try:
            found = toml.read(file)
        except ValueError as error:
            self.problems.append(f"{place}.template: {file} {error}")
            return None
        self.problems += [
            f"{file.name}: {key}: does not stand in a template; {why}"
            for key, why in (("name", "each device needs its own"), ("template", "a template has none itself"))
            if key in found
        ]
        return found

    def _explained(self, problem: str) -> str | None:
        found = _PLACE.match(problem)
        origin = self._origins.get(found[1]) if found else None
        if found is None or origin is None:
            return problem
        if origin.keys is None:
            return problem if found[2] in origin.own else None
        return f"{origin.file}: {found[2]}{found[3]}" if found[2] in origin.keys else problem
