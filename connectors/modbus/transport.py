"""One device: ask, check that the answer belongs to the question, ask again, or say exactly what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from connectors.modbus.config import ModbusDevice
from connectors.modbus.connection import Connection, Lost, Unreachable
from connectors.modbus.messages import Refused, Unasked, answer, question
from connectors.modbus.plan import Request

T = TypeVar("T")
_BUSY_SECONDS = 0.1


class Link:
    """A device at its connection, which it may share with others. Not for concurrent use: one question at a time."""

    def __init__(self, device: ModbusDevice, connection: Connection) -> None:
        self._device = device
        self._connection = connection
        self._timeout = device.timeout / 1e6

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return self._connection.made

    @property
    def connected(self) -> bool:
        """Whether the next read needs no new connection."""
        return self._connection.is_open

    async def read(self, request: Request) -> list[int] | list[bool]:
        """The ``count`` registers (0 to 65535) or bits that were asked for.

        Silence and busy answers are tried again, ``retries`` times. Raises Unreachable, Lost or Refused.
        """
        for left in range(self._device.retries, -1, -1):
            try:
                return await self.ask(request, question(request), partial(answer, request))
            except Lost as loss:
                if not left or isinstance(loss, Unreachable):
                    raise
            except Refused as refusal:
                if not refusal.is_busy or not left:
                    raise
                await asyncio.sleep(min(_BUSY_SECONDS, self._timeout))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def leave(self) -> None:
        """The device is not needed any more."""
        self._connection.leave()

    async def ask(self, what: object, asked: bytes, understood: Callable[[bytes], T]) -> T:
        """Send the PDU ``asked`` once; what ``understood`` makes of the answer. ``what``: its name in messages.

        ``understood`` raises Unasked and Refused. Raises Unreachable when nothing was sent, Lost and Refused.
        """
        device = self._device
        try:
            pdu = await self._connection.ask(device.unit_id, asked, self._timeout, device.gap)
        except Unreachable:
            raise
        except Lost as loss:
            raise Lost(f"no answer to {what} of unit {device.unit_id}: {loss}") from loss
        try:
            return understood(pdu)
        except Unasked as unasked:
            self._connection.distrust(self._timeout)
            raise Lost(f"{device.address} unit {device.unit_id}: an answer to something else: {unasked}") from unasked
        except Refused as refusal:
            if refusal.is_of_gateway:
                raise Lost(f"{device.address}: {refusal}: the gateway misses unit {device.unit_id}") from refusal
            raise
