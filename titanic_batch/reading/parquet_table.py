"""An open Parquet file."""

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
from titanic_batch.reading.parquet_blocks import parquet_blocks, view_free
from titanic_batch.reading.sources import Source


class ParquetTable(InputTable):
    """A Parquet file whose footer was read. A stream, which can't be read from its end, is spooled to the disk.

    Parameters
    ----------
    source
        What to open.
    digest
        Whether the SHA-256 of the source's bytes will be asked for.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        It is empty, damaged, or no Parquet.
    """

    def __init__(self, source: Source, *, digest: bool = False) -> None:
        super().__init__(source)
        self._digest: FileDigest | None = None
        self._path = source.name
        with ExitStack() as stack, reading_from(source.name):
            if self._state is None:
                self._path = self._spooled(stack, digest=digest)
            elif digest:
                self._digest = stack.enter_context(FileDigest(self._path))
            self._metadata, schema = self._footer()
            self._closing = stack.pop_all()
        self.size = self._metadata.num_rows
        self._all_names = tuple(schema.names)
        self._types = dict(zip(schema.names, map(view_free, schema.types), strict=True))

    def blocks(self, wanted: Sequence[str] | None) -> Iterator[Block]:
        """Yield the rows, block by block; see `InputTable.blocks`."""
        with reading_from(self.source.name):
            yield from parquet_blocks(self._path, self._metadata, wanted, self.source.name)

    def sha256(self) -> str | None:
        """Return the digest of all its bytes, in hex, if it was to be taken."""
        return self._digest.hexdigest() if self._digest is not None else super().sha256()

    def _spooled(self, stack: ExitStack, *, digest: bool) -> str:
        """Copy the stream to a file without a name, which goes with the process, and return a path to open it by."""
        spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        with nullcontext(self.source.stream) if self.source.stream else open_file(self.source.name) as stream:
            self._bytes = CountingReader(stream, digest=digest)
            shutil.copyfileobj(self._bytes, spool)
        spool.flush()
        return f"/dev/fd/{spool.fileno()}"

    def _footer(self) -> tuple[pq.FileMetaData, pa.Schema]:
        with open_file(self._path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise DataError(f"{self.source.name} is empty: not even a header.")
            try:
                parquet = pq.ParquetFile(file)
            except (pa.ArrowInvalid, UnicodeDecodeError):
                raise DataError(f"{self.source.name} is not Parquet, or is cut short: write it again.") from None
            return parquet.metadata, parquet.schema_arrow
