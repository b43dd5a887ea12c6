from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from connectors.market.fix.store import Store, StoreError


def test_store_when_opened_again_has_what_was_saved(tmp_path):
    store = Store(tmp_path / "deep" / "numbers.db", "A>B")
    assert store.numbers() == (1, 1)
    store.save(next_in=7)
    store.save(next_out=9)
    store.close()
    assert Store(tmp_path / "deep" / "numbers.db", "A>B").numbers() == (7, 9)


def test_store_when_a_statement_beside_fails_keeps_nothing_of_it(tmp_path):
    store = Store(tmp_path / "numbers.db", "A>B")
    with pytest.raises(StoreError, match="no such table"):
        store.save(next_in=7, beside=[("INSERT INTO absent VALUES (?)", (1,))])
    assert store.numbers() == (1, 1)


def test_store_when_the_disk_is_full_says_so_and_keeps_the_numbers(tmp_path):
    store = Store(tmp_path / "numbers.db", "A>B")
    store.database.execute("CREATE TABLE beside (text TEXT)")
    (pages,) = store.database.execute("PRAGMA page_count").fetchone()
    store.database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match="disk is full"):
        store.save(next_in=7, beside=[("INSERT INTO beside VALUES (?)", ("x" * 100_000,))])
    assert store.numbers() == (1, 1), "what was not kept is asked for again"


def test_store_when_it_belongs_to_another_session_is_refused(tmp_path):
    Store(tmp_path / "numbers.db", "A>B").close()
    with pytest.raises(StoreError, match="holds the numbers of A>B, not of C>D"):
        Store(tmp_path / "numbers.db", "C>D")


def _open(path: Path) -> str:
    try:
        Store(path, "A>B").numbers()
    except StoreError as error:
        return str(error)
    return ""


def test_store_when_another_process_has_it_is_refused(tmp_path):
    store = Store(tmp_path / "numbers.db", "A>B")
    store.save(next_in=2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert "no other process runs this session" in pool.apply(_open, (tmp_path / "numbers.db",))


def test_store_when_its_folder_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="check that its folder is writable"):
        Store(tmp_path / "file" / "numbers.db", "A>B")
