"""One connection, or one serial line, with everything that is behind it: one question at a time, each in its turn.

An answer that comes too late must meet nobody. With transaction ids it is recognised and dropped; without them the
connection is closed after a timeout and stays closed for as long again, so that a gateway's or a line's late answer
falls into the void and is not taken for the next register's.
"""

from __future__ import annotations

import asyncio
import ssl
import termios
from functools import partial
from typing import NoReturn

from pymodbus.transport.serialtransport import create_serial_connection

from connectors.modbus.config import ModbusDevice
from connectors.modbus.frames import Frame, Garbled, decoder, encode
from connectors.modbus.line import Framing
from connectors.network import in_words
from connectors.tls import TlsError, TlsFiles

_FLOOD = 64 * 1024  # unread bytes after which whoever sends them is cut off


class Lost(Exception):
    """No answer from the device, or one that cannot be trusted."""


class Unreachable(Lost):
    """Not even a connection."""


class _Wire(asyncio.Protocol):
    """The bytes that came and the end, kept until somebody looks."""

    def __init__(self, framing: Framing) -> None:
        self.decoder = decoder(framing)
        self.closed = False
        self.error: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > _FLOOD:
            self.close()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.error = exc
        self._news.set()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def take(self) -> bytes:
        """What came since the last time."""
        taken = bytes(self._data)
        self._data.clear()
        self._news.clear()
        return taken

    async def more(self) -> bytes:
        """At least one byte; none when the connection has ended."""
        while not self._data and not self.closed:
            self._news.clear()
            await self._news.wait()
        return self.take()

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            # Not close(): that would wait for a peer that does not read.
            self._transport.abort()


class Connection:
    """Made when it is needed, shared by all units behind it; whoever has waited longest is next."""

    def __init__(self, device: ModbusDevice) -> None:
        self._framing = device.framing
        self._host = device.host or ""
        self._port = device.port
        self._serial = device.serial
        self._tls = TlsFiles(device.tls, device.host) if device.tls is not None and device.host else None
        self._wire: _Wire | None = None
        self._turn = asyncio.Lock()
        self._transaction = 0
        self._quiet_until = 0.0
        self._answered = 0.0
        self.address = device.address
        self.users = 0
        self.made = 0
        """Connections so far."""

    @property
    def is_open(self) -> bool:
        """Whether the next question needs no new connection."""
        return self._wire is not None and not self._wire.closed

    async def ask(self, unit: int, pdu: bytes, patience: float, pause: float) -> bytes:
        """The PDU that answers ``pdu``: of the same unit and, where there are ids, of the same transaction.

        ``patience``: seconds at most for the connection and as long again for the answer, beside the turn's wait;
        ``pause``: seconds of silence before the question. Raises Unreachable and Lost.
        """
        async with self._turn:
            wire = await self._open(patience)
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._answered + pause - loop.time()))
            try:
                async with asyncio.timeout(patience):
                    frame = await self._exchange(wire, unit, pdu)
            except TimeoutError:
                self._lose(patience, f"no answer within {patience:g} s")
            except Garbled as garbled:
                self._lose(patience, f"what came is no Modbus frame: {garbled}")
            except BaseException:
                self._forget(patience)
                raise
            finally:
                self._answered = loop.time()
            if frame is None:
                why = self._tls.explained(wire.error, self._port) if self._tls and wire.error else "it was closed"
                self._lose(patience, f"the connection ended before an answer: {why}")
            if frame.unit != unit:
                self._lose(patience, f"unit {frame.unit} answered, which was not asked")
            return frame.pdu

    def distrust(self, patience: float) -> None:
        """The last answer was none: what else comes on this connection is not to be believed."""
        self._forget(patience)

    def leave(self) -> None:
        """One user less; the last one closes the connection."""
        self.users -= 1
        if self.users <= 0:
            self._close()

    async def _exchange(self, wire: _Wire, unit: int, pdu: bytes) -> Frame | None:
        """The answer; None when the connection ends first. Raises Garbled."""
        stray = wire.take()
        if stray and self._framing is not Framing.TCP:
            raise Garbled(f"{stray[:20].hex(' ')} came unasked")
        wire.decoder.feed(stray)
        self._transaction = self._transaction % 0xFFFF + 1
        wire.send(encode(self._framing, unit, self._transaction, pdu))
        while data := await wire.more():
            frames = wire.decoder.feed(data)
            if self._framing is Framing.TCP:
                # Answers to earlier questions are recognised and dropped.
                frames = [frame for frame in frames if frame.transaction == self._transaction]
            if len(frames) > 1:
                raise Garbled(f"{len(frames)} answers to one question")
            if frames:
                return frames[0]
        return None

    async def _open(self, patience: float) -> _Wire:
        loop = asyncio.get_running_loop()
        if self.is_open and self._tls is not None and self._tls.renewed():
            self._close()
        if self._wire is not None and self.is_open:
            return self._wire
        self._close()
        await asyncio.sleep(max(0.0, self._quiet_until - loop.time()))
        try:
            async with asyncio.timeout(patience):
                wire = await self._connect(loop, patience)
        except TlsError as error:
            raise Unreachable(f"{self.address}: {error}") from error
        except TimeoutError as error:
            raise Unreachable(
                f"cannot connect to {self.address} within {patience:g} s; is it on, is the address right?"
            ) from error
        except (OSError, termios.error) as error:
            raise Unreachable(f"cannot connect to {self.address}: {await self._explained(error)}") from error
        self._wire = wire
        self.made += 1
        return wire

    async def _connect(self, loop: asyncio.AbstractEventLoop, patience: float) -> _Wire:
        if self._serial is None:
            context = self._tls.context() if self._tls is not None else None
            return (await loop.create_connection(partial(_Wire, self._framing), self._host, self._port, ssl=context))[1]
        settings = self._serial
        wire = _Wire(self._framing)
        await create_serial_connection(
            loop,
            lambda: wire,
            settings.port,
            baudrate=settings.baudrate,
            bytesize=settings.bits(self._framing),
            parity=settings.parity[0].upper(),
            stopbits=settings.stops,
            timeout=patience,
        )
        await asyncio.sleep(0)  # the transport announces itself in the loop's next round
        return wire

    async def _explained(self, error: Exception) -> str:
        if isinstance(error, termios.error):
            return f"it does not take these settings ({error}): {self._serial}"
        if self._serial is not None:
            return f"{error}; is the name right, may this user open it, does another program use it?"
        if self._tls is not None and isinstance(error, ssl.SSLError):
            return await asyncio.to_thread(self._tls.explained, error, self._port)
        return in_words(error)

    def _lose(self, patience: float, why: str) -> NoReturn:
        self._forget(patience)
        raise Lost(f"{self.address}: {why}")

    def _forget(self, patience: float) -> None:
        self._close()
        if self._framing is not Framing.TCP:
            self._quiet_until = asyncio.get_running_loop().time() + patience

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class Lines:
    """The connections of one connector: units share one where only one can be, or where they are told to."""

    def __init__(self) -> None:
        self._open: dict[object, Connection] = {}

    def to(self, device: ModbusDevice) -> Connection:
        """The connection to ``device``; it is to be left when it is not needed any more."""
        apart = device.framing is Framing.TCP and not device.shared
        key = (device.framing, device.host, device.port, device.tls, device.serial, device.name if apart else None)
        connection = self._open.get(key)
        if connection is None or connection.users <= 0:
            connection = self._open[key] = Connection(device)
        connection.users += 1
        return connection
