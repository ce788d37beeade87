"""The fast path for small bodies reads each row as the general path does, or leaves it to that path."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandera.pyarrow as pap
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.passengers import COLUMNS, csv_bytes, passenger, passengers, table_of
from titanic_batch.checking.contract import Contract
from titanic_batch.checking.judging import Judge
from titanic_batch.errors import DataError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.input_table import InputTable
from titanic_batch.server.bodies import table_from_records
from titanic_batch.server.media import Limits
from titanic_batch.server.small_bodies import MAX_BYTES, MAX_ROWS, SmallBodies

SMALL = SmallBodies(CONTRACT)


def judged(table: InputTable) -> list[list[Any]] | None:
    """Return the rows as the general path reads them; None if it rejects any."""
    with table:
        judge = Judge(CONTRACT)
        judge.require_columns(table)
        blocks = list(judge.judged([table]))
    if any(len(block.rejected) for block in blocks):
        return None
    return [list(row.values()) for block in blocks for row in block.output.to_pylist()]


def by_the_general_path(body: bytes) -> list[list[Any]] | None:
    try:
        return judged(table_of(body))
    except DataError:
        return None


def same(one: Sequence[Sequence[Any]], other: list[list[Any]]) -> bool:
    """Tell whether rows are equal, including types and the signs of zeros."""
    return repr([list(row) for row in one]) == repr(other)


ODD = [
    "NA",
    "nan",
    "null",
    "0",
    "-0",
    "-0.0",
    "3.0",
    "+3",
    "03",
    "1e2",
    "inf",
    "x",
    "1.5",
    "121",
    "21",
    "1000.5",
    "0.1234567890123456",
    "Male",
    "male",
    "A",
    "H",
    "é",
    "٣",
]
ODD += ["0x3", "1e0", "NAN", "-nan", "False", "F G73", "C85\n", "3."]
ODD += ["", " 3", "3 ", "9" * 18, "9" * 19, "A\0", '"', "\t"]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Nearly plain bodies: a valid table with some unusual fields, quotes, line endings and columns."""
    rows = passengers(draw(st.integers(1, 3)), first_key=draw(st.integers(-2, 2)))
    for _ in range(draw(st.integers(0, 2))):
        row = draw(st.sampled_from(rows))
        row[draw(st.sampled_from(COLUMNS))] = draw(st.sampled_from(ODD) | st.text(max_size=4))
    columns = list(COLUMNS)
    if draw(st.booleans()):
        columns.insert(draw(st.integers(0, 8)), "Name")
        for row in rows:
            row["Name"] = draw(st.sampled_from(["", 'Gun, "5"', "Zoë", "a\nb", "plain", 'x"y', "a,b"]))
    columns = draw(st.permutations(columns)) if draw(st.booleans()) else columns
    body = csv_bytes(rows, columns, draw(st.sampled_from(["\n", "\r\n", "\r"])))
    cut = draw(st.integers(-3, 0))
    return (body[:cut] if cut else body) + draw(st.sampled_from([b"", b"", b"\n", b"1,2\n", b"\xff", b'"']))


@given(bodies())
@example(csv_bytes([passenger(1, Age="-0.0")]))
@settings(max_examples=150)
def test_csv_is_read_as_by_the_general_path(body: bytes) -> None:
    rows = SMALL.from_csv(body)
    if rows is not None:
        expected = by_the_general_path(body)
        assert expected is not None
        assert same(rows, expected)


def test_plain_bodies_are_read() -> None:
    for count in (1, 2, MAX_ROWS):
        for body in (
            csv_bytes(passengers(count)),
            csv_bytes(passengers(count), line_end="\r\n"),
            csv_bytes(passengers(count))[:-1],
        ):
            rows = SMALL.from_csv(body)
            assert rows is not None
            assert same(rows, by_the_general_path(body) or [])


def test_quotes_around_a_field_are_read() -> None:
    body = b'PassengerId,Name,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin\n1,"Braund, Mr. Owen",3,male,22,1,0,7.25,\n'
    assert SMALL.from_csv(body) == [[1, 3, "male", 22.0, 1, 0, 7.25, None]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        csv_bytes([]),
        csv_bytes(passengers(MAX_ROWS + 1)),
        csv_bytes([passenger(1, Cabin="C" * MAX_BYTES)]),
        csv_bytes([passenger(1), passenger(1)]),
        csv_bytes([passenger(1, Sex="x")]),
        csv_bytes([passenger(1)], [*COLUMNS, "Age"]),
        b"\xef\xbb\xbf" + csv_bytes([passenger(1)]),
        csv_bytes([passenger(1)]) + b"\n",
        csv_bytes([passenger(1)]).replace(b"Age", b"Old"),
    ],
)
def test_unusual_bodies_are_left_to_the_general_path(body: bytes) -> None:
    assert SMALL.from_csv(body) is None


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-1, 25)
    | st.floats(allow_nan=True)
    | st.text(max_size=3)
    | st.sampled_from(["male", "female", "A1", "A1\n", "False", "NA", "", 3.0, 1e3, 1e17, 2**53 + 1, -0.0])
    | st.lists(st.integers(), max_size=1)
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, VALUES)), max_size=3), st.booleans())
@settings(max_examples=100)
def test_json_is_read_as_by_the_general_path(changes: list[dict[str, Any]], drop: bool) -> None:
    good = json.loads('{"PassengerId":1,"Pclass":3,"Sex":"male","Age":22,"SibSp":1,"Parch":0,"Fare":7.25,"Cabin":null}')
    records = [good | {"PassengerId": key} | change for key, change in enumerate(changes)]
    if drop and records:
        records[0].pop("Age", None)
    rows = SMALL.from_records(records)
    if rows is not None:
        expected = judged(table_from_records(records, CONTRACT, Limits()))
        assert expected is not None
        assert same(rows, expected)


# The functions that are derived from the schema

CHECKED = Contract(
    pap.DataFrameSchema(
        {
            "key": pap.Column(pa.int64(), unique=True),
            "whole": pap.Column(pa.int64(), [pap.Check.gt(-5), pap.Check.le(5)], nullable=True),
            "real": pap.Column(pa.float64(), pap.Check.in_range(-1.5, 2, include_min=False, include_max=True)),
            "above": pap.Column(pa.float64(), [pap.Check.ge(0.1), pap.Check.lt(1e9)]),
            "one_of": pap.Column(pa.int64(), pap.Check.isin([1, 3, 2**40])),
            "not_in": pap.Column(pa.int64(), pap.Check.notin([0, 7])),
            "word": pap.Column(pa.string(), pap.Check.isin(["a", "B", "é"])),
            "pattern": pap.Column(pa.string(), pap.Check.str_matches(r"^[A-C0-9]x"), nullable=True),
            "whole_pattern": pap.Column(pa.string(), pap.Check.str_matches("^[AB](x[0-9]?)*( y)+$"), nullable=True),
            "free_pattern": pap.Column(pa.string(), pap.Check.str_matches(r"^\d+$")),
        }
    ),
    version=1,
)
OF_TYPE = {
    pa.int64(): st.integers(-8, 8) | st.integers(-(2**63), 2**63 - 1) | st.just(2**40),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-1.5, 2.0, 0.1, 1e9, -0.0]),
    STRING: st.text(max_size=3)
    | st.sampled_from(["a", "B", "é", "Ax", "0xy", "Dx", "12", "12\n", "\u0663", "ax"])
    | st.sampled_from(["A y", "Bx1x y y", "A y\n", "A y y ", "C85", "C85\n", "F G73", "F  G73", "False", "\nC85"]),
}


@pytest.mark.parametrize("contract", [CHECKED, CONTRACT], ids=["all checks", "passengers"])
@given(data=st.data())
@settings(max_examples=40)
def test_each_check_agrees_with_pandera(contract: Contract, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(contract.types)))
    arrow_type = contract.types[name]
    value = data.draw(OF_TYPE[arrow_type] | st.none())
    column = contract._schema.columns[name]
    plain = arrow_type.value_type if arrow_type == STRING else arrow_type
    alone = pap.DataFrameSchema({name: pap.Column(plain, column.checks, nullable=column.nullable)})
    try:
        alone.validate(pa.table({name: pa.array([value], plain)}), lazy=True)
        verdict = True
    except pap.errors.SchemaErrors:
        verdict = False
    assert contract.checks()[name](value) == verdict


def test_the_example_is_accepted() -> None:
    assert judged(table_from_records([CONTRACT.example()], CONTRACT, Limits())) is not None
    assert not math.isnan(CONTRACT.example()["Pclass"])
