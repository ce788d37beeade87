"""The contract of a passenger: what each column accepts and rejects, at its edges."""

from __future__ import annotations

import csv
import json
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checking.contracts import problems_in
from tests.passengers import COLUMNS, csv_block, passenger, passengers
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.reading.rules import MISSING, NOT_ALLOWED, NOT_FINITE, OUT_OF_RANGE, TYPE

DATA = Path(__file__).resolve().parents[2] / "data"

ACCEPTED = {
    "PassengerId": ["0", "-1", str(-(2**63)), str(2**63 - 1), "7.0", "+7", "007", " 7"],
    "Pclass": ["1", "2", "3", "3.0"],
    "Sex": ["male", "female"],
    "Age": ["0", "-0.0", "5e-324", "0.75", "120", "120.0", "1.2e2", "119.99999999999999", "", "NA"],
    "SibSp": ["0", "20", "20.0"],
    "Parch": ["0", "20", "20.0"],
    "Fare": ["0", "1000", "999.9999999999999", "512.3292", "", "null"],
    "Cabin": ["A", "G", "T", "D", "C85", "C148", "F G73", "F E69", "D10 D12", "B57 B59 B63 B66", "", "nan"],
}
REJECTED = {
    "PassengerId": {
        MISSING: ["", "NA"],
        TYPE: ["1.5", "one", "1e3", "1.23457E+17", "0xffffffffffffffff", "0X7", "NAN", "1_0"],
        OUT_OF_RANGE: [str(2**63), "9" * 30, "99999999999999999999.0"],
        NOT_FINITE: ["inf"],
    },
    "Pclass": {NOT_ALLOWED: ["0", "4", "-1", str(2**62)], MISSING: [""], TYPE: ["2.5", "2nd", "0x3", "3e0"]},
    "Sex": {NOT_ALLOWED: ["Male", " male", "male ", "m", "männlich", "malefemale", "\0", "NULL"], MISSING: ["", "NaN"]},
    "Age": {
        OUT_OF_RANGE: ["-5e-324", "-1", "120.00000000000001", "121", "1e308"],
        NOT_FINITE: ["inf", "-inf", "1e400"],
        TYPE: ["old", "1,5", "-nan", "nan(7)", "NAN", "0x10"],
    },
    "SibSp": {
        OUT_OF_RANGE: ["-1", "21", str(-(2**63)), "9" * 30],
        MISSING: [""],
        TYPE: ["0.5", "1e30", "0x0"],
        NOT_FINITE: ["-inf"],
    },
    "Parch": {OUT_OF_RANGE: ["-1", "21", str(2**63 - 1)], MISSING: ["nan"], TYPE: ["two", "0X1"]},
    "Fare": {OUT_OF_RANGE: ["-5e-324", "1000.0000000000001", "-1"], NOT_FINITE: ["inf"], TYPE: ["£7", "NULL", "+nan"]},
    "Cabin": {
        NOT_ALLOWED: [
            *("False", "True", "FALSE", "TRUE", "Deck unknown", "Cabin not known", "A/5 21171", "None", "NULL", "NAN"),
            *("H1", "a1", "85", "N", "S", "U", "C85a", "CC85", "C 85", "C-85", "C85;C86", "C85/C86", "C٨", "Ç85"),
            *(" C85", "C85 ", "C85  C86", "C85\tC86", " ", "\nA", "A\n", "C85\n", "C85\nC86", "C85\n\n", "C85\0"),
        ]
    },
}


def test_every_column_of_the_contract_is_tested_at_its_edges() -> None:
    assert tuple(ACCEPTED) == tuple(REJECTED) == tuple(CONTRACT.types) == COLUMNS


@pytest.mark.parametrize(("column", "text"), [(column, text) for column, texts in ACCEPTED.items() for text in texts])
def test_the_contract_accepts(column: str, text: str) -> None:
    assert problems_in(csv_block([passenger(1, **{column: text})])) == []
    assert problems_in(csv_block([*passengers(3, 10), passenger(1, **{column: text}), *passengers(3, 20)])) == []


@pytest.mark.parametrize(
    ("column", "rule", "text"),
    [(column, rule, text) for column, rules in REJECTED.items() for rule, texts in rules.items() for text in texts],
)
def test_the_contract_rejects(column: str, rule: str, text: str) -> None:
    bad = passenger(1, **{column: text})
    assert problems_in(csv_block([bad])) == [(rule, column, [0])]
    rows = [*passengers(3, 10), bad, *passengers(3, 20), bad]
    assert problems_in(csv_block(rows)) == [(rule, column, [3, 7])]


def test_cabins_are_what_they_are_in_the_data() -> None:
    texts = [(DATA / name).read_text() for name in ("train.csv", "test.csv", "holdout.csv")]
    cabins = sorted({row["Cabin"] for text in texts for row in csv.DictReader(text.splitlines())})
    assert len(cabins) > 180
    given = [passenger(key, Cabin=cabin) for key, cabin in enumerate(cabins)]
    assert problems_in(csv_block(given)) == []


def test_the_labelled_contract_checks_the_label() -> None:
    columns = (*COLUMNS, "Survived")
    rows = [passenger(key) | {"Survived": text} for key, text in enumerate(["0", "1", "2", "-1", "", "0.5"])]
    assert sorted(problems_in(csv_block(rows, columns), LABELLED_CONTRACT)) == [
        (MISSING, "Survived", [4]),
        (NOT_ALLOWED, "Survived", [2, 3]),
        (TYPE, "Survived", [5]),
    ]


TEXTS = {column: st.sampled_from([*ACCEPTED[column], *chain(*REJECTED[column].values())]) for column in ACCEPTED}


@pytest.mark.slow
@settings(max_examples=20)
@given(st.lists(st.fixed_dictionaries(TEXTS), min_size=1, max_size=3))
def test_a_row_is_judged_the_same_alone_and_beside_others(rows: list[dict[str, str]]) -> None:
    alone = {
        (rule, column, row)
        for row, fields in enumerate(rows)
        for rule, column, _ in problems_in(csv_block([fields]))
    }  # fmt: skip
    together = problems_in(csv_block(rows))
    assert {(rule, column, row) for rule, column, places in together for row in places} == alone
    assert len(together) == len({(rule, column) for rule, column, _ in together})


def test_the_json_schema_describes_and_requires_the_columns() -> None:
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
