"""A connector that runs while a test looks at what it does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectors.connector import Connector
from connectors.publisher import Publisher


@contextmanager
def running(make: Callable[[Publisher], Connector], publisher: Publisher, *, patience: float = 3.0) -> Iterator[None]:
    """In a thread while the block lasts; it is expected to stop soon, whatever is away, and without an error.

    ``publisher``: its way to Kafka, which is closed as well. ``patience``: how long, in seconds, records that wait for
    Kafka are waited for then.
    """
    connector, stop = make(publisher), threading.Event()
    errors: list[BaseException] = []

    def body() -> None:
        try:
            connector.run(stop)
        except BaseException as error:
            errors.append(error)
            raise

    thread = threading.Thread(target=body, name=connector.name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
        publisher.close(patience)
    assert not thread.is_alive(), "the connector did not stop"
    assert not errors
