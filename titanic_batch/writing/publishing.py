"""Atomic publication of output files.

Each file is written under a hidden name next to its target, flushed, fsynced and renamed over the target. Then its
folder is fsynced. A reader sees either the complete old file or the complete new one. The hidden file is locked while
it is written. The lock prevents two runs from writing the same output, and is released when its process ends. A file
left behind by a killed run has the hidden name that the next run uses, so the next run overwrites it.

Files that belong together are published one directly after the other, and no signal stops the process in between.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

from titanic_batch.errors import OutputBusyError, OutputError, TransferError
from titanic_batch.writing import stopping
from titanic_batch.writing.streams import STDOUT, is_stream, open_descriptor

PRIVATE = 0o600
PUBLIC = 0o644  # whatever the umask is
_DEFAULT_MODE = 0o666  # restricted by the umask
_SPOOLED_BYTES = 2**20
_POLL_SECONDS = 0.05
_MIN_WAIT_SECONDS = 0.2  # a process that only cleans up or checks locks a file for a moment
_SUFFIX = ".partial"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_unpublished: set[Output] = set()
_creation_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A published file, with its size in bytes. ``sha256`` is None unless digests were requested."""

    name: str
    bytes: int
    sha256: str | None


class Output:
    """One file to be published.

    Attributes
    ----------
    file : io.RawIOBase
        The stream to write the content to. If writing fails, it raises a `TransferError` that names this output.
    name : str
        Name of the output in messages.
    is_stream : bool
        Whether the target is written to, rather than replaced by renaming: stdout, a pipe or a device.
    """

    def __init__(self, target: str, mode: int = _DEFAULT_MODE, wait: float = 0) -> None:
        """Open the file that will become ``target``, or stdout if that is ``-``.

        Stdout, pipes and devices receive the whole content at `publish`. If another run is writing the target, wait for
        it, for at most ``wait`` seconds.

        Raises
        ------
        OutputBusyError
            Another run is still writing the target.
        OutputError
            The file can't be created.
        TransferError
            The disk is full.
        """
        self.name = "stdout" if target == STDOUT else target
        self.is_stream = target == STDOUT or is_stream(target)
        self._hidden: str | None = None
        self._withdrawn = False
        if self.is_stream:
            self._target = target
            self._descriptor = open_descriptor(target, self.name)
            # Small outputs stay in memory, because there may be no folder for temporary files. Closed by publish() or
            # discard().
            self._content = cast(io.BufferedRandom, tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))  # noqa: SIM115
        else:
            self._target = os.path.realpath(target)
            if os.path.isdir(self._target):
                raise OutputError(f"{self.name} is a folder: name a file.")
            folder, name = os.path.split(self._target)
            deadline = time.monotonic() + max(wait, _MIN_WAIT_SECONDS)
            while not self._lock(os.path.join(folder, f".{name}{_SUFFIX}"), mode):
                if time.monotonic() >= deadline:
                    raise OutputBusyError(f"{self.name} is being written by another run: try again later.")
                time.sleep(_POLL_SECONDS)
            if mode == PUBLIC:
                with suppress(OSError):  # a file system without modes lets everybody read, or nobody
                    os.fchmod(self._content.fileno(), mode)
        self.file = _Content(self._content, self.name)

    def _lock(self, hidden: str, mode: int) -> bool:
        """Create, lock and empty the hidden file. Return False if another run has locked it."""
        with stopping.delayed(), _creation_lock, self._creating():
            while True:
                descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # The run that had the lock may have renamed or removed the file after we opened it.
                    if _is_at(descriptor, hidden):
                        self._content = os.fdopen(os.dup(descriptor), "w+b")
                        self._hidden = hidden
                        _unpublished.add(self)
                        self._clear(mode)
                        return True
                except BlockingIOError:
                    return False
                finally:
                    os.close(descriptor)

    def _clear(self, mode: int) -> None:
        """Empty the hidden file and restrict its mode: a killed run may have left content and a less strict mode."""
        try:
            os.ftruncate(self._content.fileno(), 0)
            if (current := stat.S_IMODE(os.fstat(self._content.fileno()).st_mode)) & ~mode:
                os.fchmod(self._content.fileno(), current & mode)
        except OSError:
            self.discard()
            raise

    @contextmanager
    def _creating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise _write_error(self.name, error) from None
            folder = os.path.dirname(self.name)
            hint = f": make the folder {folder} first" if error.errno == errno.ENOENT and folder else ""
            raise OutputError(f"{self.name} can't be created ({error.strerror}){hint}.") from None

    def finish(self) -> None:
        """Flush the content to disk, so that only the rename is left.

        Raises
        ------
        TransferError
            Writing failed.
        """
        with _writing(self.name):
            self._content.flush()
            if not self.is_stream and not self._withdrawn:
                os.fsync(self._content.fileno())

    def describe(self, *, digest: bool) -> PublishedFile:
        """Return the name and size of the finished file, and its SHA-256 if ``digest`` is true."""
        with _writing(self.name):
            size = self._content.seek(0, os.SEEK_END)
            sha256 = None
            if digest:
                self._content.seek(0)
                sha256 = hashlib.file_digest(self._content, "sha256").hexdigest()
        return PublishedFile(self.name, size, sha256)

    def withdraw(self) -> None:
        """Make `publish` remove the target, if it exists, and publish nothing."""
        self._withdrawn = True

    @property
    def is_withdrawn(self) -> bool:
        """Whether `withdraw` was called."""
        return self._withdrawn

    def publish(self) -> None:
        """Publish the file, which must be finished.

        Raises
        ------
        TransferError
            Writing, renaming or removing failed.
        """
        with _writing(self.name):
            if self._hidden is None:
                self._write_stream()
            elif self._withdrawn:
                with suppress(FileNotFoundError):
                    os.unlink(self._target)
                    _sync_folder(os.path.dirname(self._target))
                self.discard()
            else:
                os.rename(self._hidden, self._target)
                self._hidden = None
                _unpublished.discard(self)
                _sync_folder(os.path.dirname(self._target))
            self._content.close()

    def _write_stream(self) -> None:
        self._content.seek(0)
        if self._descriptor == 1:
            shutil.copyfileobj(self._content, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            target = self._target if self._descriptor is None else os.dup(self._descriptor)
            with open(target, "wb") as stream:
                shutil.copyfileobj(self._content, stream)

    def discard(self) -> None:
        """Remove the hidden file. Does nothing after `publish`."""
        if self._hidden is not None:
            # While we have the lock, no other run can use the hidden name, so the file is either ours or gone.
            with suppress(OSError, ValueError):
                if _is_at(self._content.fileno(), self._hidden):
                    os.unlink(self._hidden)
            self._hidden = None
            _unpublished.discard(self)
        with suppress(OSError):  # closing flushes the buffer, and the disk may be full
            self._content.close()


class _Content(io.RawIOBase):
    """The stream for an output's content. Closing it leaves the output open."""

    def __init__(self, file: io.BufferedRandom, name: str) -> None:
        self._file = file
        self._name = name

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with _writing(self._name):
            return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        if not self._file.closed:
            with _writing(self._name):
                self._file.flush()


class Publication:
    """The files of one run, which are either published together at its end, one by one, or discarded.

    Parameters
    ----------
    wait
        Maximum time in seconds to wait for other runs that are writing the same files.
    digests
        Whether to compute the digests in `published`, for which the files are read again.

    Attributes
    ----------
    published : list of PublishedFile
        The files that have been published so far.
    """

    def __init__(self, wait: float = 0, *, digests: bool = False) -> None:
        self.published: list[PublishedFile] = []
        self._outputs: list[Output] = []
        self._deadline = time.monotonic() + wait
        self._digests = digests

    def add(self, target: str, mode: int = _DEFAULT_MODE, *, first: bool = False) -> Output:
        """Open another file, to be published last, or before all others if ``first`` is true.

        Raises the same exceptions as `Output`.
        """
        output = Output(target, mode, max(self._deadline - time.monotonic(), 0))
        self._outputs.insert(0 if first else len(self._outputs), output)
        return output

    def drop(self, output: Output) -> None:
        """Discard one of the files, so that it is not published."""
        self._outputs.remove(output)
        output.discard()

    def publish(self) -> None:
        """Publish all files. None of them becomes visible before all are complete."""
        for output in self._outputs:
            output.finish()
        files = [output.describe(digest=self._digests) for output in self._outputs]
        if files and not any(output.is_stream for output in self._outputs):
            stopping.hold()
        for file in files:
            output = self._outputs[0]
            output.publish()
            if not output.is_withdrawn:
                self.published.append(file)
            del self._outputs[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for output in self._outputs:
            output.discard()


def discard_all(*, for_good: bool = False) -> None:
    """Remove all unpublished files of the process, from any thread. Called when the process is about to end.

    If ``for_good`` is true, other threads can't create any more files afterwards.
    """
    if for_good:
        _creation_lock.acquire(timeout=_MIN_WAIT_SECONDS)
    for output in list(_unpublished):
        output.discard()


def check_creatable(target: str) -> None:
    """Check, before any work is done, that a file to be published later can be created.

    Raises
    ------
    OutputError
        The file can't be created.
    TransferError
        The disk is full.
    """
    with suppress(OutputBusyError):  # another run is writing it, so it can be created
        Output(target).discard()


def make_folder(folder: str) -> None:
    """Create a folder and its parents, and fsync them.

    Raises
    ------
    OutputError
        The folder can't be created.
    """
    if folder and not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        make_folder(parent)
        try:
            with suppress(FileExistsError):  # another run may have created it in the meantime
                os.mkdir(folder)
            _sync_folder(parent or ".")
        except OSError as error:
            raise OutputError(f"the folder {folder} can't be made ({error.strerror}).") from None
        if not os.path.isdir(folder):
            raise OutputError(f"{folder} is no folder: name another.")


def remove_leftovers(folder: str) -> None:
    """Remove the files that killed runs left in a folder, but none that another run is writing."""
    for name in os.listdir(folder):
        if name.startswith(".") and name.endswith(_SUFFIX):
            with suppress(OutputBusyError, OutputError):
                Output(os.path.join(folder, name[1 : -len(_SUFFIX)])).discard()


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Replace an OSError raised while ``name`` is written by a `TransferError`, except for a broken pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _write_error(name, error) from None


def append_text(name: str, text: str) -> None:
    """Append text, as UTF-8, to a file that other processes append to as well.

    Raises
    ------
    TransferError
        Writing failed.
    """
    with _writing(name), open(name, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def _write_error(name: str, error: OSError) -> TransferError:
    hint = "free some space" if error.errno in _DISK_FULL else "see to the disk"
    return TransferError(f"writing {name} failed ({error.strerror or 'I/O error'}): {hint} and try again.")


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether an open file is the file at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
