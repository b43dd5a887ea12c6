"""What Modbus travels on: the framings, and the settings of a serial line."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field

from connectors.fields import Section


class Framing(enum.StrEnum):
    """How a request is wrapped, and what it travels on.

    ``tcp``: with a header and a transaction id, also within TLS. ``rtu`` and ``ascii``: on a serial line; with
    ``-over-tcp`` the same frames through a gateway that passes them on.
    """

    TCP = "tcp"
    RTU = "rtu"
    ASCII = "ascii"
    RTU_OVER_TCP = "rtu-over-tcp"
    ASCII_OVER_TCP = "ascii-over-tcp"

    @property
    def is_serial(self) -> bool:
        """It travels on a serial line of this machine."""
        return self in (Framing.RTU, Framing.ASCII)

    @property
    def is_ascii(self) -> bool:
        """Frames of hexadecimal characters."""
        return self in (Framing.ASCII, Framing.ASCII_OVER_TCP)


class Serial(Section):
    """A serial line of this machine (Modbus over Serial Line V1.02, section 2.5: 19200 baud, even parity).

    ``stopbits`` when left out: 1, and 2 without parity. ``bytesize`` when left out: 8, and 7 for ASCII.
    """

    port: Annotated[str, Field(min_length=1, max_length=500)]
    baudrate: Annotated[int, Field(strict=True, ge=300, le=4_000_000)] = 19_200
    parity: Literal["even", "odd", "none"] = "even"
    stopbits: Literal[1, 2] | None = None
    bytesize: Literal[7, 8] | None = None

    @property
    def stops(self) -> int:
        """The stop bits of a character."""
        return self.stopbits or (2 if self.parity == "none" else 1)

    def bits(self, framing: Framing) -> int:
        """The data bits of a character."""
        return self.bytesize or (7 if framing.is_ascii else 8)

    @property
    def silence(self) -> int:
        """Microseconds of silence between two RTU frames: 3.5 characters, never less than 1.75 ms."""
        return max(1750, round(3.5 * 11 * 1e6 / self.baudrate))
