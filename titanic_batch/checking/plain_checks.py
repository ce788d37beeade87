"""Conversion of schema checks to functions of one Python value."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import pandera.pyarrow as pap

# Literal letters, digits and spaces, and sets of letters and digits, alone or in groups, each perhaps repeated, and
# optionally anchored at the start and the end.
_REPEATED = r"(?:[A-Za-z0-9 ]|\[(?:[A-Za-z0-9](?:-[A-Za-z0-9])?)+\])[*+?]?"
_PORTABLE_PATTERN = re.compile(rf"\^?(?:{_REPEATED}|\((?:{_REPEATED})+\)[*+?]?)+\$?")


def is_portable(pattern: str) -> bool:
    """Return whether a regular expression means the same in Python, Arrow and JSON Schema.

    There is one exception: in Python, ``$`` also matches before a line end that ends the text.
    """
    return _PORTABLE_PATTERN.fullmatch(pattern) is not None


def plain_check(check: pap.Check) -> Callable[[Any], bool] | None:
    """Return a check as a function of one value, or None if Python's result might differ from Arrow's."""
    given = check.statistics
    match check.name:
        case "isin":
            return frozenset(given["allowed_values"]).__contains__
        case "in_range":
            low, high = given["min_value"], given["max_value"]
            above = operator.ge if given["include_min"] else operator.gt
            below = operator.le if given["include_max"] else operator.lt
            return lambda value: above(value, low) and below(value, high)
        case "greater_than" | "greater_than_or_equal_to":
            compare = operator.gt if check.name == "greater_than" else operator.ge
            return lambda value: compare(value, given["min_value"])
        case "less_than" | "less_than_or_equal_to":
            compare = operator.lt if check.name == "less_than" else operator.le
            return lambda value: compare(value, given["max_value"])
        case "str_matches" if is_portable(given["pattern"]):
            pattern = re.compile(given["pattern"].removesuffix("$"))
            matches = pattern.fullmatch if given["pattern"].endswith("$") else pattern.match
            return lambda value: matches(value) is not None
        case _:
            return None
