"""What waits for room on the way to Kafka, in order; and what Kafka refused, if nobody would send it again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from connectors.feed import event_id
from connectors.outlet import Done, Full, Outlet
from schemas import topics
from schemas.cloudevents import Header
from schemas.devices import Device
from schemas.gaps import Gap
from schemas.telemetry import Telemetry


class Outbox:
    """Used from the connector's thread; ``settled`` callbacks come from another.

    It has no bound of its own: the caller reads no more from its source while too much waits here (``len``). What has
    no ``settled``, and every gap, is handed over again when Kafka has refused it.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._waiting: deque[Callable[[], None]] = deque()
        self._refused: deque[Callable[..., None]] = deque()
        self._statuses: dict[str, tuple[Device, str]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def sample(
        self, record: Telemetry, record_id: str, settled: Done | None = None, headers: Sequence[Header] = ()
    ) -> None:
        """Append a sample."""
        publish = partial(
            self._outlet.publish, topics.telemetry, record.device, record, event_id=record_id, headers=headers
        )
        self._append(publish, settled, is_only=settled is None)

    def gap(self, gap: Gap, settled: Done | None = None) -> None:
        """Append the opening or the closing of a gap."""
        publish = partial(self._outlet.publish, topics.gaps, gap.key, gap, event_id=event_id(gap))
        self._append(publish, settled, is_only=True)

    def letter(self, source: str, reason: str, raw: bytes, receive_time: int, settled: Done | None = None) -> None:
        """Append a dead letter. ``receive_time``: microseconds."""
        publish = partial(self._outlet.dead_letter, source=source, reason=reason, raw=raw, receive_time=receive_time)
        self._append(publish, settled, is_only=settled is None)

    def status(self, record: Device, record_id: str) -> None:
        """Of each device the newest status is enough: that is all that its topic keeps."""
        self._statuses[record.device] = (record, record_id)

    def retry(self) -> None:
        """Append again what Kafka refused; call it now and then."""
        for _ in range(len(self._refused)):
            self._append(self._refused.popleft(), None, is_only=True)

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

    def _append(self, publish: Callable[..., None], settled: Done | None, *, is_only: bool) -> None:
        """``is_only``: the source will not tell us of it a second time."""
        if not is_only:
            self._waiting.append(partial(publish, done=settled))
            return

        def done(error: str | None) -> None:
            if error is not None:
                self._refused.append(publish)
            if settled is not None:
                settled(error)

        self._waiting.append(partial(publish, done=done))
