"""Between a connector and its device: a recorder that passes bytes on, and a player that stands in for the device.

Both work on bytes and know no protocol; a protocol only says in :func:`redirected` where its addresses stand. It must
say the same again when it is told the same: Modbus and MQTT do, while what holds nonces or times of its own (OPC UA,
Sparkplug's STATE, FIX) does not. TLS ends at the recorder, which checks the server as the connector would: what is
recorded is what was inside.
"""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from connectors.capture.frames import Direction, Frame, Writer
from connectors.config import Config
from connectors.fields import Tls
from connectors.tls import TlsFiles

Place = Callable[[str, int, TlsFiles | None], int]
"""Host, port and TLS of a device → the local port to connect to instead."""
_CONNECT_SECONDS = 5.0
_PATIENCE_SECONDS = 10.0
_KEEPALIVE = 3_600_000_000  # microseconds: pings would come at other times when played back


def redirected(config: Config, place: Place) -> Config:
    """``config`` with every address led through ``place``; connectors that cannot be played back are left out."""
    ports: dict[tuple[str, int], int] = {}  # units of one gateway share a connection, and so they must here

    def there(host: str, port: int, tls: Tls | None) -> dict[str, Any]:
        if (host, port) not in ports:
            ports[host, port] = place(host, port, TlsFiles(tls, host) if tls is not None else None)
        return {"host": "127.0.0.1", "port": ports[host, port], "tls": None}

    modbus = [
        one.model_copy(update=there(one.host, one.port, one.tls)) for one in config.modbus if one.host is not None
    ]
    changes: dict[str, Any] = {"modbus": modbus}
    if (mqtt := config.mqtt) is not None:
        led = there(mqtt.host, mqtt.port, mqtt.tls)
        changes["mqtt"] = mqtt.model_copy(update=led | {"keepalive": _KEEPALIVE})
    return Config(store=config.store).model_copy(update=changes)


def unrecorded(config: Config) -> list[str]:
    """What :func:`redirected` leaves out: other connectors, and Modbus devices on a serial line of this machine."""
    others = [name for name, one in config if one and name not in ("mqtt", "modbus", "store")]
    return others + [one.name for one in config.modbus if one.host is None]


class _Listener:
    """Accepts connections on a local port, each in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self._serve(client)


class Recorder:
    """Passes on and records. ``problems``: why a device could not be reached, each once."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._listeners: list[_Listener] = []
        self._links = 0
        self._lock = threading.Lock()
        self.problems: dict[str, None] = {}

    def place(self, host: str, port: int, tls: TlsFiles | None) -> int:
        """A local port behind which is the device."""
        listener = _Listener(lambda client: self._pass_on(client, host, port, tls))
        self._listeners.append(listener)
        return listener.port

    def close(self) -> None:
        """Take no more connections."""
        for listener in self._listeners:
            listener.close()

    def _pass_on(self, client: socket.socket, host: str, port: int, tls: TlsFiles | None) -> None:
        target = f"{host}:{port}"
        try:
            device = socket.create_connection((host, port), _CONNECT_SECONDS)
            if tls is not None:
                device = tls.context().wrap_socket(device)
            device.settimeout(None)
        except (OSError, ValueError) as error:  # ValueError: TlsError
            self.problems[f"{target}: {tls.explained(error, port) if tls else error}"] = None
            return
        with self._lock:
            self._links += 1
            link = self._links
        self._writer.write(link, target, Direction.OPENED)

        def pump(source: socket.socket, sink: socket.socket, direction: Direction) -> None:
            with suppress(OSError):
                while data := source.recv(65_536):
                    self._writer.write(link, target, direction, data)
                    sink.sendall(data)
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        with device:
            back = threading.Thread(target=pump, args=(device, client, Direction.RECEIVED), daemon=True)
            back.start()
            pump(client, device, Direction.SENT)
            back.join()
        self._writer.write(link, target, Direction.CLOSED)


class Player:
    """Stands in for recorded devices: to the same bytes, the same answers.

    ``differences``: where a connector said something else than when it was recorded. ``paced``: with the recorded
    pauses before each answer; otherwise at once.
    """

    def __init__(self, frames: Iterable[Frame], *, paced: bool = False) -> None:
        links: dict[int, list[Frame]] = {}
        for frame in frames:
            links.setdefault(frame.link, []).append(frame)
        self._left: dict[str, list[list[Frame]]] = defaultdict(list)
        for recorded in links.values():
            self._left[recorded[0].target].append(recorded)
        self._open = len(links)
        self._paced = paced
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[_Listener] = []
        self.differences: list[str] = []

    def place(self, host: str, port: int, tls: TlsFiles | None) -> int:
        """A local port behind which is the recorded device."""
        target = f"{host}:{port}"
        listener = _Listener(lambda client: self._play(client, target))
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

    def _play(self, client: socket.socket, target: str) -> None:
        client.settimeout(_PATIENCE_SECONDS)
        recorded = self._chosen(target, client.recv(4096, socket.MSG_PEEK))
        if recorded is None:
            return  # the recording has no further connection: as if the device were off
        try:
            if (difference := self._converse(client, recorded)) is not None:
                expected, said = difference
                self.differences.append(
                    f"{target}, connection {recorded[0].link}: {expected.hex(' ')} was recorded, "
                    f"and came {said.hex(' ') or 'nothing'}"
                )
        finally:
            with self._lock:
                self._open -= 1

    def _chosen(self, target: str, greeting: bytes) -> list[Frame] | None:
        """The next connection that began so: devices behind one gateway connect in any order."""

        def likeness(recorded: list[Frame]) -> bool:
            first = next((frame.data for frame in recorded if frame.direction is Direction.SENT), b"")
            return first.startswith(greeting) or greeting.startswith(first)

        with self._lock:
            left = self._left[target]
            recorded = next((one for one in left if likeness(one)), left[0] if left else None)
            if recorded is not None:
                left.remove(recorded)
            return recorded

    def _converse(self, client: socket.socket, recorded: list[Frame]) -> tuple[bytes, bytes] | None:
        """Play one connection; what was expected of the connector and what it said, if it was something else."""
        last = max((n for n, frame in enumerate(recorded) if frame.direction is Direction.RECEIVED), default=0)
        before = recorded[0].at
        for frame in recorded[: last + 1]:
            if frame.direction is Direction.SENT:
                said = _exactly(client, len(frame.data))
                if said != frame.data:
                    return frame.data, said
            elif frame.direction is Direction.RECEIVED:
                if self._paced:
                    self._ended.wait((frame.at - before) / 1e6)
                client.sendall(frame.data)
            before = frame.at
        # What followed had no answer, and a connector that finds the connection ended may leave the rest unsaid.
        if self._paced:
            self._ended.wait((recorded[-1].at - before) / 1e6)
        client.shutdown(socket.SHUT_WR)
        rest = b"".join(frame.data for frame in recorded[last + 1 :] if frame.direction is Direction.SENT)
        said = _exactly(client, 1 << 20)
        return None if rest.startswith(said) or said.startswith(rest) else (rest, said)


def _exactly(client: socket.socket, count: int) -> bytes:
    """``count`` bytes, or fewer when no more come."""
    said = bytearray()
    with suppress(TimeoutError):
        while len(said) < count and (more := client.recv(min(count - len(said), 65_536))):
            said += more
    return bytes(said)
