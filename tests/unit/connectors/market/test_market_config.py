from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import connectors.market
from connectors.config import ConfigError, load
from connectors.market.config import MarketConfig


def loaded(tmp_path: Path, text: str) -> MarketConfig:
    path = tmp_path / "c.toml"
    path.write_text(text)
    config = load(path)
    assert config.market is not None
    return config.market


def test_example_when_loaded_is_complete():
    market = load(Path(connectors.market.__file__).parent / "example.toml").market
    assert market is not None
    assert [one.instrument for one in market.instruments] == ["WTI", "BRENT", "HENRY-HUB"]
    assert (market.start, market.pace, market.silence_after) == (date(2020, 4, 17), 20.0, 3_000_000)
    assert market.instruments[2].tick_size == Decimal("0.001")
    assert (market.faults.delete, market.silences[0].lasts) == (0.001, 10_000_000)


def test_section_when_empty_replays_the_bundled_prices(tmp_path):
    market = loaded(tmp_path, "[market]\n")
    assert [one.path.name for one in market.instruments] == ["wti-daily.csv", "brent-daily.csv", "henry-hub-daily.csv"]
    assert {one.venue for one in market.instruments} == {"REPLAY"}
    assert market.pace == 10.0


def test_pace_when_speed_is_given_follows_from_ticks_per_day(tmp_path):
    assert loaded(tmp_path, "[market]\nspeed = 1440\nticks_per_day = 600\n").pace == 10.0
    assert loaded(tmp_path, '[market]\nspeed = "max"\n').pace is None


def test_file_when_beside_the_settings_is_taken_from_there(tmp_path):
    (tmp_path / "power.csv").write_text("Date,Price\n2020-01-01,-5.5\n2020-01-02,80\n")
    market = loaded(tmp_path, '[market]\n[[market.instruments]]\ninstrument = "PWR"\nfile = "power.csv"\n')
    assert market.instruments[0].path == tmp_path / "power.csv"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate = 5\nspeed = 2", "rate or speed, not both"),
        ("rate = 0", "rate"),
        ("speed = 1", "raise silence_after to at least"),
        ("start = 2035-01-01", "the closes of WTI end on"),
        ("colour = 1", "market.colour"),
        ("faults = {delete = 0.7, swap = 0.7}", "together must not exceed 1"),
        ("faults = {delete = 1.5}", "market.faults.delete"),
        ('silences = [{instrument = "GOLD", after = 1, lasts = 1}]', "unknown instruments: GOLD"),
        ('instruments = [{instrument = "A", file = "none.csv"}]', "bundled ones are wti-daily.csv"),
        ('instruments = [{instrument = "A", file = "wti-daily.csv", venue = "NYMEX"}]', "venue"),
        ('instruments = [{instrument = "A", file = "wti-daily.csv", tick_size = 0}]', "tick_size"),
        (
            'instruments = [{instrument = "A", file = "wti-daily.csv"}, {instrument = "A", file = "wti-daily.csv"}]',
            "named twice: A",
        ),
    ],
)
def test_section_when_wrong_says_what_and_where(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says):
        loaded(tmp_path, f"[market]\n{text}\n")
