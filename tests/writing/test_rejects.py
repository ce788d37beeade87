"""Rejects out: every row exactly as it stood, with the reasons."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.passengers import COLUMNS, csv_bytes, parquet_bytes, passenger, passengers, table_of, typed
from tests.writing.files import FORMATS, read_back, unpacked
from titanic_batch import validate_file
from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.formats import Format
from titanic_batch.writing.rejects import RejectsWriter, reasons_of


def judged(
    *data: bytes, kind: Format = "csv", names: Sequence[str] = ("in",), block_bytes: int = 2**20
) -> list[JudgedBlock]:
    with ExitStack() as stack:
        parts = zip(data, names, strict=True)
        sources = [stack.enter_context(table_of(part, kind, block_bytes, name)) for part, name in parts]
        return list(Judge(CONTRACT, fields=True).judged(sources))


def rejects(blocks: Sequence[JudgedBlock], kind: Format = "csv") -> bytes:
    columns = dict.fromkeys(column for block in blocks for column in block.table.names)
    file = io.BytesIO()
    with RejectsWriter(file, kind, list(columns)) as writer:
        for block in blocks:
            writer.write(block)
        writer.close()
    return file.getvalue()


def reasons(row: dict[str, str]) -> list[tuple[str, str | None, str | None]]:
    return [(reason["rule"], reason["column"], reason["value"]) for reason in json.loads(row["reject_reasons"])]


OWN = ["reject_source", "reject_row", "reject_reasons", "reject_line"]
SPOILED = (
    b"PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin,Name\n"
    b'1,3,male,22,1,0,7.25,,"Braund, Mr. Owen"\n'
    b'2,3,x,22,1,0,7.25,Z9,"say ""x""\nand y"\n'
    b"3,3,male\n"
    b"1,3,male,22,1,0,7.25,,again\n"
    b"5,3,male, 22 ,1,0,inf,,Zo\xeb \xf4\x8f\xbe\x80\n"
    b"6,3,male,,1,0,,,\n"
    b'7,3,"male,never\nclosed'
)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.zst"])
@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_rejects_are_written_byte_by_byte_as_they_came(kind: Format, block_bytes: int) -> None:
    data = unpacked(rejects(judged(SPOILED, block_bytes=block_bytes), kind), kind)
    text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
    header, *lines = csv.reader(text, strict=True)
    assert header == [*OWN, *COLUMNS, "Name"]
    found = [dict(zip(header, line, strict=True)) for line in lines]
    assert [(row["reject_source"], row["reject_row"]) for row in found] == [("in", str(row)) for row in (2, 3, 4, 5, 7)]
    originals = [[row[name] for name in [*COLUMNS, "Name"]] for row in found]
    assert originals == [
        ["2", "3", "x", "22", "1", "0", "7.25", "Z9", 'say "x"\nand y'],
        ["3", "3", "male", "", "", "", "", "", ""],
        ["1", "3", "male", "22", "1", "0", "7.25", "", "again"],
        ["5", "3", "male", " 22 ", "1", "0", "inf", "", "Zo\udceb \U0010ff80"],
        ["7", "3", "male,never\nclosed", "", "", "", "", "", ""],
    ]
    assert [row["reject_line"] for row in found] == ["", "3,3,male", "", "", '7,3,"male,never\nclosed']
    assert [sorted(reasons(row), key=str) for row in found] == [
        [("not_allowed", "Cabin", "Z9"), ("not_allowed", "Sex", "x")],
        [("wrong_field_count", None, None)],
        [("duplicate_key", "PassengerId", "1")],
        [("not_finite", "Fare", "inf")],
        [("unclosed_quote", None, None)],
    ]


def test_rejects_in_parquet_show_bytes_that_are_not_utf8_as_hex() -> None:
    found = pq.read_table(io.BytesIO(rejects(judged(SPOILED), "parquet")))
    assert found.column_names == [*OWN, *COLUMNS, "Name"]
    kinds = {field.name: field.type for field in found.schema}
    assert kinds == dict.fromkeys(found.column_names, pa.string()) | {"reject_row": pa.int64()}
    assert found["reject_row"].to_pylist() == [2, 3, 4, 5, 7]
    assert found["Name"].to_pylist() == ['say "x"\nand y', None, "again", "Zo\\xeb \U0010ff80", None]
    assert found["reject_line"].to_pylist() == [None, "3,3,male", None, None, '7,3,"male,never\nclosed']


def test_reasons_show_the_value_as_it_stood_and_other_bytes_as_hex() -> None:
    rows = csv_bytes([passenger(1, Sex="ma\tle", Age="1e999", SibSp="")]).replace(b"\t", b"\xff")
    (block,) = judged(rows)
    ((*found,),) = reasons_of(block)
    assert sorted(found, key=str) == [
        {"rule": "encoding", "column": "Sex", "value": "ma\\xffle"},
        {"rule": "missing", "column": "SibSp", "value": ""},
        {"rule": "not_finite", "column": "Age", "value": "1e999"},
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_rejects_of_parquet_hold_every_column_as_text(kind: Format) -> None:
    table = typed(passengers(3)).append_column("Boat", pa.array([[1], None, [2, 3]]))
    table = table.set_column(1, "Pclass", pa.array([4, 1, 5], pa.int8()))
    (first, second) = read_back(rejects(judged(parquet_bytes(table), kind="parquet"), kind), kind)
    assert (first["Pclass"], first["Boat"], first["Age"] or None) == ("4", "[1]", None)
    assert (second["Pclass"], second["Boat"], second["Age"]) == ("5", "[2, 3]", "38")


def test_rejects_of_sources_with_different_columns() -> None:
    first = csv_bytes([passenger(1, Sex="x") | {"Name": "a"}], (*COLUMNS, "Name"))
    second = csv_bytes([passenger(2), passenger(3, Sex="y") | {"Boat": "b"}], ("Boat", *COLUMNS))
    found = read_back(rejects(judged(first, second, names=("one", "two"))), "csv")
    assert [(row["reject_source"], row["reject_row"], row["Name"], row["Boat"]) for row in found] == [
        ("one", "1", "a", ""),
        ("two", "2", "", "b"),
    ]


def test_corrected_rejects_are_accepted() -> None:
    spoiled = [passenger(1, Sex="x"), passenger(2), passenger(3, Age="old", Cabin="Z"), passenger(4)]
    data = csv_bytes(spoiled) + b"5,2,male\n"
    for kind in FORMATS[:3]:
        found = read_back(rejects(judged(data), kind), kind)
        assert [row["PassengerId"] for row in found] == ["1", "3", "5"]
        mended = [row | passenger(int(row["PassengerId"])) for row in found]
        again = judged(csv_bytes(mended, list(found[0])))
        assert [block.rejected.tolist() for block in again] == [[]]
        accepted = typed([passenger(1), passenger(3), passenger(5)])
        assert again[0].output.to_pylist() == accepted.to_pylist()


def test_rejects_of_rejects_hold_only_the_new_reasons() -> None:
    first = rejects(judged(csv_bytes([passenger(1), passenger(2, Sex="x"), passenger(3, Age="-1")])))
    (one, two) = read_back(rejects(judged(first, names=("mended",))), "csv")
    assert list(one) == [*OWN, *COLUMNS]
    assert [(row["reject_source"], row["reject_row"]) for row in (one, two)] == [("mended", "1"), ("mended", "2")]
    assert reasons(one) == [("not_allowed", "Sex", "x")]


def test_a_source_name_that_is_not_utf8_is_written_byte_by_byte() -> None:
    blocks = judged(csv_bytes([passenger(1, Sex="x")]), names=(os.fsdecode(b"\xff.csv"),))
    assert b'\n"\xff.csv",1,' in rejects(blocks)
    found = pq.read_table(io.BytesIO(rejects(blocks, "parquet")))
    assert found["reject_source"].to_pylist() == ["\\xff.csv"]


def test_accepted_rows_are_not_among_the_rejects() -> None:
    data = rejects(judged(csv_bytes(passengers(5))))
    assert data == (",".join([*OWN, *COLUMNS]) + "\n").encode()


def test_long_fields_of_rejects_are_written_whole() -> None:
    long = "é" * 300_000
    (row,) = judged(csv_bytes([passenger(1, Sex=long)]))
    assert b',"%b",' % long.encode() in rejects([row])
    assert gzip.decompress(rejects([row], "csv.gz")) == rejects([row])


@pytest.mark.parametrize("rejects_name", ["r.csv", "r.parquet"])
@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
def test_fields_without_a_column_name_are_kept_and_can_be_read_again(
    source: str, rejects_name: str, tmp_path: Path
) -> None:
    rows = [["", "PassengerId", "Pclass", " ", "Sex", "Age", "SibSp", "Parch", "Fare", "Cabin", "", ""],
            ["0", "1", "3", "a", "male", "22", "1", "0", "7.25", "", "b", ""],
            ["1", "2", "9", "c", "male", "22", "1", "0", "7.25", "", "d", "e"]]  # fmt: skip
    path = tmp_path / source
    if source == "in.csv":
        path.write_text("".join(f"{','.join(row)}\n" for row in rows))
    else:
        numbers = {"PassengerId": pa.int64(), "Pclass": pa.int64(), "SibSp": pa.int64(), "Parch": pa.int64(),
                   "Age": pa.float64(), "Fare": pa.float64()}  # fmt: skip
        columns = [pa.array(column[1:]).cast(numbers.get(column[0], pa.string())) for column in zip(*rows, strict=True)]
        pq.write_table(pa.Table.from_arrays(columns, names=rows[0]), path)
    report = validate_file(path, rejects=tmp_path / rejects_name)
    assert (report.rows, report.rejected) == (2, 1)
    (rejected,) = read_back((tmp_path / rejects_name).read_bytes(), "csv" if rejects_name == "r.csv" else "parquet")
    if source == "in.csv":
        assert [rejected[name] for name in ("", " ", "  ", "   ")] == ["1", "c", "d", "e"]
    else:  # there is no telling apart those that are all called ""
        assert (rejected[" "], report.left_out) == ("c", [""])
    assert [rejected[name] for name in ("PassengerId", "Pclass")] == ["2", "9"]
    if rejects_name == "r.csv":  # one that is mended passes
        mended = tmp_path / "mended.csv"
        mended.write_text((tmp_path / rejects_name).read_text().replace('"2","9"', '"2","3"'))
        assert mended.read_text() != (tmp_path / rejects_name).read_text()
        report = validate_file(mended, rejects=tmp_path / "again.csv")
        assert (report.rows, report.rejected) == (1, 0)
