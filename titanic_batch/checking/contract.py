"""A pandera schema applied to blocks of rows: which rows break which rule.

Each value is judged by itself, so pandera is asked once about each distinct value where there are few of them; about
the least and the greatest where the checks are intervals; and about whole columns where neither settles it. Its report
names no rows, so where it objects, they are found in a second pass, check by check.
"""

from __future__ import annotations

import hashlib
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandera.config import ValidationDepth, config_context

from titanic_batch.checking.json_schema import json_schema_of
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, in_one_piece, stored_bounds
from titanic_batch.reading.rules import (
    DUPLICATE_KEY,
    ENCODING,
    MISSING,
    NOT_ALLOWED,
    NOT_FINITE,
    OUT_OF_RANGE,
    TYPE,
    UNCLOSED_QUOTE,
    WRONG_FIELD_COUNT,
    Mask,
    Problem,
)

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
# Regular expressions that mean the same in Python and in Arrow: letters, digits and sets of them from the start on.
_SAME_IN_ALL = re.compile(r"\^?(?:[A-Za-z0-9 ]|\[(?:[A-Za-z0-9](?:-[A-Za-z0-9])?)+\])+")
_MAX_SPAN = 2**16


class Contract:
    """What a row must be: a pandera schema, and the column whose values are keys.

    Parameters
    ----------
    schema
        Columns of the types int64, float64 and string, with checks that look at one value at a time. A column that is
        ``unique`` is the key; an integer column.
    version
        The schema's version, to be kept with models and outputs.

    Attributes
    ----------
    key : str
    types : dict of str to pyarrow.DataType
        The Arrow type that each column is to be read as.
    """

    def __init__(self, schema: pap.DataFrameSchema, version: int) -> None:
        self.version = version
        self._schema = schema
        self.key: str = next(name for name, column in schema.columns.items() if column.unique)
        self.types: dict[str, pa.DataType] = {name: _arrow_type(column) for name, column in schema.columns.items()}
        self._columns = {
            name: pap.DataFrameSchema({name: pap.Column(_value_type(kind), schema.columns[name].checks, nullable=True)})
            for name, kind in self.types.items()
        }
        self._checked = [name for name, column in schema.columns.items() if column.checks]
        self._convex = {
            name
            for name, column in schema.columns.items()
            if self.types[name] != STRING and all(check.name in _CONVEX_CHECKS for check in column.checks)
        }
        # The widest interval whose ends pandera accepted, for columns whose checks are intervals.
        self._sound: dict[str, tuple[float, float]] = {}
        # What pandera said of each distinct value, for as long as there are not too many of them.
        self._verdicts: dict[str, dict[Any, frozenset[str]]] = {name: {} for name in self.types}

    @property
    def digest(self) -> str:
        """SHA-256 of all that the contract asks of a row, in hex."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return the contract as a JSON Schema (2020-12) of a row."""
        columns = self._schema.columns
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self._schema.name,
            "type": "object",
            "properties": {name: json_schema_of(column, self.types[name]) for name, column in columns.items()},
            "required": list(columns),
        }

    def rules(self) -> list[tuple[str, str | None]]:
        """Return all rules that a row can break, each with its column (None: the whole row)."""
        rules: list[tuple[str, str | None]] = [(WRONG_FIELD_COUNT, None), (UNCLOSED_QUOTE, None)]
        for name, column in self._schema.columns.items():
            number = self.types[name] != STRING
            rules += [(TYPE, name), (NOT_FINITE, name)] if number else []
            rules += [(ENCODING, name)]
            rules += [(OUT_OF_RANGE, name)] if pa.types.is_integer(self.types[name]) else []
            rules += [] if column.nullable else [(MISSING, name)]
            rules += [(_RULE_OF_CHECK.get(check.name, check.name), name) for check in column.checks]
        return list(dict.fromkeys([*rules, (DUPLICATE_KEY, self.key)]))

    def checks(self) -> dict[str, Callable[[Any], bool]]:
        """Return what tells, for each column, whether pandera accepts one value: an int, float or str of its type.

        Made of the schema's own checks. None is a missing value; floats are to be finite. A check that can't be put in
        plain words is pandera's own, asked once for each distinct value.
        """
        return {name: self._check_of(name) for name in self.types}

    def example(self) -> dict[str, Any]:
        """Return a row that the contract accepts: of each column the first value allowed, else the least, else none."""
        described = self.describe()["properties"]
        return {
            name: described[name]["enum"][0]
            if "enum" in described[name]
            else None
            if column.nullable
            else described[name].get("minimum", "" if self.types[name] == STRING else 1)
            for name, column in self._schema.columns.items()
        }

    def _check_of(self, name: str) -> Callable[[Any], bool]:
        column = self._schema.columns[name]
        plain = [_plain(check) for check in column.checks]
        if None in plain:
            plain = [lambda value: not self._verdicts_on(name, [value])[0]]

        def accepts(value: Any) -> bool:
            if value is None:
                return bool(column.nullable)
            return all(check(value) for check in plain if check is not None)

        return accepts

    def problems(self, rows: Rows) -> list[Problem]:
        """Return all that is wrong with the rows: what reading found, and what the schema's checks find.

        Each rule and column stands there once, in the order of `rules`. ``rows`` has at least the contract's columns,
        of `types`. Whether a key came before is not looked at here.
        """
        found = list(rows.problems)
        for name, column in zip(self.types, rows.table.select(list(self.types)).columns, strict=True):
            if column.null_count and not self._schema.columns[name].nullable:
                found.append(Problem(MISSING, name, np.flatnonzero(column.is_null().to_numpy())))
            if column.null_count == len(column):
                continue
            if pa.types.is_dictionary(column.type):
                broken = self._broken_by_distinct(name, *_distinct_strings(column))
            else:
                broken = self._broken_numbers(name, column)
            found += [Problem(rule, name, np.flatnonzero(mask)) for rule, mask in broken]
        return self._in_order(_without_what_was_never_there(found, rows.problems))

    def _in_order(self, problems: list[Problem]) -> list[Problem]:
        """Return one problem for each rule and column, in the order of `rules`: other rows don't change it."""
        rows: dict[tuple[str, str | None], NDArray[np.int64]] = {}
        for problem in problems:
            case = problem.rule, problem.column
            rows[case] = np.union1d(rows[case], problem.rows) if case in rows else problem.rows
        order = {case: place for place, case in enumerate(self.rules())} if len(rows) > 1 else {}
        return [Problem(*case, rows[case]) for case in sorted(rows, key=lambda case: order.get(case, len(order)))]

    def _broken_numbers(self, name: str, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
        """Yield each rule that numbers break, and the mask of their rows."""
        if name not in self._checked and pa.types.is_integer(column.type):
            return
        bounds = [stored_bounds(chunk) for chunk in column.chunks if len(chunk)]
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        if np.isfinite([low, high]).all() and (name not in self._checked or self._are_sound(name, low, high)):
            return
        low, high = (bound.as_py() for bound in pc.min_max(column).values())
        infinite = np.zeros(len(column), dtype=np.bool_)
        if np.isinf([low, high]).any():
            infinite = pc.fill_null(pc.is_inf(column), False).to_numpy()
            yield NOT_FINITE, infinite
        if name not in self._checked or self._are_sound(name, low, high):
            return
        if pa.types.is_integer(column.type) and high - low < _MAX_SPAN:
            broken = list(self._broken_by_distinct(name, *_distinct_integers(column, low, high)))
        else:
            with _pandera_on():
                broken = list(_broken(self._columns[name], column))
        for rule, mask in broken:
            yield rule, mask & ~infinite if rule == OUT_OF_RANGE else mask

    def _are_sound(self, name: str, low: float, high: float) -> bool:
        """Tell whether pandera accepts two values, and so all between them, where the column's checks are intervals."""
        if name not in self._convex:
            return False
        known_low, known_high = self._sound.get(name, (low, high))
        if name not in self._sound or low < known_low or high > known_high:
            ends = pa.chunked_array([pa.array([low, high], self.types[name])])
            with _pandera_on():
                if any(True for _ in _broken(self._columns[name], ends)):
                    return False
            self._sound[name] = min(low, known_low), max(high, known_high)
        return True

    def _broken_by_distinct(self, name: str, values: list[Any], codes: _Codes) -> Iterator[tuple[str, Mask]]:
        """Yield each rule that a column's values break, and the mask of their rows, from its distinct values."""
        verdicts = self._verdicts_on(name, values)
        # A text that spells a missing value is null wherever it stood, and remains only in the dictionary.
        found = [
            verdict for value, verdict in zip(values, verdicts, strict=True) if verdict and value not in MISSING_TEXTS
        ]
        for rule in sorted(frozenset[str]().union(*found)):
            broken = np.array([rule in verdict for verdict in verdicts])
            places, present = codes()
            yield rule, broken[places] & present

    def _verdicts_on(self, name: str, values: list[Any]) -> list[frozenset[str]]:
        """Return the rules that each of some distinct values breaks."""
        known = self._verdicts[name]
        if unknown := [value for value in values if value not in known]:
            column = pa.chunked_array([pa.array(unknown, _value_type(self.types[name]))])
            broken: dict[int, set[str]] = {}
            with _pandera_on():
                for rule, mask in _broken(self._columns[name], column):
                    for position in np.flatnonzero(mask).tolist():
                        broken.setdefault(position, set()).add(rule)
            known = known | {value: frozenset(broken.get(place, ())) for place, value in enumerate(unknown)}
            self._verdicts[name] = known if len(known) <= _MAX_VERDICTS else {}
        return [known[value] for value in values]


# What gives, of each row, the place of its value among the distinct ones, and whether it has one; asked only for rows
# that break a rule.
_Codes = Callable[[], tuple[NDArray[np.int64], Mask]]


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


def _broken(schema: pap.DataFrameSchema, column: pa.ChunkedArray) -> Iterator[tuple[str, Mask]]:
    """Yield each rule that pandera finds broken in the schema's one column, and the mask of its rows."""
    (name,) = schema.columns
    masks: dict[str, Mask] = {}
    try:
        schema.validate(pa.table({name: column}), lazy=True)
    except pap.errors.SchemaErrors as errors:
        for check in {id(error.check): error.check for error in errors.schema_errors}.values():
            rule, mask = _RULE_OF_CHECK.get(check.name, check.name), _failing(check, column)
            masks[rule] = masks[rule] | mask if rule in masks else mask
    yield from masks.items()


def _plain(check: pap.Check) -> Callable[[Any], bool] | None:
    """Return a check of a schema as a function of one value; None where Python might judge otherwise than Arrow."""
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
        case "str_matches" if _SAME_IN_ALL.fullmatch(given["pattern"]):
            pattern = re.compile(given["pattern"])
            return lambda value: pattern.match(value) is not None
        case _:
            return None


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


def _without_what_was_never_there(found: list[Problem], from_reading: list[Problem]) -> list[Problem]:
    """Drop ``missing`` where a field is null only because reading could make nothing of it, and empty problems."""
    kept = []
    for problem in found:
        rows = problem.rows
        if problem.rule == MISSING:
            for other in from_reading:
                if other.column in (None, problem.column):
                    rows = np.setdiff1d(rows, other.rows, assume_unique=True)
        if len(rows):
            kept.append(Problem(problem.rule, problem.column, rows))
    return kept


@contextmanager
def _pandera_on() -> Iterator[None]:
    """Check data whatever the PANDERA_* variables of the environment say."""
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        yield


def _arrow_type(column: pap.Column) -> pa.DataType:
    types: Mapping[str, pa.DataType] = {"Int64": pa.int64(), "Float64": pa.float64(), "String": STRING}
    return types[str(column.dtype)]


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
