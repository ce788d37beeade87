"""Conversion of schema checks to functions of one Python value."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import pandera.pyarrow as pap

# Regular expressions with the same meaning in Python and in Arrow: literal letters, digits and spaces, and sets of
# letters and digits, optionally anchored at the start.
_PORTABLE_PATTERN = re.compile(r"\^?(?:[A-Za-z0-9 ]|\[(?:[A-Za-z0-9](?:-[A-Za-z0-9])?)+\])+")


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
        case "str_matches" if _PORTABLE_PATTERN.fullmatch(given["pattern"]):
            pattern = re.compile(given["pattern"])
            return lambda value: pattern.match(value) is not None
        case _:
            return None
