"""How far a download is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

PLAIN_INTERVAL = 2.0
"""Seconds between two plain lines."""


class Task(Protocol):
    """One download under way. Both methods may be called from any thread."""

    def advance(self, count: int) -> None:
        """``count`` more bytes have come."""

    def file_done(self) -> None:
        """One more file is complete."""


class Progress:
    """Shows downloads on ``console`` (standard error by default)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    def say(self, text: str) -> None:
        """One line about what is being done."""
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, title: str, sizes: Sequence[int]) -> Iterator[Task]:
        """Follow the download of files of ``sizes`` bytes."""
        if not self.console.is_terminal:
            yield _Plain(self, title, sizes)
            return
        with Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[files]} of {task.fields[count]} files"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        ) as bar:
            yield _Drawn(bar, title, sizes)


class _Drawn:
    def __init__(self, bar: Bar, title: str, sizes: Sequence[int]) -> None:
        self._bar = bar
        self._files = 0
        self._lock = Lock()
        self._task = bar.add_task(title, total=sum(sizes), files=0, count=len(sizes))

    def advance(self, count: int) -> None:
        self._bar.advance(self._task, count)

    def file_done(self) -> None:
        with self._lock:
            self._files += 1
        self._bar.update(self._task, files=self._files)


class _Plain:
    def __init__(self, progress: Progress, title: str, sizes: Sequence[int]) -> None:
        self._progress = progress
        self._title = title
        self._count = len(sizes)
        self._total = sum(sizes)
        self._files = 0
        self._bytes = 0
        self._said = time.monotonic()
        self._lock = Lock()
        progress.say(f"{title}: {self._count} files, {self._total / 1e6:.0f} MB, once")

    def advance(self, count: int) -> None:
        with self._lock:
            self._bytes += count

    def file_done(self) -> None:
        with self._lock:
            self._files += 1
            due = self._files == self._count or time.monotonic() - self._said >= PLAIN_INTERVAL
            if not due:
                return
            self._said = time.monotonic()
            done, total = self._bytes / 1e6, self._total / 1e6
            line = f"{self._title}: {self._files} of {self._count} files, {done:.0f} of {total:.0f} MB"
        self._progress.say(line)
