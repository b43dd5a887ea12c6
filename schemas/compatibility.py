"""Whether changed contracts still serve the records that are stored and the readers that are out there.

Two promises. A new reader understands every stored record: nothing is narrowed, nothing newly required. A released
reader understands a new record: no field that it requires is gone, no value has a type that it does not know. A new
member of an enumeration or a wider range is let through, for otherwise nothing could ever be added: there, readers are
updated before writers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def compatible(old: Path, new: Path) -> list[str]:
    """Incompatible changes from the contracts in folder ``old`` to those in ``new``, one sentence each."""
    found: list[str] = []
    for file in sorted(old.glob("*.schema.json")):
        if not (new / file.name).exists():
            found.append(f"{file.name}: the record is gone")
            continue
        before, after = _read(file), _read(new / file.name)
        found += _Comparison(before, after).compare(file.name.removesuffix(".schema.json"), before, after)
    return found + _topics(_read(old / "asyncapi.json"), _read(new / "asyncapi.json"))


def _read(file: Path) -> Schema:
    content: Schema = json.loads(file.read_text(encoding="utf-8"))
    return content


def _topics(old: Schema, new: Schema) -> list[str]:
    found: list[str] = []
    for name, channel in old["channels"].items():
        other = new["channels"].get(name)
        if other is None:
            found.append(f"topic {name} is gone")
            continue
        for what, before, after in (
            ("record", list(channel["messages"]), list(other["messages"])),
            ("key", _key(old, channel), _key(new, other)),
            ("cleanup policy", _policy(channel), _policy(other)),
            ("broadcast", channel["x-broadcast"], other["x-broadcast"]),
        ):
            if before != after:
                found.append(f"topic {name}: {what} was {before}, is {after}")
    return found


def _key(document: Schema, channel: Schema) -> Any:
    (kind,) = channel["messages"]
    return document["components"]["messages"][kind]["bindings"]["kafka"]["key"]["description"]


def _policy(channel: Schema) -> Any:
    return channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]


class _Comparison:
    """Walks two documents side by side; references are followed in each."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new

    def compare(self, path: str, old: Schema, new: Schema) -> list[str]:
        """Incompatible changes at ``path``."""
        before, after = _alternatives(self._old, old), _alternatives(self._new, new)
        found = [f"{path}: {kind} is no longer allowed" for kind in sorted(before.keys() - after.keys())]
        added = sorted(after.keys() - before.keys())
        found += [f"{path}: {kind} is newly allowed, which released readers refuse" for kind in added]
        for kind in sorted(before.keys() & after.keys()):
            found += self._same_kind(path, before[kind], after[kind])
        return found

    def _same_kind(self, path: str, old: Schema, new: Schema) -> list[str]:
        found = _narrowed(path, old, new)
        gone = [member for member in old.get("enum", []) if member not in new.get("enum", [])]
        found += [f"{path}: {member!r} is no longer allowed" for member in gone]
        if "properties" in old:
            found += self._object(path, old, new)
        if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
            found += self.compare(f"{path}[]", old["items"], new["items"])
        before, after = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(after) < len(before):
            found.append(f"{path}: had {len(before)} places, has {len(after)}")
        for place, (one, other) in enumerate(zip(before, after, strict=False)):
            found += self.compare(f"{path}[{place}]", one, other)
        return found

    def _object(self, path: str, old: Schema, new: Schema) -> list[str]:
        before, after = old["properties"], new.get("properties", {})
        needed, needs = set(old.get("required", [])), set(new.get("required", []))
        found = [f"{path}.{name}: the field is gone" for name in before if name not in after]
        for name in after:
            if name in needs and name not in needed:
                what = "was optional and is required" if name in before else "is new and required"
                found.append(f"{path}.{name}: the field {what}, which stored records may lack")
            elif name in needed and name not in needs:
                found.append(f"{path}.{name}: the field was required and is optional, which released readers refuse")
            if name in before:
                found += self.compare(f"{path}.{name}", before[name], after[name])
        return found


def _narrowed(path: str, old: Schema, new: Schema) -> list[str]:
    found: list[str] = []
    for word in (*_LOWER, *_UPPER):
        before, after = old.get(word), new.get(word)
        if after is None or after == before:
            continue
        if before is None or (after > before if word in _LOWER else after < before):
            found.append(f"{path}: {word} was {'open' if before is None else before}, is {after}")
    return found + [
        f"{path}: {word} was {old.get(word)!r}, is {new[word]!r}"
        for word in ("pattern", "format", "contentEncoding", "const")
        if new.get(word) is not None and new.get(word) != old.get(word)
    ]


def _alternatives(document: Schema, schema: Schema) -> dict[str, Schema]:
    """The kinds of value that a schema allows: ``string``, ``null``, ``object Tick``; references followed."""
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _alternatives(document, target)
    if "anyOf" in schema:
        found: dict[str, Schema] = {}
        for one in schema["anyOf"]:
            found |= _alternatives(document, one)
        return found
    if "enum" in schema:
        return {"an enumeration": schema}
    kind = str(schema.get("type", "anything"))
    return {f"{kind} {schema['title']}" if "title" in schema else kind: schema}
