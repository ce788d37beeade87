"""Options: those that are one of a few words, and how many rejects a run allows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titanic_batch.errors import UsageError
from titanic_batch.runs.options import RejectLimit, RunOptions, one_of
from titanic_batch.runs.shards import Shard


def test_a_word_is_one_of_those_there_are() -> None:
    assert [one_of(("grid", "halving"), word, "--search") for word in ("grid", "halving")] == ["grid", "halving"]


@pytest.mark.parametrize("word", ["", "Grid", "grid ", "gri"])
def test_another_word_is_refused_with_those_there_are(word: str) -> None:
    with pytest.raises(UsageError, match=f"^--search {word}: it is one of grid, halving\\.$"):
        one_of(iter(("grid", "halving")), word, "--search")


# Limits of rejects


@given(rejected=st.integers(0, 10_000), accepted=st.integers(0, 10_000), hundredths=st.integers(0, 10_000))
def test_a_share_of_rejects_is_exceeded_only_beyond_it(rejected: int, accepted: int, hundredths: int) -> None:
    rows = rejected + accepted
    limit = RejectLimit.parse(f"{hundredths // 100}.{hundredths % 100:02}%")
    assert limit.is_exceeded(rejected, rows) == (Fraction(100 * rejected) > Fraction(hundredths, 100) * rows)


@pytest.mark.parametrize(
    ("text", "rejected", "rows", "passed"),
    [
        ("0", 0, 10, False),
        ("0", 1, 10, True),
        ("3", 3, 3, False),
        ("3", 4, 1_000_000, True),
        ("5%", 5, 100, False),
        ("5%", 6, 119, True),
        ("5%", 6, 120, False),
        ("2.5%", 25, 1000, False),
        ("2.5%", 26, 1000, True),
        ("0.1%", 1, 1000, False),
        ("0.1%", 1, 999, True),
        ("100%", 7, 7, False),
        ("0%", 0, 0, False),
        ("0%", 1, 1_000_000_000, True),
    ],
)
def test_rejects_up_to_the_limit_are_allowed(text: str, rejected: int, rows: int, passed: bool) -> None:
    limit = RejectLimit.parse(text)
    assert limit.is_exceeded(rejected, rows) is passed
    assert str(limit) == text


@pytest.mark.parametrize(
    "text", ["", "%", "-1", "-1%", "101%", "1.5", "five", "5 percent", "nan%", "inf%", "1e999%", "0x10", "1,5%"]
)
def test_a_text_that_is_no_limit_of_rejects_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        RejectLimit.parse(text)
    assert str(caught.value).startswith(f"{text} is no limit of rejects: give a number of rows")


def test_a_report_contains_the_options_that_shape_a_run() -> None:
    options = RunOptions(keep=["Name"], max_rejects=RejectLimit.parse("2.5%"), shard=Shard(1, 3), jobs=2, wait=3)
    assert options.recorded() == {
        "keep": ["Name"],
        "keep_key_text": None,
        "max_rejects": "2.5%",
        "min_rows": 0,
        "max_psi": None,
        "jobs": 2,
        "resume": False,
        "shard": "1/3",
    }
    assert RunOptions().recorded()["jobs"] == RunOptions().threads >= 1


def test_a_recipe_contains_the_options_that_shape_an_output() -> None:
    options = RunOptions(keep=("Name",), keep_key_text="Id", min_rows=3, resume=True, jobs=7, rejects="r.csv", wait=1)
    recipe = {"keep": ["Name"], "keep_key_text": "Id", "max_rejects": "0", "min_rows": 3, "max_psi": None}
    assert options.recipe() == recipe
    assert options.recipe() == RunOptions(keep=["Name"], keep_key_text="Id", min_rows=3).recipe()


def test_options_that_differ_from_their_defaults_are_the_given_ones() -> None:
    assert RunOptions().given() == {}
    given: dict[str, Any] = {"min_rows": 3, "max_rejects": RejectLimit(1), "keep": ["Name"]}
    assert RunOptions(**given).given() == given
    assert RunOptions.of(**RunOptions(**given).given()) == RunOptions(**given)
