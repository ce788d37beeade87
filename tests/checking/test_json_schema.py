"""A contract as JSON Schema accepts what the contract accepts."""

from __future__ import annotations

import re
from typing import Any

import pandera.pyarrow as pap
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checking.contracts import check, contract_of, problems_in, problems_of
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import STRING


def validates(described: dict[str, Any], row: dict[str, Any]) -> bool:
    """Tell whether a row is valid by the words of JSON Schema that a contract uses."""
    words: dict[str, Any] = {
        "enum": lambda value, given: value in given,
        "minimum": lambda value, given: not is_number(value) or value >= given,
        "maximum": lambda value, given: not is_number(value) or value <= given,
        "exclusiveMinimum": lambda value, given: not is_number(value) or value > given,
        "exclusiveMaximum": lambda value, given: not is_number(value) or value < given,
        "pattern": lambda value, given: not isinstance(value, str) or re.search(given, value) is not None,
        "allOf": lambda value, given: all(holds(value, part) for part in given),
        "type": lambda value, given: any(
            is_type(value, name) for name in ([given] if isinstance(given, str) else given)
        ),
        "description": lambda value, given: True,
    }

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float)

    def is_type(value: Any, name: str) -> bool:
        kinds = {"integer": int, "number": int | float, "string": str, "null": type(None)}
        return isinstance(value, kinds[name])

    def holds(value: Any, column: dict[str, Any]) -> bool:
        return all(words[word](value, given) for word, given in column.items())

    assert described["type"] == "object"
    return all(name in row for name in described["required"]) and all(
        holds(value, described["properties"][name]) for name, value in row.items()
    )


numbers = st.none() | st.sampled_from([-1, 0, 1, 2, 3, 4, 20, 21]) | st.integers(-(2**63), 2**63 - 1)
fractions = st.none() | st.sampled_from([-0.0, -0.5, 0.0, 120.0, 120.5, 1000.0, 1001.0]) | st.floats(-1e9, 1e9)
words = st.sampled_from([None, "male", "female", "Male", "C85", "T", "H", "xA", "A\nB"])


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(["PassengerId", "Pclass", "SibSp", "Parch"], numbers)
        | dict.fromkeys(["Age", "Fare"], fractions)
        | dict.fromkeys(["Sex", "Cabin"], words)
    )
)
def test_the_json_schema_accepts_what_the_contract_accepts(row: dict[str, Any]) -> None:
    columns = {
        name: pa.array([row[name]], kind.value_type if kind == STRING else kind)
        for name, kind in CONTRACT.types.items()
    }
    table = pa.table({name: column.cast(CONTRACT.types[name]) for name, column in columns.items()})
    assert validates(CONTRACT.describe(), row) == (problems_in(Rows(table)) == [])


@pytest.mark.parametrize(
    "checks",
    [
        [check.in_range(0, 5, include_min=False, include_max=False)],
        [check.gt(0), check.lt(5)],
        [check.ge(0), check.le(5), check.ge(2)],
        [check.isin([1, 2, 3]), check.isin([2, 3, 4])],
        [check.in_range(0, 4), check.in_range(2, 9)],
    ],
    ids=str,
)
@pytest.mark.parametrize("nullable", [True, False])
def test_the_json_schema_of_other_checks_accepts_what_they_accept(checks: list[pap.Check], nullable: bool) -> None:
    contract = contract_of(*checks, nullable=nullable)
    for value in [*range(-1, 11), None]:
        assert validates(contract.describe(), {"id": 1, "value": value}) == (problems_of(contract, [value]) == [])


def test_a_pattern_in_the_json_schema_matches_from_the_beginning() -> None:
    for pattern in ("B", "^B", "A|B", "^A|B", "B$"):
        contract = contract_of(check.str_matches(pattern), kind=pa.string())
        for text in ("A", "B", "AB", "xA", "xB", "BA"):
            row = {"id": 1, "value": text}
            assert validates(contract.describe(), row) == (problems_of(contract, [text]) == []), (pattern, text)
