"""The chi-squared distribution is SciPy's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtrc, chdtri

from titanic_batch.scoring.chi_squared import chi_squared_limit, chi_squared_tail

DEGREES = [*range(1, 31), 49, 50, 99, 100, 499, 500, 999, 1_000]
CHANCES = [1e-12, 1e-9, 1e-6, 1e-4, 0.001, 0.01, 0.05, 0.3, 0.5, 0.9, 0.99, 0.999]


@pytest.mark.parametrize("chance", CHANCES)
def test_limits_are_those_of_scipy(chance: float) -> None:
    for degrees in DEGREES:
        assert chi_squared_limit(degrees, chance) == pytest.approx(float(chdtri(degrees, chance)), rel=1e-12, abs=1e-12)


@settings(max_examples=200)
@given(st.integers(1, 1_000), st.floats(1e-12, 0.999))
def test_any_limit_is_that_of_scipy(degrees: int, chance: float) -> None:
    assert chi_squared_limit(degrees, chance) == pytest.approx(float(chdtri(degrees, chance)), rel=1e-12, abs=1e-12)


@settings(max_examples=200)
@given(st.integers(1, 1_000), st.floats(0, 1_400))
def test_any_chance_is_that_of_scipy(degrees: int, value: float) -> None:
    assert chi_squared_tail(degrees, value) == pytest.approx(float(chdtrc(degrees, value)), rel=1e-10, abs=1e-13)


def test_known_limits() -> None:
    """From the tables in every textbook, and what follows from the definition."""
    assert [round(chi_squared_limit(degrees, 0.05), 3) for degrees in (1, 2, 3, 10)] == [3.841, 5.991, 7.815, 18.307]
    assert chi_squared_limit(2, 0.001) == pytest.approx(-2 * math.log(0.001), rel=1e-14)


def test_all_is_above_nothing() -> None:
    assert [chi_squared_tail(degrees, 0) for degrees in (1, 2, 3, 1_000)] == [1, 1, 1, 1]


@pytest.mark.parametrize("degrees", [1, 2, 7, 8, 999, 1_000])
def test_limits_rise_as_chances_fall(degrees: int) -> None:
    limits = [chi_squared_limit(degrees, chance) for chance in sorted(CHANCES, reverse=True)]
    assert limits == sorted(limits)
    assert len(set(limits)) == len(limits)
