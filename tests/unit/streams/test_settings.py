"""Settings: from the environment, all errors at once, in words that name the variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.settings import PARTITIONS, Settings, SettingsError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    """No variable and no .env of the machine that runs the test."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GRIDTAPE_{name.upper()}", raising=False)


def test_settings_when_nothing_is_set_have_defaults(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    settings = Settings.load()
    assert settings.partitions == PARTITIONS
    assert settings.data_dir == tmp_path / "data" / "gridtape"
    assert settings.kafka is None


def test_settings_when_given_win_over_the_environment_and_that_over_the_file(monkeypatch):
    Path(".env").write_text("GRIDTAPE_PARTITIONS=2\nGRIDTAPE_REPLICATION=2\nGRIDTAPE_METRICS_PORT=9100\nOTHER=x\n")
    monkeypatch.setenv("GRIDTAPE_REPLICATION", "3")
    monkeypatch.setenv("GRIDTAPE_METRICS_PORT", "9200")
    settings = Settings.load(metrics_port=9300, kafka=None)
    assert (settings.partitions, settings.replication, settings.metrics_port) == (2, 3, 9300)


def test_settings_when_several_are_wrong_name_each_with_what_is_allowed(monkeypatch):
    monkeypatch.setenv("GRIDTAPE_PARTITIONS", "0")
    monkeypatch.setenv("GRIDTAPE_TOPIC_PREFIX", "a_b")
    monkeypatch.setenv("GRIDTAPE_METRICS_PORT", "http")
    monkeypatch.setenv("GRIDTAPE_PARQUET_TOPICS", "alerts,allerts")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "GRIDTAPE_TOPIC_PREFIX",
        "GRIDTAPE_PARTITIONS",
        "GRIDTAPE_METRICS_PORT",
        "GRIDTAPE_PARQUET_TOPICS",
    ]
    assert "no topic allerts; there are alerts, " in lines[4]


@pytest.mark.parametrize("address", ["localhost", ":9092", "host:", "host:port", "host:0", "host:70000", "a:1,,b:2"])
def test_settings_when_an_address_is_none_says_which(monkeypatch, address):
    monkeypatch.setenv("GRIDTAPE_KAFKA", address)
    with pytest.raises(SettingsError, match=r"GRIDTAPE_KAFKA: .* is no address; expected host:port"):
        Settings.load()


def test_settings_when_addresses_are_spaced_and_ipv6_are_taken(monkeypatch):
    monkeypatch.setenv("GRIDTAPE_KAFKA", "a:9092, [::1]:9093")
    assert Settings.load().cluster().bootstrap == "a:9092,[::1]:9093"


def test_settings_when_a_variable_is_empty_take_it_as_unset(monkeypatch):
    monkeypatch.setenv("GRIDTAPE_KAFKA", "")
    monkeypatch.setenv("GRIDTAPE_PARTITIONS", "")
    assert Settings.load().kafka is None


def test_settings_when_a_list_is_set_split_it_at_commas(monkeypatch):
    monkeypatch.setenv("GRIDTAPE_PARQUET_TOPICS", "alerts, fills")
    assert Settings.load().parquet_topics == ["alerts", "fills"]


def test_cluster_when_no_kafka_is_named_says_how_to_name_one():
    with pytest.raises(SettingsError, match="GRIDTAPE_KAFKA=host:port"):
        Settings.load().cluster()


def test_cluster_when_a_properties_file_is_named_reads_it(tmp_path):
    file = tmp_path / "client.properties"
    file.write_text("# how to log in\n\nsecurity.protocol = SASL_SSL\nsasl.password=a=b\n")
    cluster = Settings.load(kafka="h:1", kafka_config=file, topic_prefix="desk").cluster()
    assert cluster.security == {"security.protocol": "SASL_SSL", "sasl.password": "a=b"}
    assert cluster.security.items() <= cluster.common.items(), "every client logs in"
    assert cluster.named("ticks") == "desk-ticks"
    assert cluster.bare("desk-ticks") == "ticks"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"security.protocol", r"client.properties:1: 'security.protocol' is no name=value line"), (b"\xff", "utf-8")],
)
def test_cluster_when_the_properties_file_is_bad_names_it(tmp_path, content, says):
    file = tmp_path / "client.properties"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=says):
        Settings.load(kafka="h:1", kafka_config=file).cluster()


def test_cluster_when_the_properties_file_is_missing_names_it(tmp_path):
    with pytest.raises(SettingsError, match=r"GRIDTAPE_KAFKA_CONFIG: .*nowhere cannot be read"):
        Settings.load(kafka="h:1", kafka_config=tmp_path / "nowhere").cluster()


def test_operations_page_when_compared_with_the_code_names_every_setting_and_its_default():
    rows = dict(re.findall(r"(?m)^\| `GRIDTAPE_(\w+)` \| ([^|]*) \|", (ROOT / "docs" / "operations.md").read_text()))
    fields = Settings.model_fields
    assert list(rows) == [name.upper() for name in fields]
    plain = {
        name: field.default for name, field in fields.items() if isinstance(field.default, str | int | bool | list)
    }
    said = {name: ",".join(value) if isinstance(value, list) else str(value).lower() for name, value in plain.items()}
    assert {name: rows[name.upper()].partition(":")[0].replace("empty", "") for name in said} == said


def test_settings_when_a_prefix_cannot_be_in_topic_names_says_what_can():
    with pytest.raises(SettingsError, match=r"GRIDTAPE_TOPIC_PREFIX: expected letters, digits and hyphens.*'desk_1\.'"):
        Settings.load(topic_prefix="desk_1.")
