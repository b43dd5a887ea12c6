"""UCUM codes for units as plants write them. Pure.

A table of our own, because libraries that know UCUM know its codes only: kWh, rpm and °C are none. What is not certain
is left out: a wrong unit is worse than none.
"""

from __future__ import annotations

_SPELLED = {
    "1": "1", "%": "%", "pct": "%", "percent": "%", "‰": "[ppth]", "ppm": "[ppm]", "ppb": "[ppb]",
    "°C": "Cel", "ºC": "Cel", "℃": "Cel", "degC": "Cel", "deg C": "Cel", "Cel": "Cel", "Celsius": "Cel",
    "°F": "[degF]", "ºF": "[degF]", "℉": "[degF]", "degF": "[degF]", "deg F": "[degF]", "K": "K",
    "V": "V", "mV": "mV", "kV": "kV", "A": "A", "mA": "mA", "kA": "kA", "Ohm": "Ohm", "ohm": "Ohm", "Ω": "Ohm",
    "kOhm": "kOhm", "kΩ": "kOhm", "MOhm": "MOhm", "MΩ": "MOhm",
    "W": "W", "kW": "kW", "MW": "MW", "GW": "GW", "mW": "mW", "VA": "V.A", "kVA": "kV.A", "MVA": "MV.A",
    "var": "V.A{reactive}", "VAr": "V.A{reactive}", "kvar": "kV.A{reactive}", "kVAr": "kV.A{reactive}",
    "Mvar": "MV.A{reactive}", "MVAr": "MV.A{reactive}",
    "Wh": "W.h", "kWh": "kW.h", "MWh": "MW.h", "GWh": "GW.h", "VAh": "V.A.h", "kVAh": "kV.A.h", "Ah": "A.h",
    "J": "J", "kJ": "kJ", "MJ": "MJ", "GJ": "GJ", "W/m2": "W/m2", "W/m²": "W/m2", "kWh/m3": "kW.h/m3",
    "kWh/m³": "kW.h/m3", "MJ/m3": "MJ/m3", "MJ/m³": "MJ/m3",
    "Hz": "Hz", "kHz": "kHz", "MHz": "MHz", "rpm": "{rev}/min", "RPM": "{rev}/min",
    "1/min": "/min", "r/min": "{rev}/min",
    "Pa": "Pa", "hPa": "hPa", "kPa": "kPa", "MPa": "MPa", "bar": "bar", "mbar": "mbar", "psi": "[psi]",
    "m": "m", "mm": "mm", "cm": "cm", "km": "km", "µm": "um", "μm": "um", "m2": "m2", "m²": "m2",
    "m3": "m3", "m³": "m3", "l": "L", "L": "L", "m/s": "m/s", "km/h": "km/h", "m/s2": "m/s2", "m/s²": "m/s2",
    "m3/h": "m3/h", "m³/h": "m3/h", "m3/s": "m3/s", "m³/s": "m3/s", "m3/min": "m3/min", "m³/min": "m3/min",
    "l/s": "L/s", "L/s": "L/s", "l/min": "L/min", "L/min": "L/min", "l/h": "L/h", "L/h": "L/h",
    "g": "g", "kg": "kg", "t": "t", "kg/s": "kg/s", "kg/h": "kg/h", "t/h": "t/h", "kg/m3": "kg/m3", "kg/m³": "kg/m3",
    "mm/s": "mm/s", "N": "N", "kN": "kN", "Nm": "N.m", "N·m": "N.m", "deg": "deg", "°": "deg", "rad": "rad",
    "s": "s", "sec": "s", "ms": "ms", "min": "min", "h": "h", "d": "d",
    "µS/cm": "uS/cm", "μS/cm": "uS/cm", "mS/cm": "mS/cm", "pH": "[pH]", "lx": "lx", "NTU": "{NTU}",
}  # fmt: skip


def ucum(words: str) -> str | None:
    """The UCUM code for a unit as it is written in plants, or for itself; None when it is not known."""
    words = words.strip()
    return _SPELLED.get(words) or (words if words in _CODES else None)


_CODES = frozenset(_SPELLED.values())
