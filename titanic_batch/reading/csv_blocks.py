"""Blocks of a CSV: complete rows, parsed independently of other blocks and in any thread.

A block is first parsed directly into the contract's types. If that fails, it is parsed again as text and each column is
converted separately, so that an invalid field never affects other fields.
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
from titanic_batch.reading.columns import (
    MISSING_TEXTS,
    as_single_array,
    encoded,
    from_plain_text,
    from_text,
    is_numeric,
    is_other,
)
from titanic_batch.reading.escapes import escape
from titanic_batch.reading.numbers import has_nan
from titanic_batch.reading.rules import ENCODING, UNCLOSED_QUOTE, WRONG_FIELD_COUNT, Problem

_SCAN_PAIRS = 2**18  # fits in the processor's cache
_ZERO_X = int.from_bytes(b"0x", "little")
_LOWER_CASE = int.from_bytes(b"\0 ", "little")  # the bit by which x differs from X
NOT_BLANK = re.compile(rb"[^\r\n]")
_FIELD_OF_LINE = re.compile(r'(?:"((?:[^"]++|"")*+)"?)?([^,]*+)(,?)')


@dataclass(slots=True)
class ParseHint:
    """What the blocks of one file have learned from the last one. This only saves time; the results are the same.

    Attributes
    ----------
    is_text : bool
        Whether the block had to be parsed as text: a row had the wrong number of fields, or a byte was not UTF-8.
    odd_columns : frozenset of str
        The columns of numbers that could not be parsed directly into their type.
    """

    is_text: bool = False
    odd_columns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CsvBlock:
    """Complete rows of a CSV, without the header.

    If ``unclosed`` is true, the block is a single row with a quote that is never closed: the rest of the file.
    """

    names: tuple[str, ...]
    data: bytes | memoryview
    unclosed: bool = False
    hint: ParseHint = field(default_factory=ParseHint, compare=False)

    @property
    def size(self) -> int:
        """Number of bytes in the block, uncompressed."""
        return len(self.data)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns in ``types``, each converted to its type, or as unchanged text if that is None."""
        rows = None if self.unclosed or self.hint.is_text else self._read_directly(types)
        return self._read_text(types) if rows is None else rows

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the original values of the given rows in all columns of the file, escaped with `escapes.escape`."""
        table, lines, _ = self._parse_text(list(self.names))
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

    def _read_directly(self, types: Mapping[str, pa.DataType | None]) -> Rows | None:
        """Return the columns, parsed directly into their types except for odd ones, or None if that is not possible."""
        as_text = {name for name, wanted in types.items() if wanted is None} | self.hint.odd_columns
        if _may_hold_hexadecimal(self.data):  # which the parser takes for integers
            as_text |= {name for name, wanted in types.items() if wanted == pa.int64()}
        as_text |= {name for name, wanted in types.items() if wanted is not None and is_other(wanted)}
        parsed_types = {name: pa.string() if name in as_text else wanted for name, wanted in types.items()}
        try:
            # ``missing_text`` applies to all columns of text, so it must be off if one is to stay unchanged.
            table = self._parse(self.data, parsed_types, handler=None, missing_text=None not in types.values())
        except pa.ArrowInvalid:
            return None
        if any(map(has_nan, table.columns)):  # spelled in a way that only the parser knows
            return None
        return self._converted(table, types, escaped=False)

    def _read_text(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        table, lines, escaped = self._parse_text(list(types))
        rows = self._converted(table, types, escaped=escaped)
        if self.unclosed:
            rows.problems.insert(0, Problem(UNCLOSED_QUOTE, None, np.array([0])))
        elif lines:
            rows.problems.insert(0, Problem(WRONG_FIELD_COUNT, None, np.array(sorted(lines))))
        self.hint.is_text = any(problem.rule in (WRONG_FIELD_COUNT, ENCODING) for problem in rows.problems)
        return rows

    def _converted(self, table: pa.Table, types: Mapping[str, pa.DataType | None], *, escaped: bool) -> Rows:
        """Return a table with the columns that are still text converted, and the rules that their fields break."""
        columns, problems, odd_columns = [], [], set()
        for name, wanted in types.items():
            column = as_single_array(table[name])
            if pa.types.is_dictionary(column.type):
                column = encoded(column)
            elif pa.types.is_string(column.type):
                is_number = wanted is not None and is_numeric(wanted)
                plain = from_plain_text(column, wanted) if is_number else None
                if plain is None:
                    column, broken = from_text(column, wanted or pa.string(), escaped=escaped)
                    problems += [Problem(rule, name, np.flatnonzero(mask)) for rule, mask in broken.items()]
                    odd_columns |= {name} if is_number else set()
                else:
                    column = plain
            columns.append(column)
        self.hint.odd_columns = frozenset(odd_columns)
        return Rows(pa.table(columns, names=list(types)), problems)

    def _parse_text(self, names: list[str]) -> tuple[pa.Table, dict[int, str], bool]:
        """Return all rows as text, the raw lines of rows with the wrong number of fields, and whether text is escaped.

        Rows with the wrong number of fields are null in the table.
        """
        raw = bytes(self.data)
        data = raw if raw.isascii() else escape(raw)
        escaped = data != raw
        if self.unclosed:
            null_row = pa.table({name: pa.nulls(1, pa.string()) for name in names})
            return null_row, {0: data.decode("utf-8")}, escaped
        lines: dict[int, str] = {}

        def skip_row(row: pyarrow.csv.InvalidRow) -> str:
            lines[row.number - 1] = row.text
            return "skip"

        table = self._parse(data, dict.fromkeys(names, pa.string()), skip_row)
        if lines:
            count = table.num_rows + len(lines)
            skipped = np.zeros(count, dtype=np.bool_)
            skipped[list(lines)] = True
            table = table.take(pa.array(np.cumsum(~skipped) - 1, mask=skipped))
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
            data = codecs.BOM_UTF8 + data  # the parser drops one byte-order mark, but here it is part of a field
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


def _may_hold_hexadecimal(data: bytes | memoryview) -> bool:
    """Return whether ``0x`` or ``0X`` stands anywhere in the data."""
    octets = np.frombuffer(data, np.uint8)
    # As pairs of bytes, at even and at odd offsets; a regular expression takes thirty times as long.
    for offset in (0, 1):
        pairs = octets[offset : offset + (len(octets) - offset) // 2 * 2].view("<u2")
        for start in range(0, len(pairs), _SCAN_PAIRS):
            if np.any(pairs[start : start + _SCAN_PAIRS] | _LOWER_CASE == _ZERO_X):
                return True
    return False


def _fields_of(line: str) -> list[str]:
    """Return the fields of one row as the parser reads them. An unclosed quote ends at the end of the row."""
    fields, start, more = [], 0, True
    while more:
        match = _FIELD_OF_LINE.match(line, start)
        assert match is not None  # noqa: S101  # the pattern matches any text
        quoted, plain, comma = match.groups(default="")
        fields.append(quoted.replace('""', '"') + plain)
        start, more = match.end(), bool(comma)
    return fields
