"""One connection to one device: ask, check that the answer belongs to the question, or say exactly what went wrong.

pymodbus raises for silence and *returns* what the device refused; it takes any function code and any length as an
answer, and on a framing without transaction ids also the late answer to an earlier question. So everything is checked
here, and after a timeout the socket is closed: the late answer then meets nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from connectors.modbus.config import Framing, Kind, ModbusDevice
from connectors.modbus.plan import Request

_FUNCTIONS = {Kind.COIL: 1, Kind.DISCRETE: 2, Kind.HOLDING: 3, Kind.INPUT: 4}
# Modbus Application Protocol V1.1b3, section 7.
_BUSY = (5, 6)
_GATEWAY = (10, 11)


class Refused(Exception):
    """The device answered that it will not: ``code`` is the Modbus exception code."""

    def __init__(self, request: Request, code: int) -> None:
        name = next((known.name for known in ExcCodes if known == code), "UNKNOWN").replace("_", " ").lower()
        super().__init__(f"the device refused {request}: {name} (exception code {code})")
        self.code = code

    @property
    def may_be_one_register(self) -> bool:
        """Illegal address or illegal value: perhaps one register of several, so that the others can still be read."""
        return self.code in (2, 3)


class Lost(Exception):
    """No answer from the device, or one that cannot be trusted."""


class Unreachable(Lost):
    """Not even a connection."""


class Link:
    """A connection that is made when it is needed. Not for concurrent use: one question at a time."""

    def __init__(self, device: ModbusDevice) -> None:
        self._device = device
        self._timeout = device.timeout / 1e6
        self._client: AsyncModbusTcpClient | None = None
        self._quiet_until = 0.0
        self.connections = 0
        """How many were made so far."""

    @property
    def connected(self) -> bool:
        """Whether the next read needs no new connection."""
        return self._client is not None and bool(self._client.connected)

    async def read(self, request: Request) -> list[int] | list[bool]:
        """The ``count`` registers (0 to 65535) or bits that were asked for.

        Silence and busy answers are tried again, ``retries`` times. Raises Unreachable, Lost or Refused.
        """
        for left in range(self._device.retries, -1, -1):
            try:
                return await self._ask(request)
            except Lost as loss:
                if not left or isinstance(loss, Unreachable):
                    raise
            except Refused as refusal:
                if refusal.code not in _BUSY or not left:
                    raise
                await asyncio.sleep(min(0.1, self._timeout))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def close(self) -> None:
        """Close the connection; the next read makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _ask(self, request: Request) -> list[int] | list[bool]:
        client = await self._connected()
        try:
            answer = await self._call(client, request)
        except asyncio.CancelledError:
            self.close()
            raise
        except (ModbusException, OSError) as error:
            self._lose()
            raise Lost(f"no answer to {request} within {self._timeout:g} s from {self._address}") from error
        if isinstance(answer, ExceptionResponse) or answer.isError():
            if answer.function_code != _FUNCTIONS[request.kind] | 0x80:
                self._lose()
                raise Lost(f"{self._address} refused function {answer.function_code & 0x7F}, which was not asked")
            if answer.exception_code in _GATEWAY:
                raise Lost(f"{self._address}: {Refused(request, answer.exception_code)}: the gateway misses the device")
            raise Refused(request, answer.exception_code)
        return self._checked(request, answer)

    def _checked(self, request: Request, answer: ModbusPDU) -> list[int] | list[bool]:
        """The answer's content if it can only be the answer to this request."""
        bits = request.kind.is_bit
        content = list(answer.bits) if bits else list(answer.registers)
        # Bits come in whole bytes.
        expected = -(-request.count // 8) * 8 if bits else request.count
        if answer.function_code != _FUNCTIONS[request.kind] or len(content) != expected:
            self._lose()
            raise Lost(
                f"{self._address} answered {request} with function {answer.function_code} and {len(content)} values; "
                f"expected function {_FUNCTIONS[request.kind]} and {expected}: an answer to something else"
            )
        return content[: request.count]

    async def _call(self, client: AsyncModbusTcpClient, request: Request) -> ModbusPDU:
        calls: dict[Kind, Callable[..., Awaitable[ModbusPDU]]] = {
            Kind.COIL: client.read_coils,
            Kind.DISCRETE: client.read_discrete_inputs,
            Kind.HOLDING: client.read_holding_registers,
            Kind.INPUT: client.read_input_registers,
        }
        answer = await calls[request.kind](request.address, count=request.count, device_id=self._device.unit_id)
        if self._device.framing is Framing.TCP and answer.transaction_id != client.ctx.request_transaction_id:
            # pymodbus lets a transaction id of 0 pass as an answer to anything.
            raise ModbusException(f"answer to transaction {answer.transaction_id}, which was not asked")
        return answer

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is not None and self.connected:
            return self._client
        self.close()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._quiet_until - loop.time()))
        rtu = self._device.framing is Framing.RTU_OVER_TCP
        client = AsyncModbusTcpClient(
            self._device.host,
            port=self._device.port,
            name=self._device.name,
            framer=FramerType.RTU if rtu else FramerType.SOCKET,
            timeout=self._timeout,
            retries=0,
            reconnect_delay=0,
        )
        try:
            connected = await client.connect()
        except BaseException:
            client.close()
            raise
        if not connected:
            client.close()
            raise Unreachable(
                f"cannot connect to {self._address} within {self._timeout:g} s; is it on, is the port right?"
            )
        self._client = client
        self.connections += 1
        return client

    def _lose(self) -> None:
        self.close()
        if self._device.framing is Framing.RTU_OVER_TCP:
            # A serial gateway hands a late answer to whoever is connected by then: let it fall into the void first.
            self._quiet_until = asyncio.get_running_loop().time() + self._timeout

    @property
    def _address(self) -> str:
        return f"{self._device.host}:{self._device.port} unit {self._device.unit_id}"
