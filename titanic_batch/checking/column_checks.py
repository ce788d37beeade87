"""What pandera says of the values of one column: which rows break which rule.

Each value is judged by itself, so pandera is asked once about each distinct value where there are few of them; about
the least and the greatest where the checks are intervals; and about whole columns where neither settles it. Its report
names no rows, so where it objects, they are found in a second pass, check by check.
"""

from __future__ import annotations

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
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, in_one_piece, stored_bounds
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
# Checks that hold for all values between two for which they hold.
_CONVEX_CHECKS = {"greater_than", "greater_than_or_equal_to", "in_range", "less_than", "less_than_or_equal_to"}
_MAX_VERDICTS = 100_000
_MAX_SPAN = 2**16

# What gives, of each row, the place of its value among the distinct ones, and whether it has one; asked only for rows
# that break a rule.
_Codes = Callable[[], tuple[NDArray[np.int64], Mask]]


def rule_of(check: pap.Check) -> str:
    """Return the rule that a value breaks for which a check of a schema doesn't hold."""
    return str(_RULE_OF_CHECK.get(check.name, check.name))


class ColumnChecks:
    """The checks of one column of a schema. Safe to use from several threads.

    Parameters
    ----------
    column
        The column of the schema, with checks that look at one value at a time.
    arrow_type
        What it is read as.
    """

    def __init__(self, column: pap.Column, arrow_type: pa.DataType) -> None:
        self._column = column
        self._value_type = arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type
        self._name = column.name
        self._schema = pap.DataFrameSchema({self._name: pap.Column(self._value_type, column.checks, nullable=True)})
        self._is_convex = arrow_type != STRING and all(check.name in _CONVEX_CHECKS for check in column.checks)
        # The widest interval whose ends pandera accepted, where the checks are intervals.
        self._sound: tuple[float, float] | None = None
        # What pandera said of each distinct value, for as long as there are not too many of them.
        self._verdicts: dict[Any, frozenset[str]] = {}

    def broken(self, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        """Yield each rule that values of a column break, and the mask of their rows; a null breaks none.

        ``column`` is of the column's type, and has a value that is not null.
        """
        if pa.types.is_dictionary(column.type):
            return self._broken_by_distinct(*_distinct_strings(column))
        return self._broken_numbers(column)

    def accepts(self) -> Callable[[Any], bool]:
        """Return what tells whether pandera accepts one value: an int, float or str of the column's type.

        None is a missing value; floats are to be finite. A check that can't be put in plain words is pandera's own,
        asked once for each distinct value.
        """
        nullable = bool(self._column.nullable)
        plain = [plain_check(check) for check in self._column.checks]
        checks = [check for check in plain if check is not None]
        if len(checks) < len(plain):
            checks = [lambda value: not self._verdicts_on([value])[0]]

        def accepts(value: Any) -> bool:
            return nullable if value is None else all(check(value) for check in checks)

        return accepts

    def _broken_numbers(self, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        has_checks = bool(self._column.checks)
        if not has_checks and pa.types.is_integer(column.type):
            return
        bounds = [stored_bounds(chunk) for chunk in column.chunks if len(chunk)]
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        if np.isfinite([low, high]).all() and (not has_checks or self._are_sound(low, high)):
            return
        low, high = (bound.as_py() for bound in pc.min_max(column).values())
        infinite = np.zeros(len(column), dtype=np.bool_)
        if np.isinf([low, high]).any():
            infinite = pc.fill_null(pc.is_inf(column), False).to_numpy()
            yield NOT_FINITE, infinite
        if not has_checks or self._are_sound(low, high):
            return
        if pa.types.is_integer(column.type) and high - low < _MAX_SPAN:
            broken = list(self._broken_by_distinct(*_distinct_integers(column, low, high)))
        else:
            with _pandera_on():
                broken = list(self._broken(column))
        for rule, mask in broken:
            yield rule, mask & ~infinite if rule == OUT_OF_RANGE else mask

    def _are_sound(self, low: float, high: float) -> bool:
        """Tell whether pandera accepts two values, and so all between them, where the checks are intervals."""
        if not self._is_convex:
            return False
        known_low, known_high = self._sound or (low, high)
        if self._sound is None or low < known_low or high > known_high:
            ends = pa.chunked_array([pa.array([low, high], self._value_type)])
            with _pandera_on():
                if any(True for _ in self._broken(ends)):
                    return False
            self._sound = min(low, known_low), max(high, known_high)
        return True

    def _broken_by_distinct(self, values: list[Any], codes: _Codes) -> Iterator[tuple[str, Mask]]:
        verdicts = self._verdicts_on(values)
        # A text that spells a missing value is null wherever it stood, and remains only in the dictionary.
        found = [
            verdict for value, verdict in zip(values, verdicts, strict=True) if verdict and value not in MISSING_TEXTS
        ]
        for rule in sorted(frozenset[str]().union(*found)):
            broken = np.array([rule in verdict for verdict in verdicts])
            places, present = codes()
            yield rule, broken[places] & present

    def _verdicts_on(self, values: list[Any]) -> list[frozenset[str]]:
        """Return the rules that each of some distinct values breaks."""
        known = self._verdicts
        if unknown := [value for value in values if value not in known]:
            column = pa.chunked_array([pa.array(unknown, self._value_type)])
            broken: dict[int, set[str]] = {}
            with _pandera_on():
                for rule, mask in self._broken(column):
                    for position in np.flatnonzero(mask).tolist():
                        broken.setdefault(position, set()).add(rule)
            known = known | {value: frozenset(broken.get(place, ())) for place, value in enumerate(unknown)}
            self._verdicts = known if len(known) <= _MAX_VERDICTS else {}
        return [known[value] for value in values]

    def _broken(self, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        """Yield each rule that pandera finds broken in a whole column, and the mask of its rows."""
        masks: dict[str, Mask] = {}
        try:
            self._schema.validate(pa.table({self._name: column}), lazy=True)
        except pap.errors.SchemaErrors as errors:
            for check in {id(error.check): error.check for error in errors.schema_errors}.values():
                rule, mask = rule_of(check), _failing(check, column)
                masks[rule] = masks[rule] | mask if rule in masks else mask
        yield from masks.items()


def _distinct_strings(column: pa.ChunkedArray) -> tuple[list[str], _Codes]:
    array = in_one_piece(column)

    def codes() -> tuple[NDArray[np.int64], Mask]:
        return pc.fill_null(array.indices, 0).to_numpy(), array.is_valid().to_numpy(zero_copy_only=False)

    return array.dictionary.to_pylist(), codes


def _distinct_integers(column: pa.ChunkedArray, low: int, high: int) -> tuple[list[int], _Codes]:
    offsets = pc.fill_null(column, low).to_numpy() - low
    present = np.flatnonzero(np.bincount(offsets))

    def codes() -> tuple[NDArray[np.int64], Mask]:
        places = np.zeros(high - low + 1, dtype=np.int64)
        places[present] = np.arange(len(present))
        return places[offsets], column.is_valid().to_numpy()

    return (present + low).tolist(), codes


def _failing(check: pap.Check, column: pa.ChunkedArray) -> Mask:
    """Return the mask of the values that break one check, which pandera says is broken; a null breaks none."""
    dropping = pap.DataFrameSchema({"value": pap.Column(column.type, check, nullable=True)}, drop_invalid_rows=True)
    numbered = pa.table({"value": column, "row": np.arange(len(column))})
    mask = np.ones(len(column), dtype=np.bool_)
    mask[dropping.validate(numbered, lazy=True)["row"].to_numpy()] = False
    if not mask.any():
        raise TypeError(f"the check {check.name} can't be run, or doesn't look at one value at a time")
    mask &= column.is_valid().to_numpy()
    return mask


@contextmanager
def _pandera_on() -> Iterator[None]:
    """Check data whatever the PANDERA_* variables of the environment say."""
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        yield
