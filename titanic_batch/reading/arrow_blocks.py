"""Rows that are in memory as Arrow tables, as blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.column_text import as_escaped_text
from titanic_batch.reading.columns import as_single_array, from_arrow, is_text, valid_text
from titanic_batch.reading.files import is_damage
from titanic_batch.reading.rules import Mask, Problem


@dataclass(frozen=True, slots=True)
class ArrowBlock:
    """Rows of a table.

    ``names`` are the columns that `fields` returns. Of those that the table lacks, the fields are null.
    """

    rows: pa.Table
    names: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Number of rows in the block."""
        return int(self.rows.num_rows)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns in ``types``, as `typed_rows` does."""
        return typed_rows(self.rows, types)

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the original values of the given rows, as `Block.fields` does."""
        return fields_of(dict(zip(self.rows.column_names, self.rows.columns, strict=True)), self.names, rows)


def typed_rows(table: pa.Table, types: Mapping[str, pa.DataType | None]) -> Rows:
    """Return the columns in ``types``, each converted to its type, or with its original type if that is None."""
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


def fields_of(columns: Mapping[str, pa.ChunkedArray], names: Sequence[str], rows: NDArray[np.int64]) -> Fields:
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
