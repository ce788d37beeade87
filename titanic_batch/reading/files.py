"""Reading of files and streams as bytes: opening, counting, digests and errors."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from titanic_batch.errors import DataError, InputError, TransferError, is_out_of_memory
from titanic_batch.reading.signatures import START_BYTES

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file, compared to detect that the file was modified or replaced."""

    device: int
    inode: int
    size: int
    modified: int


def state_of(name: str) -> FileState | None:
    """Return the state of a regular file, or None if ``name`` is a pipe or a device, or does not exist."""
    try:
        status = os.stat(name)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def open_file(name: str) -> io.BufferedReader:
    """Open a file for reading in binary mode.

    Raises
    ------
    InputError
        The file can't be opened.
    """
    try:
        return open(name, "rb")
    except OSError as error:
        raise InputError(f"{name} can't be opened ({error.strerror}).") from None


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
    """Computes the SHA-256 of a file in a separate thread.

    Needed for files that a library opens itself and does not read completely.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._closed = False
        self._hexdigest: str | None = None
        self._thread = threading.Thread(target=self._compute, daemon=True)
        self._thread.start()

    def _compute(self) -> None:
        digest, buffer = hashlib.sha256(), bytearray(_CHUNK_BYTES)
        with suppress(OSError), open(self._name, "rb", buffering=0) as file:  # the library reports the same error
            while not self._closed:
                if not (got := file.readinto(buffer)):
                    self._hexdigest = digest.hexdigest()
                    break
                digest.update(memoryview(buffer)[:got])

    def hexdigest(self) -> str | None:
        """Wait for the digest and return it in hex, or None if the file could not be read."""
        self._thread.join()
        return self._hexdigest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True


@contextmanager
def reading_from(name: str) -> Iterator[None]:
    """Replace an exception raised while ``name`` is read by the one that `read_error` returns."""
    try:
        yield
    except (EOFError, MemoryError, OSError, pa.ArrowException, zlib.error) as error:
        raise read_error(name, error) from None


def read_error(name: str, error: Exception) -> DataError | TransferError:
    """Return the exception to raise if an open file can't be read.

    It is a `DataError` if the content is at fault, and a `TransferError` if memory or the device is. The library's own
    message is omitted, because it can quote the content of a field.
    """
    if is_out_of_memory(error):
        return TransferError(
            f"there is not enough memory to read {name}: give more, or use fewer --jobs, and try again."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return TransferError(f"reading {name} failed midway ({error.strerror or 'I/O error'}): try again.")
    if isinstance(error, pa.ArrowNotImplementedError):  # such as 128-bit integers
        return DataError(f"{name} holds a type that can't be read here: leave that column out, or write it otherwise.")
    if "requires too much memory" in str(error):  # zstd, of more than 128 MiB
        return DataError(f"{name} needs a larger window to decompress than is allowed: compress it without --long.")
    return DataError(f"{name} is damaged: it cannot be read to its end. Write it again.")
