"""A WebSocket venue: a server of the library `websockets`, and an HTTP address for snapshots."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve


class Exchange:
    """One instrument's true book, a WebSocket and an HTTP address for its snapshot."""

    def __init__(self) -> None:
        self.sequence = 10
        self.best = 10.0
        self.subscribed: list[str] = []
        self.connections: list[ServerConnection] = []
        self.fetched = 0
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exchange.fetched += 1
                body = json.dumps(exchange.book()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._answering = threading.Thread(target=self.http.serve_forever)
        self._answering.start()
        self._start(0)

    def _start(self, port: int) -> None:
        self.server: Server = serve(self._serve, "127.0.0.1", port)
        self.port = self.server.socket.getsockname()[1]
        self._serving = threading.Thread(target=self.server.serve_forever)
        self._serving.start()

    def _stop(self) -> None:
        for connection in self.connections:
            with suppress(ConnectionClosed, OSError):
                connection.close()
        self.server.shutdown()
        self._serving.join(5)

    def restart(self) -> None:
        """Come back on the same port, and count from 1."""
        self._stop()
        self.sequence = 1
        self._start(self.port)

    def close(self) -> None:
        self._stop()
        self.http.shutdown()
        self._answering.join(5)
        self.http.server_close()

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        with suppress(ConnectionClosed):
            for message in connection:
                self.subscribed.append(str(message))

    def book(self) -> dict[str, Any]:
        return {"seq": self.sequence, "bids": [[str(self.best), "5"]], "asks": [[self.best + 1, 5]]}

    def change(self) -> dict[str, Any]:
        """The market moves; the message that says so."""
        old, self.best = self.best, self.best + 0.5
        self.sequence += 1
        bids, asks = [[old, 0], [self.best, 5]], [[old + 1, 0], [self.best + 1, 5]]
        return {"type": "book", "data": {"sym": "NG", "to": self.sequence, "b": bids, "a": asks}}

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.connections[-1].send(message if isinstance(message, str | bytes) else json.dumps(message))
