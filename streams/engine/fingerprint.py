"""The shape of what a table holds, kept beside it in the changelog, so that another shape is noticed.

Bytes of an old version can often be read by a new one and mean something else: a field that was renamed reads as its
default. Therefore each task writes the JSON Schema of its tables' values into the table ``__schema``, and compares.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

_SILENT = {"title", "description", "default", "required", "$defs", "examples"}


def shape_of(value: type[Any]) -> str:
    """JSON Schema of a table's values, as text; of a type that has none, its name."""
    try:
        return json.dumps(msgspec.json.schema(value), sort_keys=True, separators=(",", ":"))
    except TypeError:
        return json.dumps({"type": f"{value.__module__}.{value.__qualname__}"})


def differences(written: str, wanted: str) -> list[str]:
    """Why values of the shape ``written`` must not be read as ``wanted``; empty when they may.

    A new field must be optional; none may be gone or have another type; an enumeration may have grown.
    """
    if written == wanted:
        return []
    old, new = json.loads(written), json.loads(wanted)
    return _Walk(old, new).compare("value", old, new)


class _Walk:
    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._old = old.get("$defs", {})
        self._new = new.get("$defs", {})
        self._seen: set[tuple[str, str]] = set()

    def compare(self, path: str, old: Any, new: Any) -> list[str]:
        if not (isinstance(old, dict) and isinstance(new, dict)):
            if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
                pairs = enumerate(zip(old, new, strict=True))
                return [text for i, (a, b) in pairs for text in self.compare(f"{path}[{i}]", a, b)]
            return [] if old == new else [f"{path} was {json.dumps(old)}, is {json.dumps(new)}"]
        names = (old.get("$ref", ""), new.get("$ref", ""))
        if any(names):
            if names in self._seen:
                return []
            self._seen.add(names)
            return self.compare(path, _resolve(self._old, old), _resolve(self._new, new))
        found: list[str] = []
        for key in sorted((old.keys() | new.keys()) - _SILENT):
            if key == "properties":
                found += self._fields(path, old, new)
            elif key == "enum" and set(old.get(key, [])) <= set(new.get(key, [])):
                continue
            elif key not in old or key not in new:
                found.append(f"{path}: {key} was {json.dumps(old.get(key))}, is {json.dumps(new.get(key))}")
            else:
                found += self.compare(f"{path}.{key}" if key not in ("items", "anyOf") else path, old[key], new[key])
        return found

    def _fields(self, path: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        found = [f"{path}.{name} is gone" for name in sorted(before.keys() - after.keys())]
        needed = set(new.get("required", ()))
        found += [f"{path}.{name} is needed and was not written" for name in sorted(needed - before.keys())]
        for name in sorted(before.keys() & after.keys()):
            found += self.compare(f"{path}.{name}", before[name], after[name])
        return found


def _resolve(defs: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    found: dict[str, Any] = defs[name] if name else schema
    return found
