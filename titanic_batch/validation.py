"""A pandera schema applied to blocks of rows: which rows break which rule.

pandera says whether a block is valid; its report names no rows, so where it objects, the rows are found in a second
pass, check by check. Each row is judged by its own fields: what lies around it changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandera.config import ValidationDepth, config_context

from titanic_batch.columns import NOT_FINITE, OUT_OF_RANGE, STRING
from titanic_batch.rows import Problem, Rows

MISSING = "missing"
NOT_ALLOWED = "not_allowed"
DUPLICATE_KEY = "duplicate_key"

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
_MAX_VERDICTS = 100_000
_ROW = "row"


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
        self._numbers = pap.DataFrameSchema(
            {
                name: pap.Column(self.types[name], column.checks, nullable=column.nullable)
                for name, column in schema.columns.items()
                if self.types[name] != STRING
            }
        )
        self._strings = {
            name: pap.DataFrameSchema({name: pap.Column(pa.string(), column.checks, nullable=True)})
            for name, column in schema.columns.items()
            if self.types[name] == STRING
        }
        # What pandera said of each string, for as long as there are not too many of them.
        self._verdicts: dict[str, dict[str, frozenset[str]]] = {name: {} for name in self._strings}

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
            "properties": {name: _json_schema(column, self.types[name]) for name, column in columns.items()},
            "required": [name for name, column in columns.items() if not column.nullable],
        }

    def problems(self, rows: Rows) -> list[Problem]:
        """Return all that is wrong with the rows: what reading found, and what the schema's checks find.

        ``rows`` has at least the contract's columns, of `types`. Whether a key came before is not looked at here.
        """
        found = list(rows.problems)
        with _pandera_on():
            found += self._number_problems(rows.table)
            for name in self._strings:
                found += self._string_problems(name, rows.table[name])
        return _without_what_was_never_there(found, rows.problems)

    def _number_problems(self, table: pa.Table) -> Iterator[Problem]:
        table = table.select(list(self._numbers.columns))
        infinite: dict[str, NDArray[np.bool_]] = {}
        for name in table.column_names:
            if pa.types.is_floating(table[name].type) and not pc.all(pc.is_finite(table[name])).as_py():
                mask = pc.fill_null(pc.is_inf(table[name]), False).to_numpy()
                infinite[name] = mask
                yield Problem(NOT_FINITE, name, np.flatnonzero(mask))
        for name, rule, mask in _broken(self._numbers, table):
            if rule == OUT_OF_RANGE and name in infinite:
                mask = mask & ~infinite[name]
            yield Problem(rule, name, np.flatnonzero(mask))

    def _string_problems(self, name: str, column: pa.ChunkedArray) -> Iterator[Problem]:
        array = column.combine_chunks()
        if array.null_count and not self._schema.columns[name].nullable:
            yield Problem(MISSING, name, np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)))
        verdicts = self._verdicts_on(name, array.dictionary.to_pylist())
        rules = frozenset[str]().union(*verdicts)
        for rule in sorted(rules):
            broken = np.array([rule in verdict for verdict in verdicts])
            mask = broken[pc.fill_null(array.indices, 0).to_numpy()]
            mask &= array.is_valid().to_numpy(zero_copy_only=False)
            yield Problem(rule, name, np.flatnonzero(mask))

    def _verdicts_on(self, name: str, values: list[str]) -> list[frozenset[str]]:
        """Return the rules that each of some distinct strings breaks."""
        known = self._verdicts[name]
        if unknown := [value for value in values if value not in known]:
            broken: dict[int, set[str]] = {}
            for _, rule, mask in _broken(self._strings[name], pa.table({name: unknown})):
                for position in np.flatnonzero(mask):
                    broken.setdefault(int(position), set()).add(rule)
            known = known | {value: frozenset(broken.get(place, ())) for place, value in enumerate(unknown)}
            self._verdicts[name] = known if len(known) <= _MAX_VERDICTS else {}
        return [known[value] for value in values]


def _broken(schema: pap.DataFrameSchema, table: pa.Table) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield column, rule and mask of rows for each check that pandera finds broken."""
    try:
        schema.validate(table, lazy=True)
    except pap.errors.SchemaErrors as errors:
        failures = {(error.schema.name, str(error.check)): error.check for error in errors.schema_errors}
    else:
        return
    for (name, _), check in failures.items():
        if isinstance(check, str):  # pandera's own: not_nullable
            yield name, MISSING, table[name].is_null().to_numpy()
        else:
            rule = _RULE_OF_CHECK.get(check.name, check.name)
            yield name, rule, _rows_that_fail(check, name, table[name])


def _rows_that_fail(check: pap.Check, name: str, column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return the mask of the values that break one check; a null breaks none."""
    dropping = pap.DataFrameSchema({name: pap.Column(column.type, check, nullable=True)}, drop_invalid_rows=True)
    numbered = pa.table({name: column, f"{_ROW} of {name}": np.arange(len(column))})
    kept = dropping.validate(numbered, lazy=True)[1].to_numpy()
    mask = np.ones(len(column), dtype=np.bool_)
    mask[kept] = False
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


def _json_schema(column: pap.Column, kind: pa.DataType) -> dict[str, Any]:
    name = "string" if kind == STRING else "integer" if pa.types.is_integer(kind) else "number"
    described: dict[str, Any] = {"type": [name, "null"] if column.nullable else name}
    if column.description:
        described["description"] = column.description
    for check in column.checks:
        given = check.statistics
        match check.name:
            case "isin":
                described["enum"] = [*given["allowed_values"], *([None] if column.nullable else [])]
            case "in_range":
                described |= {"minimum": given["min_value"], "maximum": given["max_value"]}
            case "str_matches":
                described["pattern"] = given["pattern"]
            case _:
                described[check.name] = {key: str(value) for key, value in given.items()}
    return described
