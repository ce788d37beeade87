"""Pandera checks on the values of one column, and the rows that break them.

Each check looks at one value at a time. If a column has few distinct values, pandera therefore checks each of them only
once. If the checks are intervals, it checks only the minimum and the maximum. Otherwise it checks the whole column.
Pandera's error report does not identify rows, so if a check fails, a second pass finds the rows, one check at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandera.config import ValidationDepth, config_context

from titanic_batch.checking.plain_checks import plain_check
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, as_single_array, is_numeric, stored_bounds
from titanic_batch.reading.rules import NOT_ALLOWED, NOT_FINITE, OUT_OF_RANGE, Mask

_RULE_OF_CHECK = {
    "equal_to": NOT_ALLOWED,
    "greater_than": OUT_OF_RANGE,
    "greater_than_or_equal_to": OUT_OF_RANGE,
    "in_range": OUT_OF_RANGE,
    "isin": NOT_ALLOWED,
    "less_than": OUT_OF_RANGE,
    "less_than_or_equal_to": OUT_OF_RANGE,
    "not_equal_to": NOT_ALLOWED,
    "notin": NOT_ALLOWED,
    "str_contains": NOT_ALLOWED,
    "str_endswith": NOT_ALLOWED,
    "str_length": OUT_OF_RANGE,
    "str_matches": NOT_ALLOWED,
    "str_startswith": NOT_ALLOWED,
}
# Checks that, if they accept two values, accept all values between them.
_CONVEX_CHECKS = {"greater_than", "greater_than_or_equal_to", "in_range", "less_than", "less_than_or_equal_to"}
_MAX_CACHED_VALUES = 100_000
_MAX_CACHED_LENGTH = 100  # characters of one; a schema, and so its cache, lives as long as the process
# Held while pandera validates. The first time it tries to import what need not be installed, and where two threads try
# at the same time, one may see a module of which the other has imported only a part.
_PANDERA = threading.Lock()
_MAX_INTEGER_SPAN = 2**16
_FEW_INTEGERS = 2**6

# Returns, for each row, the index of its value among the distinct values, and whether the row has a value. Called only
# if a value breaks a rule.
_GetCodes = Callable[[], tuple[NDArray[np.int64], Mask]]


def rule_of(check: pap.Check) -> str:
    """Return the name of the rule that a value breaks if it fails a check."""
    return str(_RULE_OF_CHECK.get(check.name, check.name))


class ColumnChecks:
    """The checks of one column of a schema. Thread-safe.

    Parameters
    ----------
    column
        A column of the schema. Each of its checks must look at one value at a time.
    arrow_type
        The Arrow type that the column is read as.
    """

    def __init__(self, column: pap.Column, arrow_type: pa.DataType) -> None:
        self._column = column
        self._value_type = arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type
        self._name = column.name
        self._schema = _schema_of(self._name, column.checks)
        self._is_convex = arrow_type != STRING and all(check.name in _CONVEX_CHECKS for check in column.checks)
        # The widest interval whose ends pandera has accepted, if the checks are intervals.
        self._accepted_interval: tuple[float, float] | None = None
        # The rules that each distinct value breaks, and the values that break none. Emptied if there are too many.
        self._cached_rules: dict[Any, frozenset[str]] = {}
        self._flawless: frozenset[Any] = frozenset()

    def broken(self, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        """Yield each rule that values of a column break, with the mask of their rows. A null breaks no rule.

        ``column`` must have the type ``arrow_type`` and at least one value that is not null.
        """
        if pa.types.is_dictionary(column.type):
            return self._broken_by_distinct(*_distinct_strings(column))
        return (self._broken_numbers if is_numeric(column.type) else self._broken_others)(column)

    def accepts(self) -> Callable[[Any], bool]:
        """Return a predicate that is true if pandera accepts a value: an int, float or str of the column's type.

        None is a missing value, and floats must be finite. If a check has no equivalent in plain Python, the predicate
        calls pandera, once for each distinct value.
        """
        nullable = bool(self._column.nullable)
        plain = [plain_check(check) for check in self._column.checks]
        checks = [check for check in plain if check is not None]
        if len(checks) < len(plain):
            checks = [lambda value: not self._rules_broken_by([value])[0]]

        def accepts(value: Any) -> bool:
            return nullable if value is None else all(check(value) for check in checks)

        return accepts

    def _broken_numbers(self, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        has_checks = bool(self._column.checks)
        if not has_checks and pa.types.is_integer(column.type):
            return
        bounds = [stored_bounds(chunk) for chunk in column.chunks if len(chunk)]
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        if np.isfinite([low, high]).all() and (not has_checks or self._accepts_interval(low, high)):
            return
        low, high = (bound.as_py() for bound in pc.min_max(column).values())
        infinite = np.zeros(len(column), dtype=np.bool_)
        if np.isinf([low, high]).any():
            infinite = pc.fill_null(pc.is_inf(column), False).to_numpy()
            yield NOT_FINITE, infinite
        if not has_checks or self._accepts_interval(low, high):
            return
        is_few = pa.types.is_integer(column.type) and high - low < _FEW_INTEGERS
        if is_few and not any(self._rules_broken_by(list(range(low, high + 1)))):
            return  # whichever of them there are; a check takes any value of its column's type
        if pa.types.is_integer(column.type) and high - low < _MAX_INTEGER_SPAN:
            broken = list(self._broken_by_distinct(*_distinct_integers(column, low, high)))
        else:
            broken = list(self._validate(column).items())
        for rule, mask in broken:
            yield rule, mask & ~infinite if rule == OUT_OF_RANGE else mask

    def _broken_others(self, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        """Do the same for booleans, dates and timestamps."""
        if not self._column.checks:
            return
        low, high = (bound.as_py() for bound in pc.min_max(column).values())
        if not self._accepts_interval(low, high):
            yield from self._validate(column).items()

    def _accepts_interval(self, low: float, high: float) -> bool:
        """Return whether the checks are intervals and pandera accepts two values, and so all values between them."""
        if not self._is_convex:
            return False
        known_low, known_high = self._accepted_interval or (low, high)
        if self._accepted_interval is None or low < known_low or high > known_high:
            ends = pa.chunked_array([pa.array([low, high], self._value_type)])
            if self._validate(ends):
                return False
            self._accepted_interval = min(low, known_low), max(high, known_high)
        return True

    def _broken_by_distinct(self, values: list[Any], get_codes: _GetCodes) -> Iterator[tuple[str, Mask]]:
        if self._flawless.issuperset(values):
            return
        rules_by_value = self._rules_broken_by(values)
        # Spellings of a missing value occur only in the dictionary; the rows themselves are null.
        found = [
            rules for value, rules in zip(values, rules_by_value, strict=True) if rules and value not in MISSING_TEXTS
        ]
        for rule in sorted(frozenset[str]().union(*found)):
            broken = np.array([rule in rules for rules in rules_by_value])
            codes, present = get_codes()
            yield rule, broken[codes] & present

    def _rules_broken_by(self, values: list[Any]) -> list[frozenset[str]]:
        """Return the rules that each of the distinct values breaks."""
        known = self._cached_rules
        if unknown := [value for value in values if value not in known]:
            column = pa.chunked_array([pa.array(unknown, self._value_type)])
            broken: dict[int, set[str]] = {}
            for rule, mask in self._validate(column).items():
                for position in np.flatnonzero(mask).tolist():
                    broken.setdefault(position, set()).add(rule)
            known = known | {value: frozenset(broken.get(position, ())) for position, value in enumerate(unknown)}
            short = known if max(map(_length, unknown)) <= _MAX_CACHED_LENGTH else _without_long(known)
            self._cached_rules = short if len(short) <= _MAX_CACHED_VALUES else {}
            self._flawless = frozenset(value for value, rules in self._cached_rules.items() if not rules)
        return [known[value] for value in values]

    def _validate(self, column: pa.ChunkedArray) -> dict[str, Mask]:
        """Validate a whole column with pandera, and return the mask of its rows for each broken rule."""
        masks: dict[str, Mask] = {}
        failed: list[pap.Check] = []
        with _PANDERA, _pandera_enabled():
            try:
                self._schema.validate(pa.table({self._name: column}), lazy=True)
            except pap.errors.SchemaErrors as errors:
                failed = list({id(error.check): error.check for error in errors.schema_errors}.values())
            # Not before the errors are gone, which have copies of the values.
            for check in failed:
                rule, mask = rule_of(check), _failing_rows(check, column)
                masks[rule] = masks[rule] | mask if rule in masks else mask
        return masks


def _without_long(rules: dict[Any, frozenset[str]]) -> dict[Any, frozenset[str]]:
    return {value: broken for value, broken in rules.items() if _length(value) <= _MAX_CACHED_LENGTH}


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _distinct_strings(column: pa.ChunkedArray) -> tuple[list[str], _GetCodes]:
    array = as_single_array(column)

    def get_codes() -> tuple[NDArray[np.int64], Mask]:
        return pc.fill_null(array.indices, 0).to_numpy(), array.is_valid().to_numpy(zero_copy_only=False)

    return array.dictionary.to_pylist(), get_codes


def _distinct_integers(column: pa.ChunkedArray, low: int, high: int) -> tuple[list[int], _GetCodes]:
    offsets = pc.fill_null(column, low).to_numpy() - low
    present = np.flatnonzero(np.bincount(offsets))

    def get_codes() -> tuple[NDArray[np.int64], Mask]:
        codes = np.zeros(high - low + 1, dtype=np.int64)
        codes[present] = np.arange(len(present))
        return codes[offsets], column.is_valid().to_numpy()

    return (present + low).tolist(), get_codes


def _failing_rows(check: pap.Check, column: pa.ChunkedArray) -> Mask:
    """Return the mask of the values that fail a check that pandera reported. A null never fails."""
    dropping = _schema_of("value", check, drop_invalid_rows=True)
    numbered = pa.table({"value": column, "row": np.arange(len(column))})
    mask = np.ones(len(column), dtype=np.bool_)
    mask[dropping.validate(numbered, lazy=True)["row"].to_numpy()] = False
    if not mask.any():
        raise TypeError(f"the check {check.name} can't be run, or doesn't look at one value at a time")
    mask &= column.is_valid().to_numpy()
    return mask


def _schema_of(
    name: str, checks: pap.Check | list[pap.Check], *, drop_invalid_rows: bool = False
) -> pap.DataFrameSchema:
    """Return a schema with checks on the values of one column, but not on its type, which is known.

    To check that, pandera would import pandas and numpy's types each time.
    """
    return pap.DataFrameSchema({name: pap.Column(None, checks, nullable=True)}, drop_invalid_rows=drop_invalid_rows)


@contextmanager
def _pandera_enabled() -> Iterator[None]:
    """Enable pandera's checks on data, regardless of the PANDERA_* environment variables."""
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        yield
