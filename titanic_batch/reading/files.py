"""Files and streams as bytes: opened, counted, digested, and what a failure to read them means."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from titanic_batch.errors import DataError, InputError, TransferError

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file is still the same, and was not written to."""

    device: int
    inode: int
    size: int
    modified: int


def state_of(name: str) -> FileState | None:
    """Return the state of a regular file; None for a pipe or a device, and where there is nothing."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def open_file(name: str) -> io.BufferedReader:
    """Open a file to read its bytes.

    Raises
    ------
    InputError
    """
    try:
        return open(name, "rb")
    except OSError as error:
        raise InputError(f"{name} can't be opened ({error.strerror}).") from None


class CountingReader(io.RawIOBase):
    """Passes on the bytes of a stream and counts them; takes their SHA-256 if asked to.

    Parameters
    ----------
    stream
        What to read. It is not closed.
    size
        The bytes that there are at least: an earlier end is an OSError.
    digest
        Whether to take the digest.

    Attributes
    ----------
    count : int
        Bytes passed on so far.
    """

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
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer, or its beginning, and return how many bytes that are; 0 at the end."""
        got = self._stream.readinto(buffer)
        self.count += got
        if self._digest is not None:
            self._digest.update(memoryview(buffer)[:got])
        if not got and len(buffer) and self.count < self._size:
            raise OSError(errno.EIO, "the file shrank while it was read")
        return got

    def read_to_end(self) -> None:
        """Read what the digest lacks, such as what follows the end of a compressed stream."""
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


@contextmanager
def reading_from(name: str) -> Iterator[None]:
    """Turn a failure to read ``name`` into the error that `read_error` returns."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise read_error(name, error) from None


def read_error(name: str, error: Exception) -> DataError | TransferError:
    """Return what a failure to read a file that could be opened means: damage, or a fault on the way.

    The library's own text is left out: it can quote what a field contains.
    """
    if isinstance(error, MemoryError):
        return TransferError(
            f"there is not enough memory to read {name}: give more, or use fewer --jobs, and try again."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return TransferError(f"reading {name} failed midway ({error.strerror or 'I/O error'}): try again.")
    if isinstance(error, pa.ArrowNotImplementedError):  # integers of 128 bits, for one
        return DataError(f"{name} holds a type that can't be read here: leave that column out, or write it otherwise.")
    return DataError(f"{name} is damaged: it cannot be read to its end. Write it again.")
