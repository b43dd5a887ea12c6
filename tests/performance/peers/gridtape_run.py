"""The benchmark's work in gridtape: the real engine and, for positions, the real processor. Runs until its standard
input ends. More than one worker means one process each."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import threading
import time
from argparse import Namespace
from typing import Any, ClassVar

import structlog
from progress import Marks, arguments, say

from processors.positions import Positions, PositionsNewest
from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from schemas.base import Record
from schemas.topics import Topic
from streams.engine import metrics
from streams.engine.cluster import BULK
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options, Worker
from streams.vocabulary import Words
from tests.performance.load import PARTITIONS, Run


class Mark(Record, frozen=True, kw_only=True):
    """The mark of one instrument, the smallest output there is for a tick."""

    instrument: str
    mark: float | None
    sequence: int
    event_time: int


marks = Topic("positions", Mark, "instrument", topics.DAYS)


class EachTick(Processor):
    """One output for every tick; the newest of each instrument in the table."""

    name = "positions"
    reads = (topics.ticks,)
    writes = (marks,)
    newest: ClassVar[State[Mark]] = State(Mark)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Mark."""
        for tick in batch.values:
            mark = Mark(instrument=tick.instrument, mark=tick.mark, sequence=tick.sequence, event_time=tick.event_time)
            self.newest.put(tick.instrument, mark)
            out.append(marks, tick.instrument, mark, event_id=f"{tick.instrument}-{tick.sequence}")


WORK: dict[str, type[Processor]] = {"positions": Positions, "newest": PositionsNewest, "marks": EachTick}


POLL = 0.01
"""Seconds between two looks at the count. More often, and this thread would take the worker's interpreter lock away."""


def resident() -> int:
    """Bytes of memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def cluster_of(given: Namespace) -> Run:
    """The load's cluster, as one run sees it."""
    prefix = given.ticks.removesuffix("-ticks")
    return Run(given.kafka, prefix=prefix, run=given.group.removeprefix(f"{prefix}-"))


def work(given: Namespace, slot: int, board: Any, stop: threading.Event) -> None:
    """Run one worker until ``stop``; keep its count and CPU seconds on the board, in the slot's two places."""
    # standard output is for what is said: a line that begins within the log's is not heard
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    options = Options(commit_interval=given.commit_ms / 1000)
    worker = Worker(cluster_of(given), WORK[given.work], Words(), partitions=PARTITIONS, slot=slot, options=options)
    thread = threading.Thread(target=run_workers, args=([worker], stop), daemon=True)
    done = metrics.records.labels("positions", "ticks")._value
    restored = [metrics.restore_ratio.labels("positions", partition)._value for partition in range(PARTITIONS)]
    thread.start()
    running = False
    while thread.is_alive():
        board[2 * slot], board[2 * slot + 1] = done.get(), time.process_time()
        if not running and given.workers == 1 and all(ratio.get() == 1 for ratio in restored):
            running = True
            say(running=True, restored=metrics.restored.labels("positions")._value.get())
        time.sleep(POLL)
    if not stop.is_set():
        os._exit(1)  # the worker has said why on standard error


def alone(given: Namespace, slot: int, board: Any) -> None:
    """A worker in a process of its own, until the first one ends, however it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(0)), daemon=True).start()
    work(given, slot, board, threading.Event())


def consume(given: Namespace, slot: int, board: Any, stop: threading.Event) -> None:
    """Instead of a worker: read the ticks and drop them, with the same consumer settings. What nobody can surpass."""
    consumer = cluster_of(given).reader(given.group, **BULK)
    consumer.subscribe([given.ticks])
    while not stop.is_set():
        board[2 * slot] += len(consumer.consume(10_000, 0.05))
        board[2 * slot + 1] = time.process_time()
    consumer.close()


def main() -> None:
    """The first worker runs here, the others in processes of their own."""
    given = arguments()
    board = multiprocessing.Array("d", 2 * given.workers, lock=False)
    spawn = multiprocessing.get_context("spawn")
    before = resident()
    say(started=True)
    for slot in range(1, given.workers):
        spawn.Process(target=alone, args=(given, slot, board), daemon=True).start()
    stop = threading.Event()
    first = threading.Thread(target=consume if given.work == "consume" else work, args=(given, 0, board, stop))
    first.start()
    threading.Thread(target=watch, args=(Marks(given.marks, lambda: sum(board[1::2])), board), daemon=True).start()
    while sys.stdin.read(1) == "?":
        say(heap_bytes=resident() - before)
    stop.set()
    first.join()


def watch(marks: Marks, board: Any) -> None:
    """Say when all workers together pass a mark."""
    while marks.next < sys.maxsize:
        if (count := int(sum(board[::2]))) >= marks.next:
            marks.passed(count)
        time.sleep(POLL)


if __name__ == "__main__":
    main()
