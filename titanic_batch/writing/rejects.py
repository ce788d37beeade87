"""The rejects file: rejected rows with their origin and the reasons for the rejection."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import pyarrow as pa

from titanic_batch.checking.judging import JudgedBlock
from titanic_batch.reading.blocks import Fields
from titanic_batch.reading.escapes import escape, printable
from titanic_batch.reading.formats import REJECT_PREFIX, Format, format_of
from titanic_batch.reading.input_table import InputTable
from titanic_batch.writing.publishing import PRIVATE, Publication
from titanic_batch.writing.tables import TableWriter, Writable

REJECT_SOURCE = f"{REJECT_PREFIX}source"
REJECT_ROW = f"{REJECT_PREFIX}row"
REJECT_REASONS = f"{REJECT_PREFIX}reasons"
REJECT_LINE = f"{REJECT_PREFIX}line"


class RejectsWriter:
    """Writes rejected rows with their origin, reasons and fields to an open file, which it does not close.

    The columns are ``reject_source``, ``reject_row`` (1 is the first row after the header), ``reject_reasons`` (a JSON
    list of objects with rule, column and value), ``reject_line`` (the whole row, if its fields don't match the header),
    and then the columns of the source with their original values as text. In a CSV, the values are the exact original
    bytes. Parquet strings must be valid Unicode, so a byte that is not UTF-8 is written as ``\\xNN``.

    Parameters
    ----------
    columns
        The columns of all sources.
    """

    def __init__(self, file: Writable, file_format: Format, columns: Sequence[str]) -> None:
        self._columns = columns
        self._schema = pa.schema(
            [
                (REJECT_SOURCE, pa.string()),
                (REJECT_ROW, pa.int64()),
                (REJECT_REASONS, pa.string()),
                (REJECT_LINE, pa.string()),
                *((name, pa.string()) for name in columns),
            ]
        )
        self._to_output_text = printable if file_format == "parquet" else str
        self._writer = TableWriter(file, file_format, self._schema, escaped=True)

    def write(self, block: JudgedBlock) -> None:
        """Write the rejected rows of a block, if any. The block must contain their fields."""
        if block.fields is None:
            return
        fields = block.fields.table.to_pydict()
        own = {
            REJECT_SOURCE: [escape(os.fsencode(block.table.source.name)).decode()] * len(block.rejected),
            REJECT_ROW: (block.rejected + block.first_row).tolist(),
            REJECT_REASONS: [
                escape(json.dumps(reasons, ensure_ascii=False).encode()).decode() for reasons in reasons_of(block)
            ],
            REJECT_LINE: block.fields.lines,
        }
        columns = {name: fields.get(name, [None] * len(block.rejected)) for name in self._columns}
        rows = {
            name: [self._to_output_text(value) if isinstance(value, str) else value for value in values]
            for name, values in (own | columns).items()
        }
        self._writer.write(pa.table(rows, schema=self._schema))

    def close(self) -> None:
        """Write the remaining rows and the end of the file, which is incomplete until then."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)


def reasons_of(block: JudgedBlock) -> list[list[dict[str, str | None]]]:
    """Return the reasons for each rejected row: rule, column (None for the whole row) and original value."""
    assert block.fields is not None  # noqa: S101  # for the type checker
    index_of = {row: index for index, row in enumerate(block.rejected.tolist())}
    reasons: list[list[dict[str, str | None]]] = [[] for _ in index_of]
    columns = {p.column: block.fields.table[p.column].to_pylist() for p in block.problems if p.column is not None}
    for problem in block.problems:
        for row in problem.rows.tolist():
            index = index_of[row]
            value = None if problem.column is None else columns[problem.column][index]
            reasons[index].append(
                {
                    "rule": problem.rule,
                    "column": problem.column,
                    "value": printable(value) if value is not None else None,
                }
            )
    return reasons


class RejectsFile:
    """The rejects file of a run, if it has one.

    Parameters
    ----------
    name
        Path of the file. If None, nothing is written.
    publication
        Publishes the file before all others, so that the rejects are already there when new predictions appear.

    Attributes
    ----------
    left_out : list of str
        Columns that can't be read, and that the file therefore does not have.
    incomplete : list of str
        Columns of the file in which some fields are null because they can't be read.

    Raises
    ------
    OutputBusyError, OutputError, TransferError
        The file can't be created.
    UsageError
        The suffix of its name indicates no format.
    """

    def __init__(self, name: str | None, publication: Publication) -> None:
        self.left_out: list[str] = []
        self.incomplete: list[str] = []
        self._name = name
        self._columns: list[str] = []
        self._writer: RejectsWriter | None = None
        if name is not None:
            self._format = format_of(name, "a rejects file so called")
            self._output = publication.add(name, PRIVATE, first=True)

    def begin(self, tables: Sequence[InputTable], stack: ExitStack) -> None:
        """Set the tables, whose columns the file has, except those that can't be read. ``stack`` closes the writer."""
        self._tables = tables
        self._stack = stack

    def write(self, block: JudgedBlock) -> None:
        """Write the rejected rows of a block."""
        if self._name is not None and block.fields is not None:
            self._open().write(block)
            self._note_unread(block.table.names, block.fields)

    def close(self, rejected: int, *, if_any: bool) -> str | None:
        """Complete the file and return its name.

        If ``if_any`` is true and there are no rejects, the file is withdrawn and None is returned. None is also
        returned if there is no rejects file.
        """
        if self._name is None:
            return None
        if if_any and not rejected:
            self._output.withdraw()
            return None
        self._open().close()
        return self._name

    def _note_unread(self, names: Sequence[str], fields: Fields) -> None:
        unread = fields.unread | set(names).difference(fields.table.column_names)
        for name in names if unread else ():
            noted = self.incomplete if name in self._columns else self.left_out
            if name in unread and name not in noted:
                noted.append(name)

    def _open(self) -> RejectsWriter:
        """Return the writer, which is created when it is needed: finding out what can be read takes time."""
        if self._writer is None:
            self._columns = list(dict.fromkeys(name for table in self._tables for name in table.readable_names))
            self._writer = self._stack.enter_context(RejectsWriter(self._output.file, self._format, self._columns))
        return self._writer
