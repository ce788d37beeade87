"""Files that appear whole or not at all.

Each file is written under a hidden name beside its target, flushed, fsynced and renamed over the target, and then its
folder is fsynced: a reader sees the whole old file or the whole new one. The hidden file is locked while it is written:
that lock is what keeps two runs from writing the same output, and it goes with the process that held it. What a killed
run leaves behind has the name that the next run uses, and is overwritten by it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Self
from weakref import WeakSet

from titanic_batch.errors import OutputBusyError, OutputError, TransferError

STDOUT = "-"
PRIVATE = 0o600
_OPEN = 0o666  # less the umask

_unpublished: WeakSet[Output] = WeakSet()


class Output:
    """One file to be published.

    Attributes
    ----------
    file : BinaryIO
        Where its content goes.
    name : str
        What messages call it.
    """

    def __init__(self, target: str, mode: int = _OPEN) -> None:
        """Open what will become ``target``; ``-`` is stdout. Stdout, pipes and devices get all of it at `publish`.

        Raises
        ------
        OutputBusyError
            Another run is writing this target.
        OutputError
            It can't be created.
        """
        self.name = "stdout" if target == STDOUT else target
        self._target = target if target == STDOUT else os.path.realpath(target)
        self._hidden: str | None = None
        if target == STDOUT or is_stream(self._target):
            self.file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed by publish() or discard()
        else:
            if os.path.isdir(self._target):
                raise OutputError(f"{self.name} is a folder: name a file.")
            folder, name = os.path.split(self._target)
            self._hidden = os.path.join(folder, f".{name}.partial")
            self.file = self._locked(self._hidden, mode)
            _unpublished.add(self)

    def _locked(self, hidden: str, mode: int) -> BinaryIO:
        while True:
            try:
                descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            except OSError as error:
                raise OutputError(f"{self.name} can't be created ({error.strerror}).") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise OutputBusyError(f"{self.name} is being written by another run: try again later.") from None
            # The run that held the lock may have renamed the file, or removed it, while we opened it.
            try:
                same = os.path.samestat(os.fstat(descriptor), os.stat(hidden))
            except FileNotFoundError:
                same = False
            if same:
                try:
                    os.ftruncate(descriptor, 0)
                    # What a killed run left may be open to more people than this file may be.
                    if (left := stat.S_IMODE(os.fstat(descriptor).st_mode)) & ~mode:
                        os.fchmod(descriptor, left & mode)
                except OSError as error:
                    os.close(descriptor)
                    raise OutputError(f"{self.name} can't be created ({error.strerror}).") from None
                return os.fdopen(descriptor, "w+b")
            os.close(descriptor)

    def finish(self) -> None:
        """Bring the content to the disk, so that only renaming is left to do.

        Raises
        ------
        TransferError
        """
        with writing(self.name):
            self.file.flush()
            if self._hidden is not None:
                os.fsync(self.file.fileno())

    def publish(self) -> None:
        """Put the file where it belongs. `finish` comes before.

        Raises
        ------
        TransferError
        """
        with writing(self.name):
            if self._hidden is None:
                self.file.seek(0)
                if self._target == STDOUT:
                    shutil.copyfileobj(self.file, sys.stdout.buffer)
                    sys.stdout.buffer.flush()
                else:
                    with open(self._target, "wb") as stream:
                        shutil.copyfileobj(self.file, stream)
            else:
                os.rename(self._hidden, self._target)
                self._hidden = None
                _sync_folder(os.path.dirname(self._target))
            self.file.close()

    def discard(self) -> None:
        """Leave no trace of what was not published. Does nothing after `publish`."""
        if self._hidden is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._hidden)
            self._hidden = None
        with suppress(OSError):  # closing writes what is buffered, for which the disk may have no room
            self.file.close()


class Publication:
    """The files of one run: published together at its end, one by one, or discarded."""

    def __init__(self) -> None:
        self._outputs: list[Output] = []

    def add(self, target: str, mode: int = _OPEN, *, first: bool = False) -> Output:
        """Open one more file, to be published last, or first. Raises as `Output` does."""
        output = Output(target, mode)
        self._outputs.insert(0 if first else len(self._outputs), output)
        return output

    def drop(self, output: Output) -> None:
        """Discard one of the files."""
        self._outputs.remove(output)
        output.discard()

    def publish(self) -> None:
        """Publish all files; nothing appears before all of them are complete."""
        for output in self._outputs:
            output.finish()
        while self._outputs:
            self._outputs[0].publish()
            del self._outputs[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for output in self._outputs:
            output.discard()


def discard_all() -> None:
    """Leave no trace of any file that was not published, whoever is writing it: the process is about to end."""
    for output in list(_unpublished):
        output.discard()


def remove(target: str) -> None:
    """Remove a file if it is there.

    Raises
    ------
    OutputError
    """
    try:
        os.unlink(target)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"the old {target} can't be removed ({error.strerror}).") from None


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn a fault in writing ``name`` into a `TransferError`; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see to the disk"
        raise TransferError(f"writing {name} failed ({error.strerror or 'I/O error'}): {hint} and try again.") from None


def is_stream(path: str) -> bool:
    """Tell whether a path is a pipe or a device, to be written to and never renamed over."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode) and not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
