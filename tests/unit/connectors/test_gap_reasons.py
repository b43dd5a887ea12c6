"""The table of gap reasons in docs/connectors.md against what the connectors write."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.gaps import GapReason

ROOT = Path(__file__).parents[3]


def test_gap_reasons_when_written_by_a_connector_are_all_in_the_table_and_no_others():
    written = {
        GapReason[name].value
        for path in (ROOT / "connectors").rglob("*.py")
        for name in re.findall(r"\bGapReason\.([A-Z]+)", path.read_text(encoding="utf-8"))
    }
    page = (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")
    table = page.partition("**Gaps** (topic `gaps`)")[2].partition("\n\n")[2].partition("\n\n")[0]
    told = {word for row in table.splitlines()[2:] for word in re.findall(r"`([a-z]+)`", row.split("|")[1])}

    assert told == written == {reason.value for reason in GapReason}


def test_gap_details_when_they_tell_a_person_to_reconcile_are_explained():
    source = (ROOT / "connectors" / "market" / "dropcopy" / "connector.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")

    assert "; reconcile" in source
    assert "*reconcile*" in page
