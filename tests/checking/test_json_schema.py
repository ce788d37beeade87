"""A contract as JSON Schema accepts what the contract accepts."""

from __future__ import annotations

import math
from typing import Any

import jsonschema
import pandera.pyarrow as pap
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checking.contracts import check, contract_of, problems_in, problems_of
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, from_text


def validates(described: dict[str, Any], row: dict[str, Any]) -> bool:
    """Tell whether a row is valid by a JSON Schema."""
    return bool(jsonschema.Draft202012Validator(described).is_valid(row))


numbers = st.none() | st.sampled_from([-1, 0, 1, 2, 3, 4, 20, 21]) | st.integers(-(2**63), 2**63 - 1)
fractions = st.none() | st.sampled_from([-0.0, -0.5, 0.0, 120.0, 120.5, 1000.0, 1001.0]) | st.floats(-1e9, 1e9)
words = st.sampled_from([None, "male", "female", "Male", "C85", "T", "H", "xA", "A\nB", "C85\n", "F G73", "False"])


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


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize(
    "checks",
    [
        [],
        [check.str_matches("^[A-C]x*$")],
        [check.str_matches("[A-C]|NA"), check.str_matches("^.*")],
        [check.isin(["male", "NA"])],
        [check.isin(["male", "female"]), check.str_matches("^f")],
    ],
    ids=str,
)
def test_text_that_spells_a_missing_value_is_one_in_the_json_schema_too(
    checks: list[pap.Check], nullable: bool
) -> None:
    contract = contract_of(*checks, kind=pa.string(), nullable=nullable)
    described = contract.describe()
    jsonschema.Draft202012Validator.check_schema(described)
    for text in (
        None,
        *MISSING_TEXTS,
        "A",
        "Ax",
        "Axx\n",
        "Ax\n\n",
        "B",
        "D",
        "male",
        "female",
        "NULL",
        " ",
        "NAN",
        "\n",
    ):
        read, _ = from_text(pa.array([text], pa.string()), STRING, escaped=False)
        rows = Rows(pa.table({"id": [1], "value": read}))
        assert validates(described, {"id": 1, "value": text}) == (problems_in(rows, contract) == []), text


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        (pa.int64(), [-(2**63), 2**63 - 1, 2.0, -0.0], [-(2**63) - 1, 2**63, 1e19, 1.5, True, "1", None]),
        (pa.float64(), [1.7976931348623157e308, -1.7976931348623157e308, 5], [math.inf, -math.inf, True, "1", None]),
    ],
    ids=str,
)
def test_numbers_have_bounds_in_the_json_schema_even_without_checks(
    kind: pa.DataType, inside: list[Any], outside: list[Any]
) -> None:
    described = contract_of(kind=kind).describe()
    assert [validates(described, {"id": 1, "value": value}) for value in inside] == [True] * len(inside)
    assert [validates(described, {"id": 1, "value": value}) for value in outside] == [False] * len(outside)
    described = contract_of(check.gt(0), kind=kind).describe()["properties"]["value"]
    assert described == {"type": described["type"], "exclusiveMinimum": 0, "maximum": max(inside)}
