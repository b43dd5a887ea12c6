"""Calls that may never return, made where they can be given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any


class Bounded:
    """Runs one call after the other in a thread of its own; costs the caller some 30 µs each.

    For librdkafka's send_offsets_to_transaction, which ignores its timeout when the group's coordinator is away
    (librdkafka issues 5456 and 5511): without this only the end of the process would end it.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[tuple[Any, BaseException | None]]] | None] = (
            SimpleQueue()
        )
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    def run(self, call: Callable[[], Any], timeout: float) -> Any:
        """The result of ``call``; raises what it raises, and TimeoutError when it has not returned in ``timeout``
        seconds. After that this object must not be used again: its thread is still in there."""
        answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._calls.put((call, answer))
        try:
            result, error = answer.get(timeout=timeout)
        except Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End the thread, as soon as it is free."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (task := self._calls.get()) is not None:
            call, answer = task
            try:
                answer.put((call(), None))
            except Exception as error:  # noqa: BLE001 - the thread's outermost edge: raised in the caller's thread
                answer.put((None, error))
            del task, call, answer  # or they would live until the next call
