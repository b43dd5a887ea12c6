"""A FIX session on a real connection: reads, writes, keeps the numbers on disk, connects again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from connectors import clock
from connectors.connector import Backoff
from connectors.market.common import explained
from connectors.market.fix.codec import Decoder, Garbled, Message
from connectors.market.fix.config import FixSession
from connectors.market.fix.outputs import (
    Close,
    Deliver,
    Filled,
    Identity,
    LoggedOn,
    Missing,
    Output,
    Pairs,
    Passed,
    Phase,
    Send,
)
from connectors.market.fix.session import Session
from connectors.market.fix.store import Statement, Store, StoreError
from connectors.market.outbox import Outbox
from connectors.tls import TlsError, TlsFiles

_CONNECT_SECONDS = 10.0
_TICK_SECONDS = 0.1
_READ_BYTES = 1 << 18
_STEADY = 30_000_000


class Handler(Protocol):
    """What is done with the messages of a session. Called in the connector's thread."""

    outbox: Outbox

    def logged_on(self, link: Link, *, restarted: bool) -> None:
        """The session is on; ``restarted``: what the peer sent before is lost."""

    def message(self, link: Link, message: Message, sequence: int, pending: Pending) -> None:
        """An application message, in order. Its number is kept on disk when ``pending`` is settled."""

    def missing(self, link: Link, first: int, last: int) -> None:
        """Messages have not come and are asked for."""

    def filled(self, link: Link, first: int, last: int) -> None:
        """The peer will not send these."""

    def garbled(self, garbled: Garbled) -> None:
        """Bytes that are no message."""

    def closed(self, end: Close) -> None:
        """The connection has ended, or was not made."""

    def check(self, link: Link) -> None:
        """A few times a second."""


class Pending:
    """What must be in Kafka before a number counts as taken. ``settle`` may come from another thread."""

    __slots__ = ("beside", "failed", "idle", "sequence", "waiting")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.beside: tuple[Statement, ...] = ()
        """What the store keeps together with the number."""
        self.waiting = 0
        self.failed = ""
        self.idle = True
        """Nothing was ever to be waited for."""

    def expect(self) -> Callable[[str | None], None]:
        """One more record; call the returned function once with its outcome."""
        self.idle = False
        self.waiting += 1
        return self._settle

    def _settle(self, error: str | None) -> None:
        if error is not None:
            self.failed = error
        self.waiting -= 1


class Link:
    """Keeps one session up until told to stop. Everything but ``Pending`` happens in one event loop."""

    def __init__(self, config: FixSession, store: Store, handler: Handler, *, reset: bool) -> None:
        self._config = config
        self._store = store
        self._handler = handler
        self._reset = reset
        self._tls = None if config.tls is None else TlsFiles(config.tls, config.host)
        self._session = Session(config.identity(reset=reset), steady=clock.steady)
        self._pending: deque[Pending] = deque()
        self._writer: asyncio.StreamWriter | None = None
        self._why: Close | None = None
        self._leaving = ""

    def _ended(self) -> bool:
        return self._why is not None

    @property
    def complete(self) -> bool:
        """Whether the session is on and nothing is missing."""
        return self.live and self._session.complete

    @property
    def settled(self) -> bool:
        """Whether everything that came is on disk as taken."""
        return not self._pending

    @property
    def live(self) -> bool:
        """Whether the session is logged on."""
        return self._session.phase is Phase.ON

    def send(self, kind: str, fields: Pairs) -> None:
        """Send an application message if the session is on."""
        self._act(self._session.application(kind, fields, clock.wall()))

    async def run(self, stop: threading.Event) -> None:
        """Connect again and again, with growing waits, until ``stop``."""
        backoff = Backoff(stop, ceiling=self._config.backoff_ceiling / 1e6)
        while not stop.is_set():
            began = clock.steady()
            end = await self._once(stop)
            if stop.is_set():
                return
            self._handler.closed(end)
            if clock.steady() - began > _STEADY:
                backoff.reset()
            left = self._config.backoff_ceiling / 1e6 if end.person else backoff.next_delay()
            while left > 0 and not stop.is_set():
                self._handler.check(self)
                await asyncio.sleep(min(left, _TICK_SECONDS))
                left -= _TICK_SECONDS

    async def _once(self, stop: threading.Event) -> Close:
        """Connect and serve until it ends; why it did."""
        config = self._config
        where = f"{config.host}:{config.port}"
        identity = config.identity(reset=self._reset)
        try:
            context = None if self._tls is None else self._tls.context()
            opening = asyncio.open_connection(config.host, config.port, ssl=context)
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await opening
        except TimeoutError:
            return Close(f"{where} did not answer within {_CONNECT_SECONDS:g} s")
        except (OSError, TlsError) as error:
            return Close(f"cannot connect to {where}: {await explained(self._tls, error, config.port)}")
        try:
            await self._talk(identity, reader, writer, stop)
        except StoreError as error:
            return Close(str(error))
        except OSError as error:
            return Close(f"the connection to {where} broke: {await explained(self._tls, error, config.port)}")
        if self._leaving or self._why is None:
            return Close(self._leaving or f"{where} closed the connection")
        return self._why

    async def _talk(
        self, identity: Identity, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stop: threading.Event
    ) -> None:
        """One session from the logon to the end of the connection. Raises OSError and StoreError."""
        self._pending.clear()
        self._writer, self._why, self._leaving = writer, None, ""
        try:
            next_in, next_out = self._store.numbers()
            self._session = Session(identity, next_in=next_in, next_out=next_out, steady=clock.steady)
            self._act(self._session.connected(clock.wall()))
            await self._serve(reader, stop)
        finally:
            self._writer = None
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()
            self._settle()

    async def _serve(self, reader: asyncio.StreamReader, stop: threading.Event) -> None:
        decoder = Decoder()
        ticking = asyncio.create_task(self._tick(stop))
        try:
            while not self._ended():
                data = await reader.read(_READ_BYTES)
                if not data:
                    return
                now = clock.wall()
                for one in decoder.feed(data):
                    if isinstance(one, Garbled):
                        self._handler.garbled(one)
                    else:
                        self._act(self._session.received(one, now))
                    if self._why is not None:
                        break
                if not self._handler.outbox.empty:
                    await self._handler.outbox.room(self._ended)
                else:
                    await asyncio.sleep(0)
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking

    async def _tick(self, stop: threading.Event) -> None:
        while not self._ended():
            await asyncio.sleep(_TICK_SECONDS)
            now = clock.wall()
            try:
                self._settle()
                self._act(self._session.tick(now, reading=self._handler.outbox.empty))
                self._handler.check(self)
                if stop.is_set():
                    self._leave("stopped", now)
                elif self._tls is not None and self._tls.renewed():
                    self._leave("the certificate files were renewed: connecting anew to use them", now)
            except StoreError as error:
                self._why = Close(str(error))
        if self._writer is not None:
            self._writer.close()  # wakes the reader

    def _leave(self, why: str, now: int) -> None:
        """Log out; a peer that does not answer must not hold up the end."""
        if self._leaving:
            return
        self._leaving, session = why, self._session
        self._act(session.logout(now))

        def end() -> None:
            if self._session is session and not self._ended():
                self._why = Close(why)

        asyncio.get_running_loop().call_later(1.0, end)

    def _act(self, outputs: list[Output]) -> None:
        if len(outputs) == 1 and isinstance(outputs[0], Deliver):  # nearly always
            self._deliver(outputs[0])
            return
        sends = [one.data for one in outputs if isinstance(one, Send)]
        if sends and self._writer is not None:
            # On disk before it is on the wire: a number that was used is never used again.
            self._store.save(next_out=self._session.next_out)
            self._writer.write(b"".join(sends))
        for one in outputs:
            if isinstance(one, Deliver):
                self._deliver(one)
            elif isinstance(one, Passed):
                self._expect(one.sequence)
            elif isinstance(one, LoggedOn):
                if one.restarted:
                    self._store.save(next_in=1)
                self._handler.logged_on(self, restarted=one.restarted)
            elif isinstance(one, Missing):
                self._handler.missing(self, one.first, one.last)
            elif isinstance(one, Filled):
                self._handler.filled(self, one.first, one.last)
            elif isinstance(one, Close):
                self._why = one

    def _deliver(self, one: Deliver) -> None:
        self._handler.message(self, one.message, one.sequence, self._expect(one.sequence))

    def _expect(self, sequence: int) -> Pending:
        """What must be in Kafka for ``sequence``; behind a message of which nothing must, the same."""
        if self._pending and self._pending[-1].idle:
            self._pending[-1].sequence = sequence
            return self._pending[-1]
        pending = Pending(sequence)
        self._pending.append(pending)
        return pending

    def _settle(self) -> None:
        """Keep on disk how far everything is in Kafka, in order."""
        done = 0
        beside: list[Statement] = []
        while self._pending and self._pending[0].waiting == 0 and not self._pending[0].failed:
            settled = self._pending.popleft()
            done = settled.sequence
            beside += settled.beside
        if done:
            self._store.save(next_in=done + 1, beside=beside)
        if self._pending and (failed := self._pending[0].failed) and not self._ended():
            # The peer has it still: it is asked for again at the next logon.
            self._why = Close(f"Kafka did not take a record: {failed}")
