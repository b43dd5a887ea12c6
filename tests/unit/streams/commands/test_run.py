"""What the settings make of a worker."""

from __future__ import annotations

import sys
import threading

import pytest

from processors.positions import Positions
from streams.commands.run import connectors, stores_of
from streams.engine.stores import MemoryStores
from streams.settings import Settings, SettingsError


def test_stores_when_nothing_is_set_are_in_memory():
    assert isinstance(stores_of(Settings.load(kafka="a:1"), Positions, 0), MemoryStores)


def test_stores_when_disk_is_set_have_a_folder_of_their_tenant_application_and_slot(tmp_path):
    settings = Settings.load(kafka="a:1", topic_prefix="acme", state="disk", state_dir=tmp_path)
    first, second = (stores_of(settings, Positions, slot) for slot in (0, 1))
    assert first.keep
    assert (first.directory, second.directory) == (tmp_path / "acme-positions-0", tmp_path / "acme-positions-1")


def test_stores_when_the_extra_is_missing_say_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "streams.engine.disk", None)
    with pytest.raises(SettingsError, match=r"GRIDTAPE_STATE=disk needs the extra disk .*gridtape\[disk\]"):
        stores_of(Settings.load(kafka="a:1", state="disk", state_dir=tmp_path), Positions, 0)


def test_settings_when_the_state_is_to_be_somewhere_else_name_the_choices(monkeypatch):
    monkeypatch.setenv("GRIDTAPE_STATE", "cloud")
    with pytest.raises(SettingsError, match=r"GRIDTAPE_STATE: .*'memory' or 'disk'"):
        Settings.load()


def test_connectors_when_nobody_named_a_file_say_how_to(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"no file connectors\.toml; name yours with --config"):
        connectors(Settings.load(kafka="a:1"), None, threading.Event())
