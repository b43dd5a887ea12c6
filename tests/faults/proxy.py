"""A TCP proxy that cuts, delays and drops: ``python -m tests.faults.proxy PORT UPSTREAM_PORT``.

Own code, because the faults must be of this kind: requests pass and replies do not, on some connections and not on
others. Commands are JSON lines on standard input, each answered by a line on standard output:

``{"mode": "pass"}``, ``{"mode": "delay", "seconds": 0.2}``, ``{"mode": "mute"}`` (replies are dropped),
``{"mode": "hole"}`` (both ways), each with ``"share"``: of the connections that it concerns, by their number;
``{"cut": 0.5}``: cut this share of the connections. What lost bytes is cut when the mode ends. ``{"hold": true}``:
requests wait until ``{"hold": false}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import Any

from streams.local.service import HOST

_CHUNK = 65_536


class Link:
    """One client connection and its counterpart at the broker."""

    def __init__(self, number: int, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.number = number
        self.writers = writers
        self.lossy = False

    def concerns(self, share: float) -> bool:
        """Whether a fault that hits ``share`` of the connections hits this one: spread evenly, the same every time."""
        return (self.number * 0.618034) % 1.0 < share

    def cut(self) -> None:
        """Reset both sides, without a farewell."""
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """All connections and the fault of the moment."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._links: set[Link] = set()
        self._opened = 0
        self.mode: dict[str, Any] = {"mode": "pass"}
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._opened += 1
        link = Link(self._opened, (writer, up_writer))
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, up_writer, reply=False), self._pump(link, up_reader, writer, reply=True)
            )
        finally:
            self._links.discard(link)
            link.cut()

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                mode = self.mode if link.concerns(self.mode.get("share", 1.0)) else {"mode": "pass"}
                if mode["mode"] == "delay":
                    await asyncio.sleep(mode["seconds"])
                elif mode["mode"] == "hole" or (mode["mode"] == "mute" and reply):
                    link.lossy = True
                if not reply:
                    await self._flowing.wait()
                if not link.lossy or (mode["mode"] == "mute" and not reply):
                    writer.write(data)
                    await writer.drain()
        link.cut()

    def obey(self, command: dict[str, Any]) -> None:
        """Change the fault of the moment, or cut."""
        if "hold" in command:
            (self._flowing.clear if command["hold"] else self._flowing.set)()
            return
        for link in list(self._links):
            if link.lossy or ("cut" in command and link.concerns(command["cut"])):
                link.cut()
        if "mode" in command:
            self.mode = command


async def main(port: int, upstream: int) -> None:
    """Serve until standard input ends."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.serve, HOST, port)
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        proxy.obey(json.loads(line))
        print("done", flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
