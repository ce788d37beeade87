"""Blocks of a CSV: whole rows, each block parsed on its own, in any thread.

A block is parsed with the contract's types at once. Only where that fails is it parsed again as text, and each field
looked at: one odd field never changes what becomes of its neighbours.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, encoded, from_text, in_one_piece, without_nan
from titanic_batch.reading.escapes import escape
from titanic_batch.reading.rules import UNCLOSED_QUOTE, WRONG_FIELD_COUNT, Problem

NOT_BLANK = re.compile(rb"[^\r\n]")
_FIELD_OF_LINE = re.compile(r'(?:"((?:[^"]++|"")*+)"?)?([^,]*+)(,?)')


@dataclass(slots=True)
class Neighbours:
    """What the blocks of one file tell each other: whether the last had fields that break a rule.

    Parsing the next with the contract's types would then likely be in vain. It saves time, and changes nothing else.
    """

    are_odd: bool = False


@dataclass(frozen=True, slots=True)
class CsvBlock:
    """Whole rows of a CSV, without the header.

    ``unclosed`` tells that the last row is swallowed by a quote that is never closed.
    """

    names: tuple[str, ...]
    data: bytes | memoryview
    unclosed: bool = False
    neighbours: Neighbours = field(default_factory=Neighbours, compare=False)

    @property
    def size(self) -> int:
        """Bytes of the file, uncompressed, that this block stands for."""
        return len(self.data)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns that ``types`` names, each of its type (None: text as it stands)."""
        if not self.unclosed and not self.neighbours.are_odd:
            wanted = {name: wanted or pa.string() for name, wanted in types.items()}
            try:
                # The parser could leave no column of text as it stands beside those where a spelling means missing.
                table = self._parse(self.data, wanted, handler=None, missing_text=None not in types.values())
            except pa.ArrowInvalid:
                pass
            else:
                return Rows(_with_missing(table, types))
        return self._read_text(types)

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the given rows as they stood, every column of the file, text as `columns.escape` leaves it."""
        table, lines, _ = self._text(list(self.names))
        table = table.take(pa.array(rows))
        row_lines = [lines.get(row) for row in rows.tolist()]
        if lines:
            columns = table.to_pydict()
            for position, line in enumerate(row_lines):
                values = _fields_of(line) if line is not None else []
                for name, value in zip(self.names, values, strict=False):
                    columns[name][position] = value
            table = pa.table(columns, schema=table.schema)
        return Fields(table, row_lines)

    def _read_text(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        table, lines, escaped = self._text(list(types))
        problems: list[Problem] = []
        if self.unclosed:
            problems.append(Problem(UNCLOSED_QUOTE, None, np.array([0])))
        elif lines:
            problems.append(Problem(WRONG_FIELD_COUNT, None, np.array(sorted(lines))))
        columns = []
        for name, wanted in types.items():
            column, broken = from_text(in_one_piece(table[name]), wanted or pa.string(), escaped=escaped)
            columns.append(column)
            problems += [Problem(rule, name, np.flatnonzero(mask)) for rule, mask in broken.items()]
        self.neighbours.are_odd = bool(problems)
        return Rows(pa.table(columns, names=list(types)), problems)

    def _text(self, names: list[str]) -> tuple[pa.Table, dict[int, str], bool]:
        """Return all rows as text, the lines of those that have not as many fields as the header, and if it is escaped.

        A row whose fields don't fit is null in the table.
        """
        raw = bytes(self.data)
        data = raw if raw.isascii() else escape(raw)
        escaped = data != raw
        if self.unclosed:
            nothing = pa.table({name: pa.nulls(1, pa.string()) for name in names})
            return nothing, {0: data.decode("utf-8")}, escaped
        lines: dict[int, str] = {}

        def set_aside(row: pyarrow.csv.InvalidRow) -> str:
            lines[row.number - 1] = row.text
            return "skip"

        table = self._parse(data, dict.fromkeys(names, pa.string()), set_aside)
        if lines:
            count = table.num_rows + len(lines)
            outside = np.zeros(count, dtype=np.bool_)
            outside[list(lines)] = True
            table = table.take(pa.array(np.cumsum(~outside) - 1, mask=outside))
        return table, lines, escaped

    def _parse(
        self,
        data: bytes | memoryview,
        types: Mapping[str, pa.DataType],
        handler: Callable[[pyarrow.csv.InvalidRow], str] | None,
        *,
        missing_text: bool = False,
    ) -> pa.Table:
        if not NOT_BLANK.search(data):
            return pa.table({name: pa.array([], arrow_type) for name, arrow_type in types.items()})
        if data[: len(codecs.BOM_UTF8)] == codecs.BOM_UTF8:
            data = codecs.BOM_UTF8 + data  # the parser drops one, and it is part of a field here
        return pyarrow.csv.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            pyarrow.csv.ReadOptions(use_threads=False, column_names=self.names, block_size=len(data) + 1),
            pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=handler),
            pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=MISSING_TEXTS,
                strings_can_be_null=missing_text,
            ),
        )


def _with_missing(table: pa.Table, types: Mapping[str, pa.DataType | None]) -> pa.Table:
    """Return the table with the spellings of a missing value as null that the parser let through."""
    for position, (name, wanted) in enumerate(types.items()):
        if wanted == STRING:
            table = table.set_column(position, name, encoded(in_one_piece(table[name])))
        elif wanted is not None:
            table = table.set_column(position, name, without_nan(table[name]))
    return table


def _fields_of(line: str) -> list[str]:
    """Return the fields of one row as the parser reads them; a quote that is never closed ends with the row."""
    fields, at, more = [], 0, True
    while more:
        match = _FIELD_OF_LINE.match(line, at)
        assert match is not None  # noqa: S101  # it matches everything
        quoted, plain, comma = match.groups(default="")
        fields.append(quoted.replace('""', '"') + plain)
        at, more = match.end(), bool(comma)
    return fields
