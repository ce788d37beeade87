"""Columns of row groups: what can't be read is named where it is needed, and left out where it is not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import corpus, odd_parquet
from tests.thrift import Footer, edited
from titanic_batch.errors import DataError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading import parquet_blocks as module
from titanic_batch.reading.parquet_blocks import parquet_blocks
from titanic_batch.reading.parquet_footer import read_footer
from titanic_batch.reading.parquet_groups import RowGroups

ROWS = 20
GROUP = 5


@pytest.fixture(scope="module")
def file() -> bytes:
    """Twenty passengers in four row groups."""
    return corpus.parquet_of(corpus.good_table(1, ROWS), GROUP)


def row_groups(content: bytes, folder: Path) -> RowGroups:
    path = folder / "in.parquet"
    path.write_bytes(content)
    with path.open("rb") as opened:
        return RowGroups(str(path), read_footer(opened, "in.parquet"), "in.parquet")


def read_all(groups: RowGroups) -> int:
    """Read what is needed in all blocks, and return the number of rows."""
    blocks = parquet_blocks(groups, list(CONTRACT.types), fields=False)
    return sum(block.read(CONTRACT.types).table.num_rows for block in blocks)


def names_in_fields(content: bytes, folder: Path) -> tuple[list[str | None], set[str]]:
    """Return the fields of the column Name, and the columns that could not be read in full, in all blocks."""
    found: list[str | None] = []
    unread: set[str] = set()
    for block in parquet_blocks(row_groups(content, folder), list(CONTRACT.types), fields=True):
        fields = block.fields(np.arange(block.size))
        found += fields.table["Name"].to_pylist()
        unread |= fields.unread
        assert block.read(CONTRACT.types).table.num_rows == block.size
    return found, unread


def damage_in_pages(file: bytes, column: str, group: int) -> bytes:
    """Return a file with zeros in place of a column's pages."""
    metadata = pq.read_metadata(io.BytesIO(file))
    row_group = metadata.row_group(group)
    (chunk,) = (c for c in map(row_group.column, range(row_group.num_columns)) if c.path_in_schema == column)
    start = chunk.dictionary_page_offset
    return file[:start] + bytes(chunk.total_compressed_size) + file[start + chunk.total_compressed_size :]


DAMAGE: dict[str, Callable[[bytes, str, int], bytes]] = {
    "pages": damage_in_pages,
    "compression": odd_parquet.with_lzo,
    "description": odd_parquet.with_damaged_description,
}


@pytest.mark.parametrize("block_rows", [1, 5, 12, 100])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_fields_are_null_in_a_row_group_where_they_cannot_be_read_however_groups_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bytes, damage: Callable[..., bytes], block_rows: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    names = [f"Passenger, Mr. No {key}" for key in range(1, ROWS + 1)]
    found, unread = names_in_fields(damage(file, "Name", 2), tmp_path)
    assert found == [*names[:10], *[None] * 5, *names[15:]]
    assert unread == {"Name"}


@pytest.mark.parametrize("block_rows", [1, 2, 3])
def test_fields_are_null_from_a_slice_on_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bytes, block_rows: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", 3)
    names = [f"Passenger, Mr. No {key}" for key in range(1, ROWS + 1)]
    found, unread = names_in_fields(damage_in_pages(file, "Name", 2), tmp_path)
    assert found == [*names[:10], *[None] * 5, *names[15:]]
    assert unread == {"Name"}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_column_that_cannot_be_read_in_the_first_row_is_not_readable(
    tmp_path: Path, file: bytes, damage: Callable[..., bytes]
) -> None:
    groups = row_groups(damage(file, "Name", 0), tmp_path)
    assert groups.readable == tuple(name for name in corpus.COLUMNS if name != "Name")
    for block in parquet_blocks(groups, list(CONTRACT.types), fields=True):
        assert block.fields(np.array([0])).table.column_names == list(groups.readable)


def test_empty_row_groups_do_not_tell_what_can_be_read(tmp_path: Path) -> None:
    sink = pa.BufferOutputStream()
    table = corpus.good_table(1, 3)
    with pq.ParquetWriter(sink, table.schema) as writer:
        for part in (table[:0], table):
            writer.write_table(part)
    content = odd_parquet.with_lzo(sink.getvalue().to_pybytes(), "Name", 1)
    assert "Name" not in row_groups(content, tmp_path).readable
    empty = corpus.parquet_of(corpus.good_table(1, 1)[:0])
    assert row_groups(empty, tmp_path).readable == corpus.COLUMNS


@pytest.mark.parametrize("max_group_rows", [3, 100])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_needed_column_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bytes, damage: Callable[..., bytes], max_group_rows: int
) -> None:
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", max_group_rows)
    groups = row_groups(damage(file, "Cabin", 2), tmp_path)
    with pytest.raises(DataError, match="column Cabin"):
        read_all(groups)


@pytest.mark.parametrize("max_group_rows", [3, 100])
@pytest.mark.parametrize("rows", [(5, 5, 5, 6), (5, 4, 5, 5), (4, 6, 5, 5), (5, 5, 0, 10)], ids=str)
def test_rows_must_be_as_many_as_are_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: bytes, rows: tuple[int, ...], max_group_rows: int
) -> None:
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", max_group_rows)
    groups = row_groups(edited(file, lambda footer: footer.set_rows(*rows)), tmp_path)
    with pytest.raises(DataError, match=r"in\.parquet is damaged: its footer"):
        read_all(groups)


def test_values_of_a_nested_column_may_be_more_than_rows(tmp_path: Path) -> None:
    lists = pa.array([[1, 2, 3], [], None, [4]])
    parts = pa.array([{"a": 1}, None, {"a": 2}, {"a": None}])
    groups = row_groups(corpus.parquet_of(pa.table({"lists": lists, "parts": parts}), 2), tmp_path)
    found = groups.read([0, 1], ["lists", "parts"])
    assert found["lists"].to_pylist() == lists.to_pylist()
    assert found["parts"].to_pylist() == parts.to_pylist()


def test_description_without_a_path_is_as_good(tmp_path: Path, file: bytes) -> None:
    def edit(footer: Footer) -> None:
        for chunk in footer.chunks(0):
            chunk[3][3].elements = []

    groups = row_groups(edited(file, edit), tmp_path)
    assert groups.read([0, 1], ["Age"]).num_rows == 2 * GROUP


@pytest.mark.parametrize("fields", [True, False])
@pytest.mark.parametrize("size", [3, 7, ROWS])
def test_delta_encoded_text_is_read_in_slices_also_where_dictionaries_end_midway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, fields: bool
) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", size)
    monkeypatch.setattr(module, "MAX_GROUP_ROWS", 6)
    table, sink = corpus.good_table(1, ROWS), pa.BufferOutputStream()
    encodings = {"Sex": "DELTA_BYTE_ARRAY", "Name": "DELTA_LENGTH_BYTE_ARRAY"}
    pq.write_table(table, sink, use_dictionary=["Cabin"], column_encoding=encodings)
    groups = row_groups(sink.getvalue().to_pybytes(), tmp_path)
    blocks = list(parquet_blocks(groups, list(CONTRACT.types), fields=fields))
    assert [block.size for block in blocks] == [*[size] * (ROWS // size), *([ROWS % size] if ROWS % size else [])]
    found = [block.read(CONTRACT.types).table for block in blocks]
    assert pa.concat_tables(found).unify_dictionaries()["Sex"].to_pylist() == table["Sex"].to_pylist()
    if fields:
        texts = [block.fields(np.arange(block.size)).table["Name"] for block in blocks]
        assert [text for column in texts for text in column.to_pylist()] == table["Name"].to_pylist()
