"""What waits for room on the way to Kafka, in order; and gaps that Kafka refused, which nobody would send again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from connectors.feed import event_id
from connectors.outlet import Done, Full, Outlet
from schemas import topics
from schemas.devices import Device
from schemas.gaps import Gap
from schemas.telemetry import Telemetry


class Outbox:
    """Used from the connector's thread; ``settled`` callbacks come from another.

    It has no bound of its own: the caller reads no more from its source while too much waits here (``len``).
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._waiting: deque[Callable[[], None]] = deque()
        self._refused_gaps: deque[Gap] = deque()
        self._statuses: dict[str, tuple[Device, str]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def sample(self, record: Telemetry, record_id: str, settled: Done | None = None) -> None:
        """Append a sample."""
        self._waiting.append(
            partial(self._outlet.publish, topics.telemetry, record.device, record, event_id=record_id, done=settled)
        )

    def gap(self, gap: Gap, settled: Done | None = None) -> None:
        """Append the opening or the closing of a gap."""
        self._waiting.append(partial(self._publish_gap, gap, settled))

    def letter(self, source: str, reason: str, raw: bytes, receive_time: int, settled: Done | None = None) -> None:
        """Append a dead letter. ``receive_time``: microseconds."""
        self._waiting.append(
            partial(
                self._outlet.dead_letter, source=source, reason=reason, raw=raw, receive_time=receive_time, done=settled
            )
        )

    def status(self, record: Device, record_id: str) -> None:
        """Of each device the newest status is enough: that is all that its topic keeps."""
        self._statuses[record.device] = (record, record_id)

    def retry_gaps(self) -> None:
        """Append again the gaps that Kafka refused; call it now and then."""
        for _ in range(len(self._refused_gaps)):
            self.gap(self._refused_gaps.popleft())

    def drain(self) -> bool:
        """Hand over as much as there is room for; false when some of it must wait."""
        try:
            while self._waiting:
                self._waiting[0]()
                self._waiting.popleft()
            while self._statuses:
                device, (record, identity) = next(iter(self._statuses.items()))
                self._outlet.publish(topics.devices, device, record, event_id=identity)
                del self._statuses[device]
        except Full:
            return False
        return True

    def _publish_gap(self, gap: Gap, settled: Done | None) -> None:
        def done(error: str | None) -> None:
            if error is not None:
                self._refused_gaps.append(gap)  # the broker will not tell us of it a second time
            if settled is not None:
                settled(error)

        self._outlet.publish(topics.gaps, gap.key, gap, event_id=event_id(gap), done=done)
