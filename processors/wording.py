"""How decisions speak: ids made from inputs, and numbers, money and times as a person reads them."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from decimal import Decimal

from processors.processor import Batch
from schemas.base import IDENTIFIER_CHARACTERS, Coordinates

_ID_LENGTH = 200
_TEXT_LENGTH = 2000
_SPOKEN = {"1": "", "Cel": "°C", "MW.h": "MWh", "kW.h": "kWh", "10*6.[Btu_IT]": "MMBtu", "m3": "m³", "m3/h": "m³/h"}
_UCUM_MARKS = re.compile(r"_us\]|_IT\]|[\[\]]")
_NOT_IN_IDS = re.compile(rf"[^{IDENTIFIER_CHARACTERS}]")
_MAGNITUDES = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


def derived_id(*parts: str | int | Coordinates) -> str:
    """An Identifier made of ``parts``, the same for the same parts; the end of one that grew too long is a hash."""
    whole = ":".join(place(part) if isinstance(part, Coordinates) else str(part) for part in parts)
    text = _NOT_IN_IDS.sub("-", whole)
    if len(text) <= _ID_LENGTH and text == whole:
        return text
    digest = hashlib.blake2b(whole.encode(), digest_size=12).hexdigest()
    return f"{text[: _ID_LENGTH - 25]}-{digest}"


def place(at: Coordinates) -> str:
    """Coordinates as part of an id: ``positions/2/15``."""
    return f"{at.topic}/{at.partition}/{at.offset}"


def clip(text: str) -> str:
    """``text``, cut to what a Text field holds."""
    return text if len(text) <= _TEXT_LENGTH else f"{text[: _TEXT_LENGTH - 2]} …"


def number(value: float | Decimal, digits: int = 10) -> str:
    """A number with its thousands apart: 12000.0 gives ``12 000``, -1234.5 gives ``-1 234.5``."""
    if isinstance(value, Decimal):
        if value and not -30 < value.adjusted() < 30:
            return f"{value:.3E}"
        text = f"{value:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        sign, _, plain = text.rpartition("-")
        whole, dot, rest = plain.partition(".")
        return f"{'-' if sign or text.startswith('-') else ''}{int(whole):,}".replace(",", " ") + dot + rest
    if value != 0 and not 1e-6 <= abs(value) < 1e15:
        return f"{value:.{digits}g}"
    return number(Decimal(f"{value:.{digits}g}"))


def money(value: float, currency: str, digits: int = 4) -> str:
    """An amount as it is said: 1262000.0 gives ``1.262 MUSD``, 856200.0 gives ``856 200 USD``."""
    for size, letter in _MAGNITUDES:
        if abs(value) >= size:
            return f"{number(value / size, digits)} {letter}{currency}"
    return f"{number(value, max(digits, 6))} {currency}"


def contrast(left: float, right: float, currency: str) -> tuple[str, str]:
    """Two amounts, with as many digits as it takes to tell them apart."""
    for digits in range(4, 18):
        texts = money(left, currency, digits), money(right, currency, digits)
        if texts[0] != texts[1] or left == right:
            break
    return texts


def telling(left: float, right: float | None, least: int = 5) -> int:
    """Significant digits for a measured value and what it is held against: ``least``, or what tells them apart."""
    if right is None or left == right:
        return least
    return next((n for n in range(least, 17) if f"{left:.{n}g}" != f"{right:.{n}g}"), 17)


def quantity(value: Decimal, unit: str) -> str:
    """A quantity with its unit: ``12 000 bbl``."""
    return f"{number(value)} {unit_name(unit)}".rstrip()


def unit_name(unit: str) -> str:
    """A UCUM code as people write it: ``[bbl_us]`` gives ``bbl``, ``10*6.[Btu_IT]`` gives ``MMBtu``."""
    return _SPOKEN.get(unit, _UCUM_MARKS.sub("", unit))


def clock(micros: int) -> str:
    """The time of day in UTC, to the second: ``07:00:03Z``."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%H:%M:%SZ")


def span(micros: int) -> str:
    """A duration in seconds: ``180 s``."""
    return f"{number(micros / 1_000_000)} s"


def lasted(micros: int) -> str:
    """A duration that was reached, in whole milliseconds and so never longer than it was: ``3.199 s``."""
    return span(micros // 1000 * 1000)


def misplaced(batch: Batch, index: int, key: str) -> bool:
    """Reject a record that stands under another key than its contents say: its state would be somebody else's."""
    found = batch.key(index)
    if found == key:
        return False
    batch.reject(index, clip(f"the message key is {found!r}, but by its contents the record belongs to {key!r}"))
    return True


def unknown(instrument: str) -> str:
    """The reason for refusing a record of an instrument that nobody listed."""
    return clip(f"unknown instrument {instrument!r}: publish it on the topic instruments first")
