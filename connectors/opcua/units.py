"""UCUM codes for the units that OPC UA servers tell. Pure.

EUInformation (OPC 10000-8, section 5.6.4.3) names a unit by a number, which is the UNECE code's characters, and by a
text for people. Of the 1,800 codes here are those of plants; no library keeps them beside UCUM's.
"""

from __future__ import annotations

from connectors.discovery.units import ucum

_CODES = {
    "C62": "1", "P1": "%", "59": "[ppm]", "61": "[ppb]", "NX": "[ppth]",
    "WTT": "W", "KWT": "kW", "MAW": "MW", "A90": "GW", "C31": "mW", "WHR": "W.h", "KWH": "kW.h", "MWH": "MW.h",
    "GWH": "GW.h", "D46": "V.A", "KVA": "kV.A", "MVA": "MV.A", "D44": "V.A{reactive}", "KVR": "kV.A{reactive}",
    "K3": "kV.A.h{reactive}", "VLT": "V", "KVT": "kV", "2Z": "mV", "AMP": "A", "B22": "kA", "4K": "mA", "AMH": "A.h",
    "OHM": "Ohm", "B49": "kOhm", "B75": "MOhm", "HTZ": "Hz", "KHZ": "kHz", "MHZ": "MHz",
    "CEL": "Cel", "FAH": "[degF]", "KEL": "K", "PAL": "Pa", "A97": "hPa", "KPA": "kPa", "MPA": "MPa", "BAR": "bar",
    "MBR": "mbar", "PS": "[psi]", "JOU": "J", "KJO": "kJ", "3B": "MJ", "GV": "GJ", "JM": "MJ/m3", "E46": "kW.h/m3",
    "D54": "W/m2", "MTR": "m", "KMT": "km", "CMT": "cm", "MMT": "mm", "4H": "um", "MTK": "m2", "MTQ": "m3", "LTR": "L",
    "MTS": "m/s", "KMH": "km/h", "C16": "mm/s", "MSK": "m/s2", "MQS": "m3/s", "MQH": "m3/h", "G53": "m3/min",
    "G51": "L/s", "L2": "L/min", "E32": "L/h", "GRM": "g", "KGM": "kg", "TNE": "t", "KGS": "kg/s", "E93": "kg/h",
    "E18": "t/h", "KMQ": "kg/m3", "NEW": "N", "B47": "kN", "NU": "N.m", "RPM": "{rev}/min", "C94": "/min",
    "DD": "deg", "C81": "rad", "SEC": "s", "C26": "ms", "MIN": "min", "HUR": "h", "DAY": "d",
    "G42": "uS/cm", "H61": "mS/cm", "Q30": "[pH]", "LUX": "lx", "NTU": "{NTU}",
}  # fmt: skip
_UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"


def unit_of(namespace: str | None, number: int, words: str) -> str | None:
    """The UCUM code of a unit by its number, else by its words; None when neither is known."""
    code = number.to_bytes(4).decode("ascii", "replace").strip("\0") if 0 <= number < 2**31 else ""
    return (_CODES.get(code) if namespace == _UNECE else None) or ucum(words)
