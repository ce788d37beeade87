"""Parquet inputs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, nullcontext

from titanic_batch.errors import InputError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.files import CountingReader, FileDigest, open_file, reading_from
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.parquet_blocks import BLOCK_ROWS, parquet_blocks
from titanic_batch.reading.parquet_footer import read_footer
from titanic_batch.reading.parquet_groups import RowGroups
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

    ordinary_block_size = BLOCK_ROWS

    def __init__(self, source: Source, *, digest: bool = False) -> None:
        super().__init__(source)
        self._needs_digest = digest and self._state is not None  # that of a stream is computed as it is copied
        self._sha256: str | None = None
        self._path = source.name
        with reading_from(source.name), ExitStack() as stack:
            if self._state is None:
                self._path = self._spool(stack, digest=digest)
            with open_file(self._path) as file:
                footer = read_footer(file, source.name)
            self._closing = stack.pop_all()
        self.size = footer.metadata.num_rows
        self._all_names, self._types, self._unreadable = footer.names, footer.types, footer.unreadable
        self._groups = RowGroups(self._path, footer, source.name)

    @property
    def readable_names(self) -> tuple[str, ...]:
        """The names whose fields `Block.fields` returns; see `InputTable.readable_names`."""
        with reading_from(self.source.name):
            return self._groups.readable

    def blocks(self, wanted: Sequence[str], *, fields: bool = False) -> Generator[Block, None, None]:
        """Yield the blocks of the table; see `InputTable.blocks`."""
        with reading_from(self.source.name), ExitStack() as stack:
            digest = stack.enter_context(FileDigest(self._path)) if self._needs_digest else None
            yield from parquet_blocks(self._groups, wanted, fields=fields)
            if digest is not None:
                self._sha256 = digest.hexdigest()

    def sha256(self) -> str | None:
        """Return the SHA-256 of the source in hex, or None if it was not requested."""
        return self._sha256 or super().sha256()

    def _spool(self, stack: ExitStack, *, digest: bool) -> str:
        """Copy the stream to an unnamed file, which disappears with the process, and return a path that opens it."""
        try:
            spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack closes it
        except FileNotFoundError:
            raise InputError(
                f"{self.source.name} needs a folder for temporary files: set TMPDIR to one that has space."
            ) from None
        with nullcontext(self.source.stream) if self.source.stream else open_file(self.source.name) as stream:
            self._bytes = CountingReader(stream, digest=digest)
            shutil.copyfileobj(self._bytes, spool)
        spool.flush()
        return f"/dev/fd/{spool.fileno()}"
