"""A CSV as a stream of blocks that end where a row ends, each to be parsed on its own.

One thread reads bytes and looks for row ends; the costly part, parsing, is left to whoever takes the block. A quoted
field may hold line ends, so the quotes are counted. That is right as long as every quote opens or closes a field; where
a block has another one (``5" gun``, say), a slower scan finds the row ends exactly as the parser sees them.

A block is parsed with the contract's types at once. Only where that fails is it parsed again as text, and each field
looked at: one odd field never changes what becomes of its neighbours.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from titanic_batch.errors import DataError
from titanic_batch.reading.blocks import Fields, Rows
from titanic_batch.reading.columns import MISSING_TEXTS, STRING, encoded, from_text, in_one_piece, without_nan
from titanic_batch.reading.escapes import escape
from titanic_batch.reading.rules import UNCLOSED_QUOTE, WRONG_FIELD_COUNT, Problem

BLOCK_BYTES = 8 * 2**20
_SCAN_BYTES = 2**20  # that much at a time stays near the processor
MAX_ROW_BYTES = 128 * 2**20  # a quote that is never closed must not make us hold the file

_QUOTE, _COMMA, _LF, _CR = b'",\n\r'
_FIELD = rb'(?:"(?:[^"]++|"")*+"[^,\r\n]*+|[^",\r\n][^,\r\n]*+|)'
_FIELD_OF_LINE = re.compile(r'(?:"((?:[^"]++|"")*+)"?)?([^,]*+)(,?)')
_NOT_BLANK = re.compile(rb"[^\r\n]")
_ROW = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+(?:\r\n|\n|\r)")
_ROWS = re.compile(rb"(?:" + _ROW.pattern + rb")*+")


@dataclass(slots=True)
class _Neighbours:
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
    neighbours: _Neighbours = field(default_factory=_Neighbours, compare=False)

    @property
    def size(self) -> int:
        """Bytes of the file, uncompressed, that this block stands for."""
        return len(self.data)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns that ``types`` names, each of its type (None: text as it stands)."""
        if not self.unclosed and not self.neighbours.are_odd:
            wanted = {name: kind or pa.string() for name, kind in types.items()}
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
        if not _NOT_BLANK.search(data):
            return pa.table({name: pa.array([], kind) for name, kind in types.items()})
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


class BlockStream(Protocol):
    """What bytes are read from: an open file, or what unpacks one."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer, or its beginning, and return how many bytes that are; 0 at the end."""


class CsvSplitter:
    """Cut a stream of bytes into a header and blocks of whole rows.

    Parameters
    ----------
    stream
        What to read, from its beginning.
    block_bytes
        About how many bytes a block has; at least one row.

    Attributes
    ----------
    header : bytes
        The first row that is not blank, without its line end and without a byte-order mark.
    """

    def __init__(self, stream: BlockStream, block_bytes: int = BLOCK_BYTES) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._rest = bytearray()
        self._at_end = False
        self.header = self._take_header()

    def blocks(self, names: tuple[str, ...]) -> Iterator[CsvBlock]:
        """Yield the blocks, each with at least one row, in order; the stream is read as they are asked for."""
        neighbours = _Neighbours()
        while self._rest or not self._at_end:
            while not (end := last_row_end(self._rest)) and not self._at_end:
                self._check_row_length()
                self._fill(self._block_bytes)
            if self._at_end:  # the last row needs no line end
                end = min(end + _scan(self._rest[end:] + b"\n"), len(self._rest))
            if end:
                data, self._rest = memoryview(self._rest)[:end], self._rest[end:]
                if _NOT_BLANK.search(data):
                    yield CsvBlock(names, data, neighbours=neighbours)
                self._fill(self._block_bytes - len(self._rest))
            elif self._rest:
                yield CsvBlock(names, memoryview(self._rest), unclosed=True)
                return

    def _take_header(self) -> bytes:
        self._fill(max(self._block_bytes, len(codecs.BOM_UTF8)))
        if self._rest.startswith(codecs.BOM_UTF8):
            self._rest = self._rest[len(codecs.BOM_UTF8) :]
        while True:
            match = _ROW.match(self._rest)
            # A match that takes all there is may go on in what is not read yet: \r may be the half of \r\n.
            if match and (self._at_end or match.end() < len(self._rest)):
                end = match.end()
            elif self._at_end:
                end = len(self._rest)
            else:
                self._check_row_length()
                self._fill(self._block_bytes)
                continue
            header, self._rest = self._rest[:end], self._rest[end:]
            if header.strip(b"\r\n") or not self._rest:
                return bytes(header.strip(b"\r\n"))

    def _fill(self, count: int) -> None:
        """Read ``count`` more bytes behind those that are left, into memory of their own: blocks keep the old one."""
        filled = len(self._rest)
        buffer = bytearray(filled + max(count, 0))
        buffer[:filled] = self._rest
        with memoryview(buffer) as view:
            while filled < len(buffer) and not self._at_end:
                got = self._stream.readinto(view[filled:])
                self._at_end = not got
                filled += got
        del buffer[filled:]
        self._rest = buffer

    def _check_row_length(self) -> None:
        if len(self._rest) > MAX_ROW_BYTES:
            raise DataError(
                f"a row is longer than {MAX_ROW_BYTES >> 20} MiB: is a quote opened that is never closed? "
                "Fix the quotes and try again."
            )


def last_row_end(data: bytearray) -> int:
    """Return the offset just behind the last row that ends in ``data``, which starts at a row; 0 if none does."""
    last = data.rfind(b"\n")
    if last < 0:
        # Only \r can end a row here. It may be the half of a \r\n, so the last byte doesn't count.
        return _scan(data) if b"\r" in data[:-1] else 0
    if b'"' not in data:
        return last + 1
    quotes = _quotes(data)
    before = int(np.searchsorted(quotes, last))
    while before % 2 and last >= 0:  # inside a quoted field: go back to before it
        last = data.rfind(b"\n", 0, int(quotes[before - 1]))
        before = int(np.searchsorted(quotes, last)) if last >= 0 else 0
    if last < 0 or not _well_quoted(data, quotes[:before]):
        return _scan(data)
    return last + 1


def _quotes(data: bytearray) -> NDArray[np.int64]:
    """Return where the quotes are, rising."""
    array = np.frombuffer(data, dtype=np.uint8)
    starts = range(0, len(array), _SCAN_BYTES)
    return np.concatenate([_quotes_in(array[start : start + _SCAN_BYTES]) + start for start in starts])


def _quotes_in(array: NDArray[np.uint8]) -> NDArray[np.int64]:
    is_quote = array == _QUOTE
    whole = len(array) // 8 * 8
    # Most bytes are none, so eight at a time are passed over; of those left, the first is found, then the next.
    words = is_quote[:whole].view("<u8")
    places = np.flatnonzero(words != 0)
    words = words[places]
    found = []
    while len(places):
        found.append(8 * places + (np.bitwise_count((words & -words) - 1) >> 3))
        words &= words - 1
        more = np.flatnonzero(words)
        places, words = places[more], words[more]
    found.append(np.flatnonzero(is_quote[whole:]) + whole)
    return np.sort(np.concatenate(found), kind="stable")


def _well_quoted(data: bytearray, quotes: NDArray[np.int64]) -> bool:
    """Tell whether the quotes, in turn, open and close a field, or are doubled within one.

    Then and only then an even number of quotes before a line end means that the line end is not quoted.
    """
    if not len(quotes):
        return True
    array = np.frombuffer(data, dtype=np.uint8)
    opening, closing = quotes[::2], quotes[1::2]
    before = array[np.maximum(opening - 1, 0)]
    starts = (before == _COMMA) | (before == _LF) | (before == _CR) | (opening == 0)
    starts[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = array[np.minimum(closing + 1, len(array) - 1)]
    ends = (after == _COMMA) | (after == _LF) | (after == _CR) | (after == _QUOTE)
    return bool(starts.all() and ends.all())


def _scan(data: bytearray) -> int:
    """Return what `last_row_end` does, slower and exactly as the parser reads quotes."""
    # A \r that is the last byte may be the half of a \r\n.
    rows = _ROWS.match(data, 0, len(data) - data.endswith(b"\r"))
    return rows.end() if rows else 0
