"""Numbers as decisions say them: short, and never so short that two that differ read the same."""

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from processors.wording import lasted, number, telling

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_two_values_when_they_differ_are_told_apart(left: float, right: float) -> None:
    assume(left != right)
    figures = telling(left, right)
    assert f"{left:.{figures}g}" != f"{right:.{figures}g}"


def test_value_when_nothing_is_near_it_is_said_in_five_figures() -> None:
    assert number(92.02295678, telling(92.02295678, 74.46898888)) == "92.023"
    assert number(92.02295678, telling(92.02295678, None)) == "92.023"


def test_value_when_it_is_close_to_its_bound_is_said_in_as_many_figures_as_it_takes() -> None:
    figures = telling(74.468988, 74.468989)
    assert (number(74.468988, figures), number(74.468989, figures)) == ("74.468988", "74.468989")


@given(st.integers(min_value=0, max_value=10**13))
def test_duration_when_said_in_milliseconds_is_never_longer_than_it_was(micros: int) -> None:
    said = float(lasted(micros).removesuffix(" s").replace(" ", "")) * 1e6
    assert said <= micros or math.isclose(said, micros, rel_tol=1e-9)
    assert micros - said < 1000.5
