"""Inputs: from what a user names (files, folders, globs, stdin) to tables whose header has been looked at."""

from __future__ import annotations

import csv
import difflib
import errno
import glob
import hashlib
import io
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Self, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.columns import is_compatible, type_name
from titanic_batch.csv_blocks import BLOCK_BYTES, BlockStream, CsvSplitter
from titanic_batch.errors import DataError, InputError, TransferError, UsageError
from titanic_batch.parquet_blocks import parquet_blocks, read_error, view_free
from titanic_batch.rows import Block

Format = Literal["csv", "csv.gz", "csv.zst", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
STDIN = "-"
_CHUNK_BYTES = 2**20
_MAX_COMPARED = 1_000  # names that a missing one is compared with, each of which takes microseconds
OWN_PREFIX = "reject_"  # our columns in a rejects file, not looked at when it is fed back in

COMPRESSION: dict[Format, str] = {"csv.gz": "gzip", "csv.zst": "zstd"}
_MAGIC: dict[bytes, Format] = {b"PAR1": "parquet", b"\x1f\x8b": "csv.gz", b"\x28\xb5\x2f\xfd": "csv.zst"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_OTHER_DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a bar"}


def format_of(name: str, option: str = "--input-format") -> Format:
    """Return the format that a file's suffix tells, CSV for ``-``; ``option`` is named where it tells none.

    Raises
    ------
    UsageError
    """
    if name == STDIN:
        return "csv"
    for known in FORMATS:
        if name.lower().endswith(f".{known}"):
            return known
    raise UsageError(
        f"the format of {name} can't be told from its name: "
        f"use a suffix of {', '.join('.' + f for f in FORMATS)}, or {option}."
    )


@dataclass(frozen=True, slots=True)
class Source:
    """One input: what messages and reports call it (a path, if it is one), its format, and its bytes if they are here.

    ``stream`` is read once; None: the bytes are in the file that ``name`` names.
    """

    name: str
    format: Format
    stream: io.BufferedIOBase | None = None


def find_sources(inputs: Sequence[str], input_format: Format | None = None) -> list[Source]:
    """Return the inputs that are named by paths, folders, globs and ``-``, in order; a folder's and a glob's by name.

    A folder stands for the files in it, not below it, whose suffix tells a format; names with a leading dot or
    underscore and rejects files are passed over.

    Raises
    ------
    InputError
        A file or folder is not there, or there is nothing in it.
    UsageError
        A format can't be told, or stdin is named twice.
    """
    names: list[str] = []
    for given in inputs:
        if given == STDIN or os.path.isfile(given):
            names.append(given)
        elif os.path.isdir(given):
            names += _files_in(given, input_format)
        elif glob.has_magic(given):
            found = sorted(name for name in glob.glob(given, recursive=True) if os.path.isfile(name))
            if not found:
                raise InputError(f"no file matches {given}.")
            names += found
        elif os.path.exists(given):
            names.append(given)  # a named pipe or a device
        else:
            raise InputError(f"{given} does not exist: check the path.")
    if names.count(STDIN) > 1:
        raise UsageError("- (stdin) can be read only once.")
    if STDIN in names and sys.stdin is None:
        raise InputError("stdin is closed: lead a file or a pipe into it, or name a file.")
    return [
        Source("stdin", input_format or "csv", cast("io.BufferedReader", sys.stdin.buffer))
        if name == STDIN
        else Source(name, input_format or format_of(name))
        for name in names
    ]


def _files_in(folder: str, input_format: Format | None) -> list[str]:
    suffixes = tuple(f".{known}" for known in FORMATS)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} can't be listed ({error.strerror}).") from None
    found = [
        os.path.join(folder, name)
        for name in names
        if (input_format or name.lower().endswith(suffixes))
        and not name.startswith((".", "_"))
        and ".rejects." not in name
        and os.path.isfile(os.path.join(folder, name))
    ]
    if not found:
        raise InputError(f"{folder} holds no file to read ({', '.join(suffixes)}).")
    return found


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
        self._bytes: _PassedOn | None = None
        self._digest: FileDigest | None = None
        self._wants_digest = digest
        self._state = None if source.stream is not None else _state(source.name)
        self._types: dict[str, pa.DataType] = {}
        self._metadata: pq.FileMetaData | None = None
        self._closing = ExitStack()
        with self._closing_on_error(), _reading(source.name):
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
        if self._state is not None and (now := _state(self.source.name)) != self._state:
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
        with _reading(self.source.name):
            if self._metadata is not None:
                yield from parquet_blocks(self._path, self._metadata, wanted, self.source.name)
            else:
                yield from self._splitter.blocks(self._all_names)

    def _open_csv(self, block_bytes: int) -> tuple[str, ...]:
        if self.source.stream is not None:
            raw = self.source.stream
        else:
            raw = self._closing.enter_context(_open(self.source.name))
            if self.source.format == "csv" and self._state is not None:
                self.size = self._state.size
        self._bytes = _PassedOn(raw, self._state.size if self._state else 0, digest=self._wants_digest)
        stream: BlockStream = self._bytes
        if compression := COMPRESSION.get(self.source.format):
            stream = self._closing.enter_context(pa.CompressedInputStream(pa.PythonFile(stream, "r"), compression))
        self._splitter = CsvSplitter(stream, block_bytes)
        header = self._splitter.header
        for magic, found in _MAGIC.items():
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
            with nullcontext(self.source.stream) if self.source.stream else _open(self.source.name) as stream:
                self._bytes = _PassedOn(stream, digest=self._wants_digest)
                shutil.copyfileobj(self._bytes, spool)
            spool.flush()
            self._path = f"/dev/fd/{spool.fileno()}"
        elif self._wants_digest:
            self._digest = self._closing.enter_context(FileDigest(self._path))
        with _open(self._path) as file:
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


@dataclass(frozen=True, slots=True)
class _State:
    """What tells that a file is still the same, and was not written to."""

    device: int
    inode: int
    size: int
    modified: int


def _state(name: str) -> _State | None:
    """Return the state of a file; None where there is none, or a pipe or a device."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class _PassedOn(io.RawIOBase):
    """Bytes that are passed on from a stream: counted, their digest taken if asked for, at least ``size`` of them."""

    def __init__(self, stream: io.BufferedIOBase, size: int = 0, *, digest: bool) -> None:
        self.count = 0
        self._stream = stream
        self._size = size
        self._digest = hashlib.sha256() if digest else None

    @property
    def hexdigest(self) -> str | None:
        """SHA-256 of what was passed on so far, in hex, if it is taken."""
        return self._digest.hexdigest() if self._digest is not None else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        got = self._stream.readinto(buffer)
        self.count += got
        if self._digest is not None:
            self._digest.update(memoryview(buffer)[:got])
        if not got and len(buffer) and self.count < self._size:
            raise OSError(errno.EIO, "the file shrank while it was read")
        return got

    def read_on(self) -> None:
        """Read what is left, such as what stands behind the end of a compressed stream."""
        if self._digest is not None:
            while self.readinto(bytearray(_CHUNK_BYTES)):
                pass


class FileDigest:
    """The SHA-256 of a file, taken in a thread of its own: a library reads the file itself, and not all of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._closed = False
        self._hexdigest: str | None = None
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        digest, buffer = hashlib.sha256(), bytearray(_CHUNK_BYTES)
        with suppress(OSError), open(self._name, "rb", buffering=0) as file:  # whoever reads the file will meet it too
            while not self._closed:
                if not (got := file.readinto(buffer)):
                    self._hexdigest = digest.hexdigest()
                    break
                digest.update(memoryview(buffer)[:got])

    def hexdigest(self) -> str | None:
        """Wait for the digest and return it, in hex; None where the file could not be read."""
        self._thread.join()
        return self._hexdigest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True


def _open(name: str) -> io.BufferedReader:
    try:
        return open(name, "rb")
    except OSError as error:
        raise InputError(f"{name} can't be opened ({error.strerror}).") from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise read_error(name, error) from None
