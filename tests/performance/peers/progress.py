"""How a Python contestant says how far it is: one line of JSON for each mark. Standard library only."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable


def arguments() -> argparse.Namespace:
    """What every contestant is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True, help="host:port")
    parser.add_argument("--group", required=True, help="consumer group, transactional id and the like")
    parser.add_argument("--work", required=True, help="what to do")
    parser.add_argument("--ticks", required=True, help="topic")
    parser.add_argument("--fills", required=True, help="topic")
    parser.add_argument("--output", required=True, help="topic")
    parser.add_argument("--marks", default="", help="counts of ticks at which to print a line, with commas")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--commit-ms", type=int, default=100)
    parser.add_argument("--state", required=True, help="an empty folder")
    return parser.parse_args()


def say(**fields: object) -> None:
    """One line: the fields, seconds of a clock, and the process's CPU seconds."""
    line = json.dumps({**fields, "seconds": time.perf_counter(), "cpu": time.process_time()})
    print(line, file=sys.__stdout__, flush=True)  # sys.stdout may have been turned into a log


class Marks:
    """Prints a line when the count passes each mark. ``cpu``: the CPU seconds of all the processes that count."""

    def __init__(self, text: str, cpu: Callable[[], float] = time.process_time) -> None:
        self._left = [int(mark) for mark in text.split(",") if mark]
        self._cpu = cpu
        self.next = self._left[0] if self._left else sys.maxsize

    def passed(self, count: int) -> None:
        """``count`` has reached ``next``, and perhaps marks behind it."""
        while count >= self.next:
            say(ticks=count, cpu_all=self._cpu())
            self._left.pop(0)
            self.next = self._left[0] if self._left else sys.maxsize
