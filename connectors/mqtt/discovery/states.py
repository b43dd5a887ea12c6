"""Words by which devices say that they are there, or the broker in their place that they are not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_PAIRS = (
    ("online", "offline"),
    ("connected", "disconnected"),
    ("available", "unavailable"),
    ("alive", "dead"),
    ("birth", "death"),
    ("up", "down"),
)
_SWITCHES = (("1", "0"), ("true", "false"))
_LEVELS = frozenset(
    {"status", "state", "online", "lwt", "connected", "connection", "availability", "available", "alive", "will"}
)


def meaning(words: Collection[str]) -> tuple[str, str] | None:
    """What means online and what offline, if all ``words`` are of one known pair, capitals as they are."""
    return _of(words, _PAIRS)


def switched(words: Collection[str], levels: Sequence[str]) -> tuple[str, str] | None:
    """The same of 1, 0, true and false, which only a topic's last level can make a status."""
    return _of(words, _SWITCHES) if levels and levels[-1].lower().lstrip("$_") in _LEVELS else None


def _of(words: Collection[str], pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    for online, offline in pairs:
        for write in (str, str.capitalize, str.upper):
            pair = write(online), write(offline)
            if words and all(word in pair for word in words):
                return pair
    return None
