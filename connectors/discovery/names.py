"""Names of ours for what devices call as they like. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from schemas.base import IDENTIFIER_CHARACTERS

_FOREIGN = re.compile(rf"[^{IDENTIFIER_CHARACTERS}]+")
_FIRST = "._:@/+-"
_LENGTH = 200


def is_name(text: str) -> bool:
    """Whether ``text`` can be a device's or a point's name as it is (:data:`connectors.fields.Name`)."""
    return text == _cleaned(text) != ""


def name_of(text: str, taken: Collection[str] = (), *, otherwise: str = "unnamed") -> str:
    """A name like ``text`` that is not ``taken``: what no name may hold becomes ``_``, and a number sets it apart."""
    name = _cleaned(text) or otherwise
    if name not in taken:
        return name
    number = 2
    while (numbered := f"{name[: _LENGTH - 8]}-{number}") in taken:
        number += 1
    return numbered


def _cleaned(text: str) -> str:
    return _FOREIGN.sub("_", text).lstrip(_FIRST + "_")[:_LENGTH]
