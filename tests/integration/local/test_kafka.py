"""The local Kafka: what stays between starts, and Kafka's own tools on it."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.local.kafka import Kafka, tool


def test_kafka_when_started_again_without_network_has_its_topics_and_records(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/no-repository"
    Kafka(tmp_path).install()
    with Kafka(tmp_path, repository=nowhere) as broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        admin.create_topics([NewTopic("kept", 3, 1)])["kept"].result(timeout=20)
        producer = Producer({"bootstrap.servers": broker.address})
        producer.produce("kept", b"value", partition=1)
        assert producer.flush(20) == 0
        address = broker.address
    with Kafka(tmp_path, repository=nowhere) as broker:
        assert broker.address == address
        admin = AdminClient({"bootstrap.servers": broker.address})
        assert len(admin.list_topics(timeout=20).topics["kept"].partitions) == 3
        read = subprocess.run(
            tool(
                "org.apache.kafka.tools.consumer.ConsoleConsumer",
                f"--bootstrap-server={broker.address}",
                "--topic=kept",
                "--from-beginning",
                "--max-messages=1",
                "--timeout-ms=20000",
            ),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert read.stdout == "value\n"


def test_console_consumer_when_read_committed_sees_no_aborted_record(kafka: str) -> None:
    topic = f"committed-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(timeout=20)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions(30)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(20)
        end(20)
    read = subprocess.run(
        tool(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            f"--bootstrap-server={kafka}",
            f"--topic={topic}",
            "--from-beginning",
            "--isolation-level=read_committed",
            "--max-messages=1",
            "--timeout-ms=20000",
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert read.stdout == "committed\n"
