"""Settings: all that is wrong at once, each with its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.settings import Settings, SettingsError


def test_settings_when_several_are_wrong_name_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDTAPE_KAFKA", "nowhere")
    monkeypatch.setenv("GRIDTAPE_PARTITIONS", "none")

    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "GRIDTAPE_KAFKA" in str(caught.value)
    assert "'nowhere' is no address; expected host:port" in str(caught.value)
    assert "GRIDTAPE_PARTITIONS" in str(caught.value)


def test_kafka_when_it_is_not_named_says_how_to_name_or_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDTAPE_KAFKA", raising=False)

    with pytest.raises(SettingsError, match=r"GRIDTAPE_KAFKA=host:port.*gridtape kafka"):
        Settings(_env_file=None).cluster()


def test_given_value_when_the_environment_has_another_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDTAPE_KAFKA", "a:1")

    assert Settings.load(kafka="b:2").cluster().bootstrap == "b:2"
    assert Settings.load(kafka=None).cluster().bootstrap == "a:1"


def test_client_properties_when_given_reach_every_client(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("# TLS\nsecurity.protocol = SSL\n\nssl.ca.location=/etc/ca.pem\n")

    common = Settings.load(kafka="a:1", kafka_config=file).cluster().common
    assert common["security.protocol"] == "SSL"
    assert common["ssl.ca.location"] == "/etc/ca.pem"


@pytest.mark.parametrize(
    ("text", "words"), [("nonsense\n", r":1: 'nonsense' is no name=value line"), (None, "cannot be read")]
)
def test_client_properties_when_unusable_name_file_and_line(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / "client.properties"
    if text is not None:
        file.write_text(text)

    with pytest.raises(SettingsError, match=words):
        Settings.load(kafka="a:1", kafka_config=file).cluster()


def test_prefix_when_set_names_topics_and_is_taken_off_again() -> None:
    cluster = Settings.load(kafka="a:1", topic_prefix="desk").cluster()

    assert cluster.named("ticks") == "desk-ticks"
    assert cluster.bare("desk-ticks") == "ticks"
