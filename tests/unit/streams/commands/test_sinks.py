"""Which sinks the settings set up, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.commands.sinks import build
from streams.settings import Settings, SettingsError


def settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)


def names(sinks: list[object]) -> list[str]:
    return [sink.name for sink in sinks]


def test_sinks_when_only_the_venue_is_on_are_the_venue() -> None:
    assert names(build(settings())) == ["venue"]


def test_sinks_when_everything_is_set_are_all(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtMTIzNA==")
    chosen = build(
        settings(
            webhook_url="https://example.org/hook",
            webhook_secret_file=secret,
            redis="redis://127.0.0.1:1",
            parquet_dir=tmp_path,
        )
    )
    assert names(chosen) == ["webhook", "redis", "venue", "parquet"]


def test_terminal_when_named_is_run_without_a_setting() -> None:
    assert names(build(settings(), ["terminal"])) == ["terminal"]


def test_sinks_when_one_is_named_are_that_one() -> None:
    assert names(build(settings(redis="redis://127.0.0.1:1"), ["redis"])) == ["redis"]


def test_sinks_when_a_name_is_unknown_say_which_there_are() -> None:
    with pytest.raises(SettingsError, match="no sink email; there are webhook, redis, terminal, venue, parquet"):
        build(settings(), ["email"])


def test_sinks_when_a_named_one_is_not_set_up_say_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"redis \(set GRIDTAPE_REDIS\)"):
        build(settings(), ["redis"])


def test_sinks_when_none_is_set_up_say_every_way() -> None:
    with pytest.raises(SettingsError, match="GRIDTAPE_PARQUET_DIR for parquet"):
        build(settings(venue=False))


def test_sinks_when_a_setting_cannot_be_used_name_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="secret_file"):
        build(settings(webhook_url="https://example.org/hook", webhook_secret_file=tmp_path / "missing"))


def test_sinks_when_the_webhook_has_no_secret_refuse_to_send_unsigned() -> None:
    with pytest.raises(SettingsError, match="signed"):
        build(settings(webhook_url="https://example.org/hook"))
