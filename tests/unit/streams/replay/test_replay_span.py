"""Where a span begins and ends, and how two records are compared."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Journal
from streams.replay.difference import compare
from streams.replay.rerun import Entry
from streams.replay.span import Mark, Span

SEVEN = 1_795_244_400_000_000
"""2026-11-21T07:00:00Z."""


def entry(commit: int, time: int) -> Entry:
    zeros = {"segments": [], "outputs": 0, "output_hash": "0" * 32, "event_time": SEVEN, "receive_time": SEVEN}
    return Entry(Journal(application="a", partition=0, commit=commit, **zeros), time, "journal[0]@0")


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("412", Mark(commit=412)),
        ("2026-11-21T07:00:00Z", Mark(time=SEVEN)),
        ("2026-11-21T07:00", Mark(time=SEVEN)),
        ("2026-11-21 08:00:00.25+01:00", Mark(time=SEVEN + 250_000)),
        ("2026-11-21", Mark(time=SEVEN - 7 * 3_600_000_000)),
    ],
)
def test_mark_when_text_is_good_is_a_commit_or_a_time(text, mark):
    assert Mark.parse(text) == mark


@pytest.mark.parametrize("text", ["", "yesterday", "-3", "12:00", "4.5"])
def test_mark_when_text_is_bad_says_what_is_allowed(text):
    with pytest.raises(ValueError, match="neither a commit number nor a time such as"):
        Mark.parse(text)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_span_when_asked_holds_both_ends(begin, end, commit):
    by_number = Span(Mark(commit=begin), Mark(commit=end))
    by_time = Span(Mark(time=SEVEN + begin), Mark(time=SEVEN + end))
    one = entry(commit, SEVEN + commit)
    for span in (by_number, by_time):
        assert (span.begun(one) and not span.over(one)) == (begin <= commit <= end)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON, JSON)
def test_compare_when_given_two_values_finds_something_exactly_if_they_differ(one, other):
    found = list(compare(msgspec.json.encode(one), msgspec.json.encode(other)))
    assert bool(found) is not same(one, other)


def same(one: object, other: object) -> bool:
    """Equal with types told apart, whatever the order of keys: JSON objects have none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def test_compare_when_values_differ_names_the_path():
    found = list(compare(b'{"a": [1, {"b": 2}], "c": 3}', b'{"a": [1, {"b": 4}], "d": 3}'))
    assert found == [("a[1].b", "2", "4"), ("c", "3", "(absent)"), ("d", "(absent)", "3")]
    assert list(compare(b"\xff", b"1")) == [("", r"b'\xff'", "b'1'")]
