"""Options that are one of a few words."""

from __future__ import annotations

import pytest

from titanic_batch.errors import UsageError
from titanic_batch.runs.options import one_of


def test_a_word_is_one_of_those_there_are() -> None:
    assert [one_of(("grid", "halving"), word, "--search") for word in ("grid", "halving")] == ["grid", "halving"]


@pytest.mark.parametrize("word", ["", "Grid", "grid ", "gri"])
def test_another_word_is_wrong_usage_that_names_them(word: str) -> None:
    with pytest.raises(UsageError, match=f"^--search {word}: it is one of grid, halving\\.$"):
        one_of(iter(("grid", "halving")), word, "--search")
