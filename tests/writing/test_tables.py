"""Tables out: the same bytes however the rows came, and every value back."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passengers import table_of
from tests.writing.files import FORMATS, read_back, unpacked
from titanic_batch.reading.formats import Format
from titanic_batch.writing import tables
from titanic_batch.writing.tables import TableWriter

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


def cut(table: pa.Table, places: Sequence[int]) -> list[pa.Table]:
    edges = [0, *sorted(place for place in places if place < len(table)), len(table)]
    return [table.slice(start, end - start) for start, end in pairwise(edges)]


# The same bytes


@settings(max_examples=20)
@given(st.lists(st.integers(0, 400), max_size=9), st.sampled_from(FORMATS))
def test_bytes_do_not_depend_on_how_rows_are_cut(places: list[int], kind: Format) -> None:
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


def test_an_empty_chunk_adds_nothing_to_a_csv() -> None:
    rows = pa.table({"key": [1, 2], "share": [0.5, 0.25]})
    buffer = io.BytesIO()
    with TableWriter(buffer, "csv", rows.schema) as writer:
        writer.write(pa.concat_tables([rows.slice(0, 0), rows, rows.slice(0, 0)]))
    assert buffer.getvalue() == b"key,share\n1,0.5\n2,0.25\n"


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


def test_parquet_is_compact() -> None:
    """Rising keys and repeated values take little room."""
    assert len(written([rows(100_000)])) < 400_000


# The file


@pytest.mark.parametrize("kind", FORMATS)
def test_the_file_is_left_open(kind: Format) -> None:
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
def test_a_failed_writer_does_not_touch_a_closed_file(kind: Format) -> None:
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
def test_a_full_disk_is_raised_as_it_is(kind: Format) -> None:
    def write(room: int) -> None:
        with TableWriter(Full(room), kind, SCHEMA) as writer:
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
