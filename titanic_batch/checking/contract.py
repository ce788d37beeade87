"""The contract of a row: a pandera schema, applied to blocks of rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.checking.column_checks import ColumnChecks, rule_of
from titanic_batch.checking.json_schema import json_schema_of
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import STRING
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
        self._checks = {name: ColumnChecks(column, self.types[name]) for name, column in schema.columns.items()}

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
            rules += [(rule_of(check), name) for check in column.checks]
        return list(dict.fromkeys([*rules, (DUPLICATE_KEY, self.key)]))

    def checks(self) -> dict[str, Callable[[Any], bool]]:
        """Return what tells, for each column, whether pandera accepts one value: an int, float or str of its type.

        None is a missing value; floats are to be finite.
        """
        return {name: checks.accepts() for name, checks in self._checks.items()}

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
            broken = self._checks[name].broken(column)
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


def _arrow_type(column: pap.Column) -> pa.DataType:
    types: Mapping[str, pa.DataType] = {"Int64": pa.int64(), "Float64": pa.float64(), "String": STRING}
    return types[str(column.dtype)]
