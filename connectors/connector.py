"""What every connector is, and how it waits before it tries again."""

from __future__ import annotations

import random
import threading
from typing import Any, Protocol, runtime_checkable


class Connector(Protocol):
    """One protocol's way into Kafka. It owns its connections and reconnects by itself."""

    name: str
    """``mqtt``, ``modbus``, …: the label in metrics and the application in dead letters."""

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set, then return within 5 s. Raises only what needs a person."""


@runtime_checkable
class Changeable(Protocol):
    """A connector that can be told of other settings while it runs."""

    def change(self, config: Any) -> None:
        """Go on with ``config``, its part of the settings. Called from another thread."""


class Backoff:
    """Growing, jittered waits between attempts, so that nobody reconnects in a tight loop or in step with others.

    The wait is drawn from [base / 2, base]; base starts at ``first`` seconds, doubles with each wait and stays at
    ``ceiling``. :meth:`wait` ends early when ``stop`` is set.
    """

    def __init__(self, stop: threading.Event, *, first: float = 0.5, ceiling: float = 30.0) -> None:
        if not 0 < first <= ceiling:
            raise ValueError(f"first is {first} s and ceiling {ceiling} s; expected 0 < first <= ceiling")
        self._stop = stop
        self._first = first
        self._ceiling = ceiling
        self._base = first

    def next_delay(self) -> float:
        """Seconds to wait now; the next one is longer."""
        base = self._base
        self._base = min(base * 2, self._ceiling)
        return random.uniform(base / 2, base)  # noqa: S311 - spreads load, guards nothing

    def wait(self) -> bool:
        """Wait; true when ``stop`` ended it."""
        return self._stop.wait(self.next_delay())

    def reset(self) -> None:
        """The attempt succeeded: the next wait is short again."""
        self._base = self._first
