from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from connectors.mqtt import topics

levels = st.text(st.characters(exclude_characters="+#{}/\0", exclude_categories=["Cs"]), max_size=5)
template_levels = st.lists(st.one_of(levels, st.sampled_from(["+", "{device}", "{point}"])), min_size=1, max_size=5)


def test_template_when_levels_are_named_reads_them_back() -> None:
    template = topics.parse("plants/{device}/+/{point}")
    assert template.filter == "plants/+/+/+"
    assert template.match("plants/b1/meter/soc") == {"device": "b1", "point": "soc"}
    assert template.match("plants/b1/soc") is None
    assert template.match("other/b1/meter/soc") is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "1 to 65535"),
        ("a\0b", "NUL"),
        ("x" * 70_000, "65535"),
        ("a/#/b", "last"),
        ("a/b+", "mixes"),
        ("a/dev-{device}", "mixes"),
        ("a/{devcie}", "mixes"),
        ("{device}/{device}", "once"),
    ],
)
def test_template_when_wrong_says_what_is_allowed(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        topics.parse(text)


@given(template_levels, st.booleans(), st.lists(levels, min_size=1, max_size=6))
def test_template_when_matched_agrees_with_the_library_about_the_subscribed_filter(
    parts: list[str], rest: bool, topic: list[str]
) -> None:
    text = "/".join([*parts, "#"] if rest else parts)
    if not text or len({p for p in parts if p.startswith("{")}) < sum(p.startswith("{") for p in parts):
        return
    name = "/".join(topic)
    if not name:
        return
    template = topics.parse(text)
    assert (template.match(name) is not None) == topic_matches_sub(template.filter, name)


@given(st.lists(levels.filter(bool), min_size=2, max_size=2))
def test_template_when_filled_in_gives_the_same_names(names: list[str]) -> None:
    device, point = names
    assert topics.parse("p/{device}/{point}").match(f"p/{device}/{point}") == {"device": device, "point": point}
