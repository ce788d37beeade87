"""Atomic publication of output files.

Each file is written under a hidden name next to its target, flushed, fsynced and renamed over the target. Then its
folder is fsynced. A reader sees either the complete old file or the complete new one. Files that belong together are
published one directly after the other, and no signal stops the process in between.

What was renamed is published, and nothing that fails afterwards is an error, such as in a folder that can't be fsynced.
What can't be renamed is found before any work is done, as far as the system tells.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, cast

from titanic_batch.errors import OutputBusyError, OutputError, may_pass, reason_of
from titanic_batch.writing import hidden_file, stopping
from titanic_batch.writing.faults import create_error, write_error
from titanic_batch.writing.file_names import real_path
from titanic_batch.writing.hidden_file import HiddenFile
from titanic_batch.writing.replacing import require_replaceable
from titanic_batch.writing.streams import STDOUT, is_pipe_or_device, open_descriptor, require_writable

PRIVATE = 0o600
PUBLIC = 0o644  # whatever the umask is
_DEFAULT_MODE = 0o666  # restricted by the umask
_SPOOLED_BYTES = 2**20
_POLL_SECONDS = 0.05
_MIN_WAIT_SECONDS = 0.2  # a process that only cleans up or checks locks a file for a moment
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)

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
        The stream to write the content to. If writing fails, it raises an `OutputError` or a `TransferError`
        that names this output.
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
            The file can't be created, or can't be replaced.
        TransferError
            It can't be created at the moment, such as on a full disk.
        """
        self.name = "stdout" if target == STDOUT else target
        self._target = target
        self._hidden: HiddenFile | None = None
        self._withdrawn = False
        with self._creating():
            self._descriptor = open_descriptor(target, self.name)
            self.is_stream = self._descriptor is not None or is_pipe_or_device(target)
            if self.is_stream:
                if self._descriptor is None:
                    require_writable(target, self.name)
                # Small outputs stay in memory, because there may be no folder for temporary files. Closed by publish()
                # or discard().
                import tempfile  # help, which needs no files, does without

                self._content = cast(io.BufferedRandom, tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))  # noqa: SIM115
            else:
                self._target = real_path(target)
                if os.path.isdir(self._target):
                    raise OutputError(f"{self.name} is a folder: name a file.")
                self.require_replaceable()
                self._lock(mode, wait)
                if mode == PUBLIC:
                    with suppress(OSError):  # a file system without modes lets everybody read, or nobody
                        os.fchmod(self._content.fileno(), mode)
        self.file = _Content(self._content, self.name)

    def require_replaceable(self) -> None:
        """Check that the target can still be replaced or removed, if it is a file.

        Raises
        ------
        OutputError
            It can't.
        """
        if not self.is_stream:
            require_replaceable(self._target, self.name)

    def _lock(self, mode: int, wait: float) -> None:
        """Create and lock the hidden file. If another run has locked it, wait for at most ``wait`` seconds."""
        deadline = time.monotonic() + max(wait, _MIN_WAIT_SECONDS)
        while True:
            with stopping.delayed(), _creation_lock:
                self._hidden = hidden_file.create(self._target, mode)
                if self._hidden is not None:
                    self._content = self._hidden.content
                    _unpublished.add(self)
                    return
            if time.monotonic() >= deadline:
                raise OutputBusyError(f"{self.name} is being written by another run: try again later.")
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def _creating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise create_error(self.name, error) from None

    def finish(self) -> None:
        """Flush the content to disk, so that only the rename is left.

        Raises
        ------
        OutputError, TransferError
            Writing failed.
        """
        with _writing(self.name):
            self._content.flush()
            if not self.is_stream and not self._withdrawn:
                try:
                    os.fsync(self._content.fileno())
                except OSError as error:
                    if error.errno not in _NO_SYNC:  # some file systems have no such thing
                        raise

    def describe(self, *, digest: bool) -> PublishedFile:
        """Return the name and size of the finished file, and its SHA-256 if ``digest`` is true."""
        with _writing(self.name):
            size = self._content.seek(0, os.SEEK_END)
            sha256 = None
            if digest:
                self._content.seek(0)
                import hashlib

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
        """Publish the file, which must be finished. Whatever fails after the rename is ignored.

        Raises
        ------
        OutputError, TransferError
            Writing, renaming or removing failed.
        """
        with _writing(self.name):
            if self._hidden is None:
                self._write_stream()
            elif self._withdrawn:
                with suppress(FileNotFoundError):
                    os.unlink(self._target)
                    _sync_folder(os.path.dirname(self._target))
            else:
                os.rename(self._hidden.path, self._target)
                _sync_folder(os.path.dirname(self._target))
        self.discard()

    def _write_stream(self) -> None:
        self._content.seek(0)
        if self._descriptor == 1:
            shutil.copyfileobj(self._content, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            target = self._target if self._descriptor is None else self._descriptor
            with open(target, "wb", closefd=self._descriptor is None) as stream:
                shutil.copyfileobj(self._content, stream)

    def discard(self) -> None:
        """Remove the hidden file. After `publish`, there is none."""
        if self._hidden is not None:
            self._hidden.close()
            self._hidden = None
            _unpublished.discard(self)
        with suppress(OSError):
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
        for output in self._outputs:
            output.require_replaceable()
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
    """Check, before any work is done, that a file to be published later can be created or replaced.

    Raises
    ------
    OutputError, TransferError
        It can't.
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
        except OSError as error:
            if may_pass(error):
                raise write_error(f"the folder {folder}", error) from None
            raise OutputError(f"the folder {folder} can't be made ({reason_of(error)}).") from None
        if not os.path.isdir(folder):
            raise OutputError(f"{folder} is no folder: name another.")
        _sync_folder(parent or ".")


def remove_leftovers(folder: str) -> None:
    """Remove the files that killed runs left in a folder, but none that another run is writing.

    There is nothing to remove in a folder that can't be listed, or does not exist.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(".") and name.endswith(hidden_file.SUFFIX):
                hidden_file.remove_leftover(os.path.join(folder, name))


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Replace an OSError raised while ``name`` is written by the exception that `write_error` returns.

    A broken pipe is left as it is.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise write_error(name, error) from None


def append_text(name: str, text: str) -> None:
    """Append text, as UTF-8, to a file that other processes append to as well.

    Raises
    ------
    OutputError, TransferError
        Writing failed.
    """
    with _writing(name), open(name, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def _sync_folder(folder: str) -> None:
    """Flush a folder to disk, if it can be read and its file system has such a thing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
