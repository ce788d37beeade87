"""Blocks of a Parquet file: whole row groups, or slices of a row group that is too large for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.column_text import as_escaped_text
from titanic_batch.reading.columns import as_single_array, from_arrow, is_text, valid_text
from titanic_batch.reading.files import is_damage, reading_from
from titanic_batch.reading.parquet_groups import RowGroups
from titanic_batch.reading.rules import Mask, Problem

BLOCK_ROWS = 2**18
MAX_GROUP_ROWS = 2**20


@dataclass(frozen=True, slots=True)
class ParquetBlock:
    """Rows of a Parquet file: consecutive row groups, which are loaded when they are read, or rows already loaded."""

    file: RowGroups
    groups: tuple[int, ...] = ()
    rows: pa.Table | None = None

    @property
    def size(self) -> int:
        """Number of rows in the block."""
        return sum(map(self.file.rows, self.groups)) if self.rows is None else int(self.rows.num_rows)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns in ``types``, each converted to its type, or with its original type if that is None."""
        with reading_from(self.file.name):
            table = self.file.read(self.groups, list(types)) if self.rows is None else self.rows.select(list(types))
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
        """Return the original values of the given rows in all columns that can be read, as `Block.fields` does.

        If a column can't be read to its end in a row group, its fields in that row group are null.
        """
        with reading_from(self.file.name):
            names = self.file.readable
            parts = [_as_text({}, names, rows[:0])]
            places = [np.empty(0, dtype=np.int64)]
            for table, at, own_rows in self._tables_with(rows, names):
                parts.append(_as_text(table, names, own_rows))
                places.append(at)
        table = pa.concat_tables(part.table for part in parts).take(pa.array(np.argsort(np.concatenate(places))))
        return Fields(table, [None] * len(rows), frozenset().union(*(part.unread for part in parts)))

    def _tables_with(
        self, rows: NDArray[np.int64], names: Sequence[str]
    ) -> Iterator[tuple[Mapping[str, pa.ChunkedArray], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the columns of each row group that has some of the rows, their places in ``rows``, and the rows."""
        if self.rows is not None:
            yield dict(zip(self.rows.column_names, self.rows.columns, strict=True)), np.arange(len(rows)), rows
        start = 0
        for group in self.groups:
            end = start + self.file.rows(group)
            if len(at := np.flatnonzero((start <= rows) & (rows < end))):
                yield self.file.read_what_can_be(group, names), at, rows[at] - start
            start = end


def parquet_blocks(file: RowGroups, needed: Sequence[str], *, fields: bool) -> Iterator[ParquetBlock]:
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
            others = [name for name in file.readable if name not in needed] if fields else []
            for table in file.slices(group, needed, others, BLOCK_ROWS):
                yield ParquetBlock(file, rows=table)
        else:
            pending.append(group)
            pending_rows += rows
    if pending:
        yield ParquetBlock(file, tuple(pending))


def _as_text(columns: Mapping[str, pa.ChunkedArray], names: Sequence[str], rows: NDArray[np.int64]) -> Fields:
    """Return rows of columns as text. A column that is not there or can't be converted is null."""
    texts: dict[str, pa.ChunkedArray] = {}
    taken = pa.array(rows)
    for name in names:
        try:
            if name in columns:
                texts[name] = as_escaped_text(columns[name].take(taken))
        except pa.ArrowException as error:
            if not is_damage(error):
                raise
    unread = frozenset(names) - texts.keys() if len(rows) else frozenset()
    arrays = [texts.get(name, pa.chunked_array([pa.nulls(len(rows), pa.string())])) for name in names]
    return Fields(pa.table(arrays, names=list(names)), [None] * len(rows), unread)
