"""A source that was opened, and whose columns are known."""

from __future__ import annotations

import csv
import difflib
import io
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.errors import DataError, TransferError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.columns import is_compatible, type_name
from titanic_batch.reading.csv_blocks import BLOCK_BYTES, BlockStream, CsvSplitter
from titanic_batch.reading.files import FileDigest, PassedOn, opened, reading, state_of
from titanic_batch.reading.formats import COMPRESSION, MAGIC, OWN_PREFIX
from titanic_batch.reading.parquet_blocks import parquet_blocks, view_free
from titanic_batch.reading.sources import Source

_MAX_COMPARED = 1_000  # names that a missing one is compared with, each of which takes microseconds
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_OTHER_DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a bar"}


class InputTable:
    """A source that was opened and whose columns are known; its rows are read once, by `blocks`.

    Attributes
    ----------
    source : Source
    names : tuple of str
        All columns, in the order of the file, but our own of a rejects file.
    size : int or None
        What `Block.size` of all blocks will add up to; None where it can't be known before.

    Parameters
    ----------
    source
        What to open.
    block_bytes
        About how many bytes of a CSV a block has.
    digest
        Whether the SHA-256 of its bytes will be asked for.

    Raises
    ------
    InputError
        The source can't be opened.
    DataError
        It is empty, damaged, not of its format, or its header can't be read.
    """

    def __init__(self, source: Source, block_bytes: int = BLOCK_BYTES, *, digest: bool = False) -> None:
        self.source = source
        self.size: int | None = None
        self._bytes: PassedOn | None = None
        self._digest: FileDigest | None = None
        self._wants_digest = digest
        self._state = None if source.stream is not None else state_of(source.name)
        self._types: dict[str, pa.DataType] = {}
        self._metadata: pq.FileMetaData | None = None
        self._closing = ExitStack()
        with self._closing_on_error(), reading(source.name):
            if source.format == "parquet":
                self._all_names = self._open_parquet()
            else:
                self._all_names = self._open_csv(block_bytes)
        self.names = tuple(name for name in self._all_names if not name.startswith(OWN_PREFIX))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._closing.close()

    def require(self, wanted: Mapping[str, pa.DataType | None]) -> None:
        """Check that the columns are there and of a type that can be made the wanted one.

        Raises
        ------
        DataError
            Names every column that is missing, with the nearest name that is there, or stands there twice, or is of a
            type that can't be used.
        """
        if missing := [name for name in wanted if name not in self.names]:
            raise DataError(f"{self.source.name}: {self._what_is_missing(missing, len(wanted))}")
        # Not before, or the values of a first row that is no header would be taken for names.
        if twice := sorted(name for name, count in Counter(self._all_names).items() if count > 1):
            raise DataError(f"{self.source.name}: column {', '.join(twice)} stands in the header more than once.")
        for name, kind in wanted.items():
            found = self._types.get(name)
            if kind is not None and found is not None and not is_compatible(found, kind):
                raise DataError(f"{self.source.name}: column {name} holds {found}, not {type_name(kind)}: convert it.")

    def type_of(self, name: str) -> pa.DataType:
        """Return the Arrow type of a column as it stands: text in a CSV."""
        return self._types.get(name, pa.string())

    def require_unchanged(self) -> None:
        """Check that a file is as it was when it was opened: what was read of another may be of neither.

        Raises
        ------
        TransferError
        """
        if self._state is not None and (now := state_of(self.source.name)) != self._state:
            what = "vanished" if now is None else "changed"
            raise TransferError(f"{self.source.name} {what} while it was read: try again.")

    @property
    def byte_size(self) -> int | None:
        """Size of the source; None where that isn't known, or not yet: a pipe's at its end."""
        return self._state.size if self._state is not None else self._bytes.count if self._bytes is not None else None

    def sha256(self) -> str | None:
        """Return the digest of all its bytes, in hex, if it was to be taken, and after all blocks were read."""
        if self._bytes is not None:
            self._bytes.read_on()
            return self._bytes.hexdigest
        return self._digest.hexdigest() if self._digest is not None else None

    def blocks(self, wanted: Sequence[str] | None) -> Iterator[Block]:
        """Yield the rows, block by block. ``wanted``: the columns that will be read; None: all.

        Raises
        ------
        DataError
            The source is damaged.
        TransferError
            Reading failed midway.
        """
        with reading(self.source.name):
            if self._metadata is not None:
                yield from parquet_blocks(self._path, self._metadata, wanted, self.source.name)
            else:
                yield from self._splitter.blocks(self._all_names)

    def _open_csv(self, block_bytes: int) -> tuple[str, ...]:
        if self.source.stream is not None:
            raw = self.source.stream
        else:
            raw = self._closing.enter_context(opened(self.source.name))
            if self.source.format == "csv" and self._state is not None:
                self.size = self._state.size
        self._bytes = PassedOn(raw, self._state.size if self._state else 0, digest=self._wants_digest)
        stream: BlockStream = self._bytes
        if compression := COMPRESSION.get(self.source.format):
            stream = self._closing.enter_context(pa.CompressedInputStream(pa.PythonFile(stream, "r"), compression))
        self._splitter = CsvSplitter(stream, block_bytes)
        header = self._splitter.header
        for magic, found in MAGIC.items():
            if header.startswith(magic):
                raise DataError(f"{self.source.name} is {found}, not {self.source.format}: say --input-format {found}.")
        if header.startswith(_UTF16) or b"\0" in header:
            raise DataError(f"{self.source.name} is not UTF-8 (UTF-16, or no text at all): save it as UTF-8.")
        if not header:
            raise DataError(f"{self.source.name} is empty: not even a header.")
        try:
            return tuple(next(csv.reader(io.StringIO(header.decode("utf-8"), newline=""))))
        except UnicodeDecodeError:
            raise DataError(f"{self.source.name}: the header is not UTF-8: save the file as UTF-8.") from None
        except csv.Error:
            raise DataError(f"{self.source.name}: the header can't be read as CSV.") from None

    def _open_parquet(self) -> tuple[str, ...]:
        self._path = self.source.name
        if self._state is None:
            # A file without a name, which goes with the process, and can be opened again and again all the same.
            spool = self._closing.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # closed by close()
            with nullcontext(self.source.stream) if self.source.stream else opened(self.source.name) as stream:
                self._bytes = PassedOn(stream, digest=self._wants_digest)
                shutil.copyfileobj(self._bytes, spool)
            spool.flush()
            self._path = f"/dev/fd/{spool.fileno()}"
        elif self._wants_digest:
            self._digest = self._closing.enter_context(FileDigest(self._path))
        with opened(self._path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise DataError(f"{self.source.name} is empty: not even a header.")
            try:
                parquet = pq.ParquetFile(file)
            except (pa.ArrowInvalid, UnicodeDecodeError):
                raise DataError(f"{self.source.name} is not Parquet, or is cut short: write it again.") from None
            self._metadata, schema = parquet.metadata, parquet.schema_arrow
        self.size = self._metadata.num_rows
        self._types = dict(zip(schema.names, map(view_free, schema.types), strict=True))
        return tuple(schema.names)

    def _what_is_missing(self, missing: Sequence[str], of: int) -> str:
        if len(self.names) == 1:
            for delimiter, name in _OTHER_DELIMITERS.items():
                if delimiter in self.names[0]:
                    return f"its fields are separated by {name}: separate them by commas."
        folded = {name.casefold(): name for name in self.names}
        # Where no column is there, the names may be the values of a first row: then only their case may differ.
        near = {name: _nearest(name, folded, only_case=len(missing) == of) for name in missing}
        if len(missing) == of and set(near.values()) == {None} and self.source.format != "parquet":
            return f"the first line names none of the columns {', '.join(missing)}: is the header missing?"
        parts = [name if nearest is None else f"{name} (nearest: {nearest})" for name, nearest in near.items()]
        return f"column{'s' * (len(missing) > 1)} missing: {', '.join(parts)}."

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


def _nearest(name: str, folded: Mapping[str, str], *, only_case: bool) -> str | None:
    """Return the name that is likely meant, of those by their folded spelling; of very many the first are tried."""
    key = name.casefold()
    if only_case or key in folded:
        return folded.get(key)
    close = difflib.get_close_matches(key, islice(folded, _MAX_COMPARED), n=1, cutoff=0.75)
    return folded[close[0]] if close else None
