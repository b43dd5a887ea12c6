"""Where a running process has its settings from: the file, read again on request, and the topic if the file says so."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from connectors.changes.layers import Layers
from connectors.changes.topic import Followed
from connectors.config import Config
from streams.engine.cluster import Cluster
from streams.engine.errors import EngineError

log = structlog.get_logger(__name__)


class Source:
    """``config`` is what holds; :meth:`changed` is to be asked again and again. Used from one thread."""

    def __init__(self, layers: Layers, cluster: Cluster, asked_again: Callable[[], bool]) -> None:
        """``asked_again``: whether the file is to be read again now.

        The changes that are on the topic already are taken in at once, so that nothing is connected that was removed.
        Raises EngineError when the topic cannot be read.
        """
        self._cluster, self._asked_again = cluster, asked_again
        self._layers = layers
        self._followed: Followed | None = None
        try:
            if (followed := self._follow()) is not None:
                followed.refuse(self._layers.apply(followed.catch_up()))
        except EngineError:
            self.close()
            raise

    @property
    def config(self) -> Config:
        """The settings that hold."""
        return self._layers.config

    def changed(self) -> Config | None:
        """The settings, if there is reason to look at them. Raises ConfigError for a file that cannot be used."""
        before = self._layers.config
        if again := self._asked_again():
            refusals = self._layers.reload()
            if self._followed is not None:
                self._followed.refuse(refusals)
            try:
                self._follow()
            except EngineError as error:
                log.warning(
                    "records with settings of devices are not read until the file is read again", why=str(error)
                )
        if self._followed is not None and (changes := self._followed.poll()):
            self._followed.refuse(self._layers.apply(changes))
            log.info("settings of devices were read from the topic", records=len(changes))
        return self._layers.config if again or self._layers.config != before else None

    def _follow(self) -> Followed | None:
        """The topic, as the file says."""
        wanted = self._layers.config.changes
        if self._followed is not None and (wanted is None or wanted.name != self._followed.name):
            self._followed.close()
            self._followed = None
        if self._followed is None and wanted is not None:
            self._followed = Followed(self._cluster, wanted.name)
        return self._followed

    def close(self) -> None:
        """Leave Kafka."""
        if self._followed is not None:
            self._followed.close()
