"""Parquet inputs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext

import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.errors import DataError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.files import CountingReader, FileDigest, open_file, reading_from
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.parquet_blocks import parquet_blocks, without_views
from titanic_batch.reading.signatures import START_BYTES, other_content
from titanic_batch.reading.sources import Source


class ParquetTable(InputTable):
    """An open Parquet file whose footer has been read. A stream is first copied to disk, because it is not seekable.

    Parameters
    ----------
    source
        The source to open.
    digest
        Whether to compute the digest that `sha256` returns.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        The source is empty, damaged or not a Parquet file.
    """

    def __init__(self, source: Source, *, digest: bool = False) -> None:
        super().__init__(source)
        self._digest: FileDigest | None = None
        self._path = source.name
        with ExitStack() as stack, reading_from(source.name):
            if self._state is None:
                self._path = self._spool(stack, digest=digest)
            elif digest:
                self._digest = stack.enter_context(FileDigest(self._path))
            self._metadata, schema = self._read_footer()
            self._closing = stack.pop_all()
        self.size = self._metadata.num_rows
        self._all_names = tuple(schema.names)
        self._types = dict(zip(schema.names, map(without_views, schema.types), strict=True))

    def blocks(self, wanted: Sequence[str] | None) -> Iterator[Block]:
        """Yield the blocks of the table; see `InputTable.blocks`."""
        with reading_from(self.source.name):
            yield from parquet_blocks(self._path, self._metadata, wanted, self.source.name)

    def sha256(self) -> str | None:
        """Return the SHA-256 of the source in hex, or None if it was not requested."""
        return self._digest.hexdigest() if self._digest is not None else super().sha256()

    def _spool(self, stack: ExitStack, *, digest: bool) -> str:
        """Copy the stream to an unnamed file, which disappears with the process, and return a path that opens it."""
        spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with nullcontext(self.source.stream) if self.source.stream else open_file(self.source.name) as stream:
            self._bytes = CountingReader(stream, digest=digest)
            shutil.copyfileobj(self._bytes, spool)
        spool.flush()
        return f"/dev/fd/{spool.fileno()}"

    def _read_footer(self) -> tuple[pq.FileMetaData, pa.Schema]:
        with open_file(self._path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise DataError(f"{self.source.name} is empty: not even a header.")
            try:
                parquet = pq.ParquetFile(file)
            except (pa.ArrowInvalid, UnicodeDecodeError):
                file.seek(0)
                if what := other_content(file.read(START_BYTES), "parquet"):
                    raise DataError(f"{self.source.name} is {what}.") from None
                raise DataError(f"{self.source.name} is not Parquet, or is cut short: write it again.") from None
            return parquet.metadata, parquet.schema_arrow
