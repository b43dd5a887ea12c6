"""The models that the SunSpec Alliance publishes, as its own library ships them (pysunspec2, Apache 2.0)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec


class Point(msgspec.Struct, frozen=True):
    """One point of a model. ``size``: registers. ``sf``: the point with its power of ten, or that power itself."""

    name: str
    type: str
    size: int
    units: str = ""
    sf: str | int | None = None
    access: str = "R"
    static: Literal["S", "D"] = "D"
    mandatory: Literal["M", "O"] = "O"

    @property
    def is_setting(self) -> bool:
        """It never changes by itself: a rating, or something that is set."""
        return self.static == "S" or "W" in self.access


class Group(msgspec.Struct, frozen=True):
    """Points one after the other, and the groups behind them.

    ``count``: how often it stands there; 0: as often as the model has room; a name: the point that says how often.
    """

    name: str
    points: tuple[Point, ...] = ()
    groups: tuple[Group, ...] = ()
    count: int | str = 1


class Model(msgspec.Struct, frozen=True):
    """One model: ``id`` is what stands in its first register."""

    id: int
    group: Group


@cache
def model(number: int) -> Model | None:
    """The model with this number; None when nobody has published one (a vendor's own)."""
    file = files("sunspec2") / "models" / "json" / f"model_{number}.json"
    return msgspec.json.decode(file.read_bytes(), type=Model) if file.is_file() else None
