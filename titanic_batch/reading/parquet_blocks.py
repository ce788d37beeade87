"""A Parquet file as blocks of rows: whole row groups, or slices of a row group that is too large for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.column_text import as_escaped_text
from titanic_batch.reading.columns import from_arrow, in_one_piece, is_text, stored_bounds, valid_text
from titanic_batch.reading.files import read_error
from titanic_batch.reading.rules import Mask, Problem

BLOCK_ROWS = 2**18
MAX_GROUP_ROWS = 2**20
_NEVER_CODES = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}  # the library can't read them as such


@dataclass(frozen=True, slots=True)
class ParquetBlock:
    """Rows of a Parquet file: consecutive row groups, read where the block is read, or rows that already are.

    ``name`` is what messages call the file.
    """

    path: str
    name: str
    metadata: pq.FileMetaData
    groups: tuple[int, ...] = ()
    rows: pa.Table | None = None

    @property
    def size(self) -> int:
        """Rows of the block."""
        if self.rows is not None:
            return int(self.rows.num_rows)
        return sum(self.metadata.row_group(group).num_rows for group in self.groups)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns that ``types`` names, each of its type (None: as it stands)."""
        table = self._table(list(types))
        problems, columns = [], []
        for name, wanted in types.items():
            column = in_one_piece(table[name])
            broken: dict[str, Mask] = {}
            if wanted is not None:
                column, broken = from_arrow(column, wanted)
            elif is_text(column.type):
                column, broken = valid_text(column)
            problems += [Problem(rule, name, np.flatnonzero(mask)) for rule, mask in broken.items()]
            columns.append(column)
        return Rows(pa.table(columns, names=list(types)), problems)

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the given rows as they stood, every column of the file, as text that `columns.escape` leaves."""
        table = self._table(None).take(pa.array(rows))
        columns = [as_escaped_text(column) for column in table.columns]
        return Fields(pa.table(columns, names=table.column_names), [None] * len(rows))

    def _table(self, names: list[str] | None) -> pa.Table:
        try:
            if self.rows is not None:
                table = self.rows if names is None else self.rows.select(names)
            else:
                with _opened(self.path, self.metadata, self.groups) as file:
                    table = _row_groups(file, self.groups, names)
            _check_codes(table)
        except (OSError, pa.ArrowException) as error:
            raise read_error(self.name, error) from None
        return table


def parquet_blocks(
    path: str, metadata: pq.FileMetaData, columns: Sequence[str] | None, name: str | None = None
) -> Iterator[ParquetBlock]:
    """Yield the blocks of a file in order.

    ``columns`` are those that will be asked for, None: all of them; ``name`` is what messages call the file, if it is
    not its path.
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
    try:
        with _opened(path, metadata, [group]) as file:
            names = None if columns is None else list(columns)
            for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group], columns=names, use_threads=False):
                yield ParquetBlock(path, name, metadata, rows=_without_views(pa.Table.from_batches([batch])))
    except (OSError, pa.ArrowException) as error:
        raise read_error(name, error) from None


def _opened(path: str, metadata: pq.FileMetaData, groups: Sequence[int]) -> pq.ParquetFile:
    """Open a file of which these row groups will be read: text as codes, unless it is stored as differences."""
    place = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
    text = [field.name for field in metadata.schema.to_arrow_schema() if is_text(field.type)]
    chunks = {name: [metadata.row_group(group).column(place[name]) for group in groups] for name in text}
    as_codes = [name for name in text if all(_NEVER_CODES.isdisjoint(chunk.encodings) for chunk in chunks[name])]
    return pq.ParquetFile(path, metadata=metadata, read_dictionary=as_codes, buffer_size=2**20)


def _row_groups(file: pq.ParquetFile, groups: Sequence[int], columns: list[str] | None) -> pa.Table:
    try:
        table = file.read_row_groups(list(groups), columns=columns, use_threads=False)
    except pa.ArrowNotImplementedError:  # codes within lists or the like, which are others in each group
        table = pa.concat_tables([file.read_row_group(group, columns=columns, use_threads=False) for group in groups])
    return _without_views(table)


def _without_views(table: pa.Table) -> pa.Table:
    """Return a table in which text and bytes stand in place of views of them, whose rows the library can't take."""
    return table.cast(pa.schema([field.with_type(view_free(field.type)) for field in table.schema]))


def view_free(found: pa.DataType) -> pa.DataType:
    """Return an Arrow type with text and bytes in place of views of them: the type that a column is read as."""
    if pa.types.is_string_view(found):
        return pa.string()
    if pa.types.is_binary_view(found):
        return pa.binary()
    inner = [found.field(place) for place in range(found.num_fields)] if pa.types.is_nested(found) else []
    free = [field.with_type(view_free(field.type)) for field in inner]
    if free == inner:
        return found
    match found:
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


def _check_codes(table: pa.Table) -> None:
    """Check that dictionary codes stay within the dictionary, which the library takes for granted in a damaged file."""
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            low, high = stored_bounds(chunk.indices) if len(chunk) else (0, -1)
            if not 0 <= low <= high < len(chunk.dictionary):
                codes = pc.min_max(chunk.indices).as_py()
                if codes["max"] is not None and not 0 <= codes["min"] <= codes["max"] < len(chunk.dictionary):
                    raise pa.ArrowInvalid("a code beyond the dictionary")
