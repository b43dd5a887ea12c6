"""A discovery that is a coroutine, until it ends or is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from connectors.discovery.found import Found, NotFound

_WAIT_SECONDS = 0.1


def run(what: Callable[[], Coroutine[Any, Any, Found]], stop: threading.Event) -> Found:
    """What it finds. Raises NotFound, also when it was stopped."""
    return asyncio.run(_until(what, stop))


async def _until(what: Callable[[], Coroutine[Any, Any, Found]], stop: threading.Event) -> Found:
    task = asyncio.create_task(what())
    while not task.done():
        await asyncio.wait([task], timeout=_WAIT_SECONDS)
        if stop.is_set():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise NotFound("ended before everything was looked at")
    return task.result()
