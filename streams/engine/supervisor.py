"""Several workers in one process, and a watchdog outside their threads."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Sequence

import structlog

from streams.engine.errors import Fatal
from streams.engine.worker import Worker

log = structlog.get_logger(__name__)
EXIT_STALLED = 70


def run_workers(workers: Sequence[Worker], stop: threading.Event, *, stall_limit: float = 90.0) -> None:
    """Run each worker in a thread of its own until ``stop`` is set, then wait for all to commit and close.

    The first failure stops the others and is raised; so is a worker that ends without being told to. A worker that does
    not come round for ``stall_limit`` seconds is stuck in a blocking call that nothing inside can interrupt: the
    process prints every stack and ends with status 70, so that whoever supervises it starts it anew; what was not
    committed is simply done again.
    """
    failures: list[BaseException] = []

    def body(worker: Worker) -> None:
        try:
            worker.run(stop)
        except Fatal as error:
            failures.append(Fatal(f"worker {worker.name} stopped: {error}"))
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: raised below, in the main thread
            failures.append(error)
        finally:
            # C code can raise what no except clause catches; it is printed with its stack when the thread ends.
            if not stop.is_set() and not failures:
                failures.append(Fatal(f"worker {worker.name} ended without being told to; see above"))
            worker.done = True
            if failures:
                stop.set()

    threads = [threading.Thread(target=body, args=(worker,), name=worker.name, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.2)
        _watch(workers, stall_limit)
    if failures:
        raise failures[0]


def _watch(workers: Sequence[Worker], limit: float) -> None:
    for worker in workers:
        silent = time.monotonic() - worker.alive_at
        if not worker.done and silent > limit:
            log.critical("worker is stuck, ending the process", worker=worker.name, seconds=round(silent))
            faulthandler.dump_traceback(sys.stderr)
            os._exit(EXIT_STALLED)
