"""A contract with a text key, booleans, dates and timestamps: the same verdicts and values from every format."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandera.pyarrow as pap
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from titanic_batch.checking.contract import Contract, ContractError
from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.checking.keys import SeenTexts
from titanic_batch.reading.moments import TIMESTAMP
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source
from titanic_batch.server.bodies import table_from_records
from titanic_batch.server.media import Limits
from titanic_batch.server.small_bodies import SmallBodies

TYPES = {"key": pa.string(), "yes": pa.bool_(), "day": pa.date32(), "time": TIMESTAMP, "size": pa.float64()}


def contract_of(**checks: pap.Check) -> Contract:
    columns = {
        name: pap.Column(kind, checks.get(name, []), unique=name == "key", nullable=name != "key")
        for name, kind in TYPES.items()
    }
    return Contract(pap.DataFrameSchema(columns, name="Event"), 1)


CONTRACT = contract_of()


def judged(path: Path, contract: Contract = CONTRACT, block_bytes: int = 2**20) -> list[JudgedBlock]:
    source = Source(str(path), "parquet" if path.suffix == ".parquet" else "csv")
    with open_table(source, block_bytes) as table:
        return list(Judge(contract).judged([table]))


def found(blocks: list[JudgedBlock]) -> tuple[list[dict[str, Any]], list[tuple[str, str | None, int]]]:
    rows = [row for block in blocks for row in block.output.to_pylist()]
    problems = [
        (problem.rule, problem.column, block.first_row + row)
        for block in blocks
        for problem in block.problems
        for row in problem.rows.tolist()
    ]
    return rows, problems


def written(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([[*TYPES], *rows])
    return path


def test_text_is_read_as_what_it_says(tmp_path: Path) -> None:
    path = written(
        tmp_path / "in.csv",
        [
            ["a", "true", "2026-02-28", "2026-02-28T01:02:03.5", "1"],
            ["A", "FALSE", " 0001-01-01 ", "9999-12-31 23:59", ""],
            ["a,b", "", "", "", "NA"],
            ["é", "True", "2024-02-29", "2026-02-28", "2"],
        ],
    )
    rows, problems = found(judged(path))
    assert problems == []
    assert [[*row.values()] for row in rows] == [
        ["a", True, date(2026, 2, 28), datetime(2026, 2, 28, 1, 2, 3, 500_000), 1],
        ["A", False, date(1, 1, 1), datetime(9999, 12, 31, 23, 59), None],
        ["a,b", None, None, None, None],
        ["é", True, date(2024, 2, 29), datetime(2026, 2, 28), 2],
    ]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        *(("yes", text) for text in ("1", "0", "yes", "t", "truee", "2026-01-01")),
        *(("day", text) for text in ("2026-02-30", "2026-13-01", "20260101", "0000-01-01", "1", "2026-1-1")),
        ("day", "2026-01-01T00:00"),
        *(("time", f"2026-01-01{text}") for text in ("T24:00", "T1:00", "Z", "T00:00Z", "T00:00+01:00", "T00:00:60")),
        ("time", "2026-01-01T00:00:00.1234567"),
        ("time", "1767225600"),
    ],
)
def test_text_that_says_something_else_breaks_a_rule(tmp_path: Path, column: str, text: str) -> None:
    good = dict.fromkeys(TYPES, "")
    bad = [{**good, "key": "b"} | {column: text}, {**good, "key": "c"}]
    path = written(tmp_path / "in.csv", [[*row.values()] for row in bad])
    rows, problems = found(judged(path))
    assert problems == [("type", column, 1)]
    assert [row["key"] for row in rows] == ["c"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_arrow_values_of_other_units_count_by_their_value(tmp_path: Path, unit: str) -> None:
    times = [datetime(2026, 1, 1, 12), datetime(1912, 4, 15), None]
    table = pa.table(
        {
            "key": ["a", "b", "c"],
            "yes": [True, None, False],
            "day": pa.array(times, pa.timestamp(unit)),
            "time": pa.array(times, pa.timestamp(unit)),
            "size": [1, 2, 3],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    rows, problems = found(judged(tmp_path / "in.parquet"))
    assert problems == [("type", "day", 1)]
    assert [row["time"] for row in rows] == times[1:]
    assert [row["day"] for row in rows] == [date(1912, 4, 15), None]


def test_what_a_microsecond_cannot_hold_breaks_a_rule(tmp_path: Path) -> None:
    table = pa.table(
        {name: pa.nulls(3, kind) for name, kind in TYPES.items()}
        | {"key": ["a", "b", "c"], "time": pa.array([1, 2_000, None], pa.timestamp("ns"))}
    )
    pq.write_table(table, tmp_path / "in.parquet", version="2.6")
    rows, problems = found(judged(tmp_path / "in.parquet"))
    assert problems == [("type", "time", 1)]
    assert [row["time"] for row in rows] == [datetime(1970, 1, 1) + timedelta(microseconds=2), None]


ROWS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4).filter(
            lambda text: text not in ("NA", "NaN", "nan", "null")
        ),
        st.none() | st.booleans(),
        st.none() | st.dates(),
        st.none() | st.datetimes(),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=30,
)


@given(rows=ROWS)
def test_csv_parquet_and_json_hold_the_same_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    table = pa.table(
        {name: pa.array([row[place] for row in rows], kind) for place, (name, kind) in enumerate(TYPES.items())}
    )
    texts = [[_text(value) for value in row] for row in rows]
    pq.write_table(table, folder / "in.parquet")
    expected = found(judged(folder / "in.parquet"))
    assert found(judged(written(folder / "in.csv", texts))) == expected
    assert found(judged(folder / "in.csv", block_bytes=64)) == expected
    records = [dict(zip(TYPES, map(_json, row), strict=True)) for row in rows]
    with table_from_records(iter(json.loads(json.dumps(records))), CONTRACT, Limits()) as body:
        assert found(list(Judge(CONTRACT).judged([body]))) == expected


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def test_a_value_of_another_json_type_breaks_a_rule() -> None:
    good = {"key": "a", "yes": None, "day": None, "time": None, "size": None}
    wrong: dict[str, list[Any]] = {"yes": ["true", 1], "day": [20260101, True], "time": [0, 1.5, False]}
    for column, values in wrong.items():
        for value in values:
            with table_from_records(iter([{**good, column: value}]), CONTRACT, Limits()) as body:
                assert found(list(Judge(CONTRACT).judged([body])))[1] == [("type", column, 1)]


def test_checks_look_at_dates_and_booleans(tmp_path: Path) -> None:
    contract = contract_of(
        yes=pap.Check.isin([True]),
        day=pap.Check.in_range(date(2000, 1, 1), date(2026, 12, 31)),
        time=pap.Check.greater_than(datetime(2020, 1, 1)),
    )
    path = written(
        tmp_path / "in.csv",
        [
            ["a", "true", "2000-01-01", "2020-01-02", ""],
            ["b", "false", "1999-12-31", "2020-01-01", ""],
            ["c", "", "2027-01-01", "", ""],
        ],
    )
    rows, problems = found(judged(path, contract))
    assert [row["key"] for row in rows] == ["a"]
    assert sorted(problems) == [
        ("not_allowed", "yes", 2),
        ("out_of_range", "day", 2),
        ("out_of_range", "day", 3),
        ("out_of_range", "time", 2),
    ]
    accepts = contract.checks()
    assert [accepts["day"](date(year, 1, 1)) for year in (1999, 2000)] == [False, True]
    described = contract.describe()["properties"]
    assert described["yes"] == {"type": ["boolean", "null"], "enum": [True, None]}
    assert described["day"]["format"] == "date"
    good, bad = ("2026-01-01T00:00", "2026-01-01 00:00:00.5", "2026-01-01"), ("2026-01-01T00:00Z", "2026-01-01T1", "1")
    (pattern,) = [part["pattern"] for part in described["time"]["anyOf"] if "pattern" in part]
    assert [bool(re.search(pattern, text)) for text in (*good, *bad)] == [True] * 3 + [False] * 3
    assert json.loads(json.dumps(contract.describe())) == contract.describe()
    assert contract.digest != CONTRACT.digest
    assert contract.example() == {"key": "a", "yes": True, "day": None, "time": None, "size": None}


@pytest.mark.parametrize("block_bytes", [16, 100, 2**20])
def test_a_text_key_that_comes_again_is_rejected(tmp_path: Path, block_bytes: int) -> None:
    keys = ["a", "b", "a", "A", "b ", "", "b", "é", "é", "e\u0301"]
    path = written(tmp_path / "in.csv", [[key, "", "", "", ""] for key in keys])
    rows, problems = found(judged(path, block_bytes=block_bytes))
    assert sorted(problems) == [("duplicate_key", "key", 3), ("duplicate_key", "key", 7), ("duplicate_key", "key", 9),
                                ("missing", "key", 6)]  # fmt: skip
    assert [row["key"] for row in rows] == ["a", "b", "A", "b ", "é", "e\u0301"]


@given(st.lists(st.lists(st.text(max_size=3), max_size=20), max_size=8))
def test_seen_texts_are_those_of_a_set(batches: list[list[str]]) -> None:
    seen, known = SeenTexts(), set[str]()
    for batch in batches:
        expected = []
        for text in batch:
            expected.append(text in known)
            known.add(text)
        assert seen.add(batch).tolist() == expected


def test_few_rows_of_a_text_key_are_read_by_the_fast_path_too() -> None:
    body = io.BytesIO()
    table = pa.table({"key": ["a", "b"], "size": [1.5, None]})
    contract = Contract(
        pap.DataFrameSchema(
            {"key": pap.Column(pa.string(), unique=True), "size": pap.Column(pa.float64(), nullable=True)}, name="Two"
        ),
        1,
    )
    pa.csv.write_csv(table, body)
    assert SmallBodies(contract).from_csv(body.getvalue()) == [["a", 1.5], ["b", None]]
    assert SmallBodies(CONTRACT).from_csv(b"key,yes,day,time,size\na,true,,,\n") is None


def test_all_that_keeps_a_schema_from_being_a_contract_is_named_at_once() -> None:
    columns = {
        "a": pap.Column(pa.list_(pa.int64())),
        "b": pap.Column(pa.timestamp("us", "UTC")),
        "c": pap.Column(pa.float64(), unique=True, nullable=True),
        "d": pap.Column(pa.int32()),
    }
    with pytest.raises(ContractError) as error:
        Contract(pap.DataFrameSchema(columns, name="Bad"), 1, {"e": 1})
    for part in ("the column a is of type List", "the column b is of type Datetime", "the column d is of type Int32",
                 "the key c must not be nullable", "the key c must be int64 or string", "has a column e"):  # fmt: skip
        assert part in str(error.value)
    for unique in (False, True):
        columns = {name: pap.Column(pa.int64(), unique=unique) for name in "ab"}
        with pytest.raises(ContractError, match=r"one column must be unique, since it is the key, and (none|a, b) is"):
            Contract(pap.DataFrameSchema(columns, name="Bad"), 1)
