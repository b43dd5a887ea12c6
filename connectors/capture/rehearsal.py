"""A rehearsal: the real connectors on the real devices, with a notebook where Kafka would be."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from connectors.config import Config
from connectors.outlet import Done, R, Raw, Waiting
from connectors.runner import Service, services
from schemas.cloudevents import Header
from schemas.devices import Device, DeviceState
from schemas.gaps import Gap
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from schemas.topics import Topic

Place = tuple[str, str]
"""Device and point, or venue and instrument."""
_MOST_LETTERS = 100
_ROUND_SECONDS = 0.05
_JOIN_SECONDS = 5.0
_APART = "-rehearsal"
_CONNECTION_LOST = "stale: the connection to "


class Notebook:
    """An outlet that keeps the newest of everything, and takes all until it is closed. Thread-safe.

    ``played``: of a recording. That ends, and with it the connection; values that are stale because of that are not
    noted.
    """

    def __init__(self, *, played: bool = False) -> None:
        self._played = played
        self.samples: dict[Place, Telemetry] = {}
        self.ticks: dict[Place, Tick] = {}
        self.raw: dict[Place, bytes] = {}
        self.count: Counter[Place] = Counter()
        self.devices: dict[str, Device] = {}
        self.gaps: dict[str, Gap] = {}
        """Those that are open, by id."""
        self.letters: dict[tuple[str, str], None] = {}
        """Source and reason of what was put aside, the first hundred."""
        self._lock = threading.Lock()
        self._closed = False

    def publish(
        self,
        topic: Topic[R],
        key: str,
        record: R,
        *,
        event_id: str,
        done: Done | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        """Note ``record``; there is always room."""
        with self._lock:
            if not self._closed:
                self._note(record)
        if done is not None:
            done(None)

    def dead_letter(
        self,
        *,
        source: str,
        reason: str,
        raw: bytes,
        key: str | None = None,
        receive_time: int,
        done: Done | None = None,
    ) -> None:
        """Note what could not become a record."""
        with self._lock:
            if len(self.letters) < _MOST_LETTERS:
                self.letters[source, reason] = None
        if done is not None:
            done(None)

    def wait_for_room(self, stop: threading.Event) -> bool:
        """There is always room."""
        return not stop.is_set()

    def flush(self, timeout: float) -> int:
        """Nothing waits."""
        return 0

    def waiting(self) -> Waiting:
        """Nothing waits."""
        return Waiting()

    def seen(self, device: str, point: str, raw: Raw) -> None:
        """Keep the source's bytes of the newest sample."""
        if not self._closed:
            self.raw[device, point] = raw()

    def close(self) -> None:
        """Keep what is noted: how connectors take their leave is of no interest."""
        with self._lock:
            self._closed = True

    def complete(self, places: set[Place]) -> bool:
        """Something came of each of ``places``, and every device has said how it stands."""
        with self._lock:
            connecting = any(one.state is DeviceState.CONNECTING for one in self.devices.values())
            return not connecting and places <= self.samples.keys() | self.ticks.keys()

    def _note(self, record: object) -> None:
        if isinstance(record, Telemetry):
            if self._played and record.value is None and record.reason.startswith(_CONNECTION_LOST):
                return
            self.samples[record.device, record.point] = record
            self.count[record.device, record.point] += 1
        elif isinstance(record, Tick):
            self.ticks[record.venue, record.instrument] = record
            self.count[record.venue, record.instrument] += 1
        elif isinstance(record, Device):
            self.devices[record.device] = record
        elif isinstance(record, Gap):
            self.gaps.pop(record.gap_id, None)
            if record.open:
                self.gaps[record.gap_id] = record


def apart(config: Config) -> tuple[Config, list[str]]:
    """``config`` so that a rehearsal takes nothing away from the connector that runs with it, and what is left out.

    MQTT and Sparkplug connect under names of their own: under the real ones they would put the running connector out,
    confirm messages that it has not got, and tell its edge nodes that it is gone. A drop copy cannot be tried: its
    session counts what was delivered, and the venue would not say it again. Recordings
    are played without their pauses.
    """
    changes: dict[str, Any] = {}
    if (mqtt := config.mqtt) is not None:
        named = {"client_id": mqtt.client_id + _APART, "session_expiry": 0, "share": None}
        changes["mqtt"] = mqtt.model_copy(update=named)
    if (sparkplug := config.sparkplug) is not None:
        named = {"client_id": sparkplug.client_id + _APART, "host_id": sparkplug.host_id + _APART}
        changes["sparkplug"] = sparkplug.model_copy(update=named)
    changes["recorded"] = [one.model_copy(update={"speed": "max"}) for one in config.recorded]
    left_out = [
        f"{one.name}: a drop copy is not tried, because what it delivers it does not deliver again"
        for one in config.drop_copy
    ]
    return config.model_copy(update=changes | {"drop_copy": []}), left_out


def rehearse(
    config: Config,
    found: Notebook,
    enough: Callable[[], bool],
    seconds: float,
    stop: threading.Event,
    ending: Callable[[], None] = lambda: None,
) -> list[str]:
    """Run the connectors of ``config`` until ``enough``, for ``seconds`` at most; which of them failed, and why.

    ``ending`` is called before they are told to stop.
    Raises ConfigError as :func:`connectors.runner.services`.
    """
    ended = threading.Event()
    failures: list[str] = []

    def run(service: Service) -> None:
        try:
            service.make(found).run(ended)
        except Exception as error:  # noqa: BLE001 - told as this connector's outcome; the others go on
            failures.append(f"{service.name}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(service,), daemon=True) for service in services(config)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (stop.wait(_ROUND_SECONDS) or enough()):
        if not any(thread.is_alive() for thread in threads):
            break
    found.close()
    ending()
    ended.set()
    for thread in threads:
        thread.join(_JOIN_SECONDS)
    return failures


def configured(config: Config) -> Iterator[tuple[str, str, str]]:
    """Device, point and unit of everything that the settings name; of market feeds venue, instrument and no unit.

    Left out is what comes only when something else changes, which may be never.
    """
    for device in config.modbus:
        yield from ((device.name, register.point, register.unit) for register in device.registers)
    for server in config.opcua:
        yield from ((server.name, node.point, node.unit) for node in server.nodes if node.triggered_by is None)
    if config.sparkplug is not None:
        for edge in config.sparkplug.devices:
            yield from ((edge.name, point.name, point.unit) for point in edge.points)
    if config.mqtt is not None:
        for one in config.mqtt.devices:
            for subscription in config.mqtt.subscriptions:
                if subscription.device in (None, one.name):
                    chosen = subscription.points
                    yield from ((one.name, p.name, p.unit) for p in chosen if subscription.point in (None, p.name))
    for feed in config.websocket:
        yield from ((feed.venue, listed.instrument, "") for listed in feed.instruments)
    for session in config.fix:
        yield from ((session.venue, listed.instrument, "") for listed in session.instruments)
    for recording in config.recorded:
        yield from ((recording.venue, instrument, "") for instrument in recording.played)
    if config.market is not None:
        yield from ((replayed.venue, replayed.instrument, "") for replayed in config.market.instruments)
