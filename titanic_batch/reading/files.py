"""Reading of files and streams as bytes: opening, counting, digests and errors."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from titanic_batch.errors import DataError, TransferError, is_out_of_memory, may_pass, reason_of
from titanic_batch.reading.limits import start_thread
from titanic_batch.reading.paths import opening_error
from titanic_batch.reading.signatures import START_BYTES

_CHUNK_BYTES = 2**20
# In the messages of Arrow's Parquet reader, which has no exceptions of their own for these.
_ENCRYPTED = re.compile("decrypt|encrypt")
_UNSUPPORTED = re.compile("not yet implemented|not (currently )?supported|unsupported|unknown encoding", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file, compared to detect that the file was modified or replaced."""

    device: int
    inode: int
    size: int
    modified: int


def state_of(file: str | int) -> FileState | None:
    """Return the state of a regular file, given its name or an open descriptor of it.

    None is returned if it is a pipe or a device, or does not exist.

    Raises
    ------
    TransferError
        It can't be told at the moment.
    """
    try:
        status = os.stat(file)
    except OSError as error:
        if may_pass(error):  # the file would be taken for a pipe, which can't change
            raise TransferError(f"{file} can't be opened ({reason_of(error)}): try again.") from None
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def open_file(name: str) -> io.BufferedReader:
    """Open a file for reading in binary mode.

    Raises
    ------
    InputError, TransferError
        The file can't be opened.
    """
    try:
        return open(name, "rb")
    except OSError as error:
        raise opening_error(name, error) from None


class CountingReader(io.RawIOBase):
    """Reads from a stream, counts the bytes and optionally computes their SHA-256.

    Parameters
    ----------
    stream
        The stream to read. It is not closed.
    size
        Minimum number of bytes in the stream. If it ends earlier, reading raises an OSError.
    digest
        Whether to compute the SHA-256.

    Attributes
    ----------
    count : int
        Number of bytes read so far.
    start : bytes
        The first of them.
    """

    def __init__(self, stream: io.BufferedIOBase, size: int = 0, *, digest: bool) -> None:
        self.count = 0
        self.start = b""
        self._stream = stream
        self._size = size
        self._digest = hashlib.sha256() if digest else None

    @property
    def hexdigest(self) -> str | None:
        """SHA-256 of the bytes read so far, in hex, or None if it is not computed."""
        return self._digest.hexdigest() if self._digest is not None else None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read up to ``len(buffer)`` bytes into the buffer and return their number; 0 at the end."""
        got = self._stream.readinto(buffer)
        if self.count < START_BYTES:
            self.start += bytes(memoryview(buffer)[: min(got, START_BYTES - self.count)])
        self.count += got
        if self._digest is not None:
            self._digest.update(memoryview(buffer)[:got])
        if not got and len(buffer) and self.count < self._size:
            raise OSError(errno.EIO, "the file shrank while it was read")
        return got

    def read_to_end(self) -> None:
        """Read what is left, such as bytes after the end of the compressed data, if the SHA-256 is computed."""
        if self._digest is not None:
            while self.readinto(bytearray(_CHUNK_BYTES)):
                pass


class FileDigest:
    """Computes the SHA-256 of a file in a separate thread, until it is closed.

    Needed for files that a library opens itself and does not read completely.

    Raises
    ------
    TransferError
        No thread can be started.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._closed = False
        self._ended = threading.Event()
        self._hexdigest: str | None = None
        self._error: OSError | None = None
        start_thread(self._compute)

    def _compute(self) -> None:
        digest, buffer = hashlib.sha256(), bytearray(_CHUNK_BYTES)
        try:
            with open(self._name, "rb", buffering=0) as file:
                while (got := file.readinto(buffer)) and not self._closed:
                    digest.update(memoryview(buffer)[:got])
            self._hexdigest = digest.hexdigest()
        except OSError as error:
            self._error = error
        finally:
            self._ended.set()

    def hexdigest(self) -> str | None:
        """Wait for the digest and return it in hex.

        Raises
        ------
        OSError
            Reading failed.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._hexdigest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._ended.wait()


@contextmanager
def reading_from(name: str) -> Iterator[None]:
    """Replace an exception raised while ``name`` is read by the one that `read_error` returns."""
    try:
        yield
    except (EOFError, MemoryError, OSError, pa.ArrowException, zlib.error) as error:
        raise read_error(name, error) from None


def is_damage(error: Exception) -> bool:
    """Return whether a library's error is due to the content of a file, and neither to memory nor to the device."""
    return not is_out_of_memory(error) and getattr(error, "errno", None) is None


def read_error(name: str, error: Exception, column: str | None = None) -> DataError | TransferError:
    """Return the exception to raise if an open file, or a column of it, can't be read.

    It is a `DataError` if the content is at fault, and a `TransferError` if memory or the device is. The library's own
    message is omitted, because it can quote the content of a field.
    """
    if is_out_of_memory(error):
        return TransferError(
            f"there is not enough memory to read {name}: give more, or use fewer --jobs, and try again."
        )
    if type(error) is pa.ArrowException:  # of no known kind: a thread could not be started
        return TransferError(
            f"the machine has no room for a thread to read {name}: allow more processes or memory, and try again."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return TransferError(f"reading {name} failed midway ({reason_of(error)}): try again.")
    if column is not None:
        return _column_error(name, error, column)
    if isinstance(error, pa.ArrowNotImplementedError):  # such as 128-bit integers
        return DataError(f"{name} holds a type that can't be read here: leave that column out, or write it otherwise.")
    if "requires too much memory" in str(error):  # zstd, of more than 128 MiB
        return DataError(f"{name} needs a larger window to decompress than is allowed: compress it without --long.")
    return DataError(f"{name} is damaged: it cannot be read to its end. Write it again.")


def _column_error(name: str, error: Exception, column: str) -> DataError:
    if _ENCRYPTED.search(str(error)):
        return DataError(f"{name}: column {column} is encrypted: write it without encryption.")
    if isinstance(error, pa.ArrowNotImplementedError) or _UNSUPPORTED.search(str(error)):
        return DataError(
            f"{name}: column {column} has a type, an encoding or a compression that can't be read here: "
            "write it otherwise."
        )
    return DataError(f"{name} is damaged: it cannot be read to its end (column {column}). Write it again.")
