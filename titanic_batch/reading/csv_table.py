"""CSV inputs, compressed or not."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Generator, Sequence
from contextlib import ExitStack

import pyarrow as pa

from titanic_batch.errors import DataError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.column_names import distinct_names
from titanic_batch.reading.csv_splitter import BLOCK_BYTES, BlockStream, CsvSplitter
from titanic_batch.reading.decompression import gunzipped
from titanic_batch.reading.files import CountingReader, open_file, reading_from
from titanic_batch.reading.formats import COMPRESSION
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.signatures import format_of_content, looks_like_text, other_content
from titanic_batch.reading.sources import Source

_MAX_COLUMNS = 200_000
_MAGIC_BYTES = 4  # of zstd, which look like text in part
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvTable(InputTable):
    """An open CSV whose header has been read.

    Parameters
    ----------
    source
        The source to open.
    block_bytes
        Approximate size of a block.
    digest
        Whether to compute the digest that `sha256` returns.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        The source is empty, damaged or not a CSV, or its header can't be read.
    """

    ordinary_block_size = BLOCK_BYTES

    def __init__(self, source: Source, block_bytes: int = BLOCK_BYTES, *, digest: bool = False) -> None:
        super().__init__(source)
        self._block_bytes = block_bytes
        self._digest = digest
        self._begun: CsvSplitter | None = None
        if source.format == "csv" and self._state is not None:
            self.size = self._state.size
        with reading_from(source.name), ExitStack() as stack:
            splitter = self._open(stack)
            self._start = splitter.start
            self._all_names = distinct_names(_parse_header(splitter.header, self._start, source))
            if self._state is None:  # a stream can't be opened again
                self._begun, self._closing = splitter, stack.pop_all()

    def blocks(self, wanted: Sequence[str], *, fields: bool = False) -> Generator[Block, None, None]:
        """Yield the blocks of the table; see `InputTable.blocks`."""
        with reading_from(self.source.name), ExitStack() as stack:
            splitter = self._begun or self._open(stack)
            yield from splitter.blocks(self._all_names)
            assert self._bytes is not None  # noqa: S101  # it is open
            self._bytes.read_to_end()

    def _open(self, stack: ExitStack) -> CsvSplitter:
        """Return a splitter that has read the header of the source, which ``stack`` closes."""
        raw = self.source.stream
        if raw is None:
            raw = stack.enter_context(open_file(self.source.name))
            self._require_same(raw)
        self._bytes = CountingReader(raw, self._state.size if self._state else 0, digest=self._digest)
        try:
            return CsvSplitter(self._decompressed(stack, self._bytes), self._block_bytes)
        except (EOFError, OSError, zlib.error):
            self._check_compressed()
            raise

    def _decompressed(self, stack: ExitStack, stream: CountingReader) -> BlockStream:
        match self.source.format:
            case "csv.gz":
                return gunzipped(stream)
            case "csv.zst":
                compressed = pa.PythonFile(stream, "r")
                unzstd: BlockStream = stack.enter_context(pa.CompressedInputStream(compressed, "zstd"))
                return unzstd
            case _:
                return stream

    def _check_compressed(self) -> None:
        """Check that a stream that can't be decompressed was compressed at all, as its format says.

        Raises
        ------
        DataError
            It was not.
        """
        start, name = self._bytes.start if self._bytes else b"", self.source.name
        if self.source.format not in COMPRESSION or format_of_content(start) == self.source.format:
            return
        if what := other_content(start, self.source.format):
            raise DataError(f"{name} is {what}.")
        if len(start) > _MAGIC_BYTES and looks_like_text(start):
            raise DataError(f"{name} is not compressed, as {self.source.format} is: say --input-format csv.")


def _parse_header(header: bytes, start: bytes, source: Source) -> tuple[str, ...]:
    """Return the column names in a header. ``start`` is how the file begins, decompressed.

    Raises
    ------
    DataError
        The bytes are not the header of a CSV.
    """
    if not header:
        raise DataError(f"{source.name} is empty: not even a header.")
    if header.count(b",") >= _MAX_COLUMNS:
        raise DataError(f"{source.name} has more than {_MAX_COLUMNS:,} columns: leave out those that aren't needed.")
    problem = f"{source.name} is not UTF-8 (UTF-16, or no text at all): save it as UTF-8."
    if not header.startswith(_UTF16) and b"\0" not in header:
        try:
            # Not by a StringIO, which takes four bytes a character; what ends a line within is quoted.
            return tuple(next(csv.reader([header.decode("utf-8")])))
        except UnicodeDecodeError:
            problem = f"{source.name}: the header is not UTF-8: save the file as UTF-8."
        except csv.Error:
            problem = f"{source.name}: the header can't be read as CSV."
    if what := other_content(start, source.format, decompressed=source.format in COMPRESSION):
        problem = f"{source.name} is {what}."
    raise DataError(problem)
