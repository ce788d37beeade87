"""Blocks of a Parquet file: whole row groups, or slices of a row group that is too large for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.reading.arrow_blocks import ArrowBlock, fields_of, typed_rows
from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.files import reading_from
from titanic_batch.reading.parquet_groups import RowGroups

BLOCK_ROWS = 2**18
MAX_GROUP_ROWS = 2**20


@dataclass(frozen=True, slots=True)
class ParquetBlock:
    """Consecutive row groups of a Parquet file, which are loaded when they are read."""

    file: RowGroups
    groups: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of rows in the block."""
        return sum(map(self.file.rows, self.groups))

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns in ``types``, as `typed_rows` does."""
        with reading_from(self.file.name):
            return typed_rows(self.file.read(self.groups, list(types)), types)

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the original values of the given rows in all columns that can be read, as `Block.fields` does.

        If a column can't be read to its end in a row group, its fields in that row group are null.
        """
        with reading_from(self.file.name):
            names = self.file.readable
            parts = [fields_of({}, names, rows[:0])]
            places = [np.empty(0, dtype=np.int64)]
            start = 0
            for group in self.groups:
                end = start + self.file.rows(group)
                if len(at := np.flatnonzero((start <= rows) & (rows < end))):
                    parts.append(fields_of(self.file.read_what_can_be(group, names), names, rows[at] - start))
                    places.append(at)
                start = end
        table = pa.concat_tables(part.table for part in parts).take(pa.array(np.argsort(np.concatenate(places))))
        return Fields(table, [None] * len(rows), frozenset().union(*(part.unread for part in parts)))


def parquet_blocks(file: RowGroups, needed: Sequence[str], *, fields: bool) -> Iterator[ParquetBlock | ArrowBlock]:
    """Yield the blocks of a file in order.

    Parameters
    ----------
    file
        The row groups to read.
    needed
        The columns that will be read from the blocks.
    fields
        Whether the fields of all columns will be read, too.
    """
    pending: list[int] = []
    pending_rows = 0
    for group in range(file.footer.metadata.num_row_groups):
        rows = file.rows(group)
        if pending and pending_rows + rows > BLOCK_ROWS:
            yield ParquetBlock(file, tuple(pending))
            pending, pending_rows = [], 0
        if rows > MAX_GROUP_ROWS:
            names = file.readable if fields else ()
            for table in file.slices(group, needed, [name for name in names if name not in needed], BLOCK_ROWS):
                yield ArrowBlock(table, names)
        else:
            pending.append(group)
            pending_rows += rows
    if pending:
        yield ParquetBlock(file, tuple(pending))
