"""SunSpec's words for units as UCUM codes.

UCUM has no var: reactive power is V.A with a remark. What has no unit behind it is a plain number with the word kept
as a remark (UCUM section 3, annotations), so that nothing is lost.
"""

from __future__ import annotations

_UCUM = {
    "": "1",
    "PF": "1",
    "cos()": "1",
    "A": "A",
    "A/s": "A/s",
    "AH": "A.h",
    "Ah": "A.h",
    "C": "Cel",
    "Degrees": "deg",
    "deg": "deg",
    "HPa": "hPa",
    "Hz": "Hz",
    "Hz/s": "Hz/s",
    "Mbps": "Mbit/s",
    "bps": "bit/s",
    "Pct": "%",
    "VNomPct": "%",
    "VarPct": "%",
    "WMaxPct": "%",
    "DeptRef": "%",
    "Sec": "s",
    "Secs": "s",
    "Tms": "s",
    "Tmh": "h",
    "Tmd": "d",
    "V": "V",
    "V/s": "V/s",
    "VA": "V.A",
    "VAh": "V.A.h",
    "Var": "V.A{reactive}",
    "var": "V.A{reactive}",
    "Varh": "V.A.h{reactive}",
    "varh": "V.A.h{reactive}",
    "Vm": "V/m",
    "W": "W",
    "W/m2": "W/m2",
    "W/m^2": "W/m2",
    "W/s": "W/s",
    "WH": "W.h",
    "Wh": "W.h",
    "kAH": "kA.h",
    "kO": "kOhm",
    "kWh": "kW.h",
    "m/s": "m/s",
    "mSecs": "ms",
    "meters": "m",
    "mm": "mm",
    "mps": "m/s",
    "ohms": "Ohm",
}
_PER = {"/min": "%/min", "/sec": "%/s"}


def ucum(words: str) -> str:
    """The UCUM code for a model's unit; percentages of whatever are ``%``."""
    words = words.strip()
    if words in _UCUM:
        return _UCUM[words]
    if words.startswith("%") and "/%" not in words:
        return next(
            (code for end, code in _PER.items() if words.lower().endswith(end)),
            "%" if "/" not in words else _remark(words),
        )
    return _remark(words)


def _remark(words: str) -> str:
    kept = "".join(c for c in words if "!" <= c <= "~" and c not in "{}[]")
    return f"{{{kept[:38]}}}"
