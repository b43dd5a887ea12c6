"""A topic as the engine wants it, in plain JSON: for applications that exist for tests only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(frozen=True, eq=False)
class Topic:
    """A topic in the engine's shape."""

    name: str
    record: type[Any]
    broadcast: bool = False
    urgent: bool = False
    decode: Callable[[bytes], Any] = field(init=False, repr=False)
    encode: Callable[[Any], bytes] = field(init=False, repr=False, default=msgspec.json.encode)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decode", msgspec.json.Decoder(self.record).decode)
