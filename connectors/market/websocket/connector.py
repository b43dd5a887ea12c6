"""JSON over WebSocket into Kafka: each feed a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from functools import partial
from typing import NoReturn
from urllib.parse import urlsplit

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidMessage, WebSocketException
from websockets.protocol import State

from connectors import clock
from connectors.connector import Backoff
from connectors.market.common import explained, profile
from connectors.market.contract.events import Bad
from connectors.market.desk import Desk
from connectors.market.fix.connector import together
from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.mapping import Mapper, Refusal, decode
from connectors.outlet import Outlet
from connectors.repeats import Repeats
from connectors.tls import TlsError, TlsFiles

log = structlog.get_logger(__name__)
_CONNECT_SECONDS = 10.0
_TICK_SECONDS = 0.1
_STEADY = 30_000_000
_PATIENCE = 10_000_000  # with the first snapshots of a connection, where none can be asked for
_BURST = 500  # messages between two looks at what else there is to do


class Lost(Exception):
    """The connection is of no more use; the text says why."""


class Feed:
    """One connection, made again and again."""

    def __init__(self, config: WebSocketConfig, desk: Desk) -> None:
        self._config = config
        self._desk = desk
        self._mapper = Mapper(config)
        self._tls = _tls(config, config.url)
        self._called = {one.instrument: one.called for one in config.instruments}
        # By the steady clock: until when a snapshot has time, when the next may be asked for, when something came last.
        self._patient: dict[str, int] = {}
        self._next = self._heard = 0
        self._fetching: set[asyncio.Task[None]] = set()
        self._left = ""
        """Why we closed the connection ourselves."""
        self._repeats = Repeats()

    async def run(self, stop: threading.Event) -> None:
        """Until ``stop``."""
        backoff = Backoff(stop, ceiling=self._config.backoff_ceiling / 1e6)
        while not stop.is_set():
            began = clock.steady()
            why = await self._once(stop)
            if stop.is_set():
                return
            self._desk.disconnected(why)
            if clock.steady() - began > _STEADY:
                backoff.reset()
            left = backoff.next_delay()
            while left > 0 and not stop.is_set():
                self._desk.check()
                await asyncio.sleep(min(left, _TICK_SECONDS))
                left -= _TICK_SECONDS

    async def _once(self, stop: threading.Event) -> str:
        """Connect and read until it ends; why it did."""
        config = self._config
        try:
            opening = asyncio.create_task(self._open())
            while not opening.done():
                if stop.is_set():
                    opening.cancel()
                    return "the connector stops"
                self._desk.check()
                await asyncio.wait({opening}, timeout=_TICK_SECONDS)
            connection = await opening
        except InvalidMessage:
            return f"cannot connect to {config.url}: what answers speaks no HTTP; is the port right, wss:// or ws://?"
        except (OSError, TimeoutError, TlsError, WebSocketException) as error:
            return f"cannot connect to {config.url}: {await explained(self._tls, error, _port(config.url))}"
        watching = asyncio.create_task(self._watch(connection, stop))
        try:
            await self._serve(connection, stop)
        except ConnectionClosedOK:
            return self._left or f"{config.url} said goodbye"
        except ConnectionClosed as closed:
            return self._left or f"{config.url} ended: {closed}"
        except Lost as lost:
            return str(lost)
        finally:
            watching.cancel()
            for task in self._fetching:
                task.cancel()
            await asyncio.gather(watching, *self._fetching, return_exceptions=True)
            await connection.close()

    async def _open(self) -> ClientConnection:
        config = self._config
        beat = config.heartbeat / 1e6
        return await connect(
            config.url,
            ssl=None if self._tls is None else self._tls.context(),
            additional_headers={name: os.environ[variable] for name, variable in config.headers_env.items()},
            open_timeout=_CONNECT_SECONDS,
            ping_interval=beat,
            ping_timeout=beat,
            close_timeout=1.0,
            max_size=config.max_message,
            max_queue=(64, 16),  # beyond that the socket is not read, and the venue notices
            compression=config.compression,
        )

    async def _serve(self, connection: ClientConnection, stop: threading.Event) -> NoReturn:
        """Read for ever. Raises ConnectionClosed and Lost."""
        self._heard = clock.steady()
        self._patient.clear()
        self._left = ""
        self._desk.begin()
        for text in self._subscriptions():
            await connection.send(text)
        count = 0
        while True:
            raw = await connection.recv(decode=False)  # text, too: the decoder of JSON looks at the bytes
            self._heard = clock.steady()
            self._take(raw)
            count += 1
            if not self._desk.outbox.empty:
                await self._desk.outbox.room(stop.is_set)
            elif count % _BURST == 0:
                await asyncio.sleep(0)

    def _subscriptions(self) -> list[str]:
        found = []
        everything = json.dumps(list(self._called.values()))
        for text in self._config.subscribe:
            if "{symbol}" in text:
                found += [_filled(text, symbol) for symbol in self._called.values()]
            else:
                found.append(text.replace("{symbols}", everything))
        return found

    def _take(self, raw: bytes) -> None:
        desk = self._desk
        desk.life.taken()
        now = clock.now()
        try:
            events, number = self._mapper.events(decode(raw), now)
        except Refusal as refusal:
            raise Lost(str(refusal)) from refusal
        except Bad as bad:
            desk.refused(str(bad), raw)
            # Which books it would have changed is not known.
            desk.lost(f"a message could not be read: {bad}")
            return
        if number is not None:
            desk.number(number)
        for event in events:
            desk.take(event)

    async def _watch(self, connection: ClientConnection, stop: threading.Event) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            desk = self._desk
            desk.check()
            now = clock.steady()
            if stop.is_set():
                await connection.close()
                return
            if self._tls is not None and self._tls.renewed():
                self._left = "the certificate files were renewed: connecting anew to use them"
                await connection.close(1001, "renewed certificates")
                return
            if not desk.outbox.empty:
                self._heard = now  # nobody reads: neither silence nor a snapshot that is missing says anything
                if connection.state is not State.OPEN:
                    self._left = f"{self._config.url} was not read, because too much waits for Kafka"
                continue
            if now - self._heard > self._config.silence:
                self._left = f"{self._config.url} said nothing for {self._config.silence / 1e6:g} s"
                await connection.close(1001, "nothing heard")
                return
            if wanting := desk.feed.wanting():
                await self._recover(connection, wanting, now)

    async def _recover(self, connection: ClientConnection, wanting: list[str], now: int) -> None:
        """Ask for the snapshots that are wanted, at the venue's pace. Without a way to ask, begin anew."""
        by = self._config.snapshot
        if by is None:
            # A new connection brings new snapshots; the first ones of this have their time.
            if now > max(self._patient.setdefault(one, now + _PATIENCE) for one in wanting):
                self._left = f"{self._config.url} sent no snapshot of {', '.join(wanting)}"
                await connection.close(1001, "no snapshot")
            return
        for instrument in wanting:
            if now < max(self._next, self._patient.get(instrument, 0)):
                continue
            self._next, self._patient[instrument] = now + by.every, now + by.timeout
            if by.message is not None:
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(_filled(by.message, self._called[instrument]))
            else:
                task = asyncio.create_task(self._fetch(instrument))
                self._fetching.add(task)
                task.add_done_callback(self._fetching.discard)

    async def _fetch(self, instrument: str) -> None:
        by = self._config.snapshot
        if by is None or by.url is None:
            return
        url = by.url.replace("{symbol}", self._called[instrument])
        try:
            body = await self._get(url, httpx.Timeout(by.timeout / 1e6))
            event = self._mapper.answer(decode(body), instrument, clock.now())
        except (httpx.HTTPError, OSError, TlsError, Bad) as error:
            if (again := self._repeats.again(url, str(error))) is not None:
                log.warning(
                    "no snapshot; asking again later", feed=self._config.name, url=url, reason=str(error), **again
                )
            self._desk.life.failed()
            return
        self._patient.pop(instrument, None)
        self._desk.take(event, apart=True)

    async def _get(self, url: str, limits: httpx.Timeout) -> bytes:
        """The answer, no longer than a message may be. Raises httpx.HTTPError, OSError, TlsError or Bad."""
        tls = _tls(self._config, url)
        verify = False if tls is None else tls.context()
        body = bytearray()
        async with httpx.AsyncClient(timeout=limits, verify=verify) as client, client.stream("GET", url) as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > self._config.max_message:
                    raise Bad(f"the answer is longer than {self._config.max_message} bytes")
        return bytes(body)


def _tls(config: WebSocketConfig, url: str) -> TlsFiles | None:
    """The files for an address; ``server_name`` speaks of the feed's own host."""
    host = urlsplit(url).hostname
    if host is None or not url.startswith(("wss:", "https:")):
        return None
    named = host == urlsplit(config.url).hostname
    return TlsFiles(config.tls if named else config.tls.model_copy(update={"server_name": None}), host)


def _port(url: str) -> int:
    return urlsplit(url).port or (443 if url.startswith("wss:") else 80)


def _filled(text: str, symbol: str) -> str:
    return text.replace("{symbol}", symbol)


class WebSocketConnector:
    """All feeds of ``[[websocket]]``."""

    name = "websocket"

    def __init__(self, config: list[WebSocketConfig], outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet

    def run(self, stop: threading.Event) -> None:
        """Keep every feed up until ``stop``."""
        asyncio.run(together([(one.name, partial(self._feed, one, stop)) for one in self._config], stop))

    async def _feed(self, config: WebSocketConfig, stop: threading.Event) -> None:
        names = [one.instrument for one in config.instruments]
        specs = [one.spec(config.venue, config.clock_tolerance) for one in config.instruments]
        desk = Desk(
            self.name, profile(config.name, "websocket", config, names), specs, self._outlet, scope=config.scope
        )
        try:
            await Feed(config, desk).run(stop)
        finally:
            desk.disconnected("the connector stops")
            desk.check()
