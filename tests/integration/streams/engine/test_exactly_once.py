"""Every record is counted exactly once, whatever happens to the workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams.engine.errors import Abortable, Corrupted, EngineError, Migrated
from streams.engine.partitions import partition_of
from streams.engine.transactions import Transactions
from streams.engine.worker import Options
from streams.local.kafka import Kafka
from tests.integration.streams.engine import counting as app
from tests.integration.streams.engine.conftest import Field

ROOT = Path(__file__).parents[4]


def test_worker_when_two_inputs_and_a_broadcast_are_there_counts_each_record_once(field):
    field.factor(3)
    field.hit(keys=10, each=50)
    with field.running():
        field.check(factor=3)
        field.hit(keys=10, each=20)
        field.check(factor=3)
    assert not field.read(app.letters)


def test_worker_when_restarted_goes_on_from_the_committed_state(field):
    field.factor(1)
    for _ in range(2):
        field.hit(keys=7, each=30)
        with field.running():
            field.check()


def test_two_workers_when_one_joins_and_leaves_lose_and_double_nothing(field):
    field.factor(1)
    with field.running(slot=0) as first:
        field.hit(keys=20, each=10)
        field.check()
        with field.running(slot=1) as second:
            field.hit(keys=20, each=50)
            field.await_(lambda: second.tasks() == 2 == first.tasks(), "two partitions each")
            field.hit(keys=20, each=20)
            field.check()
        field.hit(keys=20, each=10)
        field.check()
        field.await_(lambda: first.tasks() == app.PARTITIONS, "all partitions back")


def process(field: Field, slot: int = 0) -> subprocess.Popen[bytes]:
    program = ROOT / "tests" / "integration" / "streams" / "engine" / "counting.py"
    cluster = field.cluster
    return subprocess.Popen(
        [sys.executable, str(program), cluster.bootstrap, cluster.prefix, str(slot)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )


def test_worker_when_killed_several_times_loses_and_doubles_nothing(field):
    field.factor(1)
    field.hit(keys=20, each=1000)
    total = 20 * 1000
    killed_in_mid_stream = 0
    for _ in range(3):
        running = process(field)
        enough = min(len(field.read(app.counts)) + 100, total)
        field.await_(lambda enough=enough: len(field.read(app.counts)) >= enough, f"{enough} counts")
        running.send_signal(signal.SIGKILL)
        running.wait()
        killed_in_mid_stream += len(field.read(app.counts)) < total
    assert killed_in_mid_stream
    last = process(field)
    try:
        field.check()
    finally:
        last.communicate()
    assert last.returncode == 0


class Faults:
    """Makes the n-th commit fail: before the offsets are sent (its records are in Kafka by then), after that, or when
    it is committed already."""

    def __init__(self, monkeypatch, plan: dict[int, tuple[str, type[EngineError]]]) -> None:
        self.plan = dict(plan)
        self._count = 0
        send, commit = Transactions._send, Transactions.commit

        def failing_send(transactions, *arguments):
            self._count += 1
            assert transactions._producer.flush(30) == 0
            self._fail("before")
            send(transactions, *arguments)
            self._fail("after")

        def failing_commit(transactions, *arguments):
            commit(transactions, *arguments)
            self._fail("committed")

        monkeypatch.setattr(Transactions, "_send", failing_send)
        monkeypatch.setattr(Transactions, "commit", failing_commit)

    def _fail(self, when: str) -> None:
        planned, error = self.plan.get(self._count, ("", None))
        if planned == when:
            del self.plan[self._count]
            raise error(f"injected: {when}")


@pytest.mark.parametrize(
    "plan",
    [
        {2: ("before", Abortable), 3: ("after", Abortable), 5: ("after", Abortable)},
        {2: ("committed", Corrupted), 4: ("after", Migrated)},
    ],
    ids=["aborted", "session lost"],
)
def test_worker_when_commits_fail_loses_and_doubles_nothing(field, monkeypatch, plan):
    faults = Faults(monkeypatch, plan)
    field.factor(1)
    field.hit(keys=10, each=100)
    with field.running():
        field.check()
        while faults.plan:
            field.hit(keys=10, each=5)
            field.check()
    assert not field.read(app.letters), "a decision was made without its broadcast input"


def test_worker_when_the_broker_restarts_goes_on(tmp_path):
    with Kafka(tmp_path / "kafka") as broker:
        port = broker.port
        field = Field.create(broker.address)
        field.factor(1)
        with field.running(options=Options(commit_interval=0.02, session_timeout=6.0, transaction_timeout=3.0)):
            field.hit(keys=10, each=30)
            field.check()
            broker.stop()
            with Kafka(tmp_path / "kafka", port):
                field.hit(keys=10, each=30)
                field.check()
        field.close(topics=False)


def test_worker_when_something_is_urgent_commits_at_once(field):
    field.factor(1)
    slow = Options(commit_interval=3600.0, quiet_interval=3600.0, session_timeout=6.0, transaction_timeout=6.0)
    with field.running(options=slow):
        field.put(app.hits, "k0", app.Hit("k0", 1))
        field.put(app.hits, "k0", app.Hit("k0", app.ALARM))
        field.flush()
        field.await_(lambda: len(field.read(app.alarms)) == 1, "an alarm")
        assert [count.n for count in field.read(app.counts)] == [1, 2]


def test_reader_when_a_transaction_is_left_open_and_aborted_sees_nothing_of_it(field):
    """What the engine relies on: an open transaction of this id is aborted by the next one that begins."""
    field.factor(1)
    field.hit(keys=3, each=5)
    ghost = field.cluster.publisher(transactional_id=field.cluster.named("counting-0"))
    ghost.init_transactions(30)
    ghost.begin_transaction()
    place = partition_of("k0", app.PARTITIONS)
    ghost.produce(field.cluster.named("counts"), app.counts.encode(app.Count("k0", 99, 99, "ghost")), b"k0", place)
    ghost.produce(field.cluster.named("counting-changelog"), b'{"n":99,"total":99}', b"totals/k0", place)
    assert ghost.flush(30) == 0
    with field.running():
        field.check()
    assert not [count for count in field.read(app.counts) if count.at == "ghost"]


def test_worker_when_a_limit_is_there_before_it_decides_nothing_without_it(field):
    """Broadcast inputs are read to their end first, however much waits on the others."""
    field.hit(keys=10, each=100)
    field.factor(2)
    with field.running():
        field.check(factor=2)
    assert not field.read(app.letters)


def test_journal_when_walked_accounts_for_every_input(field):
    """The segments of all commits, taken together, hold every input record exactly once, in order."""
    field.factor(1)
    field.hit(keys=5, each=40)
    with field.running():
        field.check()
    entries = [line.body for line in field.read(app.journal)]
    read: dict[tuple[str, int], int] = {}
    records = 0
    for entry in sorted(entries, key=lambda entry: (entry["partition"], entry["commit"])):
        for topic, first, last, count, _ in entry["segments"]:
            place = (topic, entry["partition"])
            assert first >= read.get(place, 0), "an input was fed twice"
            assert count <= last - first + 1
            read[place] = last + 1
            records += count
    assert records == 5 * 40 + app.PARTITIONS
    commits = sorted((entry["partition"], entry["commit"]) for entry in entries)
    assert commits == [(p, n + 1) for p in range(app.PARTITIONS) for n in range(sum(c[0] == p for c in commits))]
