"""Where values stand in a decoded JSON message. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from connectors.market.contract.events import Bad
from connectors.market.websocket.config import JsonPath

Getter = Callable[[Any], Any]
"""A message → what stands at one path; ``ABSENT`` when nothing does."""
ABSENT = object()
MOST_LEVELS = 100_000


def getter(path: JsonPath) -> Getter:
    """A path as a function, because it is asked for with every message."""
    if len(path) == 1:
        (step,) = path
        return _named(step) if isinstance(step, str) else _placed(step)
    if path and all(isinstance(step, str) for step in path):
        return _nested(path)
    each = [getter((step,)) for step in path]

    def walk(value: Any) -> Any:
        for one in each:
            value = one(value)
        return value

    return walk


def _named(name: str) -> Getter:
    return lambda value: value.get(name, ABSENT) if type(value) is dict else ABSENT


def _placed(place: int) -> Getter:
    return lambda value: value[place] if type(value) is list and place < len(value) else ABSENT


def _nested(names: JsonPath) -> Getter:
    def walk(value: Any) -> Any:
        try:
            for name in names:
                value = value[name]
        except (KeyError, TypeError):  # TypeError: what should hold the name is no object
            return ABSENT
        return value

    return walk


def matches(found: Any, wanted: str | float | bool) -> bool:
    """Whether a condition holds; ``*`` fits whatever is there."""
    return found is not ABSENT if wanted == "*" else type(found) is type(wanted) and found == wanted


def items_of(found: Any) -> list[Any]:
    """A list of levels or items; none when there is nothing. Raises Bad for anything else."""
    if type(found) is not list:
        if found is None or found is ABSENT:
            return []
        raise Bad("where levels or items are expected stands no list")
    if len(found) > MOST_LEVELS:
        raise Bad(f"more than {MOST_LEVELS} levels or items in one message")
    return found
