"""A guess as the sections of a settings file. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tomlkit.items import Table

from connectors.discovery.document import inline, rows, section, sections
from connectors.mqtt.discovery.documents import Path
from connectors.mqtt.discovery.guess import Guess, State, Subscription
from connectors.mqtt.discovery.heard import Heard
from connectors.mqtt.discovery.readings import Point, Reading

_RARE_SILENCE = 3600
_FEW = 3


def fill(mqtt: Table, guess: Guess, seconds: float) -> None:
    """Put devices, subscriptions and states into the section ``mqtt``. ``seconds``: how long was listened."""
    kept = _only_kept(topic.heard for topic in guess.topics)
    mqtt.add("devices", rows(_devices(guess, seconds)))
    subscriptions = sections(_subscription(one, kept) for one in guess.subscriptions)
    mqtt.add("subscriptions", subscriptions)
    if guess.states:
        mqtt.add("status", sections(_state(one) for one in guess.states))


def _only_kept(heard: Iterator[Heard]) -> set[str]:
    return {one.topic for one in heard if not one.live}


def _devices(guess: Guess, seconds: float) -> Iterator[tuple[dict[str, Any], str]]:
    for name, count in guess.devices.items():
        if count >= _FEW:
            yield {"name": name}, ""
        else:
            said = f"heard {count} times in {seconds:g} s: silence is a few times what lies between its messages"
            yield {"name": name, "silence": _RARE_SILENCE}, said


def _subscription(one: Subscription, kept: set[str]) -> Table:
    table = section(
        {
            "filter": one.filter,
            "device": one.device or None,
            "point": one.point or None,
            "payload": one.reading.kind.value,
            "each": path(one.reading.each),
        }
    )
    if paths := _paths(one.reading):
        table.add("json", inline(paths))
    table.add("points", rows((_point(each), _remark(each, one.filter in kept)) for each in one.points))
    return table


def _paths(how: Reading) -> dict[str, Any]:
    stated = {
        "value": path(how.value),
        "time": path(how.time),
        "time_format": how.time_format if how.time else None,
        "sequence": path(how.sequence),
        "quality": path(how.quality),
        "unit": path(how.unit),
    }
    return {key: value for key, value in stated.items() if value is not None}


def _point(point: Point) -> dict[str, Any]:
    return {"name": point.name, "unit": point.unit, "value": path(point.path)}


def _remark(point: Point, kept: bool) -> str:
    said = f"{point.value:.6g}"
    if point.said and point.unit == "1":
        said += f" in {point.said!r}: which unit (UCUM)?"
    elif not point.said:
        said += "; which unit?"
    return said + ("; kept by the broker, none came meanwhile" if kept else "")


def _state(one: State) -> Table:
    return section(
        {
            "filter": one.filter,
            "device": one.device or None,
            "path": path(one.path),
            "online": [one.online],
            "offline": [one.offline],
        }
    )


def path(steps: Path | None) -> str | list[str] | None:
    """A path as it is written: joined by dots, or as a list where a step has dots in it."""
    if steps is None:
        return None
    return list(steps) if any("." in step for step in steps) else ".".join(steps)
