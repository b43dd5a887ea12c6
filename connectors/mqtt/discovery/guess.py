"""From what was heard to devices, filters and points. Pure.

A wildcard is used only where every topic heard that it matches is meant, and ``{device}`` only where all devices have
the same points: what was not meant would become dead letters, and a point that nobody has would be waited for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.mqtt import topics
from connectors.mqtt.discovery.documents import Path
from connectors.mqtt.discovery.forms import Form, Kind, form_of
from connectors.mqtt.discovery.heard import Heard, Levels
from connectors.mqtt.discovery.readings import Point, Reading, Topic, readable
from connectors.mqtt.discovery.states import meaning, switched

MOST_POINTS = 5_000
TOO_MANY = f"more than {MOST_POINTS:,} points"
_LEVELS = 30
_DEVICE, _POINT = "{device}", "{point}"


class Subscription(NamedTuple):
    """A filter. ``device`` and ``point``: empty where the filter names them."""

    filter: str
    device: str
    point: str
    reading: Reading
    points: tuple[Point, ...]


class State(NamedTuple):
    """A filter of topics that say whether a device is there. ``device``: empty where the filter names it."""

    filter: str
    device: str
    path: Path | None
    online: str
    offline: str


class Unread(NamedTuple):
    """A topic that is not read, and why."""

    heard: Heard
    form: Form
    why: str


@dataclass
class Guess:
    """What can be read, and what cannot. ``devices``: how many messages came of each while we listened."""

    devices: Counter[str] = field(default_factory=Counter)
    subscriptions: list[Subscription] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    topics: list[Topic] = field(default_factory=list)
    stating: list[tuple[Heard, State]] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)


def guess(heard: Sequence[Heard], besides: Sequence[str] = ()) -> Guess:
    """Settings for what was heard. They read every payload of ``heard`` but those of ``unread`` topics.

    ``besides``: topics that somebody else reads; no filter matches them.
    """
    found = Guess()
    values: list[tuple[Heard, Form]] = []
    told: list[tuple[Heard, Form, tuple[str, str]]] = []
    points = 0
    for one in sorted(heard, key=lambda one: one.topic):
        form = form_of(one.payloads)
        if why := _unfit(one.topic):
            found.unread.append(Unread(one, form, why))
            continue
        if (words := _state(one, form)) is not None:
            told.append((one, form, words))
        elif not form.leaves:
            found.unread.append(Unread(one, form, form.why))
        elif points + len(form.leaves) > MOST_POINTS:
            found.unread.append(Unread(one, form, TOO_MANY))
        else:
            points += len(form.leaves)
            values.append((one, form))
    found.topics = readable(values)
    for topic in found.topics:
        found.devices[topic.device] += topic.heard.live
    _tell(found, told, besides)
    meant = {one.topic for one, _ in found.stating}
    others = [one.levels for one in heard if one.topic not in meant and len(one.levels) <= _LEVELS]
    others += [tuple(topic.split("/")) for topic in besides]
    found.subscriptions = _subscriptions(found.topics, set(found.devices), others)
    return found


def _unfit(topic: str) -> str:
    """Why ``topic`` cannot be a filter of ours."""
    if topic.count("/") >= _LEVELS:
        return f"more than {_LEVELS} levels"
    if any(sign in topic for sign in "+#{}"):
        return "+, #, { and } mean something else in a filter"
    try:
        topics.parse(topic)
    except ValueError as error:
        return str(error)
    return ""


def _state(heard: Heard, form: Form) -> tuple[str, str] | None:
    """The words for online and offline, if the topic says that and nothing else."""
    if form.words and (known := meaning(form.words)) is not None:
        return known
    texts = {one.raw.decode().strip() for one in heard.payloads if one.raw} if form.kind is Kind.NUMBER else form.words
    if form.kind is Kind.NUMBER and not any(one.retained for one in heard.payloads):
        return None
    exact = all(one.raw == one.raw.strip() for one in heard.payloads)
    return switched(tuple(texts), heard.levels) if exact and form.words_at is None else None


def _tell(found: Guess, told: Sequence[tuple[Heard, Form, tuple[str, str]]], besides: Sequence[str]) -> None:
    """States of devices that are read; with ``{device}`` where the filter matches nothing else."""
    bases = {topic.base: topic.device for topic in found.topics}
    groups: dict[tuple[Levels, Path | None, tuple[str, str]], list[tuple[Heard, str]]] = defaultdict(list)
    for heard, form, words in told:
        device = _owner(heard.levels, bases, set(found.devices))
        if device is None:
            found.unread.append(Unread(heard, form, "the status of nothing that is read"))
            continue
        levels = heard.levels
        at = [place for place, level in enumerate(levels) if level == device]
        template = (*levels[: at[0]], _DEVICE, *levels[at[0] + 1 :]) if len(at) == 1 else levels
        groups[template, form.words_at, words].append((heard, device))
    everything = [heard.levels for heard, *_ in told] + [topic.heard.levels for topic in found.topics]
    everything += [one.heard.levels for one in found.unread if len(one.heard.levels) <= _LEVELS]
    matches = _Matches([*everything, *(tuple(topic.split("/")) for topic in besides)])
    for (template, path, words), group in groups.items():
        if len(group) > 1 and matches(template) == len(group):
            state = State("/".join(template), "", path, *words)
            found.states.append(state)
            found.stating += [(heard, state) for heard, _ in group]
            continue
        for heard, device in group:
            state = State(heard.topic, device, path, *words)
            found.states.append(state)
            found.stating.append((heard, state))


def _owner(levels: Levels, bases: dict[Levels, str], devices: set[str]) -> str | None:
    for count in range(len(levels), 0, -1):
        if levels[:count] in bases:
            return bases[levels[:count]]
    named = [level for level in levels if level in devices]
    return named[0] if len(named) == 1 else None


def _subscriptions(found: Sequence[Topic], devices: set[str], others: Sequence[Levels]) -> list[Subscription]:
    """``others``: the topics that must not be matched by a filter that does not mean them."""
    matches = _Matches(others)
    groups: dict[tuple[Levels, Levels, Reading], list[Topic]] = defaultdict(list)
    alone: list[list[Topic]] = []
    for topic in found:
        if topic.at is None:
            alone.append([topic])
        else:
            groups[topic.heard.levels[: topic.at], topic.rest, topic.reading].append(topic)
    for (before, rest, _), group in groups.items():
        as_named = all(one.points[0].name == one.heard.levels[one.at or 0] for one in group)
        if len(group) > 1 and as_named and matches((*before, _POINT, *rest)) == len(group):
            alone.append(group)
        else:
            alone += [[one] for one in group]
    fleets: dict[tuple[Levels, Reading, str, tuple[tuple[str, str, Path | None], ...]], list[list[Topic]]]
    fleets = defaultdict(list)
    for group in alone:
        first, points = group[0], _points(group)
        point = points[0].name if len(group) == 1 and first.at is not None else ""
        named = tuple((one.name, one.unit, one.path) for one in points)
        fleets[_template(group), first.reading, point, named].append(group)
    subscriptions = []
    for (template, reading, point, _), fleet in fleets.items():
        whole = {group[0].device for group in fleet} == devices and len(fleet) == len(devices) > 1
        if whole and matches(template) == sum(map(len, fleet)):
            subscriptions.append(Subscription("/".join(template), "", point, reading, _points(fleet[0])))
            continue
        for group in fleet:
            filter_ = "/".join(_levels(group))
            subscriptions.append(Subscription(filter_, group[0].device, point, reading, _points(group)))
    return subscriptions


def _points(group: Sequence[Topic]) -> tuple[Point, ...]:
    return tuple(point for topic in group for point in topic.points)


def _levels(group: Sequence[Topic]) -> Levels:
    """The filter of topics of one device that differ in the level of their point at most."""
    first = group[0]
    if len(group) == 1 or first.at is None:
        return first.heard.levels
    return (*first.heard.levels[: first.at], _POINT, *first.rest)


def _template(group: Sequence[Topic]) -> Levels:
    """The same with the level that is the device's name left open; as it is if there is none."""
    levels, device = _levels(group), group[0].device
    at = [place for place, level in enumerate(levels[: len(group[0].base)]) if level == device]
    return (*levels[: at[0]], _DEVICE, *levels[at[0] + 1 :]) if len(at) == 1 else levels


class _Matches:
    """How many topics a filter matches, without looking at each of them for filters with one wildcard."""

    def __init__(self, everything: Iterable[Levels]) -> None:
        self._everything = list(everything)
        self._places = Counter((one[:at], one[at + 1 :]) for one in self._everything for at in range(len(one)))

    def __call__(self, template: Levels) -> int:
        wild = [at for at, level in enumerate(template) if level in (_DEVICE, _POINT)]
        if len(wild) == 1:
            return self._places[template[: wild[0]], template[wild[0] + 1 :]]
        parsed = topics.parse("/".join(template))
        return sum(parsed.match("/".join(levels)) is not None for levels in self._everything)
