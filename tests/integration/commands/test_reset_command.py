"""``gridtape reset`` as it is typed: what it says, and what it refuses."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streams import pipeline
from streams.cli import app
from streams.commands.errors import CommandError
from tests.integration.commands.conftest import PARTITIONS


@pytest.fixture
def typed(day, monkeypatch):
    """Types a command at the running day."""
    monkeypatch.setenv("GRIDTAPE_KAFKA", day.cluster.bootstrap)
    monkeypatch.setenv("GRIDTAPE_TOPIC_PREFIX", day.cluster.prefix)
    monkeypatch.setenv("GRIDTAPE_PARTITIONS", str(PARTITIONS))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, ["reset", *words])


def test_reset_when_nothing_is_confirmed_says_what_it_would_do_and_to_whom(day, typed):
    told = typed("gate")
    assert told.exit_code == 0, told
    for text in (
        f"{day.cluster.named('priced-intents')}[0]",
        "the state is deleted with the topic gate-changelog",
        "orders (read by sinks/redis, sinks/venue, sinks/parquet)",
        "gridtape kill-switch on",
        "still at work, and must be stopped first: gate-0@",
        "nothing was changed; --yes does it",
    ):
        assert text in told.output, told.output


def test_reset_when_confirmed_while_it_works_is_refused(typed):
    told = typed("gate", "--to-end", "--yes")
    assert told.exit_code == 1
    assert "is at work: gate-0@" in str(told.exception)


def test_reset_when_words_make_no_sense_says_which_would(typed):
    for words, says in (
        (("nothing",), "there are " + ", ".join(p.name for p in pipeline.PROCESSORS)),
        (("gate", "--to-end", "--skip-lost"), "exclude one another"),
        (("gate", "--to-time", "noon"), "no time such as"),
    ):
        told = typed(*words)
        assert isinstance(told.exception, CommandError)
        assert says in str(told.exception)
