"""How each topic would be read: one value or several in a payload, whose device, under which names. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.discovery.names import name_of
from connectors.discovery.units import ucum
from connectors.mqtt.discovery.documents import Path, plain_word
from connectors.mqtt.discovery.forms import GENERIC, Form, Kind, Leaf
from connectors.mqtt.discovery.heard import Heard, Levels

_DOCUMENTS = GENERIC | {
    *("telemetry", "state", "status", "values", "measurements", "metrics", "json", "payload", "report", "info"),
    *("readings", "sensor", "sensors", "attributes", "event", "events", "up", "uplink"),
}
"""Last levels that say only that documents come there."""


class Reading(NamedTuple):
    """How payloads are read, whatever their topic. ``value``: None where points have paths of their own."""

    kind: Kind
    value: Path | None = None
    each: Path | None = None
    time: Path | None = None
    time_format: str = ""
    sequence: Path | None = None
    quality: Path | None = None
    unit: Path | None = None


class Point(NamedTuple):
    """A point: our name of it, its path where it needs one, and what is known of it."""

    name: str
    unit: str
    path: Path | None
    value: float
    said: str
    """The unit in the source's words."""


@dataclass
class Topic:
    """A topic that can be read. ``base``: the levels that name its device; ``at``: the level that names its point."""

    heard: Heard
    form: Form
    reading: Reading
    base: Levels
    at: int | None
    device: str = ""
    points: list[Point] = field(default_factory=list)

    @property
    def rest(self) -> Levels:
        """The levels behind that of the point."""
        return () if self.at is None else self.heard.levels[self.at + 1 :]


def readable(found: Iterable[tuple[Heard, Form]]) -> list[Topic]:
    """The topics whose form has numbers, each with its device and points named, no two alike."""
    topics = [_topic(heard, form) for heard, form in found]
    _place_documents(topics)
    names = _device_names({topic.base for topic in topics})
    for topic in topics:
        topic.device = names[topic.base]
    _name_points(topics)
    return topics


def _topic(heard: Heard, form: Form) -> Topic:
    levels = heard.levels
    at = len(levels) - 2 if len(levels) > 2 and plain_word(levels[-1]) in GENERIC else len(levels) - 1
    if form.kind is Kind.NUMBER:
        return Topic(heard, form, Reading(Kind.NUMBER), levels[:at], at)
    only = form.leaves[0] if len(form.leaves) == 1 else None
    if only is not None and (word := plain_word(only.path[-1])) and word in GENERIC | {plain_word(levels[at])}:
        # A unit in the payload is compared with the point's, so that it must be the same text.
        unit = only.unit_at if only.unit and ucum(only.unit) == only.unit else None
        return Topic(heard, form, _reading(form, value=only.path, unit=unit), levels[:at], at)
    return Topic(heard, form, _reading(form), levels, None)


def _reading(form: Form, *, value: Path | None = None, unit: Path | None = None) -> Reading:
    format_ = "" if form.time is None else form.time_format.value
    return Reading(form.kind, value, form.each, form.time, format_, form.sequence, form.quality, unit)


def _place_documents(topics: Sequence[Topic]) -> None:
    """The last level of a topic with documents names a device, unless it is one of several topics of each."""
    known = {topic.base for topic in topics if topic.at is not None}
    parents: dict[tuple[int, str], set[Levels]] = defaultdict(set)
    for topic in topics:
        if topic.at is None:
            parents[len(topic.base), topic.base[-1]].add(topic.base[:-1])
    for topic in topics:
        if topic.at is None and len(topic.base) > 1:
            last, parent = topic.base[-1], topic.base[:-1]
            if parent in known or plain_word(last) in _DOCUMENTS or len(parents[len(topic.base), last]) > 1:
                topic.base = parent


def _device_names(bases: set[Levels]) -> dict[Levels, str]:
    """Of each as many of its last levels as set it apart from the others, less those that are the same for all."""
    cut = dict(zip(bases, bases, strict=True))
    while len(bases) > 1 and all(len(one) > 1 for one in cut.values()) and len({o[-1] for o in cut.values()}) == 1:
        cut = {base: one[:-1] for base, one in cut.items()}
    ends = Counter(one[-count:] for one in cut.values() for count in range(1, len(one) + 1))
    names: dict[Levels, str] = {}
    taken: set[str] = set()
    for base, one in sorted(cut.items()):
        end = next((one[-count:] for count in range(1, len(one)) if ends[one[-count:]] == 1), one)
        names[base] = name_of("/".join(end), taken, otherwise="device")
        taken.add(names[base])
    return names


def _name_points(topics: Sequence[Topic]) -> None:
    taken: dict[str, set[str]] = defaultdict(set)
    several = Counter(topic.device for topic in topics if topic.at is None)
    for topic in sorted(topics, key=lambda one: one.at is None):
        used = taken[topic.device]
        for leaf in topic.form.leaves:
            if topic.at is not None:
                wanted = topic.heard.levels[topic.at]
            else:
                wanted = _end(leaf.path)
                if several[topic.device] > 1 and wanted in used:
                    wanted = f"{topic.heard.levels[-1]}.{wanted}"
            name = name_of(wanted, used, otherwise="point")
            used.add(name)
            topic.points.append(_point(name, leaf, own_path=topic.at is None))


def _point(name: str, leaf: Leaf, *, own_path: bool) -> Point:
    return Point(name, ucum(leaf.unit) or "1", leaf.path if own_path else None, leaf.value, leaf.unit)


def _end(path: Path) -> str:
    """The path as a name, without the words at its ends that say nothing."""
    steps = [step.partition("=")[2] or step for step in path]
    while len(steps) > 1 and plain_word(steps[-1]) in GENERIC:
        steps.pop()
    while len(steps) > 1 and plain_word(steps[0]) in _DOCUMENTS:
        steps.pop(0)
    return ".".join(steps)
