"""Browse patterns, and what a point is called."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from connectors.fields import Name
from connectors.opcua.browse import fits, may_lead, named


@pytest.mark.parametrize(
    ("pattern", "path", "whole", "below"),
    [
        ("Plant/Turbine*/Power", "Plant/Turbine7/Power", True, False),
        ("Plant/Turbine*/Power", "Plant/Turbine7", False, True),
        ("Plant/Turbine*/Power", "Plant/Pump1", False, False),
        ("Plant/Turbine?/Power", "Plant/Turbine12/Power", False, False),
        ("Plant/**/Power", "Plant/Power", True, True),
        ("Plant/**/Power", "Plant/A/B/Power", True, True),
        ("Plant/**", "Plant", True, True),
        ("Plant/**", "Other", False, False),
        ("**", "Anything/at/all", True, True),
        ("plant/*", "Plant/A", False, False),
    ],
)
def test_pattern_when_compared_with_a_path_knows_whether_it_fits_and_whether_to_look_below(pattern, path, whole, below):
    parts, names = tuple(pattern.split("/")), tuple(path.split("/"))
    assert fits(parts, names) is whole
    assert may_lead(parts, names) is below


NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=6).map(tuple)
PATTERNS = st.lists(st.sampled_from(["a", "b", "?", "*", "**"]), min_size=1, max_size=5).map(tuple)


@given(pattern=PATTERNS, path=NAMES)
def test_pattern_whatever_it_is_agrees_with_the_same_as_regular_expression(pattern, path):
    parts = {"**": "(?:[^/]*/)*", "*": "[^/]*/", "?": "[^/]/"}
    expression = "".join(parts.get(part, f"{part}/") for part in pattern)
    assert fits(pattern, path) is bool(re.fullmatch(expression, "".join(f"{name}/" for name in path)))
    if fits(pattern, path):
        assert all(may_lead(pattern, path[:end]) for end in range(len(path))), "it is found level by level"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{path}", "Wind_park/T_1_/Power"),
        ("{name}", "Power"),
        ("{2}.{name}", "T_1_.Power"),
        ("p{9}{1}", "pWind_park"),
        ("{9}/{name}", "Power"),
        ("{9}", "unnamed"),
    ],
)
def test_name_when_made_of_a_path_holds_what_a_point_may(template, name):
    assert named(template, ("Wind park", "T(1)", "Power")) == name
    assert TypeAdapter(Name).validate_python(name)
