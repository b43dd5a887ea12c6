"""What a command says when nobody answers at Kafka's address, and how it is asked for help."""

from __future__ import annotations

import sys
from functools import partial

import pytest
from confluent_kafka import KafkaException

from streams import cli, control
from streams.commands.quiet import quiet
from streams.engine.cluster import Cluster
from streams.engine.errors import classify

NOWHERE = quiet(Cluster("127.0.0.1:1"))


def bare() -> None:
    NOWHERE.admin().list_topics(timeout=0.2)


def classified() -> None:
    try:
        bare()
    except KafkaException as error:
        raise classify(error, "asking for topic alerts") from error


@pytest.mark.parametrize("command", [bare, classified])
def test_command_when_kafka_is_away_says_so_in_a_line_and_where_to_look(command, monkeypatch, capfd) -> None:
    monkeypatch.setattr(cli, "app", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(
        "Is the broker running and the address right (GRIDTAPE_KAFKA)? `gridtape doctor` looks closer."
    )


def test_command_when_the_fault_is_ours_shows_where(monkeypatch) -> None:
    def faulty() -> None:
        raise LookupError("a fault of the program")

    monkeypatch.setattr(cli, "app", faulty)
    with pytest.raises(LookupError):
        cli.main()


def test_kill_switch_when_kafka_is_away_says_so_without_the_clients_complaints(monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["gridtape", "kill-switch", "on", "--reason", "test", "--kafka", "127.0.0.1:1"])
    monkeypatch.setattr(control, "publish", partial(control.publish, timeout=0.5))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    out, err = capfd.readouterr()
    assert not out
    (line,) = err.splitlines()
    assert "Kafka at 127.0.0.1:1 did not take it, nothing was published" in line
    assert "gridtape doctor" in line


def test_publish_when_asked_for_help_names_the_tables(monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["gridtape", "publish", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    shown = capfd.readouterr().out
    assert all(f"[[{table}]]" in shown for table in ("instruments", "limits", "rules", "control", "fills"))
