"""Blocks of a Parquet file: whole row groups, or slices of a row group that is too large for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.column_names import distinct_names
from titanic_batch.reading.column_text import as_escaped_text
from titanic_batch.reading.columns import as_single_array, from_arrow, is_text, stored_bounds, valid_text
from titanic_batch.reading.files import reading_from
from titanic_batch.reading.rules import Mask, Problem

BLOCK_ROWS = 2**18
MAX_GROUP_ROWS = 2**20
# Arrow can't read columns in these encodings as dictionaries.
_DELTA_ENCODINGS = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}


@dataclass(frozen=True, slots=True)
class ParquetBlock:
    """Rows of a Parquet file: consecutive row groups, loaded when the block is read, or rows that are already loaded.

    ``name`` is the name of the file in messages.
    """

    path: str
    name: str
    metadata: pq.FileMetaData
    groups: tuple[int, ...] = ()
    rows: pa.Table | None = None

    @property
    def size(self) -> int:
        """Number of rows in the block."""
        if self.rows is not None:
            return int(self.rows.num_rows)
        return sum(self.metadata.row_group(group).num_rows for group in self.groups)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns in ``types``, each converted to its type, or with its original type if that is None."""
        table = self._table(list(types))
        problems, columns = [], []
        for name, wanted in types.items():
            column = as_single_array(table[name])
            broken: dict[str, Mask] = {}
            if wanted is not None:
                column, broken = from_arrow(column, wanted)
            elif is_text(column.type):
                column, broken = valid_text(column)
            problems += [Problem(rule, name, np.flatnonzero(mask)) for rule, mask in broken.items()]
            columns.append(column)
        return Rows(pa.table(columns, names=list(types)), problems)

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the original values of the given rows in all columns of the file, escaped with `escapes.escape`."""
        table = self._table(None).take(pa.array(rows))
        columns = [as_escaped_text(column) for column in table.columns]
        return Fields(pa.table(columns, names=distinct_names(table.column_names)), [None] * len(rows))

    def _table(self, names: list[str] | None) -> pa.Table:
        with reading_from(self.name):
            if self.rows is not None:
                table = self.rows if names is None else self.rows.select(names)
            else:
                with _open_row_groups(self.path, self.metadata, self.groups) as file:
                    table = _read_row_groups(file, self.groups, names)
            _check_dictionary_indices(table)
            return table


def parquet_blocks(
    path: str, metadata: pq.FileMetaData, columns: Sequence[str] | None, name: str | None = None
) -> Iterator[ParquetBlock]:
    """Yield the blocks of a file in order.

    Parameters
    ----------
    path
        The file to read.
    metadata
        The metadata in its footer.
    columns
        The columns that will be read from the blocks, or None for all columns.
    name
        Name of the file in messages, by default its path.
    """
    name = name or path
    pending: list[int] = []
    pending_rows = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if pending and pending_rows + rows > BLOCK_ROWS:
            yield ParquetBlock(path, name, metadata, tuple(pending))
            pending, pending_rows = [], 0
        if rows > MAX_GROUP_ROWS:
            yield from _slices(path, name, metadata, group, columns)
        else:
            pending.append(group)
            pending_rows += rows
    if pending:
        yield ParquetBlock(path, name, metadata, tuple(pending))


def _slices(
    path: str, name: str, metadata: pq.FileMetaData, group: int, columns: Sequence[str] | None
) -> Iterator[ParquetBlock]:
    with reading_from(name), _open_row_groups(path, metadata, [group]) as file:
        names = None if columns is None else list(columns)
        for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group], columns=names, use_threads=False):
            yield ParquetBlock(path, name, metadata, rows=_without_views(pa.Table.from_batches([batch])))


def _open_row_groups(path: str, metadata: pq.FileMetaData, groups: Sequence[int]) -> pq.ParquetFile:
    """Open a file to read the given row groups, with text as dictionaries unless it is delta-encoded."""
    index = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    text = [field.name for field in metadata.schema.to_arrow_schema() if is_text(field.type)]
    chunks = {name: [metadata.row_group(group).column(index[name]) for group in groups] for name in text}
    encoded = [name for name in text if all(_DELTA_ENCODINGS.isdisjoint(chunk.encodings) for chunk in chunks[name])]
    return pq.ParquetFile(path, metadata=metadata, read_dictionary=encoded, buffer_size=2**20)


def _read_row_groups(file: pq.ParquetFile, groups: Sequence[int], columns: list[str] | None) -> pa.Table:
    try:
        table = file.read_row_groups(list(groups), columns=columns, use_threads=False)
    except pa.ArrowNotImplementedError:  # dictionaries in nested columns, which differ between row groups
        table = pa.concat_tables([file.read_row_group(group, columns=columns, use_threads=False) for group in groups])
    return _without_views(table)


def _without_views(table: pa.Table) -> pa.Table:
    """Return a table with string and binary views converted to strings and binary: Arrow can't select rows of views."""
    return table.cast(pa.schema([field.with_type(without_views(field.type)) for field in table.schema]))


def without_views(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type that a column of type ``arrow_type`` is read as: string and binary views become plain types."""
    if pa.types.is_string_view(arrow_type):
        return pa.string()
    if pa.types.is_binary_view(arrow_type):
        return pa.binary()
    inner = [arrow_type.field(i) for i in range(arrow_type.num_fields)] if pa.types.is_nested(arrow_type) else []
    free = [field.with_type(without_views(field.type)) for field in inner]
    if free == inner:
        return arrow_type
    match arrow_type:
        case pa.StructType():
            return pa.struct(free)
        case pa.MapType():
            return pa.map_(*(field.type for field in free[0].type))
        case pa.FixedSizeListType(list_size=size):
            return pa.list_(free[0], size)
        case pa.LargeListType():
            return pa.large_list(free[0])
        case _:
            return pa.list_(free[0])


def _check_dictionary_indices(table: pa.Table) -> None:
    """Check that dictionary indices are in range, which Arrow assumes even if the file is damaged.

    Raises
    ------
    pyarrow.ArrowInvalid
        An index is out of range.
    """
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            low, high = stored_bounds(chunk.indices) if len(chunk) else (0, -1)
            if not 0 <= low <= high < len(chunk.dictionary):
                codes = pc.min_max(chunk.indices).as_py()
                if codes["max"] is not None and not 0 <= codes["min"] <= codes["max"] < len(chunk.dictionary):
                    raise pa.ArrowInvalid("a code beyond the dictionary")
