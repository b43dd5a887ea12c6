"""Between a connector and its device, while what they say is recorded: bytes are passed on as they are.

A protocol only says in :func:`connectors.capture.addresses.redirected` where its addresses stand. TLS ends at the
recorder, which checks the server as the connector would: what is recorded is what was inside. So does the secure
channel of OPC UA, which needs a session of its own for that (:mod:`connectors.capture.opcua.relay`).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from connectors.capture.dialects import Dialect
from connectors.capture.frames import Direction, Writer
from connectors.network import in_words
from connectors.opcua.config import OpcUaServer
from connectors.tls import TlsFiles

_CONNECT_SECONDS = 5.0


class Entry(NamedTuple):
    """An OPC UA server, whose sessions the recorder opens itself, and the path that only our connector knows.

    Without it anybody on this machine could use the login while it is recorded.
    """

    server: OpcUaServer
    path: str


Access = TlsFiles | Entry | None
"""How one gets at a device: within TLS, by an OPC UA session, or just so."""


class Listener:
    """Accepts connections on a local port, each in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
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
        self._listeners: list[Listener] = []
        self._links = 0
        self._lock = threading.Lock()
        self.problems: dict[str, None] = {}

    def place(self, host: str, port: int, access: Access, dialect: Dialect | None) -> int:
        """A local port behind which is the device."""
        name = target(host, port, access, dialect)
        if isinstance(access, Entry):
            listener = Listener(partial(self._relay, entry=access, name=name))
        else:
            where = (host, port)
            listener = Listener(partial(self._pass_on, where=where, tls=access, dialect=dialect, name=name))
        self._listeners.append(listener)
        return listener.port

    def close(self) -> None:
        """Take no more connections."""
        for listener in self._listeners:
            listener.close()

    def _opened(self, name: str) -> Callable[[Direction, bytes], None]:
        """The device is connected; where it is noted what is said."""
        with self._lock:
            self._links += 1
            link = self._links
        self._writer.write(link, name, Direction.OPENED)
        return partial(self._writer.write, link, name)

    def _pass_on(
        self, client: socket.socket, where: tuple[str, int], tls: TlsFiles | None, dialect: Dialect | None, name: str
    ) -> None:
        host, port = where
        try:
            device = socket.create_connection(where, _CONNECT_SECONDS)
            if tls is not None:
                device = tls.context().wrap_socket(device)
            device.settimeout(None)
        except (OSError, ValueError) as error:  # ValueError: TlsError
            self.problems[f"{name}: {tls.explained(error, port) if tls else in_words(error)}"] = None
            return
        note = self._opened(name)

        def pump(source: socket.socket, sink: socket.socket, direction: Direction) -> None:
            with suppress(OSError):
                while data := source.recv(65_536):
                    if direction is Direction.SENT and dialect is not None:
                        data = dialect.passed(data, f"{host}:{port}")
                    note(direction, data)
                    sink.sendall(data)
            for one in (source, sink):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

        with device:
            back = threading.Thread(target=pump, args=(device, client, Direction.RECEIVED), daemon=True)
            back.start()
            pump(client, device, Direction.SENT)
            back.join()
        note(Direction.CLOSED, b"")

    def _relay(self, client: socket.socket, entry: Entry, name: str) -> None:
        from connectors.capture.opcua.relay import pass_on  # its library is loaded only where there is such a server

        def problem(why: str) -> None:
            self.problems[f"{name}: {why}"] = None

        pass_on(client, *entry, partial(self._opened, name), problem)


def target(host: str, port: int, access: Access, dialect: Dialect | None) -> str:
    """What a device is called in a recording. OPC UA servers go by their names, since each has a login of its own."""
    if isinstance(access, Entry):
        return f"opcua {access.server.name} {host}:{port}"
    return f"{host}:{port}" if dialect is None else f"{dialect.name} {host}:{port}"
