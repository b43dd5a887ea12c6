"""Memory, disk and back, with a publisher whose acknowledgements and failures the test decides, and a real file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.outlet import Full
from connectors.spool.config import StoreConfig
from connectors.spool.forwarder import Forwarder
from connectors.spool.store import Row, Store
from schemas import topics
from schemas.devices import Storage
from schemas.telemetry import Telemetry

T = 1_795_244_400_250_000


def sample(device: str, sequence: int, value: float = 1.0) -> Telemetry:
    return Telemetry(device=device, point="p", value=value, unit="MW", sequence=sequence, event_time=T, receive_time=T)


class Kafka:
    """Takes ``room`` records at a time, and acknowledges or fails what it has when it is told to."""

    def __init__(self, room: int = 10**6) -> None:
        self.room = room
        self.sent: list[tuple[str, object, object]] = []
        self.kept: list[object] = []

    def publish(self, topic, key, record, *, event_id, done):
        if len(self.sent) >= self.room:
            raise Full("Kafka is full")
        self.sent.append((key, record, done))

    def acknowledge(self, count: int = 10**6) -> None:
        for _ in range(min(count, len(self.sent))):
            _key, record, done = self.sent.pop(0)
            self.kept.append(record)
            done(None)

    def fail(self) -> None:
        """As a producer that is replaced: nothing that it had is in Kafka."""
        for _key, _record, done in [self.sent.pop(0) for _ in range(len(self.sent))]:
            done("_PURGE_QUEUE")

    def flush(self, timeout: float) -> int:
        return len(self.sent)

    def close(self, timeout: float) -> None:
        self.fail()

    def sequences(self, device: str) -> list[int]:
        return [r.sequence for r in self.kept if isinstance(r, Telemetry) and r.device == device]


def line(folder: Path, kafka: Kafka, *, disk: int = 8, **changes: int) -> Forwarder:
    config = StoreConfig.model_construct(**{"after": 0, "memory_records": 1000, **changes})
    store = Store(folder / "s.sqlite", disk_megabytes=disk, keep_free_megabytes=0)
    forwarder = Forwarder(kafka, store, config, "test-line")
    forwarder._backoff.next_delay = lambda: 0.0
    return forwarder


def put(forwarder: Forwarder, device: str, sequence: int) -> None:
    forwarder.publish(topics.telemetry, device, sample(device, sequence), event_id=f"{device}/{sequence}")


def test_forwarder_when_kafka_acknowledges_touches_no_disk(tmp_path: Path) -> None:
    kafka = Kafka()
    forwarder = line(tmp_path, kafka)
    answers: list[str | None] = []
    for number in range(1, 50):
        record = sample("d", number)
        forwarder.publish(topics.telemetry, "d", record, event_id=str(number), done=answers.append)
        kafka.acknowledge()
        forwarder.round()
    assert kafka.sequences("d") == list(range(1, 50))
    assert answers == [None] * 49
    assert forwarder.waiting().storage is Storage.DIRECT
    assert forwarder._store.last_id == 0
    forwarder.close()


def test_forwarder_when_kafka_is_away_keeps_all_on_disk_and_a_later_run_sends_it_first(tmp_path: Path) -> None:
    away = Kafka()
    first = line(tmp_path, away)
    for number in range(1, 101):
        put(first, "d", number)
        if number == 50:
            first.round()
    first.round()
    assert (first.waiting().storage, first.waiting().records) == (Storage.DISK, 100)
    first._store.close()  # killed: nothing more is said to anybody
    back = Kafka()
    second = line(tmp_path, back)
    put(second, "d", 101)
    put(second, "e", 1)
    assert [key for key, _, _ in back.sent] == ["e"], "a device with nothing on disk does not wait for the others"
    for _ in range(3):
        back.acknowledge()
        second.round()
    back.acknowledge()
    second.round()
    assert back.sequences("d") == list(range(1, 102))
    assert (second.waiting().storage, second.flush(0.0)) == (Storage.DIRECT, 0)
    put(second, "d", 102)
    assert back.sent, "straight again"
    second.close(0.0)


def test_forwarder_when_memory_and_disk_are_full_is_full_by_name_and_recovers(tmp_path: Path) -> None:
    kafka = Kafka(room=1)
    forwarder = line(tmp_path, kafka, disk=1, memory_records=100)
    taken = 0
    said = ""
    while not said:
        try:
            put(forwarder, "d", taken + 1)
        except Full as full:
            said = str(full)
        else:
            taken += 1
        if taken % 50 == 0:
            forwarder.round()
    assert "store.disk_megabytes" in said
    assert taken > 2000
    assert forwarder.waiting().storage is Storage.PAUSED
    kafka.room = 10**6
    for _ in range(50):
        kafka.acknowledge()
        forwarder.round()
    assert kafka.sequences("d") == list(range(1, taken + 1))
    forwarder.close(0.0)


def test_forwarder_when_a_record_breaks_its_contract_or_a_row_its_topic_it_becomes_a_letter(tmp_path: Path) -> None:
    kafka = Kafka()
    forwarder = line(tmp_path, kafka)
    forwarder._store.append([Row(7, "no-such-topic", "d", "e", b"?")])
    forwarder._store.close()
    forwarder = line(tmp_path, kafka)
    forwarder.publish(topics.telemetry, "d", sample("d", 1, float("nan")), event_id="1")
    forwarder.dead_letter(source="s", reason="r", raw=b"\x00", receive_time=T)
    for _ in range(3):
        forwarder.round()
        kafka.acknowledge()
    reasons = sorted(letter.reason for letter in kafka.kept)
    assert [reason[:20] for reason in reasons] == ["not a valid telemetr", "r", "what waited on disk "]
    forwarder.close(0.0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc")),
        st.tuples(st.just("round"), st.just(0)),
        st.tuples(st.just("acknowledge"), st.integers(1, 4)),
        st.tuples(st.just("fail"), st.just(0)),
        st.tuples(st.just("room"), st.integers(0, 6)),
        st.tuples(st.just("kill"), st.just(0)),
        st.tuples(st.just("stop"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_forwarder_whatever_happens_loses_nothing_that_it_kept_and_keeps_the_order(steps) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kafka = Kafka()
        forwarder = line(Path(folder), kafka)
        put_in: dict[str, int] = dict.fromkeys("abc", 0)
        may_miss: set[tuple[str, int]] = set()
        unsafe: set[tuple[str, int]] = set()
        for step, value in [*steps, ("room", 100), *[("round", 0), ("acknowledge", 10**6)] * 8]:
            if step == "put":
                put_in[value] += 1
                unsafe.add((value, put_in[value]))
                put(forwarder, value, put_in[value])
            elif step == "round":
                forwarder.round()
                if forwarder._storing:
                    unsafe.clear()  # all on disk
            elif step == "acknowledge":
                kafka.acknowledge(value)
            elif step == "fail":
                kafka.fail()
            elif step == "room":
                kafka.room = value
            elif step == "kill":
                may_miss |= unsafe
                unsafe.clear()
                kafka.sent.clear()
                forwarder._store.close()
                forwarder = line(Path(folder), kafka)
            else:
                forwarder.close(0.0)
                unsafe.clear()
                forwarder = line(Path(folder), kafka)
        forwarder.round()
        for device, count in put_in.items():
            first_time = list(dict.fromkeys(kafka.sequences(device)))
            assert first_time == sorted(first_time), "in order, but for repeats"
            missing = {(device, number) for number in range(1, count + 1)} - {(device, n) for n in first_time}
            assert missing <= may_miss
        assert forwarder.flush(0.0) == 0
        forwarder.close(0.0)
