"""What the tests of recorded ticks share: an outlet that keeps what it is given, and settings."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from connectors.config import ConfigError, check
from connectors.market.recorded.config import RecordedConfig
from connectors.market.recorded.connector import RecordedConnector
from connectors.outlet import Full, Waiting
from schemas import topics

COLUMNS = {"time": "time", "bid": "bid", "ask": "ask", "last": "last", "size": "size", "sequence": "seq"}
HEAD = "time,bid,ask,last,size,seq\n"


class Kept:
    """Takes records as the publisher does; refuses every ``full``-th once."""

    def __init__(self, full: int = 0) -> None:
        self.records: list[tuple[Any, str, Any, str]] = []
        self.letters: list[tuple[str, str, bytes]] = []
        self._full = full
        self._calls = 0

    def publish(self, topic: Any, key: str, record: Any, *, event_id: str) -> None:
        self._calls += 1
        if self._full and self._calls % self._full == 0:
            raise Full("no room")
        assert topic.decode(topic.encode(record)) == record
        self.records.append((topic, key, record, event_id))

    def dead_letter(self, *, source: str, reason: str, raw: bytes, receive_time: int) -> None:
        self.letters.append((source, reason, raw))

    def wait_for_room(self, stop: threading.Event) -> bool:
        return not stop.is_set()

    def waiting(self) -> Waiting:
        return Waiting()

    def seen(self, device: str, point: str, raw: Any) -> None:
        raw()

    def of(self, topic: Any) -> list[Any]:
        return [record for one, _key, record, _id in self.records if one is topic]

    def reasons(self) -> list[str]:
        return [reason for _source, reason, _raw in self.letters]

    def gaps(self, reason: str) -> list[tuple[bool, int | None, int | None]]:
        return [(gap.open, gap.first, gap.last) for gap in self.of(topics.gaps) if gap.reason == reason]


def section(**given: Any) -> dict[str, Any]:
    found = {"name": "rec", "files": ["*.csv"], "venue": "ICE", "instrument": "NG", "columns": COLUMNS, "speed": "max"}
    found |= given
    return {key: value for key, value in found.items() if value is not None}


def config(folder: Path, **given: Any) -> RecordedConfig:
    (found,) = check({"recorded": [section(**given)]}, folder / "connectors.toml").recorded
    return found


def problems(folder: Path, **given: Any) -> str:
    try:
        config(folder, **given)
    except ConfigError as error:
        return "\n".join(error.problems)
    return ""


def play(given: RecordedConfig, *, full: int = 0) -> Kept:
    kept = Kept(full)
    RecordedConnector([given], kept).run(threading.Event())  # type: ignore[arg-type]
    return kept


def play_text(folder: Path, text: str | bytes, **given: Any) -> Kept:
    raw = text if isinstance(text, bytes) else text.encode()
    (folder / "ticks.csv").write_bytes(raw)
    return play(config(folder, **given))
