"""Paths through documents: what discovery finds, the connector reads."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.discovery.document import inline
from connectors.mqtt.config import JsonPaths
from connectors.mqtt.discovery.documents import walk
from connectors.mqtt.discovery.settings import path
from connectors.mqtt.payload import find

TEXTS = st.sampled_from(["", "a", "a=b", "=", "c.d", ".", "id", "7", "²", "é", "x y", '"', "\\", "tab\t"]) | st.text(
    max_size=3
)
SCALARS = st.none() | st.booleans() | st.integers(0, 9) | TEXTS
NAMED = st.lists(st.fixed_dictionaries({"id": TEXTS | st.integers(0, 9), "v": SCALARS}), max_size=4)
DOCUMENTS = st.recursive(
    SCALARS | NAMED,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def _scalars(document: Any) -> list[Any]:
    if isinstance(document, dict | list):
        inside = document.values() if isinstance(document, dict) else document
        return [one for each in inside for one in _scalars(each)]
    return [document]


@given(DOCUMENTS, st.booleans())
def test_walk_when_a_document_has_any_keys_finds_only_what_the_written_paths_read(
    document: Any, numbered: bool
) -> None:
    found = list(walk(document, numbered=numbered))
    assert len(set(found)) == len(found)
    scalars = _scalars(document)
    for steps in found:
        written = inline({"value": path(steps)}).unwrap()
        assert JsonPaths.model_validate(written).value == steps
        assert any(find(document, steps) is one for one in scalars), steps


@given(st.lists(st.text("ab=.1", min_size=1, max_size=3), min_size=2, max_size=5, unique=True), st.randoms())
def test_walk_when_the_objects_of_a_list_have_names_finds_each_by_its_own(names: list[str], chance: Any) -> None:
    items = [{"id": name, "v": place} for place, name in enumerate(names)]
    paths = [steps for steps in walk({"values": items}) if steps[-1] == "v"]
    chance.shuffle(items)
    assert [find({"values": items}, steps) for steps in paths] == list(range(len(names)))
