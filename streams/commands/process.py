"""What every long-running gridtape process does: log, listen for the end, show its metrics."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog
from prometheus_client import start_http_server

from streams.settings import Settings, SettingsError

log = structlog.get_logger(__name__)


def configure_logging(level: int = logging.INFO) -> None:
    """Coloured lines for a person at a terminal, otherwise one JSON object a line; always to standard error."""
    person = sys.stderr.isatty()
    # The default for people shows local variables with a traceback, and a password may be among them.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if person else [structlog.processors.format_exc_info]),
            console if person else structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def only_words() -> None:
    """No log: for a command that says in words of its own what it finds out, the libraries' complaints included."""
    configure_logging(logging.CRITICAL)
    logging.disable(logging.CRITICAL)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set. A second signal ends the process at once."""
    stop = threading.Event()
    asked = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        # Not here: whom the signal interrupts may be within stop.wait() and hold the lock that set() would wait for.
        _thread.start_new_thread(stop.set, ())

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running(settings: Settings, what: str) -> Iterator[threading.Event]:
    """Set up the process; the event is set by SIGTERM or SIGINT. A second signal ends at once.

    Raises SettingsError when the metrics port is taken.
    """
    configure_logging()
    server = None
    if settings.metrics_port:
        try:
            server, _ = start_http_server(settings.metrics_port)
        except OSError as error:
            raise SettingsError(
                f"GRIDTAPE_METRICS_PORT: port {settings.metrics_port} is not free ({error.strerror}); choose another"
            ) from error
    try:
        with interruptible() as stop:
            log.info("started", process=what, pid=os.getpid())
            yield stop
    finally:
        if server is not None:
            server.shutdown()
        log.info("ended", process=what)
