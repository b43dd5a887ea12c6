"""Stands in for recorded devices, and sees whether connectors say the same again when they are told the same.

Modbus and MQTT do to the byte, the others but for what their dialect leaves out; OPC UA, where requests and responses
may overtake each other, has a stage of its own (:mod:`connectors.capture.opcua.stage`).
"""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from connectors.capture.dialects import WEB, Dialect
from connectors.capture.frames import Direction, Frame
from connectors.capture.wire import Access, Entry, Listener, target

_PATIENCE_SECONDS = 10.0


class Player:
    """Stands in for recorded devices: to the same bytes, the same answers.

    ``differences``: where a connector said something else than when it was recorded. ``paced``: with the recorded
    pauses before each answer; otherwise at once.
    """

    def __init__(self, frames: Iterable[Frame], *, paced: bool = False) -> None:
        links: dict[int, list[Frame]] = {}
        for frame in frames:
            links.setdefault(frame.link, []).append(frame)
        self._turns = _Turns(links.values())
        self._left: dict[str, list[list[Frame]]] = defaultdict(list)
        for recorded in links.values():
            self._left[recorded[0].target].append(recorded)
        self._open = len(links)
        self._paced = paced
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self.differences: list[str] = []

    def place(self, host: str, port: int, access: Access, dialect: Dialect | None) -> int:
        """A local port behind which is the recorded device."""
        name = target(host, port, access, dialect)
        serve = self._perform if isinstance(access, Entry) else partial(self._play, dialect=dialect)
        listener = Listener(partial(serve, name=name))
        self._listeners.append(listener)
        return listener.port

    @property
    def finished(self) -> bool:
        """Every recorded connection has been played to its end, and the connector has taken all of it."""
        return self._open == 0

    def close(self) -> None:
        """Take no more connections."""
        self._ended.set()
        for listener in self._listeners:
            listener.close()

    def _perform(self, client: socket.socket, name: str) -> None:
        from connectors.capture.opcua.stage import perform  # its library is loaded only where there is such a server

        with self._lock:
            recorded = self._left[name].pop(0) if self._left[name] else None
        if recorded is None:
            return
        try:
            if (why := perform(client, recorded, self._ended, paced=self._paced)) is not None:
                self.differences.append(f"{name}, connection {recorded[0].link}: {why}")
        finally:
            self._played(recorded)

    def _play(self, client: socket.socket, name: str, dialect: Dialect | None) -> None:
        client.settimeout(_PATIENCE_SECONDS)
        recorded = self._chosen(name, client.recv(4096, socket.MSG_PEEK), dialect)
        if recorded is None:
            return  # the recording has no further connection: as if the device were off
        converse = self._converse if dialect is None else partial(self._converse_in, dialect)
        try:
            if (difference := converse(client, recorded)) is not None:
                expected, said = difference
                self.differences.append(
                    f"{name}, connection {recorded[0].link}: {_shown(expected, dialect)} was recorded, "
                    f"and came {_shown(said, dialect) or 'nothing'}"
                )
        finally:
            self._played(recorded)

    def _played(self, recorded: list[Frame]) -> None:
        self._turns.done(*recorded)
        with self._lock:
            self._open -= 1

    def _chosen(self, name: str, greeting: bytes, dialect: Dialect | None) -> list[Frame] | None:
        """The next connection that began so: devices behind one gateway connect in any order."""

        def likeness(recorded: list[Frame]) -> bool:
            first = next((frame.data for frame in recorded if frame.direction is Direction.SENT), b"")
            if dialect is not None:
                return next(map(dialect.meant, dialect.messages(first)), b"") == next(
                    map(dialect.meant, dialect.messages(greeting)), b""
                )
            return first.startswith(greeting) or greeting.startswith(first)

        with self._lock:
            left = self._left[name]
            recorded = next((one for one in left if likeness(one)), left[0] if left else None)
            if recorded is not None:
                left.remove(recorded)
            return recorded

    def _converse(self, client: socket.socket, recorded: list[Frame]) -> tuple[bytes, bytes] | None:
        """Play one connection; what was expected of the connector and what it said, if it was something else."""
        last = _last_received(recorded)
        before, since = recorded[0].at, time.monotonic()
        for frame in recorded[: last + 1]:
            if frame.direction is Direction.SENT:
                said = _exactly(client, len(frame.data))
                if said != frame.data:
                    return frame.data, said
            elif frame.direction is Direction.RECEIVED:
                self._pause(frame.at - before, since)
                client.sendall(frame.data)
            before, since = frame.at, time.monotonic()
        # What followed had no answer, and a connector that finds the connection ended may leave the rest unsaid.
        self._pause(recorded[-1].at - before, since)
        client.shutdown(socket.SHUT_WR)
        rest = b"".join(frame.data for frame in recorded[last + 1 :] if frame.direction is Direction.SENT)
        said = _exactly(client, 1 << 20)
        return None if rest.startswith(said) or said.startswith(rest) else (rest, said)

    def _converse_in(
        self, dialect: Dialect, client: socket.socket, recorded: list[Frame]
    ) -> tuple[bytes, bytes] | None:
        """As :meth:`_converse`, message by message: compared is what is meant."""
        last = _last_received(recorded)
        before, since = recorded[0].at, time.monotonic()
        heard = _Heard(dialect, client)
        ours = theirs = b""
        headed = not dialect.headed
        for frame in recorded[: last + 1]:
            if frame.direction is Direction.SENT:
                ours += frame.data
                while length := dialect.whole(ours):
                    message, ours = ours[:length], ours[length:]
                    if (expected := dialect.meant(message)) is not None and expected != (said := heard.next()):
                        return expected, said or b""
            elif frame.direction is Direction.RECEIVED:
                self._turns.wait(frame)
                self._pause(frame.at - before, since)
                theirs += frame.data
                if headed := headed or b"\r\n\r\n" in theirs:
                    client.sendall(dialect.answered(theirs, heard.first))
                    theirs = b""
            if frame is not recorded[last] or recorded[-1].direction is not Direction.CLOSED:
                self._turns.done(frame)  # an answer that ends its connection has been taken when that is closed
            before, since = frame.at, time.monotonic()
        self._pause(recorded[-1].at - before, since)
        client.shutdown(socket.SHUT_WR)
        _exactly(client, 1 << 20)
        return None

    def _pause(self, micros: int, since: float) -> None:
        """Wait until so long has passed ``since``."""
        if self._paced:
            self._ended.wait(max(0.0, micros / 1e6 + since - time.monotonic()))


class _Turns:
    """What several connections of a venue say together: a book that is asked for on one belongs between what comes on
    the other. Each piece waits for those before it, unless a connection that was recorded is not made this time."""

    def __init__(self, links: Iterable[list[Frame]]) -> None:
        together = [
            (frame.at, place, frame)
            for link in links
            if link[0].target.startswith(f"{WEB.name} ")
            for place, frame in enumerate(link[: _last_received(link) + 1])
        ]
        self._order = deque(id(frame) for _at, _place, frame in sorted(together, key=lambda one: one[:2]))
        self._done: set[int] = set()
        self._changed = threading.Condition()

    def wait(self, frame: Frame) -> None:
        """Until it is the turn of ``frame``, or has not become it for too long."""
        with self._changed:
            if id(frame) in self._order:
                self._changed.wait_for(lambda: not self._order or self._order[0] == id(frame), _PATIENCE_SECONDS)

    def done(self, *frames: Frame) -> None:
        """These have been played, or never will be."""
        with self._changed:
            self._done.update(map(id, frames))
            while self._order and self._order[0] in self._done:
                self._order.popleft()
            self._changed.notify_all()


class _Heard:
    """What a connector says, message by message. ``first``: the first, as it came."""

    def __init__(self, dialect: Dialect, client: socket.socket) -> None:
        self._dialect = dialect
        self._client = client
        self._buffer = b""
        self.first = b""

    def next(self) -> bytes | None:
        """What the next message means; None when no more comes."""
        return next(self._meant(), None)

    def _meant(self) -> Iterator[bytes]:
        while True:
            while length := self._dialect.whole(self._buffer):
                message, self._buffer = self._buffer[:length], self._buffer[length:]
                self.first = self.first or message
                if (meant := self._dialect.meant(message)) is not None:
                    yield meant
            try:
                more = self._client.recv(65_536)
            except TimeoutError:
                return
            if not more:
                return
            self._buffer += more


def _shown(said: bytes, dialect: Dialect | None) -> str:
    return said.hex(" ") if dialect is None else repr(said)[2:-1]


def _last_received(recorded: list[Frame]) -> int:
    return max((n for n, frame in enumerate(recorded) if frame.direction is Direction.RECEIVED), default=0)


def _exactly(client: socket.socket, count: int) -> bytes:
    """``count`` bytes, or fewer when no more come."""
    said = bytearray()
    with suppress(TimeoutError):
        while len(said) < count and (more := client.recv(min(count - len(said), 65_536))):
            said += more
    return bytes(said)
