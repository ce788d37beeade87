"""Conversion of a contract to JSON Schema."""

from __future__ import annotations

from typing import Any

import pandera.pyarrow as pap
import pyarrow as pa

from titanic_batch.reading.columns import STRING


def json_schema_of(column: pap.Column, arrow_type: pa.DataType) -> dict[str, Any]:
    """Return the JSON Schema of a column that is read as ``arrow_type``."""
    name = "string" if arrow_type == STRING else "integer" if pa.types.is_integer(arrow_type) else "number"
    described: dict[str, Any] = {"type": [name, "null"] if column.nullable else name}
    if column.description:
        described["description"] = column.description
    for check in column.checks:
        constraint = _constraint(check, nullable=column.nullable)
        if constraint.keys() & described.keys():
            described.setdefault("allOf", []).append(constraint)
        else:
            described |= constraint
    return described


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
            return {"pattern": given["pattern"] if given["pattern"].startswith("^") else f"^{given['pattern']}"}
        case _:
            return {check.name: {key: str(value) for key, value in given.items()}}
