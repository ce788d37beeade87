"""An open CSV, compressed or not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa

from titanic_batch.errors import DataError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.csv_splitter import BLOCK_BYTES, BlockStream, CsvSplitter
from titanic_batch.reading.files import CountingReader, open_file, reading_from
from titanic_batch.reading.formats import COMPRESSION, MAGIC
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.sources import Source

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvTable(InputTable):
    """A CSV whose header was read.

    Parameters
    ----------
    source
        What to open.
    block_bytes
        About how many bytes a block has.
    digest
        Whether the SHA-256 of the source's bytes will be asked for.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        It is empty, damaged, no CSV, or its header can't be read.
    """

    def __init__(self, source: Source, block_bytes: int = BLOCK_BYTES, *, digest: bool = False) -> None:
        super().__init__(source)
        with ExitStack() as stack, reading_from(source.name):
            self._splitter = CsvSplitter(self._opened(stack, digest=digest), block_bytes)
            self._all_names = _columns_of(self._splitter.header, source)
            self._closing = stack.pop_all()

    def blocks(self, wanted: Sequence[str] | None) -> Iterator[Block]:
        """Yield the rows, block by block; see `InputTable.blocks`."""
        with reading_from(self.source.name):
            yield from self._splitter.blocks(self._all_names)

    def _opened(self, stack: ExitStack, *, digest: bool) -> BlockStream:
        """Return the stream of the text; ``stack`` closes it."""
        raw = self.source.stream
        if raw is None:
            raw = stack.enter_context(open_file(self.source.name))
            if self.source.format == "csv" and self._state is not None:
                self.size = self._state.size
        self._bytes = CountingReader(raw, self._state.size if self._state else 0, digest=digest)
        if compression := COMPRESSION.get(self.source.format):
            packed = pa.PythonFile(self._bytes, "r")
            stream: BlockStream = stack.enter_context(pa.CompressedInputStream(packed, compression))
            return stream
        return self._bytes


def _columns_of(header: bytes, source: Source) -> tuple[str, ...]:
    """Return the names of the columns that a header gives.

    Raises
    ------
    DataError
        It is no header of a CSV.
    """
    for magic, found in MAGIC.items():
        if header.startswith(magic):
            raise DataError(f"{source.name} is {found}, not {source.format}: say --input-format {found}.")
    if header.startswith(_UTF16) or b"\0" in header:
        raise DataError(f"{source.name} is not UTF-8 (UTF-16, or no text at all): save it as UTF-8.")
    if not header:
        raise DataError(f"{source.name} is empty: not even a header.")
    try:
        return tuple(next(csv.reader(io.StringIO(header.decode("utf-8"), newline=""))))
    except UnicodeDecodeError:
        raise DataError(f"{source.name}: the header is not UTF-8: save the file as UTF-8.") from None
    except csv.Error:
        raise DataError(f"{source.name}: the header can't be read as CSV.") from None
