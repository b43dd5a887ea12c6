"""The README says what the code does."""

from __future__ import annotations

from pathlib import Path

from schemas.generate import topic_table
from streams import pipeline

README = Path(__file__).parents[2] / "README.md"


def test_topic_table_when_compared_with_the_wiring_is_current() -> None:
    assert topic_table(pipeline.writers, pipeline.readers).strip() in README.read_text(), (
        "put this into README.md:\n" + topic_table(pipeline.writers, pipeline.readers)
    )


def test_links_when_local_lead_to_files() -> None:
    text = README.read_text()
    targets = [part.split(")", 1)[0] for part in text.split("](")[1:]]

    missing = [t for t in targets if "://" not in t and not (README.parent / t.split("#")[0]).exists()]

    assert len(targets) > 15
    assert not missing
