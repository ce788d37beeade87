"""The contract that each row must satisfy: a pandera schema, applied to blocks of rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.checking.column_checks import ColumnChecks, rule_of
from titanic_batch.checking.json_schema import BOUNDS, json_schema_of, plain
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import STRING, is_numeric
from titanic_batch.reading.moments import TIMESTAMP
from titanic_batch.reading.rules import (
    DUPLICATE_KEY,
    ENCODING,
    MISSING,
    NOT_FINITE,
    OUT_OF_RANGE,
    TYPE,
    UNCLOSED_QUOTE,
    WRONG_FIELD_COUNT,
    Problem,
)

_TYPES: Mapping[str, pa.DataType] = {
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "String": STRING,
    "Boolean": pa.bool_(),
    "Date": pa.date32(),
    "Datetime(time_unit='us', time_zone=None)": TIMESTAMP,
}
_DEFAULTS = {pa.bool_(): True, pa.date32(): date(2000, 1, 1), TIMESTAMP: datetime(2000, 1, 1)}


class ContractError(ValueError):
    """A schema can't be the contract of rows; the message names all that is wrong with it."""


class Contract:
    """The contract that each row must satisfy: a pandera schema with a key column.

    Parameters
    ----------
    schema
        A schema with columns of type int64, float64, string, bool, date32 and timestamp in microseconds without a
        zone, and checks that look at one value at a time. The ``unique`` column, of integers or text, is the key.
    version
        Version of the schema, recorded in models and outputs.
    example
        Values that `example` can't find by itself, such as one that matches a pattern.

    Attributes
    ----------
    key : str
        Name of the key column.
    types : dict of str to pyarrow.DataType
        The Arrow type that each column must be read as.

    Raises
    ------
    ContractError
        The schema has no key, or more than one; or a column is of another type.
    """

    def __init__(
        self, schema: pap.DataFrameSchema, version: int, example: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        if faults := _faults(schema, example):
            raise ContractError("; ".join(faults))
        self.version = version
        self._schema = schema
        self._example = example
        self.key: str = next(name for name, column in schema.columns.items() if column.unique)
        self.types: dict[str, pa.DataType] = {name: _TYPES[str(each.dtype)] for name, each in schema.columns.items()}
        self._checks = {name: ColumnChecks(column, self.types[name]) for name, column in schema.columns.items()}

    @property
    def without_key(self) -> list[str]:
        """The columns that a prediction may depend on: all but the key."""
        return [name for name in self.types if name != self.key]

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the JSON Schema from `describe`, which contains all requirements of the contract."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return the contract as a JSON Schema (2020-12) for a row."""
        columns = self._schema.columns
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self._schema.name,
            "type": "object",
            "properties": {name: json_schema_of(column, self.types[name]) for name, column in columns.items()},
            "required": list(columns),
        }

    def allowed(self, column: str) -> list[Any] | None:
        """Return the values that a column lists, in their order; None if it lists none."""
        listed = [check.statistics["allowed_values"] for check in self._schema.columns[column].checks
                  if check.name == "isin"]  # fmt: skip
        return list(listed[0]) if listed else None

    @property
    def required(self) -> list[str]:
        """The columns in which no row may lack a value."""
        return [name for name, column in self._schema.columns.items() if not column.nullable]

    def rules(self) -> list[tuple[str, str | None]]:
        """Return all rules that a row can break, each with its column, or None for a rule about the whole row."""
        rules: list[tuple[str, str | None]] = [(WRONG_FIELD_COUNT, None), (UNCLOSED_QUOTE, None)]
        for name, column in self._schema.columns.items():
            rules += [(TYPE, name)] if self.types[name] != STRING else []
            rules += [(NOT_FINITE, name)] if is_numeric(self.types[name]) else []
            rules += [(ENCODING, name)]
            rules += [(OUT_OF_RANGE, name)] if pa.types.is_integer(self.types[name]) else []
            rules += [] if column.nullable else [(MISSING, name)]
            rules += [(rule_of(check), name) for check in column.checks]
        return list(dict.fromkeys([*rules, (DUPLICATE_KEY, self.key)]))

    def checks(self) -> dict[str, Callable[[Any], bool]]:
        """Return, for each column, a predicate that is true if pandera accepts a value.

        The value is one of Python's of the column's type, or None if it is missing. Floats must be finite.
        """
        return {name: checks.accepts() for name, checks in self._checks.items()}

    def example(self) -> dict[str, Any]:
        """Return a row that the contract accepts, as JSON data: dates and timestamps are text.

        A field is the given example, or the first allowed value if the column lists them, None if the column is
        nullable, and otherwise the minimum, or a default (1, a letter, true, or a day) if there is none.
        """
        example: dict[str, Any] = {}
        for name, described in self.describe()["properties"].items():
            arrow_type = self.types[name]
            if name in self._example:
                example[name] = plain(self._example[name])
            elif "enum" in described:
                example[name] = described["enum"][0]
            elif self._schema.columns[name].nullable:
                example[name] = None
            elif arrow_type == STRING:
                example[name] = "a"
            elif not is_numeric(arrow_type):
                example[name] = self._first(name)
            else:
                minimum = described.get("minimum", 1)
                example[name] = 1 if minimum == BOUNDS[arrow_type][0] else minimum
        return example

    def example_table(self) -> pa.Table:
        """Return the `example` as a table with the contract's columns and types."""
        example = self.example()
        return pa.table({name: pa.array([example[name]]).cast(kind) for name, kind in self.types.items()})

    def _first(self, name: str) -> Any:
        """Return the least boolean, date or timestamp that a column's checks state, or a default, as JSON data."""
        given = [check.statistics.get("min_value") for check in self._schema.columns[name].checks]
        values = [value for value in given if value is not None]
        return plain(max(values, default=_DEFAULTS[self.types[name]]))

    def problems(self, rows: Rows) -> list[Problem]:
        """Return all problems of the rows: those found while reading them, and those found by the schema's checks.

        There is one problem for each broken rule and column, in the order of `rules`. ``rows`` must have at least the
        contract's columns, with the types in `types`. Duplicate keys are not detected here.
        """
        found = list(rows.problems)
        for name, column in zip(self.types, rows.table.select(list(self.types)).columns, strict=True):
            if column.null_count and not self._schema.columns[name].nullable:
                found.append(Problem(MISSING, name, np.flatnonzero(column.is_null().to_numpy())))
            if column.null_count == len(column):
                continue
            broken = self._checks[name].broken(column)
            found += [Problem(rule, name, np.flatnonzero(mask)) for rule, mask in broken]
        return self._in_order(_without_false_missing(found, rows.problems))

    def _in_order(self, problems: list[Problem]) -> list[Problem]:
        """Return one problem per rule and column, in the order of `rules`, independently of other rows."""
        rows: dict[tuple[str, str | None], NDArray[np.int64]] = {}
        for problem in problems:
            rule = problem.rule, problem.column
            rows[rule] = np.union1d(rows[rule], problem.rows) if rule in rows else problem.rows
        order = {rule: position for position, rule in enumerate(self.rules())} if len(rows) > 1 else {}
        return [Problem(*rule, rows[rule]) for rule in sorted(rows, key=lambda rule: order.get(rule, len(order)))]


def _without_false_missing(found: list[Problem], from_reading: list[Problem]) -> list[Problem]:
    """Drop empty problems, and ``missing`` for fields that are null only because they could not be converted."""
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


def _faults(schema: pap.DataFrameSchema, example: Mapping[str, Any]) -> list[str]:
    """Return what keeps a schema from being a contract."""
    columns = schema.columns
    faults = [
        f"the column {name} is of type {column.dtype}: it must be int64, float64, string, bool, date32 or "
        "timestamp('us') of pyarrow"
        for name, column in columns.items()
        if str(column.dtype) not in _TYPES
    ]
    keys = [name for name, column in columns.items() if column.unique]
    if len(keys) != 1:
        faults.append(f"one column must be unique, since it is the key, and {', '.join(keys) or 'none'} is")
    faults += [f"the key {name} must not be nullable" for name in keys if columns[name].nullable]
    faults += [
        f"the key {name} must be int64 or string" for name in keys
        if str(columns[name].dtype) in _TYPES.keys() - {"Int64", "String"}
    ]  # fmt: skip
    return faults + [f"the example has a column {name}, and the schema none" for name in example if name not in columns]
