"""The JSON Schema that ``titanic validate --print-schema`` prints agrees with the verdict on each row.

Rows are made up of values at all edges of each column, and beside them. A row is judged as JSON by the server, and as
CSV by the batch; the schema speaks of JSON, so that a row of CSV is compared where its text is that of a JSON value.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema
import pytest
from flask.testing import FlaskClient

from tests.passengers import table_of
from tests.server.exchange import problem
from titanic_batch.checking.judging import Judge
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.columns import MISSING_TEXTS
from titanic_batch.reading.input_table import InputTable
from titanic_batch.server.bodies import table_from_records
from titanic_batch.server.json_rows import Record, json_rows
from titanic_batch.server.media import Limits
from titanic_batch.server.small_bodies import SmallBodies

LIMITS = Limits()
VALIDATOR = jsonschema.Draft202012Validator(CONTRACT.describe())
SMALL = SmallBodies(CONTRACT)
ROWS, BATCH = 6_000, 500

ANYTHING = [
    None,
    True,
    False,
    [],
    {},
    [1],
    {"a": 1},
    " ",
    "x",
    "1",
    *MISSING_TEXTS,
    "NULL",
    "NAN",
    "-nan",
    "\U0010ffff",
]
NUMBERS = [-0.0, 0.0, 0, 1, -1, 1.0, 1.5, 1e-300, 5e-324, 1e17, 1e300, -1e300, 2**53 + 1, 10**30, 10**400]
BOUNDS = [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, float(2**63), -float(2**63), float(2**63 - 1024)]
CABINS = [
    "A",
    "T",
    "H",
    "C85",
    "c85",
    "F G73",
    "F  G73",
    "False",
    "TRUE",
    "C85\n",
    "C85\n\n",
    "\nC85",
    "C85 ",
    " C85",
    "D\0",
]
GOOD: dict[str, list[Any]] = {
    "Pclass": [1, 2, 3, 3.0],
    "Sex": ["male", "female"],
    "Age": [None, 22, 0.5, 120],
    "SibSp": [0, 20, 2.0],
    "Parch": [0, 20, 2.0],
    "Fare": [None, 7.25, 0, 1000],
    "Cabin": [None, "", "C85", "B57 B59"],
}
ODD: dict[str, list[Any]] = {
    "PassengerId": [*ANYTHING, *NUMBERS, *BOUNDS],
    "Pclass": [*ANYTHING, *NUMBERS, *BOUNDS, 3, 4],
    "Sex": [*ANYTHING, *CABINS, 1, "Male", "male ", "male\n", "female"],
    "Age": [*ANYTHING, *NUMBERS, *BOUNDS, 120, 120.00000000000001, 121],
    "SibSp": [*ANYTHING, *NUMBERS, *BOUNDS, 20, 21, 20.000000000000004],
    "Parch": [*ANYTHING, *NUMBERS, *BOUNDS, 20, 21],
    "Fare": [*ANYTHING, *NUMBERS, *BOUNDS, 1000, 1000.0000000000001],
    "Cabin": [*ANYTHING, *CABINS, 1, 1.5, 10**400],
}


def drawn(count: int) -> list[dict[str, Any]]:
    """Return rows of which each has no odd value, or one, or two, and a key of its own unless that is odd."""
    chance = random.Random(23)
    rows = []
    for key in range(count):
        row = {"PassengerId": key + 2} | {name: chance.choice(values) for name, values in GOOD.items()}
        for name in chance.sample(sorted(ODD), chance.choice([0, 1, 1, 1, 2])):
            row[name] = chance.choice(ODD[name])
        rows.append(row)
    return rows


def read(rows: Sequence[dict[str, Any]]) -> Iterator[Record]:
    return json_rows(json.dumps(rows).encode(), list(CONTRACT.types), LIMITS, lists=False).records


def is_valid(row: dict[str, Any]) -> bool:
    return bool(VALIDATOR.is_valid(row))


def accepted(table: InputTable, count: int) -> list[bool]:
    """Return for each row of a table whether it is accepted; a repeated key is no fault of a row by itself."""
    verdicts: list[bool] = []
    with table:
        for block in Judge(CONTRACT).judged([table]):
            rejected = {row for problem in block.problems if problem.rule != "duplicate_key" for row in problem.rows}
            verdicts += [row not in rejected for row in range(block.count)]
    assert len(verdicts) == count
    return verdicts


def told(rows: Sequence[dict[str, Any]], verdicts: Sequence[bool]) -> list[tuple[dict[str, Any], bool]]:
    """Return the rows of which the schema says something else."""
    return [(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if verdict != is_valid(row)]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    rows = drawn(ROWS)
    valid = sum(map(is_valid, rows))
    assert ROWS / 5 < valid < ROWS * 4 / 5, "many rows of either kind"
    return rows


def test_every_odd_value_alone_is_judged_as_the_schema_says() -> None:
    good = {"PassengerId": 1} | {name: values[0] for name, values in GOOD.items()}
    assert is_valid(good)
    rows = [good | {name: value} for name, values in ODD.items() for value in values]
    verdicts = accepted(table_from_records(read(rows), CONTRACT, LIMITS), len(rows))
    assert told(rows, verdicts) == []


def test_thousands_of_rows_are_judged_as_the_schema_says(rows: list[dict[str, Any]]) -> None:
    for start in range(0, ROWS, BATCH):
        batch = rows[start : start + BATCH]
        assert told(batch, accepted(table_from_records(read(batch), CONTRACT, LIMITS), BATCH)) == []


def test_small_bodies_hold_no_row_that_the_schema_rejects(rows: list[dict[str, Any]]) -> None:
    taken = [row for row in rows if SMALL.from_records(list(read([row]))) is not None]
    assert len(taken) > ROWS / 10
    assert all(map(is_valid, taken))


def test_the_server_answers_as_the_schema_says(client: FlaskClient, rows: list[dict[str, Any]]) -> None:
    for row in rows[:300]:
        answer = client.post("/predict", data=json.dumps(row), content_type="application/json")
        assert answer.status_code == (200 if is_valid(row) else 422), row
        if answer.status_code == 422:
            assert problem(answer, 422)["rejects_total"] >= 1


def as_text(value: Any, column: str) -> str | None:
    """Return a JSON value as the field of a CSV, or None where the field would mean something else."""
    is_text = column in ("Sex", "Cabin")
    if value is None:
        return ""
    if isinstance(value, str):
        return value if is_text else None
    if isinstance(value, bool | list | dict) or is_text:
        return None
    is_whole = isinstance(value, float) and value.is_integer() and column not in ("Age", "Fare")
    return str(int(value)) if is_whole else repr(value)


def test_rows_of_text_are_judged_as_the_schema_says(rows: list[dict[str, Any]]) -> None:
    fields = [{name: as_text(value, name) for name, value in row.items()} for row in rows]
    comparable = [row for row, texts in zip(rows, fields, strict=True) if None not in texts.values()]
    lines = [
        ",".join('"' + text.replace('"', '""') + '"' for text in texts.values() if text is not None)
        for texts in fields
        if None not in texts.values()
    ]
    assert len(lines) > ROWS / 2
    body = "\n".join([",".join(CONTRACT.types), *lines, ""]).encode()
    assert told(comparable, accepted(table_of(body), len(lines))) == []
