"""Splitting of a CSV into blocks of complete rows.

One thread reads the bytes and finds row ends. Parsing, the expensive part, is left to the threads that read the blocks.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Protocol

from titanic_batch.errors import DataError
from titanic_batch.reading.csv_blocks import NOT_BLANK, CsvBlock, ParseHint
from titanic_batch.reading.csv_row_ends import ROW, exact_row_end, last_row_end
from titanic_batch.reading.signatures import START_BYTES

BLOCK_BYTES = 8 * 2**20
_HEADER_BYTES = 2**16
MAX_ROW_BYTES = 128 * 2**20  # limits memory use if a quote is never closed


class BlockStream(Protocol):
    """A source of bytes: an open file or a decompressor."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read up to ``len(buffer)`` bytes into the buffer and return their number; 0 at the end."""


class CsvSplitter:
    """Splits a stream of bytes into a header and blocks of complete rows.

    Parameters
    ----------
    stream
        The stream to read, from its beginning.
    block_bytes
        Approximate size of a block. A block contains at least one row.

    Attributes
    ----------
    header : bytes
        The first row that is not blank, without its line terminator and without a byte-order mark.
    start : bytes
        The first bytes of the stream.
    """

    def __init__(self, stream: BlockStream, block_bytes: int = BLOCK_BYTES) -> None:
        self._stream = stream
        self._block_bytes = block_bytes
        self._rest = bytearray()
        self._at_end = False
        self.header = self._take_header()

    def blocks(self, names: tuple[str, ...]) -> Iterator[CsvBlock]:
        """Yield the blocks in order, each with at least one row. The stream is read lazily."""
        hint = ParseHint()
        self._fill(self._block_bytes - len(self._rest))
        while self._rest or not self._at_end:
            while not (end := last_row_end(self._rest)) and not self._at_end:
                self._check_row_length()
                self._fill(self._block_bytes)
            if self._at_end:  # the last row needs no line terminator
                last = self._rest[end:]
                last += b"\n"  # in place, since it may be long
                end = min(end + exact_row_end(last), len(self._rest))
                del last
            if end:
                data, self._rest = memoryview(self._rest)[:end], self._rest[end:]
                if NOT_BLANK.search(data):
                    yield CsvBlock(names, data, hint=hint)
                self._fill(self._block_bytes - len(self._rest))
            elif self._rest:
                yield CsvBlock(names, memoryview(self._rest), unclosed=True)
                return

    def _take_header(self) -> bytes:
        self._fill(max(min(self._block_bytes, _HEADER_BYTES), START_BYTES))
        self.start = bytes(self._rest[:START_BYTES])
        if self._rest.startswith(codecs.BOM_UTF8):
            self._rest = self._rest[len(codecs.BOM_UTF8) :]
        while True:
            match = ROW.match(self._rest)
            # A match up to the end of the data may continue in unread data: \r may be the first half of a \r\n.
            if match and (self._at_end or match.end() < len(self._rest)):
                end = match.end()
            elif self._at_end:
                end = len(self._rest)
            else:
                self._check_row_length()
                self._fill(len(self._rest) or 1)
                continue
            header, self._rest = bytes(memoryview(self._rest)[:end]).strip(b"\r\n"), self._rest[end:]
            if header or not self._rest:
                return header

    def _fill(self, count: int) -> None:
        """Append ``count`` bytes of the stream to the unused ones, in a new buffer: blocks refer to the old one."""
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
