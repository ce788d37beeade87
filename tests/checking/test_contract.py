"""The contract: each rule at its rows, whatever lies around them and whatever the environment says."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandera.pyarrow as pap
import pyarrow as pa
import pytest

from tests.checking.contracts import check, contract_of, problems_in, problems_of
from tests.passengers import COLUMNS, csv_block, passenger, passengers, typed
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

# Rows of passengers


def test_bytes_that_are_not_utf8_break_one_rule_only() -> None:
    block = csv_block(passengers(3))
    data = bytes(block.data).replace(b"C85", b"C\xff").replace(b"0.75", b"\xff")
    assert problems_in(CsvBlock(block.names, data)) == [(ENCODING, "Age", [1]), (ENCODING, "Cabin", [0])]


def test_a_row_that_breaks_several_rules_is_reported_by_each() -> None:
    bad = passenger(1, Pclass="4", Sex="", Age="inf", SibSp="21", Fare="x", Cabin="Z")
    assert sorted(problems_in(csv_block([*passengers(2), bad]))) == [
        (MISSING, "Sex", [2]),
        (NOT_ALLOWED, "Cabin", [2]),
        (NOT_ALLOWED, "Pclass", [2]),
        (NOT_FINITE, "Age", [2]),
        (OUT_OF_RANGE, "SibSp", [2]),
        (TYPE, "Fare", [2]),
    ]


def test_a_rule_broken_on_reading_and_by_a_check_is_one_problem() -> None:
    rows = [passenger(1, SibSp="21"), passenger(2, SibSp="9" * 30), passenger(3, SibSp="-1")]
    assert problems_in(csv_block(rows)) == [(OUT_OF_RANGE, "SibSp", [0, 1, 2])]


def test_a_row_with_too_few_fields_is_not_reported_as_missing_values() -> None:
    block = csv_block(passengers(3))
    data = bytes(block.data)
    assert problems_in(CsvBlock(block.names, data + b"4,3,male\n" + data)) == [(WRONG_FIELD_COUNT, None, [3])]
    assert problems_in(CsvBlock(block.names, b'4,3,"male\n', unclosed=True)) == [(UNCLOSED_QUOTE, None, [0])]


def test_the_contract_alone_finds_no_repeated_keys() -> None:
    assert problems_in(csv_block([passenger(1), passenger(1)])) == []
    assert CONTRACT.key == "PassengerId"
    assert (DUPLICATE_KEY, "PassengerId") in CONTRACT.rules()


def test_no_rows_have_no_problems() -> None:
    assert problems_in(Rows(typed(passengers(1))[:0])) == []


def test_rows_in_several_chunks_are_numbered_from_the_first() -> None:
    good = typed(passengers(3))
    bad = good.set_column(2, "Sex", pa.array(["male", "x", "y"]).dictionary_encode().cast(STRING))
    bad = bad.set_column(3, "Age", pa.array([1.0, 200.0, math.inf]))
    table = pa.concat_tables([good, bad[:0], bad, good, bad]).unify_dictionaries()
    assert problems_in(Rows(table)) == [
        (NOT_ALLOWED, "Sex", [4, 5, 10, 11]),
        (NOT_FINITE, "Age", [5, 11]),
        (OUT_OF_RANGE, "Age", [4, 10]),
    ]


def test_further_columns_and_their_order_do_not_count() -> None:
    table = typed([passenger(1), passenger(2, Sex="x")])
    table = table.select(COLUMNS[::-1]).append_column("Name", pa.array(["a", "b"]))
    assert problems_in(Rows(table)) == [(NOT_ALLOWED, "Sex", [1])]


def test_problems_are_returned_in_the_order_of_the_rules_without_empty_ones() -> None:
    none = np.array([], dtype=np.int64)
    rows = Rows(typed([passenger(1, Sex="x")]), [Problem(TYPE, "Age", np.array([0])), Problem(TYPE, "Fare", none)])
    assert problems_in(rows) == [(NOT_ALLOWED, "Sex", [0]), (TYPE, "Age", [0])]


def test_problems_of_one_rule_from_reading_and_from_a_check_are_merged() -> None:
    table = typed([passenger(1, SibSp="-1"), passenger(2), passenger(3, SibSp="21")])
    rows = Rows(table, [Problem(OUT_OF_RANGE, "SibSp", np.array([1]))])
    assert problems_in(rows) == [(OUT_OF_RANGE, "SibSp", [0, 1, 2])]


@pytest.mark.slow
def test_a_rule_is_checked_on_more_distinct_texts_than_are_remembered() -> None:
    cabins = np.char.add("C", np.arange(120_000).astype(str)).astype(object)
    cabins[[7, 119_999]] = "Z1"
    table = typed([passenger(1)]).take(pa.array(np.zeros(len(cabins), dtype=np.int64)))
    table = table.set_column(7, "Cabin", pa.array(cabins).dictionary_encode().cast(STRING))
    for _ in range(2):
        assert problems_in(Rows(table)) == [(NOT_ALLOWED, "Cabin", [7, 119_999])]


def test_long_texts_are_checked_but_not_remembered() -> None:
    def problems(start: str) -> list[tuple[str, str | None, list[int]]]:
        return problems_in(csv_block([passenger(1), passenger(2, Cabin=start.ljust(2**20, "1"))]))

    assert problems("C") == []
    tracemalloc.start()
    for number in range(4):
        assert problems(f"C{number}") == []
        assert problems(f"Z{number}") == [(NOT_ALLOWED, "Cabin", [1])]
    remembered, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert remembered < 2**20


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
def test_environment_variables_change_nothing(variables: dict[str, str], pytestconfig: pytest.Config) -> None:
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
    assert problems_of(contract, good) == []
    assert problems_of(contract, [None, None]) == []
    assert problems_of(contract, mixed) == [(rule, "value", rows)]
    assert problems_of(contract, [*good, None]) == []
    numbers = contract_of(*checks, kind=pa.float64(), nullable=True)
    assert problems_of(numbers, [None if value is None else float(value) for value in mixed]) == [(rule, "value", rows)]


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
    assert problems_of(contract, mixed) == [(rule, "value", [row for row, value in enumerate(mixed) if value in bad])]
    assert problems_of(contract, [*good, None]) == []


def test_checks_without_names_are_kept_apart() -> None:
    low, high = check(lambda column: column > 0, native=False), check(lambda column: column < 5, native=False)
    problems = problems_of(contract_of(low, high), [-1, 3, 9, 10**9])
    assert sorted(row for _, _, rows in problems for row in rows) == [0, 2, 3]


def test_a_column_without_checks_still_requires_finite_values() -> None:
    assert problems_of(contract_of(kind=pa.float64()), [1.0, None, math.inf, -math.inf]) == [
        (NOT_FINITE, "value", [2, 3]),
        (MISSING, "value", [1]),
    ]
    assert problems_of(contract_of(), [2**63 - 1, None]) == [(MISSING, "value", [1])]


def test_rejected_values_do_not_widen_the_accepted_interval() -> None:
    contract = contract_of(check.in_range(0, 10), kind=pa.float64())
    for values, rows in (([1.0, 2.0], []), ([1.0, 50.0], [1]), ([5.0, 49.0], [1]), ([0.0, 10.0], []), ([-1.0], [0])):
        assert problems_of(contract, values) == ([(OUT_OF_RANGE, "value", rows)] if rows else [])


def test_a_check_that_raises_is_an_internal_error() -> None:
    def raises(column: Any) -> Any:
        raise ValueError("a bug")

    contract = contract_of(check(raises, name="broken check"))
    with pytest.raises(TypeError, match="the check broken check can't be run") as caught:
        problems_of(contract, [1_234_567])
    assert "1234567" not in str(caught.value)


def test_pandera_validates_in_one_thread_at_a_time() -> None:
    """Its imports within a validation are not safe otherwise."""
    inside, overlaps = threading.Lock(), []

    def is_small(column: Any) -> Any:
        if inside.acquire(blocking=False):
            time.sleep(0.001)
            inside.release()
        else:
            overlaps.append(1)
        return column < 5

    contracts = [contract_of(check(is_small, native=False, name="small")) for _ in range(4)]
    with ThreadPoolExecutor(len(contracts)) as threads:
        found = list(threads.map(lambda contract: problems_of(contract, [1, 9, 2, 10**9]), contracts))
    assert found == [[("small", "value", [1, 3])]] * len(contracts)
    assert not overlaps


def test_different_contracts_have_different_digests() -> None:
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
