"""Of many clients that cannot reach Kafka one says so, and not each time."""

from __future__ import annotations

from confluent_kafka import KafkaException
from structlog.testing import capture_logs

from streams.commands.quiet import one_voice
from streams.engine.cluster import Cluster
from tests.conftest import wait_until


def test_clients_when_kafka_is_away_complain_with_one_voice_in_the_log(capfd) -> None:
    with capture_logs() as lines, one_voice(Cluster("127.0.0.1:1")) as cluster:
        clients = [cluster.publisher(), cluster.publisher(), cluster.reader("group")]
        for client in clients:
            try:
                client.list_topics(timeout=0.3)
            except KafkaException:
                continue
            raise AssertionError("nobody is there")
        wait_until(lambda: bool(lines))
    assert [line["event"] for line in lines] == ["the Kafka client complains"]
    assert "Connection refused" in lines[0]["words"]
    assert "127.0.0.1:1" in lines[0]["words"]
    assert capfd.readouterr() == ("", "")
