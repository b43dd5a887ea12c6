"""Faust applications, each in a thread with an event loop of its own, until told to stop."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from streams.engine.errors import Fatal
from streams.faust_driver.host import Host

_LOOK = 0.1
"""Seconds between two looks at ``stop``."""


def run_hosts(hosts: Sequence[Host], stop: threading.Event) -> None:
    """Run until ``stop``, then stop all. The first failure stops the others and is raised as Fatal."""
    failures: list[BaseException] = []

    def body(host: Host) -> None:
        try:
            asyncio.run(_live(host, stop))
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: raised below, in the main thread
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=body, args=(host,), name=host.name, daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


async def _live(host: Host, stop: threading.Event) -> None:
    with tempfile.TemporaryDirectory(prefix="gridtape-faust-") as folder:
        app = host.build(Path(folder))
        app.finalize()
        try:
            await app.start()
            while not app.crashed and not await asyncio.to_thread(stop.wait, _LOOK):
                pass
        finally:
            crashed = app.crash_reason if app.crashed else None
            await app.stop()
            await asyncio.to_thread(host.close)
        if crashed is not None:
            raise Fatal(f"{host.name} stopped: {type(crashed).__name__}: {crashed}") from crashed
