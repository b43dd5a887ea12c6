"""One Kafka for test processes that run side by side: a broker for each costs more than all that they ask of it."""

from __future__ import annotations

import os
import tempfile
import threading
from multiprocessing.connection import Client, Listener
from pathlib import Path

from streams.local.errors import ServiceError
from streams.local.kafka import Kafka

WHERE = "GRIDTAPE_TEST_ONE_KAFKA"
"""The socket on which the first process, that of the report, tells the others the address."""


class OneKafka:
    """In the first process: starts a Kafka when another one asks for it, and stops it when the tests are over."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gridtape-")
        os.environ[WHERE] = f"{self._folder.name}/kafka"
        self._listener = Listener(os.environ[WHERE])
        self._kafka: Kafka | None = None
        threading.Thread(target=self._answer, name="one kafka", daemon=True).start()

    def _answer(self) -> None:
        while True:
            with self._listener.accept() as asking:
                if (folder := asking.recv()) is None:
                    return
                try:
                    self._kafka = self._kafka or Kafka(folder).start()
                except ServiceError as error:
                    asking.send(error)
                else:
                    asking.send(self._kafka.address)

    def close(self) -> None:
        """Stop it, if it was started."""
        with Client(os.environ[WHERE]) as last:
            last.send(None)
        self._listener.close()
        if self._kafka is not None:
            self._kafka.stop()
        self._folder.cleanup()


def ask(folder: Path) -> str:
    """Address of the one Kafka; it is started in ``folder`` if nobody has asked before. Raises ServiceError."""
    with Client(os.environ[WHERE]) as first:
        first.send(folder)
        answer = first.recv()
    if isinstance(answer, ServiceError):
        raise answer
    return str(answer)
