"""The command itself: what a person waits for before anything happens."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from streams import cli
from streams.settings import SettingsError

MODULES = """
import json, sys
from streams.cli import main
try:
    main()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_help_when_asked_for_imports_neither_clients_nor_decisions():
    done = subprocess.run(
        [sys.executable, "-c", MODULES, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "kill-switch" in done.stdout
    heavy = {"confluent_kafka", "pydantic", "msgspec", "structlog", "connectors", "processors", "schemas", "sinks"}
    assert heavy.isdisjoint(json.loads(done.stderr))


def test_main_when_a_person_can_mend_it_says_it_in_words(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", _failing(SettingsError("no Kafka is named")))
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err == "error: no Kafka is named\n"


def test_main_when_it_is_a_fault_of_the_code_raises_it(monkeypatch):
    monkeypatch.setattr(cli, "app", _failing(KeyError("x")))
    with pytest.raises(KeyError):
        cli.main()


def _failing(error):
    def app():
        raise error

    return app
