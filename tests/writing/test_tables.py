"""Tables out: the same bytes however the rows came, every value back, and rejects exactly as they stood."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passengers import COLUMNS, csv_bytes, parquet_bytes, passenger, passengers, table_of, typed
from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.formats import Format
from titanic_batch.writing import tables
from titanic_batch.writing.rejects import RejectsWriter, reasons_of
from titanic_batch.writing.tables import TableWriter

FORMATS: list[Format] = ["csv", "csv.gz", "csv.zst", "parquet"]
SCHEMA = pa.schema(
    [
        ("PassengerId", pa.int64()),
        ("Name", pa.string()),
        ("Survived", pa.int8()),
        ("Probability", pa.float64()),
    ],
    metadata={"model": "an é"},
)


def rows(count: int) -> pa.Table:
    numbers = np.random.default_rng(count)
    columns = [
        np.arange(count) * 3 - 5,
        [None if row % 7 == 0 else f"n{row % 50}" for row in range(count)],
        pa.array(numbers.integers(0, 2, count), pa.int8()),
        numbers.integers(0, 300, count) / 300,
    ]
    return pa.table(columns, schema=SCHEMA)


def written(parts: Sequence[pa.Table], kind: Format = "parquet", schema: pa.Schema = SCHEMA) -> bytes:
    file = io.BytesIO()
    with TableWriter(file, kind, schema) as writer:
        for part in parts:
            writer.write(part)
        writer.close()
    return file.getvalue()


def unpacked(data: bytes, kind: Format) -> bytes:
    if kind == "csv":
        return data
    codec = {"csv.gz": "gzip", "csv.zst": "zstd"}[kind]
    unpacked_bytes: bytes = pa.CompressedInputStream(pa.BufferReader(data), codec).read()
    return unpacked_bytes


def read_back(data: bytes, kind: Format) -> list[dict[str, Any]]:
    """Return the rows of a file as text; of Parquet as they are."""
    if kind == "parquet":
        found: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist()
        return found
    return list(csv.DictReader(io.StringIO(unpacked(data, kind).decode("utf-8"), newline=""), strict=True))


def cut(table: pa.Table, places: Sequence[int]) -> list[pa.Table]:
    edges = [0, *sorted(place for place in places if place < len(table)), len(table)]
    return [table.slice(start, end - start) for start, end in pairwise(edges)]


# The same bytes


@settings(max_examples=20)
@given(st.lists(st.integers(0, 400), max_size=9), st.sampled_from(FORMATS))
def test_bytes_do_not_depend_on_how_rows_were_cut(places: list[int], kind: Format) -> None:
    table = rows(400)
    assert written(cut(table, places), kind) == written([table], kind)


@pytest.mark.parametrize("group", [1_000, 100_000, 2**20])
def test_bytes_of_many_rows_do_not_depend_on_the_cuts(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    """More rows than a page or a group holds, and values that no dictionary does."""
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", group)
    count = 30_000 if group == 1_000 else 250_000
    numbers = np.random.default_rng(1)
    columns = [
        numbers.permutation(count),
        np.char.add("name ", np.arange(count).astype(str)).astype(object),
        pa.array(numbers.integers(0, 2, count), pa.int8()),
        numbers.random(count),
    ]
    table = pa.table(columns, schema=SCHEMA)
    whole = written([table])
    assert pq.read_table(io.BytesIO(whole)).equals(table)
    assert written([part for part in cut(table, range(0, count, 777)) if len(part)]) == whole
    shuffled = pa.concat_tables(cut(table, [1, 12_345, 99_999])).combine_chunks()
    assert written(cut(shuffled, [1, 2, 20_000, 131_072])) == whole


def test_row_groups_have_a_fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 100)
    metadata = pq.read_metadata(io.BytesIO(written(cut(rows(450), [30, 170, 171]))))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [100] * 4 + [50]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_rows_make_a_whole_file(kind: Format) -> None:
    for parts in ([], [SCHEMA.empty_table()]):
        data = written(parts, kind)
        assert read_back(data, kind) == []
        if kind == "parquet":
            assert pq.read_schema(io.BytesIO(data)).equals(SCHEMA, check_metadata=True)
        else:
            assert unpacked(data, kind) == b"PassengerId,Name,Survived,Probability\n"


@pytest.mark.parametrize("kind", FORMATS)
def test_same_rows_make_the_same_bytes_at_any_time(kind: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written([rows(100)], kind)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert written([rows(100)], kind) == before


# The same values


def test_csv_is_plain() -> None:
    table = pa.table([[7, -1], ['say "x", twice', None], pa.array([1, 0], pa.int8()), [0.5, 1e-7]], schema=SCHEMA)
    assert written([table], "csv") == (
        b"PassengerId,Name,Survived,Probability\n"
        b'7,"say ""x"", twice",1,0.5\n'
        b"-1,,0,1e-7\n"
    )  # fmt: skip


@settings(max_examples=50)
@given(st.lists(st.text(), min_size=1), st.sampled_from(FORMATS))
def test_any_text_comes_back(texts: list[str], kind: Format) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    table = pa.table([range(len(texts)), texts], schema=schema)
    data = written(cut(table, [1, 3]), kind, schema)
    assert [row["text"] for row in read_back(data, kind)] == texts
    with table_of(data, kind) as read:
        (block,) = read.blocks(["text"])
        found = block.read({"text": None})
        assert found.table["text"].cast(pa.string()).to_pylist() == texts
        assert not found.problems


@given(st.lists(st.floats(), min_size=1))
def test_any_float_comes_back_from_csv_to_the_last_bit(numbers: list[float]) -> None:
    schema = pa.schema([("number", pa.float64())])
    found = [
        float(row["number"]) for row in read_back(written([pa.table([numbers], schema=schema)], "csv", schema), "csv")
    ]
    for number, again in zip(numbers, found, strict=True):
        assert (again == number and math.copysign(1, again) == math.copysign(1, number)) or math.isnan(number)


@pytest.mark.parametrize("kind", FORMATS)
def test_names_of_columns_may_be_anything(kind: Format) -> None:
    names = ["a,b", 'say "x"', "two\nlines", " ß ", "\U0010ff80"]
    schema = pa.schema([(name, pa.int64()) for name in names])
    data = written([pa.table([[1]] * 5, schema=schema)], kind, schema)
    (row,) = read_back(data, kind)
    assert list(row) == names


def test_schema_and_metadata_go_into_parquet() -> None:
    file = io.BytesIO(written([rows(10).replace_schema_metadata(None)]))
    assert pq.read_schema(file).equals(SCHEMA, check_metadata=True)
    assert pq.read_table(file).equals(rows(10))


def test_large_parquet_is_small() -> None:
    """Rising keys and repeated values take little room."""
    assert len(written([rows(100_000)])) < 400_000


# The file


@pytest.mark.parametrize("kind", FORMATS)
def test_file_is_left_open(kind: Format) -> None:
    file = io.BytesIO(b"")
    with TableWriter(file, kind, SCHEMA) as writer:
        writer.write(rows(5))
        writer.close()
        whole = file.getvalue()
        writer.close()
    del writer
    assert not file.closed
    assert file.getvalue() == whole


@pytest.mark.parametrize("kind", FORMATS)
def test_writer_that_is_left_lets_go_of_a_file_that_is_gone(kind: Format) -> None:
    """Nothing is written to the file, and nothing said, after a run that failed has closed it."""

    def fail() -> None:
        file = io.BytesIO()
        with TableWriter(file, kind, SCHEMA) as writer:
            writer.write(rows(5))
            file.close()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()


class Full(io.RawIOBase):
    """A disk with room for some bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return len(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_full_disk_comes_through_as_it_is(kind: Format) -> None:
    def write(room: int) -> None:
        with TableWriter(Full(room), kind, SCHEMA) as writer:  # type: ignore[arg-type]
            for _ in range(20):
                writer.write(part)
            writer.close()

    part = rows(2_000)
    write(2**30)
    size = len(written([part] * 20, kind))
    for room in (0, 3, size // 2, size - 1):
        with pytest.raises(OSError, match="No space left on device") as caught:
            write(room)
        assert caught.value.errno == 28


# Rejects


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
def test_rejects_are_given_back_byte_by_byte(kind: Format, block_bytes: int) -> None:
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


def test_rejects_in_parquet_show_foreign_bytes_as_hex() -> None:
    found = pq.read_table(io.BytesIO(rejects(judged(SPOILED), "parquet")))
    assert found.column_names == [*OWN, *COLUMNS, "Name"]
    kinds = {field.name: field.type for field in found.schema}
    assert kinds == dict.fromkeys(found.column_names, pa.string()) | {"reject_row": pa.int64()}
    assert found["reject_row"].to_pylist() == [2, 3, 4, 5, 7]
    assert found["Name"].to_pylist() == ['say "x"\nand y', None, "again", "Zo\\xeb \U0010ff80", None]
    assert found["reject_line"].to_pylist() == [None, "3,3,male", None, None, '7,3,"male,never\nclosed']


def test_reasons_show_the_value_as_it_stood_and_foreign_bytes_as_hex() -> None:
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


def test_rejects_that_were_mended_are_accepted() -> None:
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


def test_rejects_of_rejects_say_the_new_reasons_only() -> None:
    first = rejects(judged(csv_bytes([passenger(1), passenger(2, Sex="x"), passenger(3, Age="-1")])))
    (one, two) = read_back(rejects(judged(first, names=("mended",))), "csv")
    assert list(one) == [*OWN, *COLUMNS]
    assert [(row["reject_source"], row["reject_row"]) for row in (one, two)] == [("mended", "1"), ("mended", "2")]
    assert reasons(one) == [("not_allowed", "Sex", "x")]


def test_source_whose_name_is_no_text_is_given_back_byte_by_byte() -> None:
    blocks = judged(csv_bytes([passenger(1, Sex="x")]), names=(os.fsdecode(b"\xff.csv"),))
    assert b'\n"\xff.csv",1,' in rejects(blocks)
    found = pq.read_table(io.BytesIO(rejects(blocks, "parquet")))
    assert found["reject_source"].to_pylist() == ["\\xff.csv"]


def test_accepted_rows_leave_no_trace() -> None:
    data = rejects(judged(csv_bytes(passengers(5))))
    assert data == (",".join([*OWN, *COLUMNS]) + "\n").encode()


def test_long_fields_are_given_back() -> None:
    long = "é" * 300_000
    (row,) = judged(csv_bytes([passenger(1, Sex=long)]))
    assert b',"%b",' % long.encode() in rejects([row])
    assert gzip.decompress(rejects([row], "csv.gz")) == rejects([row])


def test_an_empty_chunk_adds_nothing_to_a_csv() -> None:
    rows = pa.table({"key": [1, 2], "share": [0.5, 0.25]})
    buffer = io.BytesIO()
    with TableWriter(buffer, "csv", rows.schema) as writer:
        writer.write(pa.concat_tables([rows.slice(0, 0), rows, rows.slice(0, 0)]))
    assert buffer.getvalue() == b"key,share\n1,0.5\n2,0.25\n"
