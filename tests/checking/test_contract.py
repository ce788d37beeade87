"""The contract: each rule at its edges, at its rows, whatever lies around them and whatever the environment says."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passengers import COLUMNS, csv_block, passenger, passengers, typed
from titanic_batch.checking.contract import Contract
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.reading.blocks import Rows
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.csv_blocks import CsvBlock
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
    Problem,
)

Found = list[tuple[str, str | None, list[int]]]


def found(rows: Rows | CsvBlock, contract: Contract = CONTRACT) -> Found:
    if isinstance(rows, CsvBlock):
        rows = rows.read(contract.types)
    problems = contract.problems(rows)
    assert all(problem.rows.dtype == np.int64 and (np.diff(problem.rows) > 0).all() for problem in problems)
    assert {(problem.rule, problem.column) for problem in problems} <= set(contract.rules())
    return [(problem.rule, problem.column, problem.rows.tolist()) for problem in problems]


# Each rule at its edges

ACCEPTED = {
    "PassengerId": ["0", "-1", str(-(2**63)), str(2**63 - 1), "7.0"],
    "Pclass": ["1", "2", "3", "3.0"],
    "Sex": ["male", "female"],
    "Age": ["0", "-0.0", "5e-324", "0.75", "120", "120.0", "119.99999999999999", "", "NA"],
    "SibSp": ["0", "20", "20.0"],
    "Parch": ["0", "20", "20.0"],
    "Fare": ["0", "1000", "999.9999999999999", "512.3292", "", "null"],
    "Cabin": ["A", "G", "T", "C85", "F G73", "B57 B59 B63 B66", "A\n", "", "nan"],
}
REJECTED = {
    "PassengerId": {MISSING: ["", "NA"], TYPE: ["1.5", "one"], OUT_OF_RANGE: [str(2**63)], NOT_FINITE: ["inf"]},
    "Pclass": {NOT_ALLOWED: ["0", "4", "-1", str(2**62)], MISSING: [""], TYPE: ["2.5", "2nd"]},
    "Sex": {NOT_ALLOWED: ["Male", " male", "male ", "m", "männlich", "malefemale", "\0"], MISSING: ["", "NaN"]},
    "Age": {
        OUT_OF_RANGE: ["-5e-324", "-1", "120.00000000000001", "121", "1e308"],
        NOT_FINITE: ["inf", "-inf", "1e400"],
        TYPE: ["old", "1,5"],
    },
    "SibSp": {OUT_OF_RANGE: ["-1", "21", str(-(2**63)), "1e30"], MISSING: [""], TYPE: ["0.5"], NOT_FINITE: ["-inf"]},
    "Parch": {OUT_OF_RANGE: ["-1", "21", str(2**63 - 1)], MISSING: ["nan"], TYPE: ["two"]},
    "Fare": {OUT_OF_RANGE: ["-5e-324", "1000.0000000000001", "-1"], NOT_FINITE: ["inf"], TYPE: ["£7"]},
    "Cabin": {NOT_ALLOWED: ["H1", "a1", " C85", "85", "N", "\nA", "S", "U"]},
}


def test_every_column_of_the_contract_has_its_edges_here() -> None:
    assert tuple(ACCEPTED) == tuple(REJECTED) == tuple(CONTRACT.types) == COLUMNS


@pytest.mark.parametrize(("column", "text"), [(column, text) for column, texts in ACCEPTED.items() for text in texts])
def test_accepted(column: str, text: str) -> None:
    assert found(csv_block([passenger(1, **{column: text})])) == []
    assert found(csv_block([*passengers(3, 10), passenger(1, **{column: text}), *passengers(3, 20)])) == []


@pytest.mark.parametrize(
    ("column", "rule", "text"),
    [(column, rule, text) for column, rules in REJECTED.items() for rule, texts in rules.items() for text in texts],
)
def test_rejected(column: str, rule: str, text: str) -> None:
    bad = passenger(1, **{column: text})
    assert found(csv_block([bad])) == [(rule, column, [0])]
    rows = [*passengers(3, 10), bad, *passengers(3, 20), bad]
    assert found(csv_block(rows)) == [(rule, column, [3, 7])]


def test_foreign_bytes_break_one_rule_only() -> None:
    block = csv_block(passengers(3))
    data = bytes(block.data).replace(b"C85", b"C\xff").replace(b"0.75", b"\xff")
    assert found(CsvBlock(block.names, data)) == [(ENCODING, "Age", [1]), (ENCODING, "Cabin", [0])]


def test_row_that_breaks_many_rules_is_named_by_each() -> None:
    bad = passenger(1, Pclass="4", Sex="", Age="inf", SibSp="21", Fare="x", Cabin="Z")
    assert sorted(found(csv_block([*passengers(2), bad]))) == [
        (MISSING, "Sex", [2]),
        (NOT_ALLOWED, "Cabin", [2]),
        (NOT_ALLOWED, "Pclass", [2]),
        (NOT_FINITE, "Age", [2]),
        (OUT_OF_RANGE, "SibSp", [2]),
        (TYPE, "Fare", [2]),
    ]


def test_rule_that_is_broken_on_reading_and_by_a_check_is_one_problem() -> None:
    rows = [passenger(1, SibSp="21"), passenger(2, SibSp="1e30"), passenger(3, SibSp="-1")]
    assert found(csv_block(rows)) == [(OUT_OF_RANGE, "SibSp", [0, 1, 2])]


def test_field_that_was_never_there_is_not_missing() -> None:
    block = csv_block(passengers(3))
    data = bytes(block.data)
    assert found(CsvBlock(block.names, data + b"4,3,male\n" + data)) == [(WRONG_FIELD_COUNT, None, [3])]
    assert found(CsvBlock(block.names, b'4,3,"male\n', unclosed=True)) == [(UNCLOSED_QUOTE, None, [0])]


def test_keys_that_repeat_are_not_looked_for_here() -> None:
    assert found(csv_block([passenger(1), passenger(1)])) == []
    assert CONTRACT.key == "PassengerId"
    assert (DUPLICATE_KEY, "PassengerId") in CONTRACT.rules()


def test_label_has_its_own_contract() -> None:
    columns = (*COLUMNS, "Survived")
    rows = [passenger(key) | {"Survived": text} for key, text in enumerate(["0", "1", "2", "-1", "", "0.5"])]
    assert sorted(found(csv_block(rows, columns), LABELLED_CONTRACT)) == [
        (MISSING, "Survived", [4]),
        (NOT_ALLOWED, "Survived", [2, 3]),
        (TYPE, "Survived", [5]),
    ]


# Each row by itself

TEXTS = {column: st.sampled_from([*ACCEPTED[column], *chain(*REJECTED[column].values())]) for column in ACCEPTED}


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.fixed_dictionaries(TEXTS), min_size=1, max_size=3))
def test_row_is_judged_the_same_alone_and_beside_any_other(rows: list[dict[str, str]]) -> None:
    alone = {
        (rule, column, row)
        for row, fields in enumerate(rows)
        for rule, column, _ in found(csv_block([fields]))
    }  # fmt: skip
    together = found(csv_block(rows))
    assert {(rule, column, row) for rule, column, places in together for row in places} == alone
    assert len(together) == len({(rule, column) for rule, column, _ in together})


def test_no_rows_have_no_problems() -> None:
    assert found(Rows(typed(passengers(1))[:0])) == []


def test_rows_in_several_chunks_are_numbered_through() -> None:
    good = typed(passengers(3))
    bad = good.set_column(2, "Sex", pa.array(["male", "x", "y"]).dictionary_encode().cast(STRING))
    bad = bad.set_column(3, "Age", pa.array([1.0, 200.0, math.inf]))
    table = pa.concat_tables([good, bad[:0], bad, good, bad]).unify_dictionaries()
    assert found(Rows(table)) == [
        (NOT_ALLOWED, "Sex", [4, 5, 10, 11]),
        (NOT_FINITE, "Age", [5, 11]),
        (OUT_OF_RANGE, "Age", [4, 10]),
    ]


def test_further_columns_and_their_order_do_not_count() -> None:
    table = typed([passenger(1), passenger(2, Sex="x")])
    table = table.select(COLUMNS[::-1]).append_column("Name", pa.array(["a", "b"]))
    assert found(Rows(table)) == [(NOT_ALLOWED, "Sex", [1])]


def test_problems_stand_in_the_order_of_the_rules_and_empty_ones_not_at_all() -> None:
    none = np.array([], dtype=np.int64)
    rows = Rows(typed([passenger(1, Sex="x")]), [Problem(TYPE, "Age", np.array([0])), Problem(TYPE, "Fare", none)])
    assert found(rows) == [(NOT_ALLOWED, "Sex", [0]), (TYPE, "Age", [0])]


def test_rule_that_reading_and_a_check_find_broken_stands_there_once() -> None:
    table = typed([passenger(1, SibSp="-1"), passenger(2), passenger(3, SibSp="21")])
    rows = Rows(table, [Problem(OUT_OF_RANGE, "SibSp", np.array([1]))])
    assert found(rows) == [(OUT_OF_RANGE, "SibSp", [0, 1, 2])]


@pytest.mark.slow
def test_more_distinct_texts_than_are_remembered() -> None:
    cabins = np.char.add("C", np.arange(120_000).astype(str)).astype(object)
    cabins[[7, 119_999]] = "Z1"
    table = typed([passenger(1)]).take(pa.array(np.zeros(len(cabins), dtype=np.int64)))
    table = table.set_column(7, "Cabin", pa.array(cabins).dictionary_encode().cast(STRING))
    for _ in range(2):
        assert found(Rows(table)) == [(NOT_ALLOWED, "Cabin", [7, 119_999])]


# The environment

REPORT = """
import json
from tests.passengers import csv_block, passenger
from titanic_batch.passenger.schema import CONTRACT
rows = csv_block([passenger(1), passenger(2, Sex="x", Age="-1"), passenger(3, Pclass="9", Cabin="Z", SibSp="")])
problems = CONTRACT.problems(rows.read(CONTRACT.types))
print(json.dumps([CONTRACT.digest, [[problem.rule, problem.column, problem.rows.tolist()] for problem in problems]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"PANDERA_VALIDATION_ENABLED": "False", "PYTHONHASHSEED": "1"},
        {"PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY", "PYTHONHASHSEED": "2"},
    ],
    ids=lambda variables: " ".join(f"{name}={value}" for name, value in variables.items()),
)
def test_environment_changes_nothing(variables: dict[str, str], pytestconfig: pytest.Config) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env=os.environ | variables,
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    digest, problems = json.loads(done.stdout)
    assert digest == CONTRACT.digest
    assert sorted(problems, key=str) == [
        [MISSING, "SibSp", [2]],
        [NOT_ALLOWED, "Cabin", [2]],
        [NOT_ALLOWED, "Pclass", [2]],
        [NOT_ALLOWED, "Sex", [1]],
        [OUT_OF_RANGE, "Age", [1]],
    ]


# Other contracts


def contract_of(
    *checks: pap.Check, kind: pa.DataType | None = None, nullable: bool = False, version: int = 1
) -> Contract:
    columns = {
        "id": pap.Column(pa.int64(), unique=True),
        "value": pap.Column(kind or pa.int64(), list(checks), nullable=nullable),
    }
    return Contract(pap.DataFrameSchema(columns, name="Other"), version)


def broken(contract: Contract, values: Sequence[Any]) -> Found:
    kind = contract.types["value"]
    column = pa.array(values, pa.string()).dictionary_encode().cast(kind) if kind == STRING else pa.array(values, kind)
    return found(Rows(pa.table({"id": np.arange(len(values)), "value": column})), contract)


check = pap.Check


@pytest.mark.parametrize(
    ("checks", "good", "bad", "rule"),
    [
        ([check.gt(0)], [1, 2**62], [0, -(2**63)], OUT_OF_RANGE),
        ([check.ge(0)], [0, 1], [-1], OUT_OF_RANGE),
        ([check.lt(0)], [-1], [0, 10**9], OUT_OF_RANGE),
        ([check.le(0)], [0, -(10**9)], [1], OUT_OF_RANGE),
        ([check.in_range(0, 5, include_min=False)], [1, 5], [0, 6], OUT_OF_RANGE),
        ([check.in_range(0, 5, include_max=False)], [0, 4], [5, -1], OUT_OF_RANGE),
        ([check.ge(0), check.ge(3)], [3, 4], [0, 2, -1], OUT_OF_RANGE),
        ([check.isin([1, 10**12])], [1, 10**12], [2, 10**12 - 1], NOT_ALLOWED),
        ([check.notin([2, 3])], [1, 10**12], [2, 3], NOT_ALLOWED),
        ([check.eq(2)], [2], [1, 3], NOT_ALLOWED),
        ([check.ne(2)], [1, 3], [2], NOT_ALLOWED),
        ([check(lambda column: column % 2 == 0, native=False, name="even")], [0, 10**9], [1, 3], "even"),
        ([check(lambda value: value % 2 == 0, element_wise=True, name="even")], [0, 10**9], [1, 3], "even"),
    ],
    ids=str,
)
def test_checks_of_integers(checks: list[pap.Check], good: list[int], bad: list[int], rule: str) -> None:
    contract = contract_of(*checks, nullable=True)
    mixed = [*good, *bad, None, *good, *bad]
    rows = [row for row, value in enumerate(mixed) if value in bad]
    assert broken(contract, good) == []
    assert broken(contract, [None, None]) == []
    assert broken(contract, mixed) == [(rule, "value", rows)]
    assert broken(contract, [*good, None]) == []
    numbers = contract_of(*checks, kind=pa.float64(), nullable=True)
    assert broken(numbers, [None if value is None else float(value) for value in mixed]) == [(rule, "value", rows)]


@pytest.mark.parametrize(
    ("check", "good", "bad", "rule"),
    [
        (check.str_matches("B.?$"), ["B", "B1"], ["AB", "B12"], NOT_ALLOWED),
        (check.str_contains("B"), ["B", "AB"], ["A", " "], NOT_ALLOWED),
        (check.str_startswith("B"), ["B", "BA"], ["AB"], NOT_ALLOWED),
        (check.str_endswith("B"), ["B", "AB"], ["BA"], NOT_ALLOWED),
        (check.str_length(2, 3), ["ab", "ßß"], ["a", "abcd"], OUT_OF_RANGE),
        (check.isin(["a", " "]), ["a", " "], ["b", "A"], NOT_ALLOWED),
        (check.notin(["a"]), ["b", " "], ["a"], NOT_ALLOWED),
        (check.eq("a"), ["a"], ["b"], NOT_ALLOWED),
    ],
    ids=str,
)
def test_checks_of_text(check: pap.Check, good: list[str], bad: list[str], rule: str) -> None:
    contract = contract_of(check, kind=pa.string(), nullable=True)
    mixed = [*good, *bad, None, *good]
    assert broken(contract, mixed) == [(rule, "value", [row for row, value in enumerate(mixed) if value in bad])]
    assert broken(contract, [*good, None]) == []


def test_checks_without_a_name_are_not_taken_for_one_another() -> None:
    low, high = check(lambda column: column > 0, native=False), check(lambda column: column < 5, native=False)
    problems = broken(contract_of(low, high), [-1, 3, 9, 10**9])
    assert sorted(row for _, _, rows in problems for row in rows) == [0, 2, 3]


def test_column_without_checks_still_must_be_there_and_finite() -> None:
    assert broken(contract_of(kind=pa.float64()), [1.0, None, math.inf, -math.inf]) == [
        (NOT_FINITE, "value", [2, 3]),
        (MISSING, "value", [1]),
    ]
    assert broken(contract_of(), [2**63 - 1, None]) == [(MISSING, "value", [1])]


def test_accepted_interval_does_not_grow_by_what_was_rejected() -> None:
    contract = contract_of(check.in_range(0, 10), kind=pa.float64())
    for values, rows in (([1.0, 2.0], []), ([1.0, 50.0], [1]), ([5.0, 49.0], [1]), ([0.0, 10.0], []), ([-1.0], [0])):
        assert broken(contract, values) == ([(OUT_OF_RANGE, "value", rows)] if rows else [])


def test_check_that_cannot_be_run_is_a_fault_and_accepts_nothing() -> None:
    def raises(column: Any) -> Any:
        raise ValueError("a bug")

    contract = contract_of(check(raises, name="broken check"))
    with pytest.raises(TypeError, match="the check broken check can't be run") as caught:
        broken(contract, [1_234_567])
    assert "1234567" not in str(caught.value)


# Described


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
def test_description_accepts_what_the_contract_accepts(row: dict[str, Any]) -> None:
    columns = {
        name: pa.array([row[name]], kind.value_type if kind == STRING else kind)
        for name, kind in CONTRACT.types.items()
    }
    table = pa.table({name: column.cast(CONTRACT.types[name]) for name, column in columns.items()})
    assert validates(CONTRACT.describe(), row) == (found(Rows(table)) == [])


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
def test_description_of_other_checks(checks: list[pap.Check], nullable: bool) -> None:
    contract = contract_of(*checks, nullable=nullable)
    for value in [*range(-1, 11), None]:
        assert validates(contract.describe(), {"id": 1, "value": value}) == (broken(contract, [value]) == [])


def test_description_of_a_pattern_begins_where_the_check_does() -> None:
    for pattern in ("B", "^B", "A|B", "^A|B", "B$"):
        contract = contract_of(check.str_matches(pattern), kind=pa.string())
        for text in ("A", "B", "AB", "xA", "xB", "BA"):
            row = {"id": 1, "value": text}
            assert validates(contract.describe(), row) == (broken(contract, [text]) == []), (pattern, text)


def test_description_names_and_requires_the_columns() -> None:
    described = CONTRACT.describe()
    assert described["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert described["title"] == "Passenger"
    assert described["required"] == list(CONTRACT.types)
    assert described["properties"]["Age"] == {
        "type": ["number", "null"],
        "description": "Age in years, fractions below 1",
        "minimum": 0,
        "maximum": 120,
    }
    assert json.loads(json.dumps(described)) == described


def test_digest_tells_contracts_apart() -> None:
    contracts = [
        contract_of(),
        contract_of(nullable=True),
        contract_of(kind=pa.float64()),
        contract_of(kind=pa.string()),
        contract_of(check.in_range(0, 5)),
        contract_of(check.in_range(0, 6)),
        contract_of(check.in_range(0, 5, include_min=False)),
        contract_of(check.in_range(0, 5, include_max=False)),
        contract_of(check.gt(0)),
        contract_of(check.ge(0)),
        contract_of(check.ge(0), check.ge(1)),
        contract_of(check.ge(1)),
        contract_of(check.isin([1, 2])),
        contract_of(check.isin([1, 2]), check.isin([2, 3])),
        contract_of(check.isin([2, 3])),
        contract_of(check.notin([1, 2])),
        contract_of(check.eq(1)),
        contract_of(check.ne(1)),
        contract_of(check.str_matches("a"), kind=pa.string()),
        contract_of(check.str_contains("a"), kind=pa.string()),
        contract_of(check.str_length(1, 2), kind=pa.string()),
        contract_of(check(lambda column: column > 0, native=False, name="positive")),
    ]
    digests = [contract.digest for contract in contracts]
    assert len(set(digests)) == len(digests)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert contract_of(check.in_range(0, 5)).digest == contract_of(check.in_range(0, 5)).digest
    assert CONTRACT.digest != LABELLED_CONTRACT.digest
