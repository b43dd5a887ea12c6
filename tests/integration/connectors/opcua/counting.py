"""asyncua's server in a process of its own, with a node ``s=N`` that counts: each number is said once.

``python -m tests.integration.connectors.opcua.counting PORT SECONDS``: a number every so many seconds, from 1 on; each
is a line on standard output once it is written.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime
from itertools import count
from typing import Self

from asyncua import ua
from asyncua.server.server import Server

from tests.integration.connectors.opcua.plant import URI, unused_port


class Counting:
    """The process. ``written``: the newest number, 0 until the server is there."""

    def __init__(self, every: float) -> None:
        port = unused_port()
        self.url = f"opc.tcp://127.0.0.1:{port}/plant"
        self.written = 0
        command = [sys.executable, "-m", "tests.integration.connectors.opcua.counting", str(port), str(every)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait(10)
        self._thread.join(10)

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self.written = int(line)


async def serve(port: int, every: float) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(URI)
    node = await server.nodes.objects.add_variable(ua.NodeId("N", index), "N", 0.0)
    async with server:
        for number in count(1):
            await node.write_value(ua.DataValue(ua.Variant(float(number)), SourceTimestamp=datetime.now(UTC)))
            print(number, flush=True)
            await asyncio.sleep(every)


if __name__ == "__main__":
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
