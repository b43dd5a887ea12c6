"""SunSpec devices made by the SunSpec Alliance's own library from its own model files: gridtape is held to it.

pysunspec2 lays the points out, encodes them and computes the values; nothing of gridtape takes part.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

from sunspec2 import device as sunspec
from sunspec2 import mdef

_WIDTH = {"int16": 16, "int32": 32, "int64": 40, "uint16": 16, "uint32": 32, "uint64": 40, "count": 16}
_WIDTH |= {"enum16": 16, "enum32": 32, "bitfield16": 16, "bitfield32": 32, "acc16": 16, "acc32": 32, "acc64": 40}


def filled(number: int, *, repeats: int = 2, seed: int = 1) -> sunspec.Model:
    """Model ``number`` with a value in every point, repeating groups ``repeats`` times."""
    rng = random.Random(f"{number}/{seed}")
    definition = sunspec.get_model_def(number)
    counts = _counts(definition[mdef.GROUP])
    data = _group(definition[mdef.GROUP], rng, repeats, counts)
    return sunspec.Model(model_id=number, model_def=definition, data=data)


def _counts(group: dict[str, Any]) -> set[str]:
    own = {group["count"]} if isinstance(group.get("count"), str) else set()
    return own.union(*(_counts(inner) for inner in group.get("groups", [])))


def _group(group: dict[str, Any], rng: random.Random, repeats: int, counts: set[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for point in group.get("points", []):
        name, type_ = point["name"], point["type"]
        if name in ("ID", "L") or type_ == "pad":
            continue
        if name in counts:
            data[name] = repeats
        elif type_ == "sunssf":
            data[name] = rng.randint(-4, 3)
        elif type_ == "string":
            data[name] = f"text {rng.randint(0, 9)}"
        elif type_ in ("float32", "float64"):
            data[name] = struct.unpack(">f", struct.pack(">f", rng.uniform(-1e6, 1e6)))[0]
        elif type_ in _WIDTH:
            signed = type_.startswith("int")
            width = _WIDTH[type_]
            data[name] = rng.randint(-(2 ** (width - 1)) + 1 if signed else 1, 2 ** (width - 1) - 1)
    for inner in group.get("groups", []):
        repeated = inner.get("count") is not None
        many = [_group(inner, rng, repeats, counts) for _ in range(repeats)]
        data[inner["name"]] = many if repeated else many[0]
    return data


def words(model: sunspec.Model) -> list[int]:
    """All the model's registers, number and length first."""
    raw = model.get_mb()
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


def image(*models: sunspec.Model) -> list[int]:
    """A whole map from its base address on."""
    return [0x5375, 0x6E53, *(word for model in models for word in words(model)), 0xFFFF, 0]


def values(model: sunspec.Model, prefix: str = "") -> Iterator[tuple[str, dict[str, Any], float | None]]:
    """Every number in the model as gridtape names it, its definition, and its value as the library computes it."""
    yield from _values(model, prefix or model.gname)


def _values(group: sunspec.Group, path: str) -> Iterator[tuple[str, dict[str, Any], float | None]]:
    for name, point in group.points.items():
        if name not in ("ID", "L") and (point.pdef["type"] in _WIDTH or point.pdef["type"].startswith("float")):
            yield f"{path}.{name}", point.pdef, point.cvalue
    for name, inner in group.groups.items():
        if isinstance(inner, list):
            for number, one in enumerate(inner, 1):
                yield from _values(one, f"{path}.{name}.{number}")
        else:
            yield from _values(inner, f"{path}.{name}")
