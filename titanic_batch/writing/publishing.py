"""Files that appear whole or not at all.

Each file is written under a hidden name beside its target, flushed, fsynced and renamed over the target, and then its
folder is fsynced: a reader sees the whole old file or the whole new one. The hidden file is locked while it is written:
that lock is what keeps two runs from writing the same output, and it goes with the process that held it. What a killed
run leaves behind has the name that the next run uses, and is overwritten by it.

Files that belong together become visible one after the other, in a moment in which nobody's signal stops the process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
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

STDOUT = "-"
PRIVATE = 0o600
_OPEN = 0o666  # less the umask
_SPOOLED_BYTES = 2**20
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 0.2  # whoever only clears up or checks holds a file for a moment
_SUFFIX = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT)

# Names of what the process has open already: opened by these names, a file would be cut, and a pipe be another one.
_OPEN_ALREADY = re.compile(r"/dev/(?:(stdout)|(stderr)|fd/(\d+))|/proc/self/fd/(\d+)")

_unpublished: set[Output] = set()
_beginning = threading.RLock()


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file that is where it belongs; ``sha256`` only where digests were asked for."""

    name: str
    bytes: int
    sha256: str | None


class Output:
    """One file to be published.

    Attributes
    ----------
    file : io.RawIOBase
        Where its content goes. A failure to write there is a `TransferError` that names this output.
    name : str
        What messages call it.
    is_stream : bool
        Whether it is written to and not renamed over: stdout, a pipe, a device.
    """

    def __init__(self, target: str, mode: int = _OPEN, wait: float = 0) -> None:
        """Open what will become ``target``; ``-`` is stdout. Stdout, pipes and devices get all of it at `publish`.

        Where another run is writing the target, it is waited for, ``wait`` seconds at most.

        Raises
        ------
        OutputBusyError
            Another run is writing this target.
        OutputError
            It can't be created.
        TransferError
            The disk is full.
        """
        self.name = "stdout" if target == STDOUT else target
        self.is_stream = target == STDOUT or is_stream(target)
        self._hidden: str | None = None
        self._withdrawn = False
        if self.is_stream:
            self._target = target
            self._descriptor = _open_descriptor(target, self.name)
            # Little stays in memory: there may be no folder for temporary files. Closed by publish() or discard().
            self._content = cast(io.BufferedRandom, tempfile.SpooledTemporaryFile(_SPOOLED_BYTES))  # noqa: SIM115
        else:
            self._target = os.path.realpath(target)
            if os.path.isdir(self._target):
                raise OutputError(f"{self.name} is a folder: name a file.")
            folder, name = os.path.split(self._target)
            deadline = time.monotonic() + max(wait, _PATIENCE_SECONDS)
            while not self._lock(os.path.join(folder, f".{name}{_SUFFIX}"), mode):
                if time.monotonic() >= deadline:
                    raise OutputBusyError(f"{self.name} is being written by another run: try again later.")
                time.sleep(_POLL_SECONDS)
        self.file = _Content(self._content, self.name)

    def _lock(self, hidden: str, mode: int) -> bool:
        """Take the hidden file, empty, unless another run has it."""
        with stopping.delayed(), _beginning, self._creating():
            while True:
                descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # The run that held the lock may have renamed the file, or removed it, while we opened it.
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
        """Make the hidden file as a new one: a killed run may have left content, and open to more people."""
        try:
            os.ftruncate(self._content.fileno(), 0)
            if (left := stat.S_IMODE(os.fstat(self._content.fileno()).st_mode)) & ~mode:
                os.fchmod(self._content.fileno(), left & mode)
        except OSError:
            self.discard()
            raise

    @contextmanager
    def _creating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise _failed(self.name, error) from None
            folder = os.path.dirname(self.name)
            hint = f": make the folder {folder} first" if error.errno == errno.ENOENT and folder else ""
            raise OutputError(f"{self.name} can't be created ({error.strerror}){hint}.") from None

    def finish(self) -> None:
        """Bring the content to the disk, so that only renaming is left to do.

        Raises
        ------
        TransferError
        """
        with _writing(self.name):
            self._content.flush()
            if not self.is_stream and not self._withdrawn:
                os.fsync(self._content.fileno())

    def described(self, *, digest: bool) -> PublishedFile:
        """Return what the content is, once it is finished."""
        with _writing(self.name):
            size = self._content.seek(0, os.SEEK_END)
            sha256 = None
            if digest:
                self._content.seek(0)
                sha256 = hashlib.file_digest(self._content, "sha256").hexdigest()
        return PublishedFile(self.name, size, sha256)

    def withdraw(self) -> None:
        """Have `publish` remove the target, if it is there, and put nothing in its place."""
        self._withdrawn = True

    @property
    def is_withdrawn(self) -> bool:
        """Whether nothing is to be published here."""
        return self._withdrawn

    def publish(self) -> None:
        """Put the file where it belongs. `finish` comes before.

        Raises
        ------
        TransferError
        """
        with _writing(self.name):
            if self._hidden is None:
                self._emit()
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

    def _emit(self) -> None:
        self._content.seek(0)
        if self._descriptor == 1:
            shutil.copyfileobj(self._content, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            place = self._target if self._descriptor is None else os.dup(self._descriptor)
            with open(place, "wb") as stream:
                shutil.copyfileobj(self._content, stream)

    def discard(self) -> None:
        """Leave no trace of what was not published. Does nothing after `publish`."""
        if self._hidden is not None:
            # As long as we have it open nobody else can own it, so what stands there is ours or not there.
            with suppress(OSError, ValueError):
                if _is_at(self._content.fileno(), self._hidden):
                    os.unlink(self._hidden)
            self._hidden = None
            _unpublished.discard(self)
        with suppress(OSError):  # closing writes what is buffered, for which the disk may have no room
            self._content.close()


class _Content(io.RawIOBase):
    """The file that an output's content goes to. Closing it leaves the output open."""

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
    """The files of one run: published together at its end, one by one, or discarded.

    Parameters
    ----------
    wait
        Seconds to wait for another run that is writing one of them.
    digests
        Whether `published` is to have digests, for which the files are read once more.

    Attributes
    ----------
    published : list of PublishedFile
        Those that are where they belong, so far.
    """

    def __init__(self, wait: float = 0, *, digests: bool = False) -> None:
        self.published: list[PublishedFile] = []
        self._outputs: list[Output] = []
        self._deadline = time.monotonic() + wait
        self._digests = digests

    def add(self, target: str, mode: int = _OPEN, *, first: bool = False) -> Output:
        """Open one more file, to be published last, or first. Raises as `Output` does."""
        output = Output(target, mode, max(self._deadline - time.monotonic(), 0))
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
        files = [output.described(digest=self._digests) for output in self._outputs]
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
    """Leave no trace of any file that was not published, whoever is writing it: the process is about to end.

    ``for_good``: no other thread begins one any more.
    """
    if for_good:
        _beginning.acquire(timeout=_PATIENCE_SECONDS)
    for output in list(_unpublished):
        output.discard()


def check_creatable(target: str) -> None:
    """Check, before any work is done, that a file can be created that will be published later.

    Raises
    ------
    OutputError
    """
    with suppress(OutputBusyError):  # it is there to be written
        Output(target).discard()


def make_folder(folder: str) -> None:
    """Make a folder, and those it lies in, and bring them to the disk.

    Raises
    ------
    OutputError
    """
    if folder and not os.path.isdir(folder):
        above = os.path.dirname(folder)
        make_folder(above)
        try:
            with suppress(FileExistsError):  # another run may have been quicker
                os.mkdir(folder)
            _sync_folder(above or ".")
        except OSError as error:
            raise OutputError(f"the folder {folder} can't be made ({error.strerror}).") from None
        if not os.path.isdir(folder):
            raise OutputError(f"{folder} is no folder: name another.")


def clear_left_behind(folder: str) -> None:
    """Remove what killed runs left in a folder, and nothing that another run is writing."""
    for name in os.listdir(folder):
        if name.startswith(".") and name.endswith(_SUFFIX):
            with suppress(OutputBusyError, OutputError):
                Output(os.path.join(folder, name[1 : -len(_SUFFIX)])).discard()


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Turn a failure to write ``name`` into a `TransferError`; a closed pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _failed(name, error) from None


def append_text(name: str, text: str) -> None:
    """Append text, as UTF-8, to a file that others append to as well.

    Raises
    ------
    TransferError
    """
    with _writing(name), open(name, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def is_stream(path: str) -> bool:
    """Tell whether a path is a pipe or a device, or open already: to be written to and never renamed over."""
    if _OPEN_ALREADY.fullmatch(path):
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _failed(name: str, error: OSError) -> TransferError:
    hint = "free some space" if error.errno in _FULL else "see to the disk"
    return TransferError(f"writing {name} failed ({error.strerror or 'I/O error'}): {hint} and try again.")


def _open_descriptor(target: str, name: str) -> int | None:
    """Return the descriptor that a stream has already; None: it is to be opened by its path."""
    if target == STDOUT:
        descriptor = 1
    elif match := _OPEN_ALREADY.fullmatch(target):
        stdout, stderr, *numbers = match.groups()
        descriptor = 1 if stdout else 2 if stderr else int(next(filter(None, numbers)))
    else:
        return None
    try:
        is_open = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        is_open = False
    if not is_open or (descriptor == 1 and sys.stdout is None):
        raise OutputError(f"{name} is not open for writing: lead it somewhere.")
    return descriptor


def _is_at(descriptor: int, path: str) -> bool:
    """Tell whether an open file is what stands at a path."""
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
