"""Every setting, typed, with its default; set by environment (GRIDTAPE_...) or a .env file in the working folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas import topics
from streams.engine.cluster import Cluster

PARTITIONS = 4


def default_data_dir() -> Path:
    """XDG data directory of the user, folder gridtape."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "gridtape"


class SettingsError(Exception):
    """The settings cannot be used; the message names every one that is wrong and what is allowed."""


class Settings(BaseSettings):
    """Where the services are and how much of them to use."""

    model_config = SettingsConfigDict(
        env_prefix="GRIDTAPE_",
        env_file=".env",
        env_ignore_empty=True,  # as docker-compose.yml passes what is not set
        extra="ignore",
    )

    kafka: str | None = Field(
        None, description="host:port[,host:port] of your own Kafka; unset: a local one is started"
    )
    kafka_config: Path | None = Field(
        None, description="client properties file (security.protocol, ssl.*, sasl.*), one name=value a line"
    )
    topic_prefix: str = Field(
        "", description="put before every topic, group and transactional id, so that tenants can share a cluster"
    )
    partitions: Annotated[int, Field(ge=1, le=1000)] = Field(
        PARTITIONS, description="of every topic; fixed when the topics are created"
    )
    replication: Annotated[int, Field(ge=1, le=10)] = Field(1, description="copies of every topic; 3 on a cluster")
    state: Literal["memory", "disk"] = Field(
        "memory", description="where processors keep their state; disk for state larger than memory (extra disk)"
    )
    state_dir: Path = Field(
        default_factory=lambda: default_data_dir() / "state", description="files of GRIDTAPE_STATE=disk; may be deleted"
    )
    standbys: Annotated[int, Field(ge=0, le=10)] = Field(
        0, description="copies of each task that other workers keep warm; workers - 1 of them make every takeover quick"
    )
    redis: str | None = Field(None, description="redis://host:port of your own Redis; unset: a local one in the demo")
    mqtt: str | None = Field(None, description="host:port of your own MQTT broker; unset: a local one in the demo")
    data_dir: Path = Field(default_factory=default_data_dir, description="data and logs of the local services")
    connectors_file: Path = Field(Path("connectors.toml"), description="what `gridtape run connectors` connects to")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(0, description="Prometheus metrics over HTTP; 0: none")
    webhook_url: str | None = Field(None, description="where alerts are posted; unset: nowhere")
    webhook_secret_file: Path | None = Field(None, description="file with the webhook's signing secret (whsec_...)")
    terminal: bool = Field(False, description="print alerts to standard output in `gridtape run sinks`")
    venue: bool = Field(True, description="run the simulated venue in `gridtape run sinks`; false with a real one")
    parquet_dir: Path | None = Field(None, description="where Parquet files are written; unset: none are")
    parquet_topics: Annotated[list[str], NoDecode] = Field(
        ["alerts", "orders", "fills", "rejections"], description="topics kept as Parquet, with commas between"
    )

    @field_validator("kafka", "mqtt")
    @classmethod
    def _addresses(cls, value: str | None) -> str | None:
        if value is None:
            return None
        addresses = [address.strip() for address in value.split(",")]
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is no address; expected host:port")
        return ",".join(addresses)

    @field_validator("topic_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        if not re.fullmatch("[A-Za-z0-9-]*", value):
            raise ValueError("expected letters, digits and hyphens; a hyphen is put behind it")
        return value

    @field_validator("parquet_topics", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if unknown := sorted(set(names) - topics.BY_NAME.keys()):
            raise ValueError(f"no topic {', '.join(unknown)}; there are {', '.join(sorted(topics.BY_NAME))}")
        return names

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """Settings from the environment, ``given`` ones first. Raises SettingsError naming all that are wrong."""
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            lines = [
                f"  GRIDTAPE_{'_'.join(map(str, e['loc'])).upper()}: "
                f"{e['msg'].removeprefix('Value error, ')} (is {e['input']!r})"
                for e in error.errors()
            ]
            raise SettingsError("these settings cannot be used:\n" + "\n".join(lines)) from error

    def cluster(self) -> Cluster:
        """The cluster that these settings name. Raises SettingsError when none is named."""
        if self.kafka is None:
            raise SettingsError(
                "no Kafka is named. Set GRIDTAPE_KAFKA=host:port, or start one on this machine with `gridtape kafka`, "
                "which prints its address."
            )
        return Cluster(self.kafka, security=self._properties(), prefix=self.topic_prefix)

    def _properties(self) -> dict[str, str]:
        if self.kafka_config is None:
            return {}
        try:
            lines = self.kafka_config.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"GRIDTAPE_KAFKA_CONFIG: {self.kafka_config} cannot be read: {error}") from error
        found: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            name, equals, value = text.partition("=")
            if not equals:
                raise SettingsError(f"{self.kafka_config}:{number}: {text!r} is no name=value line")
            found[name.strip()] = value.strip()
        return found
