"""Workers on Faust that come and go: at least once, so some records are decided twice."""

from __future__ import annotations

from schemas import topics
from streams.engine.partitions import partition_of
from tests.conftest import PARTITIONS
from tests.integration.streams.conformance.conftest import OnKafka, on_faust
from tests.integration.streams.conformance.test_conformance import SECOND, START, await_, said, tick


def test_faust_when_a_worker_comes_and_goes_decides_every_record(cluster):
    names = list({partition_of(f"X{n}", PARTITIONS): f"X{n}" for n in range(40)}.values())
    first, second = OnKafka(cluster, on_faust(cluster)), OnKafka(cluster, on_faust(cluster))
    put = 0

    def more() -> None:
        nonlocal put
        for name in names:
            first.put(topics.ticks, name, tick(name, put))
        put += 1

    def decided() -> dict[str, set[int]]:
        found = said(first, "ticks")
        return {name: {(r.event_time - START) // SECOND for r in found[name]} for name in names}

    def until(what: str) -> None:
        wanted = set(range(put))
        await_(decided, lambda found: all(found[name] >= wanted for name in names), what)

    def while_moving(times: int) -> None:
        for _ in range(times):
            more()
            decided()

    more()
    first.start()
    until("the first worker decides")
    second.start()
    while_moving(30)
    until("both decide")
    second.stop()
    while_moving(15)
    until("the first decides alone")
    first.stop()
