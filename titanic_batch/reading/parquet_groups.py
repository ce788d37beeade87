"""Reading of columns from the row groups of a Parquet file, and what can't be read of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from titanic_batch.errors import DataError
from titanic_batch.reading.arrow_views import table_without_views
from titanic_batch.reading.column_text import as_escaped_text
from titanic_batch.reading.columns import is_text, stored_bounds
from titanic_batch.reading.files import is_damage, read_error
from titanic_batch.reading.formats import REJECT_PREFIX
from titanic_batch.reading.parquet_footer import Footer, Leaf

_T = TypeVar("_T")
_DAMAGE = (OSError, pa.ArrowException)
"""What Arrow raises, if `is_damage` agrees."""


class RowGroups:
    """The row groups of a file. Any thread can read them.

    Text is read as dictionaries as long as Arrow can do so: not if it is delta-encoded, which can be told only from the
    error when it is read, or from the pages.

    Parameters
    ----------
    source
        The path of the file to read, or its content.
    footer
        Its footer.
    name
        Name of the file in messages.
    text
        Whether to read text as dictionaries, or not, or as dictionaries if that is possible. Without dictionaries, a
        value takes memory as often as it occurs.
    """

    def __init__(
        self,
        source: str | pa.Buffer,
        footer: Footer,
        name: str,
        text: Literal["dictionaries", "plain", "either"] = "either",
    ) -> None:
        self.footer = footer
        self.name = name
        self._source = source
        self._has_dictionaries = text != "plain"
        self._may_be_plain = text != "dictionaries"

    def rows(self, group: int) -> int:
        """Return the number of rows that a row group states."""
        return int(self.footer.metadata.row_group(group).num_rows)

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return columns of row groups.

        Raises
        ------
        DataError
            A column is damaged, encrypted, or written in a way that can't be read. The message names it.
        """
        if text := self._dictionaries(columns):
            try:
                return self._read(groups, columns, text)
            except _DAMAGE as error:
                if not is_damage(error):
                    raise
        try:
            # One by one, since dictionaries in nested columns can't differ between row groups.
            tables = [self._read([group], columns) for group in groups]
        except _DAMAGE as error:
            raise self._error(error, groups, columns, lambda group, name: self._read([group], [name])) from None
        self._has_dictionaries = False
        return pa.concat_tables(tables)

    def read_what_can_be(self, group: int, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Return the given columns of a row group, except those that can't be read to their end."""
        table = self._attempt(columns, lambda text: self._read([group], columns, text))
        if table is not None:
            return dict(zip(columns, table.columns, strict=True))
        if len(columns) == 1:
            return {}
        half = len(columns) // 2
        return self.read_what_can_be(group, columns[:half]) | self.read_what_can_be(group, columns[half:])

    def slices(self, group: int, needed: Sequence[str], others: Sequence[str], size: int) -> Iterator[pa.Table]:
        """Yield slices of ``size`` rows of a row group: columns that are needed, and others if they can be read.

        Raises
        ------
        DataError
            As `read`.
        """
        columns, done = [*needed, *others], 0
        while True:
            text = self._dictionaries(columns)
            try:
                for table in self._slices(group, columns, size, done, text):
                    yield table
                    done += table.num_rows
                break
            except _DAMAGE as error:
                if not is_damage(error):
                    raise
                if text and self._may_be_plain:
                    self._has_dictionaries = False
                elif len(columns) > len(needed):
                    readable = [name for name in columns[len(needed) :] if self._has_slice(group, name, size, done)]
                    columns = [*needed, *(readable if len(readable) < len(columns) - len(needed) else ())]
                else:
                    raise self._error(
                        error, [group], columns, lambda group, name: self._read_slices(group, name, size)
                    ) from None
        self._check_rows([group], needed, done)

    @cached_property
    def readable(self) -> tuple[str, ...]:
        """The columns of which rows can be read and shown as text, except those that rejects files add.

        This is known from the types, and from the first row.
        """
        names = [
            name
            for name, count in Counter(self.footer.names).items()
            if name not in self.footer.unreadable
            and not name.startswith(REJECT_PREFIX)
            and count == 1  # only columns without a name may occur more than once
        ]
        groups = (group for group in range(self.footer.metadata.num_row_groups) if self.rows(group))
        first = next(groups, None)
        return tuple(names if first is None else self._readable(first, names))

    def _readable(self, group: int, names: list[str]) -> list[str]:
        if not names or self._attempt(names, lambda text: self._show_first(group, names, text)) is not None:
            return names
        if len(names) == 1:
            return []
        half = len(names) // 2
        return self._readable(group, names[:half]) + self._readable(group, names[half:])

    def _show_first(self, group: int, names: Sequence[str], text: Sequence[str]) -> list[pa.ChunkedArray]:
        row = next(self._slices(group, names, 1, 0, text, ahead=False))
        return [as_escaped_text(column.take(pa.array([0]))) for column in row.columns]

    def _has_slice(self, group: int, name: str, size: int, start: int) -> bool:
        return self._attempt([name], lambda text: next(self._slices(group, [name], size, start, text))) is not None

    def _attempt(self, columns: Sequence[str], read: Callable[[Sequence[str]], _T]) -> _T | None:
        """Return what ``read`` does for columns, given those to read as dictionaries; None if they can't be read."""
        for text in (self._dictionaries(columns), []):
            try:
                return read(text)
            except (*_DAMAGE, DataError, StopIteration) as error:
                if not is_damage(error):
                    raise
        return None

    def _dictionaries(self, columns: Sequence[str]) -> list[str]:
        """Return which of the columns to read as dictionaries."""
        return [name for name in columns if is_text(self.footer.types[name])] if self._has_dictionaries else []

    def _read(self, groups: Sequence[int], columns: Sequence[str], dictionaries: Sequence[str] = ()) -> pa.Table:
        with self._open(dictionaries) as file:
            table = file.read_row_groups(list(groups), columns=list(columns), use_threads=False)
        table = _checked(table, columns)
        self._check_rows(groups, columns, table.num_rows)
        return table

    def _slices(
        self,
        group: int,
        columns: Sequence[str],
        size: int,
        start: int,
        dictionaries: Sequence[str],
        *,
        ahead: bool = True,
    ) -> Iterator[pa.Table]:
        """Yield slices of a row group from the row ``start`` on; ``ahead``: have its bytes read in advance."""
        with self._open(dictionaries, ahead=ahead) as file:
            for batch in file.iter_batches(size, row_groups=[group], columns=list(columns), use_threads=False):
                table = pa.Table.from_batches([batch])[start:]
                start = max(0, start - batch.num_rows)
                if table.num_rows:
                    yield _checked(table, columns)

    def _open(self, dictionaries: Sequence[str], *, ahead: bool = True) -> pq.ParquetFile:
        return pq.ParquetFile(
            pa.BufferReader(self._source) if isinstance(self._source, pa.Buffer) else self._source,
            metadata=self.footer.metadata,
            read_dictionary=list(dictionaries),
            buffer_size=2**20,
            pre_buffer=ahead,
        )

    def _check_rows(self, groups: Sequence[int], columns: Sequence[str], count: int) -> None:
        """Check that what was read is what the footer states of the row groups, and in them of each column.

        The columns must have been read from all of these row groups, their bytes in advance: only then has Arrow itself
        looked at each column's description, which is not safe otherwise; see `Footer.metadata`.

        Raises
        ------
        DataError
            It is not.
        """
        stated = sum(map(self.rows, groups))
        if count != stated:
            raise DataError(
                f"{self.name} is damaged: its footer states {stated} rows where there are {count}. Write it again."
            )
        leaves = [(name, leaf) for name in columns for leaf in self.footer.leaves[name]]
        for group in groups:
            row_group = self.footer.metadata.row_group(group)
            rows = row_group.num_rows
            for name, leaf in leaves:
                if not _is_of(leaf, row_group.column(leaf.index), rows):
                    raise DataError(
                        f"{self.name} is damaged: its footer contradicts itself about column {name}. Write it again."
                    )

    def _read_slices(self, group: int, name: str, size: int) -> None:
        """Read a column as slices, one after the other, and keep none."""
        for _ in self._slices(group, [name], size, 0, self._dictionaries([name])):
            pass

    def _error(
        self,
        error: Exception,
        groups: Sequence[int],
        columns: Sequence[str],
        read: Callable[[int, str], object],
    ) -> Exception:
        """Return the exception for columns that can't be read, after finding out by ``read`` which one it is."""
        if not is_damage(error):
            return error
        for name in columns:
            for group in groups:
                try:
                    read(group, name)
                except _DAMAGE as cause:
                    return read_error(self.name, cause, name) if is_damage(cause) else cause
        return read_error(self.name, error)


def _is_of(leaf: Leaf, chunk: pq.ColumnChunkMetaData, rows: int) -> bool:
    """Return whether a description in a row group of so many rows is that of a leaf.

    Arrow reads what the schema says, also if that is the next column because one is missing, or has another type.
    """
    try:
        is_called_so = leaf.path is None or chunk.path_in_schema in (leaf.path, "")  # a writer may leave it empty
    except UnicodeDecodeError:
        return False
    return is_called_so and chunk.physical_type == leaf.physical_type and (leaf.is_repeated or chunk.num_values == rows)


def _checked(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return a table whose rows can be selected, after checking what Arrow does not.

    Raises
    ------
    pyarrow.ArrowNotImplementedError
        A column is missing because it is nested and has no parts.
    pyarrow.ArrowInvalid
        The index of a value in a dictionary is out of range.
    """
    if table.num_columns < len(columns):
        raise pa.ArrowNotImplementedError("a column without parts")
    table = table_without_views(table)
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            low, high = stored_bounds(chunk.indices) if len(chunk) else (0, -1)
            if not 0 <= low <= high < len(chunk.dictionary):
                codes = pc.min_max(chunk.indices).as_py()
                if codes["max"] is not None and not 0 <= codes["min"] <= codes["max"] < len(chunk.dictionary):
                    raise pa.ArrowInvalid("a code beyond the dictionary")
    return table
