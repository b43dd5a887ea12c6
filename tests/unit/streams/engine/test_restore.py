"""A restore that cannot go on says so."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import structlog

from streams.engine.restore import Restoration


class Kafka:
    """One changelog partition of ten records whose reader gets none: a transaction in it is open."""

    now = 0.0

    def __init__(self) -> None:
        self.clock = SimpleNamespace(monotonic=lambda: self.now)

    def named(self, name: str) -> str:
        return name

    def admin(self) -> Any:
        led = SimpleNamespace(topics={"app-changelog": SimpleNamespace(partitions={0: SimpleNamespace(leader=1)})})

        def list_offsets(asked: dict[Any, Any], **_: Any) -> dict[Any, Future[Any]]:
            answers = {}
            for place, spec in asked.items():
                answers[place] = Future()
                answers[place].set_result(SimpleNamespace(offset=0 if spec._value == -2 else 10))
            return answers

        return SimpleNamespace(list_topics=lambda timeout: led, list_offsets=list_offsets)

    def reader(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(consume=lambda *_: [], incremental_assign=lambda _: None)


def test_restore_when_a_transaction_is_never_decided_says_where_it_waits():
    kafka = Kafka()
    restoration = Restoration(kafka, "app", 5.0)  # type: ignore[arg-type]
    store = SimpleNamespace(position=None)
    assert restoration.add([SimpleNamespace(partition=0, store=store, kept=False)]) == []  # type: ignore[list-item]
    with structlog.testing.capture_logs() as told:
        for kafka.now in (1.0, 20.0, 32.0, 40.0):
            assert restoration.step(0.0) == []
    assert [(line["place"], line["end"]) for line in told] == [("app-changelog[0]@0", 10)]
    assert "gridtape doctor" in told[0]["event"]
