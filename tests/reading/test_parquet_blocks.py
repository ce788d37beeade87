"""Parquet files into blocks: however the rows are grouped, the same rows; damage is told from a fault on the way."""

from __future__ import annotations

import datetime
import errno
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.passengers import passengers, typed
from titanic_batch.errors import DataError, TransferError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading import parquet_blocks as module
from titanic_batch.reading.arrow_blocks import ArrowBlock
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.escapes import escape, unescape
from titanic_batch.reading.files import read_error
from titanic_batch.reading.parquet_blocks import ParquetBlock, parquet_blocks
from titanic_batch.reading.parquet_footer import read_footer
from titanic_batch.reading.parquet_groups import RowGroups
from titanic_batch.reading.rules import ENCODING, OUT_OF_RANGE, TYPE

ROWS = 1_000


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Valid passengers, with a column that no contract names."""
    rows = typed(passengers(ROWS))
    return rows.append_column("Boat", pa.array([f"boat {key % 20}" for key in range(ROWS)]))


def written(path: Path, table: pa.Table, **options: Any) -> str:
    pq.write_table(table, path, **options)
    return str(path)


def row_groups(path: str) -> RowGroups:
    with open(path, "rb") as file:
        return RowGroups(path, read_footer(file, path), path)


def blocks_of(path: str, names: list[str] | None = None, *, fields: bool = True) -> list[ParquetBlock | ArrowBlock]:
    file = row_groups(path)
    return list(parquet_blocks(file, file.footer.names if names is None else names, fields=fields))


def read_all(path: str, types: dict[str, pa.DataType | None]) -> pa.Table:
    found = [block.read(types) for block in blocks_of(path, list(types))]
    assert not any(rows.problems for rows in found)
    return pa.concat_tables([rows.table for rows in found])


# Cutting


@pytest.mark.slow
@pytest.mark.parametrize("group", [1, 7, 100, 333, ROWS])
@pytest.mark.parametrize(("block_rows", "max_group_rows"), [(1, 1), (50, 120), (300, 400), (2**18, 2**20)])
def test_rows_are_the_same_however_they_are_grouped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table, group: int, block_rows: int, max_group_rows: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", max_group_rows)
    table = table if group > 1 else table[:20]
    path = written(tmp_path / "in.parquet", table, row_group_size=group)
    types: dict[str, pa.DataType | None] = {**CONTRACT.types, "Boat": None}
    blocks = blocks_of(path, list(types))
    found = [block.read(types).table for block in blocks]
    assert [block.size for block in blocks] == [rows.num_rows for rows in found]
    assert all(rows.num_rows <= max(block_rows, min(group, max_group_rows)) for rows in found)
    whole = pa.concat_tables(found).unify_dictionaries().combine_chunks()
    assert whole.select(list(CONTRACT.types)).to_pylist() == table.select(list(CONTRACT.types)).to_pylist()
    assert whole["Boat"].to_pylist() == table["Boat"].to_pylist()


def test_groups_of_different_sizes_and_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 100)
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", 250)
    path = str(tmp_path / "in.parquet")
    with pq.ParquetWriter(path, table.schema) as writer:
        start = 0
        for count in (30, 30, 0, 60, 250, 251, 1, 0, 378):
            writer.write_table(table[start : start + count])
            start += count
    blocks = blocks_of(path)
    assert [block.size for block in blocks] == [60, 60, 250, 100, 100, 51, 1, 100, 100, 100, 78]
    assert read_all(path, CONTRACT.types).to_pylist() == table.select(list(CONTRACT.types)).to_pylist()


@pytest.mark.parametrize("groups", [0, 1])
def test_file_without_rows(tmp_path: Path, table: pa.Table, groups: int) -> None:
    path = str(tmp_path / "in.parquet")
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table[:0])
    blocks = blocks_of(path)
    assert sum(block.size for block in blocks) == 0
    for block in blocks:
        found = block.read(CONTRACT.types)
        assert found.table.schema == pa.schema(list(CONTRACT.types.items()))
        assert found.table.num_rows == 0
        assert not found.problems


# Values


def test_strings_come_as_dictionaries_and_others_as_the_contract_has_them(tmp_path: Path, table: pa.Table) -> None:
    plain = table.set_column(2, "Sex", table["Sex"].cast(pa.string()))
    path = written(tmp_path / "in.parquet", plain.set_column(1, "Pclass", table["Pclass"].cast(pa.int8())))
    found = read_all(path, CONTRACT.types)
    assert found.schema == pa.schema(list(CONTRACT.types.items()))
    assert found["Sex"].to_pylist() == table["Sex"].to_pylist()
    assert found["Pclass"].to_pylist() == table["Pclass"].to_pylist()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), STRING], ids=str)
def test_text_may_be_stored_as_any_type_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    texts = ["C85", None, "", "NA", "C85", "B57 B59"]
    path = written(tmp_path / "in.parquet", pa.table({"Cabin": pa.array(texts).cast(kind)}), row_group_size=4)
    assert read_all(path, {"Cabin": STRING})["Cabin"].to_pylist() == ["C85", None, None, None, "C85", "B57 B59"]


def test_values_that_cannot_be_converted_are_problems_at_their_rows(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([1.0, 2.5, None, 4.0]),
        "age": pa.array([1, 2, None, 4], pa.int8()),
        "class": pa.array([Decimal("1.0"), Decimal("2.0"), Decimal(10**20), None], pa.decimal128(30, 1)),
    }
    path = written(tmp_path / "in.parquet", pa.table(columns))
    (block,) = blocks_of(path)
    found = block.read({"id": pa.int64(), "age": pa.float64(), "class": pa.int64()})
    assert found.table.to_pydict() == {
        "id": [1, None, None, 4],
        "age": [1.0, 2.0, None, 4.0],
        "class": [1, 2, None, None],
    }
    problems = [(problem.rule, problem.column, problem.rows.tolist()) for problem in found.problems]
    assert problems == [(TYPE, "id", [1]), (OUT_OF_RANGE, "class", [2])]


def test_kept_column_stands_as_it_stood(tmp_path: Path) -> None:
    columns = pa.table(
        {
            "when": pa.array([datetime.datetime(1912, 4, 15, 2, 20), None]),
            "list": pa.array([[1, 2], None]),
            "text": pa.array(["NA", ""]),
        }
    )
    path = written(tmp_path / "in.parquet", columns)
    (block,) = blocks_of(path)
    found = block.read(dict.fromkeys(columns.column_names))
    assert found.table.to_pylist() == columns.to_pylist()


def test_name_that_begins_like_another_does_not_bring_it_along(tmp_path: Path) -> None:
    columns = pa.table({"a.b": [1, 2], "a": [3, 4], "a.b.c": [5, 6]})
    path = written(tmp_path / "in.parquet", columns)
    for names in (["a"], ["a.b"], ["a.b.c", "a"]):
        assert read_all(path, dict.fromkeys(names)).to_pydict() == columns.select(names).to_pydict()


def foreign_text() -> pa.Array:
    """Strings of which two are not UTF-8, as other writers leave them."""
    values = pa.array([b"male", b"Zo\xeb", None, b"", b"\xff"], pa.binary())
    return pa.StringArray.from_buffers(len(values), *values.buffers()[1:], values.buffers()[0], values.null_count)


@pytest.mark.parametrize("more", [0, 1], ids=["first", "after valid rows"])
def test_bytes_that_are_no_text_break_the_encoding_rule(tmp_path: Path, more: int) -> None:
    array = pa.concat_arrays([pa.array(["x"] * more, pa.string()), foreign_text()])
    path = written(tmp_path / "in.parquet", pa.table({"Sex": array, "Name": array}))
    (block,) = blocks_of(path)
    found = block.read({"Sex": STRING, "Name": None})
    expected = [*["x"] * more, "male", None, None, None, None]
    assert found.table["Sex"].to_pylist() == expected
    assert found.table["Name"].to_pylist() == [*["x"] * more, "male", None, None, "", None]  # "" is kept as it stands
    problems = [(problem.rule, problem.column, problem.rows.tolist()) for problem in found.problems]
    rows = [1 + more, 4 + more]
    assert problems == [(ENCODING, "Sex", rows), (ENCODING, "Name", rows)]
    fields = block.fields(np.array(rows)).table["Name"].to_pylist()
    assert [unescape(text.encode()) for text in fields] == [b"Zo\xeb", b"\xff"]


# Fields as they stood


def test_fields_are_the_text_of_every_column(tmp_path: Path) -> None:
    columns = pa.table(
        {
            "id": [1, 2, 3],
            "fare": [7.25, None, 0.1],
            "sex": pa.array(["male", "NA", None]),
            "sure": [True, None, False],
            "day": pa.array([datetime.date(1912, 4, 15)] * 3),
            "list": [[1, None], None, []],
            "pair": [{"x": 1}, None, {"x": None}],
            "raw": pa.array([b"a", b"\xff", None]),
            "price": pa.array([Decimal("1.50"), None, Decimal("0.25")]),
        }
    )
    path = written(tmp_path / "in.parquet", columns, row_group_size=2)
    (block,) = blocks_of(path)
    fields = block.fields(np.array([2, 0, 1]))
    assert fields.lines == [None] * 3
    assert fields.table.column_names == columns.column_names
    assert fields.table.to_pylist() == [
        {
            "id": "3", "fare": "0.1", "sex": None, "sure": "false", "day": "1912-04-15", "list": "[]",
            "pair": '{"x": null}', "raw": None, "price": "0.25",
        },
        {
            "id": "1", "fare": "7.25", "sex": "male", "sure": "true", "day": "1912-04-15", "list": "[1, null]",
            "pair": '{"x": 1}', "raw": "a", "price": "1.50",
        },
        {
            "id": "2", "fare": None, "sex": "NA", "sure": None, "day": "1912-04-15", "list": None,
            "pair": None, "raw": escape(b"\xff").decode(), "price": None,
        },
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_text_is_read_however_it_is_stored(tmp_path: Path, table: pa.Table, encoding: str) -> None:
    path = str(tmp_path / "in.parquet")
    plain = table.set_column(2, "Sex", table["Sex"].cast(pa.string()))
    encodings = {"Sex": encoding, "Boat": encoding}
    pq.write_table(plain, path, row_group_size=300, use_dictionary=["Cabin"], column_encoding=encodings)
    for block in blocks_of(path):
        found = block.read(CONTRACT.types | {"Boat": None}).table
        assert found["Sex"].to_pylist() == table["Sex"].to_pylist()
        assert found["Boat"].to_pylist() == table["Boat"].to_pylist()


def test_codes_within_lists_that_differ_by_row_group(tmp_path: Path, table: pa.Table) -> None:
    names = [[f"name {row}"] for row in range(ROWS)]
    nested = pa.array(names, pa.list_(pa.dictionary(pa.int32(), pa.string())))
    path = written(tmp_path / "in.parquet", table.append_column("Names", nested), row_group_size=300)
    (block,) = blocks_of(path)
    assert block.read({"Names": None}).table["Names"].to_pylist() == names
    assert block.fields(np.array([1, 999])).table["Names"].to_pylist() == ['["name 1"]', '["name 999"]']


VIEWS = {
    "text": (pa.array(["a", None, "c"], pa.string_view()), ["a", None, "c"]),
    "bytes": (pa.array([b"a", None, b"c"], pa.binary_view()), ["a", None, "c"]),
    "list": (pa.array([["a"], None, ["c", None]], pa.list_(pa.string_view())), ['["a"]', None, '["c", null]']),
    "long list": (pa.array([["a"], None, []], pa.large_list(pa.string_view())), ['["a"]', None, "[]"]),
    "pair": (
        pa.array([["a", "b"], None, ["c", "d"]], pa.list_(pa.string_view(), 2)),
        ['["a", "b"]', None, '["c", "d"]'],
    ),
    "parts": (
        pa.array([{"x": 1, "y": "a"}, None, {"x": 2, "y": None}], pa.struct({"x": pa.int8(), "y": pa.string_view()})),
        ['{"x": 1, "y": "a"}', None, '{"x": 2, "y": null}'],
    ),
    "map": (
        pa.array([[("k", b"a")], None, []], pa.map_(pa.string_view(), pa.binary_view())),
        ['[["k", "a"]]', None, "[]"],
    ),
}


@pytest.mark.parametrize("largest_group", [1, 100])
@pytest.mark.parametrize(("views", "text"), VIEWS.values(), ids=VIEWS)
def test_rows_can_be_taken_of_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: pa.Array, text: list[str | None], largest_group: int
) -> None:
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", largest_group)
    path = written(tmp_path / "in.parquet", pa.table({"views": views}))
    assert pq.read_table(path)["views"].type == views.type
    (block,) = blocks_of(path)
    assert block.fields(np.array([2, 0])).table["views"].to_pylist() == [text[2], text[0]]
    column = block.read({"views": None}).table["views"]
    assert column.take(pa.array([1, 0])).to_pylist() == [None, views[0].as_py()]


def test_fields_of_a_slice_of_a_huge_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 100)
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", 250)
    path = written(tmp_path / "in.parquet", table)
    blocks = blocks_of(path)
    fields = blocks[3].fields(np.array([5, 99]))
    assert fields.table["PassengerId"].to_pylist() == ["306", "400"]
    assert fields.table["Boat"].to_pylist() == ["boat 5", "boat 19"]


# Damage


def test_damaged_pages_are_a_data_error(tmp_path: Path, table: pa.Table) -> None:
    path = Path(written(tmp_path / "in.parquet", table, compression="zstd"))
    data = bytearray(path.read_bytes())
    data[4:2_000] = bytes(1_996)
    path.write_bytes(data)
    (block,) = blocks_of(str(path))
    with pytest.raises(
        DataError, match=r"in\.parquet is damaged: it cannot be read to its end \(column .+\)"
    ) as caught:
        block.read(CONTRACT.types)
    assert caught.value.__cause__ is None


def test_damage_in_a_huge_group_is_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", 10)
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", 20)
    path = Path(written(tmp_path / "in.parquet", table, compression="zstd"))
    data = bytearray(path.read_bytes())
    data[4:2_000] = bytes(1_996)
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        blocks_of(str(path), list(CONTRACT.types))


def test_file_that_went_away_is_worth_another_try(tmp_path: Path, table: pa.Table) -> None:
    path = written(tmp_path / "in.parquet", table)
    (block,) = blocks_of(path)
    Path(path).unlink()
    with pytest.raises(TransferError, match=r"reading .*in\.parquet failed midway .*: try again"):
        block.read(CONTRACT.types)


def test_read_error_tells_a_fault_on_the_way_from_damage() -> None:
    fault = read_error("in.csv", OSError(errno.EIO, "Input/output error"))
    assert isinstance(fault, TransferError)
    assert str(fault) == "reading in.csv failed midway (Input/output error): try again."
    for error in (OSError("zlib inflate failed: a value"), pa.ArrowInvalid("a value")):
        damage = read_error("in.csv", error)
        assert isinstance(damage, DataError)
        assert str(damage) == "in.csv is damaged: it cannot be read to its end. Write it again."
    # What pyarrow says of a type that polars writes; it can't write one that it can't read.
    unknown = read_error("in.parquet", pa.ArrowNotImplementedError("Integers with more than 64 bits"))
    assert isinstance(unknown, DataError)
    assert str(unknown).startswith("in.parquet holds a type that can't be read here: leave that column out")
