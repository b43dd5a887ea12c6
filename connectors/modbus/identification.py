"""A device's identification (Modbus Application Protocol V1.1b3, section 6.21). Pure.

Of the basic category only: vendor, product code and revision, which every device that knows the function has.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.modbus.messages import Unasked, raise_refusal

_FUNCTION, _TYPE, _BASIC = 43, 14, 1
_NAMES = ("vendor", "product", "revision")
_MORE = 0xFF


@dataclass(frozen=True)
class Said:
    """Part of what it says. ``following``: the object to ask for next; None: that was all."""

    objects: dict[int, str]
    following: int | None

    def __str__(self) -> str:
        return ", ".join(
            f"{_NAMES[key]} {text}" for key, text in sorted(self.objects.items()) if text and key < len(_NAMES)
        )


def question(first: int = 0) -> bytes:
    """The PDU that asks for the objects from ``first`` on."""
    return bytes([_FUNCTION, _TYPE, _BASIC, first])


def answer(pdu: bytes) -> Said:
    """What the answer says. Raises Refused, and Unasked."""
    raise_refusal(_FUNCTION, "its identification", pdu)
    if len(pdu) < 7 or pdu[:2] != bytes([_FUNCTION, _TYPE]):
        raise Unasked(f"{pdu[:8].hex(' ')} is no identification")
    objects, rest = {}, pdu[7:]
    for _ in range(pdu[6]):
        if len(rest) < 2 or len(rest) < 2 + rest[1]:
            raise Unasked("an identification that ends within an object")
        text = rest[2 : 2 + rest[1]].decode("utf-8", "replace")
        objects[rest[0]] = "".join(c if c.isprintable() else " " for c in text).strip()
        rest = rest[2 + rest[1] :]
    return Said(objects, pdu[5] if pdu[4] == _MORE else None)
