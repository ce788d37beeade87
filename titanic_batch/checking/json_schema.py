"""Conversion of a contract to JSON Schema."""

from __future__ import annotations

import sys
from datetime import date
from typing import Any

import pandera.pyarrow as pap
import pyarrow as pa

from titanic_batch.checking.plain_checks import is_portable
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, is_numeric
from titanic_batch.reading.moments import TIMESTAMP_PATTERN, is_moment
from titanic_batch.reading.numbers import INT64_MAX, INT64_MIN

BOUNDS = {pa.int64(): (INT64_MIN, INT64_MAX), pa.float64(): (-sys.float_info.max, sys.float_info.max)}
"""The least and the largest finite number of each type."""


def json_schema_of(column: pap.Column, arrow_type: pa.DataType) -> dict[str, Any]:
    """Return the JSON Schema of a column that is read as ``arrow_type``.

    It accepts the JSON values that `json.loads` returns and the column accepts, spellings of a missing value included.
    """
    name = "string" if arrow_type == STRING else "integer" if pa.types.is_integer(arrow_type) else "number"
    if not (arrow_type == STRING or is_numeric(arrow_type)):
        name = "boolean" if pa.types.is_boolean(arrow_type) else "string"
    described: dict[str, Any] = {"type": [name, "null"] if column.nullable else name}
    if column.description:
        described["description"] = column.description
    if is_moment(arrow_type):
        checks = _merged([_as_text(check, nullable=column.nullable) for check in column.checks])
        if pa.types.is_date(arrow_type):
            return described | {"format": "date"} | checks
        # Not the format date-time, which requires the offset that is refused here.
        return described | checks | _with_missing_texts({"pattern": TIMESTAMP_PATTERN}, nullable=column.nullable)
    constraints = _merged([_constraint(check, nullable=column.nullable) for check in column.checks])
    if pa.types.is_boolean(arrow_type):
        return described | constraints
    if arrow_type == STRING:
        return described | _with_missing_texts(constraints, nullable=column.nullable)
    if "enum" not in constraints:
        low, high = BOUNDS[arrow_type]
        constraints |= {} if "exclusiveMinimum" in constraints else {"minimum": constraints.get("minimum", low)}
        constraints |= {} if "exclusiveMaximum" in constraints else {"maximum": constraints.get("maximum", high)}
    return described | constraints


def plain(value: Any) -> Any:
    """Return a value as JSON data: a date or a timestamp as text."""
    return value.isoformat() if isinstance(value, date) else value


def _as_text(check: pap.Check, *, nullable: bool) -> dict[str, Any]:
    """Return a check on dates or timestamps: JSON Schema knows no bounds of those, so they are under pandera's name."""
    if check.name == "isin":
        return {"enum": [*map(plain, check.statistics["allowed_values"]), *([None] if nullable else [])]}
    return {check.name: {key: str(value) for key, value in check.statistics.items()}}


def _merged(constraints: list[dict[str, Any]]) -> dict[str, Any]:
    """Return constraints that all hold as one."""
    merged: dict[str, Any] = {}
    for constraint in constraints:
        if constraint.keys() & merged.keys():
            merged.setdefault("allOf", []).append(constraint)
        else:
            merged |= constraint
    return merged


def _with_missing_texts(constraints: dict[str, Any], *, nullable: bool) -> dict[str, Any]:
    """Return the constraints of text, which holds no value where it spells a missing one."""
    missing = {"enum": list(MISSING_TEXTS)}
    if nullable:
        return {"anyOf": [constraints, missing]} if constraints else {}
    if constraints.keys() == {"enum"} and not set(constraints["enum"]) & set(MISSING_TEXTS):
        return constraints
    return _merged([constraints, {"not": missing}])


def _constraint(check: pap.Check, *, nullable: bool) -> dict[str, Any]:
    """Return a check as JSON Schema keywords.

    A check without an equivalent keyword is included under pandera's name, so that it is part of the contract's digest.
    """
    given = check.statistics
    match check.name:
        case "isin":
            return {"enum": [*given["allowed_values"], *([None] if nullable else [])]}
        case "in_range":
            return {
                "minimum" if given["include_min"] else "exclusiveMinimum": given["min_value"],
                "maximum" if given["include_max"] else "exclusiveMaximum": given["max_value"],
            }
        case "greater_than":
            return {"exclusiveMinimum": given["min_value"]}
        case "greater_than_or_equal_to":
            return {"minimum": given["min_value"]}
        case "less_than":
            return {"exclusiveMaximum": given["max_value"]}
        case "less_than_or_equal_to":
            return {"maximum": given["max_value"]}
        case "str_matches":  # pandera matches at the beginning, JSON Schema anywhere
            pattern = given["pattern"] if given["pattern"].startswith("^") else f"^{given['pattern']}"
            # Only in Python may a line end follow ``$``, and validators written in it are the most used.
            ends_early = pattern.endswith("$") and is_portable(pattern)
            return {"pattern": pattern} | ({"not": {"type": "string", "pattern": r"\n$"}} if ends_early else {})
        case _:
            return {check.name: {key: str(value) for key, value in given.items()}}
