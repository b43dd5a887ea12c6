"""The settings file that a discovery writes. tomlkit does the quoting: names and values come from strangers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Array, Item, Table

from connectors import config

_REMARK = 100


def remark(text: str) -> str:
    """``text`` as it may stand behind a ``#``: on one line, without control characters, not long."""
    line = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return line if len(line) <= _REMARK else line[: _REMARK - 1] + "…"


def section(entries: Mapping[str, Any], remarks: Mapping[str, str] | None = None) -> Table:
    """A section; what is None is left out. ``remarks`` stand behind their keys."""
    table = tomlkit.table()
    for key, value in entries.items():
        if value is not None:
            found = inline(value) if isinstance(value, dict) else value
            table.add(key, noted(found, remarks[key]) if remarks and key in remarks else found)
    return table


def noted(value: Any, words: str) -> Item:
    """A value with a remark behind it."""
    item: Item = tomlkit.item(value)
    return item.comment(remark(words))


def inline(entries: Mapping[str, Any]) -> Any:
    """``{ key = value }``; what is None is left out."""
    table = tomlkit.inline_table()
    for key, value in entries.items():
        if value is not None:
            table.append(key, inline(value) if isinstance(value, dict) else value)
    return table


def rows(entries: Iterable[tuple[Mapping[str, Any], str]]) -> Array:
    """A list with one entry a line, each with its remark."""
    array = tomlkit.array()
    for entry, words in entries:
        array.add_line(inline(entry), indent="  ", comment=remark(words) or None)
    array.add_line(indent="")
    return array


def sections(tables: Iterable[Table]) -> AoT:
    """Sections in two brackets."""
    found = tomlkit.aot()
    for table in tables:
        found.append(table)
    return found


def written(document: tomlkit.TOMLDocument, path: Path) -> str:
    """The file's text, once it has been read back as the settings of ``path``. Raises ConfigError."""
    text = tomlkit.dumps(document)
    config.check(tomllib.loads(text), path)
    return text
