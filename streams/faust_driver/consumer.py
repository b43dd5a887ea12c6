"""Faust's consumer, made to seek before it hands anything on.

faust-streaming 0.15.3 resumes the input partitions after a rebalance, *then* seeks them to the committed offsets, and
then calls ``flow_control.resume()``, which empties the queues of the streams. What was fetched in between is gone from
the queue, while the consumer's position is beyond it: it would be passed over without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP


class SeekFirst(driver.Consumer):
    """Keeps the inputs paused until the flow is resumed for good, that is until seek and emptying are over."""

    flowing: bool
    """Whether the inputs are handed on: the state is recovered, and each input stands at its committed offset."""
    _asked: set[TP]

    def _reset_state(self) -> None:
        super()._reset_state()
        self.flowing = False
        self._asked = set()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Pause them, those that were about to be resumed too: a rebalance came in between."""
        places = set(tps)
        super().pause_partitions(places)
        if any(not self._is_changelog_tp(place) for place in places):
            self.flowing = False
        self._asked -= places

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume changelogs now, inputs with the next :meth:`resume_flow`."""
        places = set(tps)
        changelogs = {place for place in places if self._is_changelog_tp(place)}
        super().resume_partitions(changelogs)
        self._asked |= places - changelogs

    def resume_flow(self) -> None:
        """Hand on from here."""
        super().resume_flow()
        if self._asked:
            asked, self._asked = self._asked, set()
            super().resume_partitions(asked)
            self.flowing = True

    async def decided(self, place: TP, offset: int) -> None:
        """This record was not handed on, but is decided: without it Faust would commit nothing behind it any more."""
        await self._add_gap(place, offset, offset)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        # A copy: Faust changes the set while it waits, and takes an empty one for all partitions.
        return await super()._getmany(None if active_partitions is None else set(active_partitions), timeout)


class Transport(driver.Transport):
    """Faust's transport with this consumer."""

    Consumer = SeekFirst
