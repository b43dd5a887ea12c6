"""Topic filters with named levels: ``plants/{device}/{point}`` is subscribed as ``plants/+/+`` and read by name."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = ("device", "point")
_LENGTH_LIMIT = 65_535
"""Bytes of a topic (MQTT 5.0, section 1.5.4)."""


@dataclass(frozen=True)
class Template:
    """A parsed filter. A level is literal text, ``{device}``, ``{point}`` or ``+``; the last one may be ``#``."""

    text: str
    levels: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def filter(self) -> str:
        """As it is subscribed (MQTT 5.0, section 4.7)."""
        return "/".join("+" if level.startswith("{") else level for level in self.levels)

    def match(self, topic: str) -> dict[str, str] | None:
        """The named levels of ``topic``; None when it does not match."""
        parts = topic.split("/")
        rest = self.levels[-1] == "#"
        levels = self.levels[:-1] if rest else self.levels
        if len(parts) < len(levels) or (len(parts) > len(levels) and not rest):
            return None
        if topic.startswith("$") and (not levels or levels[0][0:1] in ("+", "{")):
            return None  # a wildcard never matches the broker's own topics (MQTT 5.0, section 4.7.2)
        found = {}
        for level, part in zip(levels, parts, strict=False):
            if level.startswith("{"):
                found[level[1:-1]] = part
            elif level not in ("+", part):
                return None
        return found


def parse(text: str) -> Template:
    """Read a filter. Raises ValueError that says what is wrong with it and what is allowed."""
    if not text or "\0" in text or len(text.encode("utf-8", "replace")) > _LENGTH_LIMIT:
        raise ValueError("a topic filter has 1 to 65535 bytes and no NUL character")
    levels = tuple(text.split("/"))
    names = []
    for place, level in enumerate(levels):
        if level in ("{device}", "{point}"):
            names.append(level[1:-1])
        elif level == "#" and place != len(levels) - 1:
            raise ValueError("# stands for all further levels and must be the last one")
        elif level not in ("+", "#") and any(sign in level for sign in "+#{}"):
            raise ValueError(
                f"level {level!r} mixes text with a wildcard; a level is text, {{device}}, {{point}}, + or a last #"
            )
    if len(set(names)) != len(names):
        raise ValueError("{device} and {point} may stand once each")
    return Template(text, levels, tuple(names))
