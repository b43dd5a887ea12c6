"""One worker process: ``python -m tests.faults.member BOOTSTRAP SLOT``. SIGTERM ends it cleanly; so does,
less cleanly, the end of its standard input."""

from __future__ import annotations

import os
import signal
import sys
import threading

import structlog

from streams.commands.process import configure_logging, interruptible
from streams.engine.cluster import Cluster
from streams.engine.errors import EngineError
from streams.engine.supervisor import run_workers
from streams.engine.worker import Worker
from tests.faults import app

STALLED = 30.0
"""Seconds; longer than a process is frozen for and than any single call may take."""


def main(bootstrap: str, slot: str) -> int:
    """Work until told to stop; returns the exit code."""
    configure_logging()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(2)), daemon=True).start()
    log = structlog.get_logger(__name__)
    cluster = Cluster(bootstrap)
    workers = [
        Worker(cluster, processor, app.Plain(), partitions=app.PARTITIONS, slot=int(slot), options=app.OPTIONS)
        for processor in app.PROCESSORS
    ]
    with interruptible() as stop:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see Member
        try:
            run_workers(workers, stop, stall_limit=STALLED)
        except EngineError as error:
            log.critical("stopped", verdict=type(error).__name__, why=str(error))
            return 1
    log.info("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
