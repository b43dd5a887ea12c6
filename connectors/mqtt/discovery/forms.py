"""What the payloads of one topic are: numbers, documents and where in them what stands, words, or unknown bytes. Pure.

All that is said of a form holds for each of its payloads, so that settings made of it read them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from connectors.mqtt.binary import read_cbor
from connectors.mqtt.config import JsonPaths, TimeFormat
from connectors.mqtt.discovery.documents import MOST_LEAVES, Path, fits, identifier, paths_of, plain_word
from connectors.mqtt.discovery.heard import Payload
from connectors.mqtt.discovery.states import meaning
from connectors.mqtt.discovery.times import Time, says_time, time_at, time_of, zoneless
from connectors.mqtt.payload import ABSENT, DOCUMENTS, LIMIT, Refused, find, read_json, read_number, read_sample
from schemas.base import Quality

GENERIC = frozenset({"value", "val", "v", "reading", "measurement", "raw", "data"})
"""Words that say only that something is a value."""
_COUNTERS = frozenset({"n", "nr", "no", "count", "counter", "cnt", "msgid", "messageid", "frame", "packet", "id"})
_QUALITIES = frozenset({"quality", "q", "valid", "good"})
_UNITS = frozenset({"unit", "units", "uom", "u"})
_ITEMS = 50
_SAMPLES = 500  # of lists of documents that are looked at


class Kind(enum.StrEnum):
    """What the payloads of a topic are."""

    NUMBER = "number"
    JSON = "json"
    CBOR = "cbor"
    TEXT = "text"
    UNKNOWN = "unknown"


class Leaf(NamedTuple):
    """A number in a document: where it stands, its newest value, and the unit that stands beside it, at ``unit_at``."""

    path: Path
    value: float
    unit: str = ""
    unit_at: Path | None = None


@dataclass(frozen=True)
class Form:
    """``why``: why the payloads cannot be read, if so. ``leaves``: of a plain number one without a path.

    ``words``: the texts, of documents those at ``words_at``. ``bare``: documents with none of the leaves. ``hints``:
    for a person.
    """

    kind: Kind
    shown: str = ""
    why: str = ""
    leaves: tuple[Leaf, ...] = ()
    each: Path | None = None
    time: Path | None = None
    time_format: TimeFormat = TimeFormat.ISO8601
    sequence: Path | None = None
    quality: Path | None = None
    words: tuple[str, ...] = ()
    words_at: Path | None = None
    bare: int = 0
    hints: tuple[str, ...] = ()


def form_of(payloads: Sequence[Payload]) -> Form:
    """What ``payloads``, in the order in which they came, have in common."""
    said = [one for one in payloads if one.raw]
    if not said:
        return Form(Kind.UNKNOWN, why="empty")
    if any(len(one.raw) > LIMIT for one in said):
        return Form(Kind.UNKNOWN, why=f"more than {LIMIT} bytes")
    kinds = {_kind(one.raw): one.raw for one in said}
    if len(kinds) > 1:
        shown = kinds[Kind.TEXT].decode() if Kind.TEXT in kinds else _bytes(said[-1].raw)
        return Form(Kind.UNKNOWN, why=f"now {' and now '.join(sorted(kinds))}", shown=shown)
    (kind,) = kinds
    if kind is Kind.NUMBER:
        numbers = [read_number(one.raw).value for one in said]
        return Form(kind, leaves=(Leaf((), numbers[-1] or 0.0),))
    if kind is Kind.TEXT:
        words = tuple(dict.fromkeys(one.raw.decode() for one in said))
        return Form(kind, shown=words[-1], words=words, why="text")
    if kind is Kind.UNKNOWN:
        return Form(kind, shown=_bytes(said[-1].raw), why="unknown bytes")
    whole = [(_document(kind, one.raw), one) for one in said]
    listed = _listed(whole)
    if listed is not None:
        form = _Documents(kind, listed[1], listed[0]).form()
        if form.time is not None and form.leaves:
            return form
    return _Documents(kind, whole).form()


def _kind(raw: bytes) -> Kind:
    try:
        read_number(raw)
    except Refused:
        pass
    else:
        return Kind.NUMBER
    try:
        if isinstance(read_json(raw), dict | list):
            return Kind.JSON
    except Refused:
        pass
    try:
        if raw.decode().strip().isprintable():
            return Kind.TEXT
    except UnicodeDecodeError:
        pass
    return Kind.CBOR if isinstance(_cbor(raw), dict) else Kind.UNKNOWN


def _cbor(raw: bytes) -> Any:
    """The document, if it has fields with names: by chance many bytes are some CBOR."""
    try:
        found = read_cbor(raw)
    except Refused:
        return ABSENT
    return found if isinstance(found, dict) and found and all(isinstance(key, str) for key in found) else ABSENT


def _document(kind: Kind, raw: bytes) -> Any:
    return read_json(raw) if kind is Kind.JSON else _cbor(raw)


def _bytes(raw: bytes) -> str:
    return raw[:8].hex(" ") + (" …" if len(raw) > 8 else "")


class _Documents:
    """The documents of one topic."""

    def __init__(self, kind: Kind, documents: list[tuple[Any, Payload]], each: Path | None = None) -> None:
        self._kind = kind
        self._each = each
        self._documents = documents
        self._paths = paths_of([document for document, _ in documents[-_ITEMS:]])

    def form(self) -> Form:
        times = self._times()
        sequence, hints = self._sequence({one.path for one in times})
        quality = next((path for path in self._paths if self._is_quality(path)), None)
        apart = {one.path for one in times} | {sequence, quality}
        leaves = tuple(leaf for path in self._paths if path not in apart and (leaf := self._leaf(path)) is not None)
        time, apart_hints = time_of([leaf.path for leaf in leaves], times, self._all)
        hints += (*apart_hints, *self._zoneless(), *self._placed(leaves))
        if len(self._paths) >= MOST_LEAVES:
            hints += (f"only the first {MOST_LEAVES} fields of a document are looked at",)
        bare = sum(all(find(one, leaf.path) is ABSENT for leaf in leaves) for one, _ in self._documents)
        if leaves and bare:
            hints += (f"{bare} of {len(self._documents)} documents have none of the values: dead letters",)
        words_at = None if leaves else next((path for path in self._paths if meaning(self._words(path))), None)
        return Form(
            self._kind,
            shown="" if leaves else self._newest(),
            why="" if leaves else "no field that is always a number",
            leaves=leaves,
            each=self._each,
            time=time.path if time else None,
            time_format=time.format if time else TimeFormat.ISO8601,
            sequence=sequence,
            quality=quality,
            words=self._words(words_at) if words_at is not None else (),
            words_at=words_at,
            bare=bare,
            hints=hints,
        )

    def _newest(self) -> str:
        raw = self._documents[-1][1].raw
        return raw.decode(errors="replace") if self._kind is Kind.JSON else _bytes(raw)

    def _all(self, path: Path) -> list[Any]:
        return [find(document, path) for document, _ in self._documents]

    def _times(self) -> list[Time]:
        """What is a time in every document."""
        came = [one.at for _, one in self._documents]
        found = (time_at(path, list(zip(self._all(path), came, strict=True))) for path in self._paths)
        return [one for one in found if one is not None]

    def _sequence(self, times: set[Path]) -> tuple[Path | None, tuple[str, ...]]:
        """What counts the messages: by its name, or by its name and what it does."""
        hints: list[str] = []
        for path in self._paths:
            live = [find(document, path) for document, one in self._documents if not one.retained]
            if path in times or not all(_is_count(value) for value in self._all(path)):
                continue
            steps = {after - before for before, after in pairwise(live)}
            word = plain_word(path[-1])
            if word.startswith("seq") and steps <= {1}:
                return path, ()
            if steps == {1} and len(live) > 2:
                if word in _COUNTERS:
                    return path, ()
                hints.append(f"{'.'.join(path)} grew by 1 each time: if it counts the messages, it is json.sequence")
        return None, tuple(hints[:1])

    def _zoneless(self) -> Iterator[str]:
        """Times as text that only a setting could place."""
        for path in self._paths:
            if zoneless(path, self._all(path)):
                yield f"{'.'.join(path)} is a time without a zone: json.time and json.zone would read it"

    def _placed(self, leaves: Sequence[Leaf]) -> Iterator[str]:
        """Values of objects in a list that have no names there: another order would give each the name of another."""
        newest, _ = self._documents[-1]
        for leaf in leaves:
            for at, step in enumerate(leaf.path[:-1]):
                if step.isdigit() and isinstance(find(newest, leaf.path[:at]), list):
                    yield f"{'.'.join(leaf.path)} is found by its place in a list: is the order always the same?"
                    return

    def _is_quality(self, path: Path) -> bool:
        if plain_word(path[-1]) not in _QUALITIES:
            return False
        found = self._all(path)
        return all(one is ABSENT or isinstance(one, bool) or (isinstance(one, str) and _quality(one)) for one in found)

    def _leaf(self, path: Path) -> Leaf | None:
        newest = None
        for value in self._all(path):
            if value is ABSENT or value is None:
                continue
            try:
                newest = read_sample({"value": value}, JsonPaths()).value
            except Refused:
                return None
        return None if newest is None else Leaf(path, newest, *self._unit(path))

    def _unit(self, path: Path) -> tuple[str, Path | None]:
        """The one text beside the number that says its unit, and where it stands."""
        beside = [one for one in self._paths if one[:-1] == path[:-1] and plain_word(one[-1]) in _UNITS]
        for one in beside:
            units = [value for value in self._all(one) if value is not ABSENT]
            if units and isinstance(units[0], str) and all(unit == units[0] for unit in units):
                return units[0], one
        return "", None

    def _words(self, path: Path) -> tuple[str, ...]:
        found = self._all(path)
        return tuple(dict.fromkeys(found)) if all(isinstance(one, str) for one in found) else ()


def _quality(text: str) -> bool:
    return text.lower() in {one.value for one in Quality}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _listed(whole: list[tuple[Any, Payload]]) -> tuple[Path, list[tuple[Any, Payload]]] | None:
    """Where a list of documents stands that have times of their own and no names, and those documents."""
    newest, payload = whole[-1]
    for key, items in newest.items() if isinstance(newest, dict) else ():
        if not fits(key) or not _are_samples(items, payload.at):
            continue
        lists = [(find(document, (key,)), one) for document, one in whole]
        if all(isinstance(found, list) and 0 < len(found) <= DOCUMENTS for found, _ in lists):
            return (key,), [(item, one) for found, one in lists for item in found][-_SAMPLES:]
    return None


def _are_samples(items: Any, at: int) -> bool:
    if not isinstance(items, list) or not items or not all(isinstance(one, dict) for one in items):
        return False
    if len({tuple(one) for one in items}) > 1 or identifier(items) is not None:
        return False
    named = [name for name in items[0] if isinstance(name, str) and says_time(name)]
    return any(time_at((name,), [(one[name], at) for one in items]) is not None for name in named)
