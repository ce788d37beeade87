"""The hidden file next to a target, which an output is written to before it is renamed over the target, and its lock.

The file is always a new one, so that it has our owner and mode, and no other name. Whatever has its name already, such
as what a killed run left, a link, or a file of another user, is removed, and never written to.

Every run locks the file that has the hidden name, and only the run that has the lock may rename or remove it. So two
runs never write the same output. The lock is released when its process ends.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
from contextlib import ExitStack, suppress

from titanic_batch.errors import OutputError, may_pass, reason_of

SUFFIX = ".partial"

_ATTEMPTS = 2  # to remove a file, or it would be left

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_EXISTING = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe that takes the file's place would block


class HiddenFile:
    """A new and locked file.

    Attributes
    ----------
    path : str
    content : io.BufferedRandom
    """

    def __init__(self, path: str, content: io.BufferedRandom, other_locks: ExitStack) -> None:
        self.path = path
        self.content = content
        self._other_locks = other_locks

    def close(self) -> None:
        """Unlock the file, and remove it if it was not renamed."""
        # While we have the lock, no other run can use the hidden name, so the file is either ours or gone.
        for _ in range(_ATTEMPTS):
            with suppress(OSError):
                if not self.content.closed and _is_at(self.content.fileno(), self.path):
                    os.unlink(self.path)
                break
        with suppress(OSError):  # closing flushes the buffer, and the disk may be full
            self.content.close()
        with suppress(OSError):
            self._other_locks.close()


def create(target: str, mode: int) -> HiddenFile | None:
    """Create and lock the hidden file of a target. Return None if another run has locked it.

    Raises
    ------
    OSError
        The file can't be created.
    OutputError
        It can't be locked, or something in its place can't be removed.
    """
    folder, name = os.path.split(target)
    with ExitStack() as other_locks:
        # The second name is for a folder with the sticky bit, where another user's file can be locked, but not removed.
        for hidden in (f".{name}{SUFFIX}", f".{name}.{os.geteuid()}{SUFFIX}"):
            path = os.path.join(folder, hidden)
            while True:
                try:
                    content = _create(path, mode)
                    return HiddenFile(path, content, other_locks.pop_all())
                except BlockingIOError:
                    return None
                except FileExistsError:
                    pass
                try:
                    remaining = _remove(path)
                except BlockingIOError:
                    return None
                if remaining is not None:
                    other_locks.callback(os.close, remaining)
                    break
        raise _in_the_way(path, os.strerror(errno.EPERM))


def remove_leftover(path: str) -> None:
    """Remove a hidden file that a killed run left, but not one that another run is writing, or that is no file."""
    with suppress(OSError, OutputError):
        if stat.S_ISREG(os.lstat(path).st_mode) and (remaining := _remove(path)) is not None:
            os.close(remaining)


def _create(path: str, mode: int) -> io.BufferedRandom:
    """Create and lock a file.

    Raises
    ------
    BlockingIOError
        Another run took it for a leftover before it was locked.
    """
    descriptor = os.open(path, _NEW, mode)
    try:
        _lock(descriptor, path)
        if not _is_at(descriptor, path):
            raise BlockingIOError
        return os.fdopen(os.dup(descriptor), "w+b")
    except BlockingIOError:
        raise
    except (OSError, OutputError):
        with suppress(OSError):
            if _is_at(descriptor, path):
                os.unlink(path)
        raise
    finally:
        with suppress(OSError):
            os.close(descriptor)


def _remove(path: str) -> int | None:
    """Remove what is at a path. If a file there can't be removed, lock it instead, and return its descriptor.

    Raises
    ------
    BlockingIOError
        Another run has locked it.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            _unlink(path)
            return None
        descriptor = _open(path)
    except FileNotFoundError:
        return None
    try:
        _lock(descriptor, path)
        if _is_at(descriptor, path):
            os.unlink(path)
    except PermissionError:
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        raise _in_the_way(path, reason_of(error)) from None


def _open(path: str) -> int:
    """Open an existing file to lock it."""
    try:
        return os.open(path, os.O_RDWR | _EXISTING)  # NFS locks only what is open for writing
    except PermissionError:
        try:
            return os.open(path, os.O_RDONLY | _EXISTING)
        except PermissionError as error:
            raise _in_the_way(path, reason_of(error)) from None


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if may_pass(error):  # another run's lock, too
            raise
        raise OutputError(f"{path} can't be locked ({reason_of(error)}): write to another file system.") from None


def _in_the_way(path: str, reason: str) -> OutputError:
    return OutputError(f"{path} is in the way and can't be removed ({reason}): remove it, or name another output.")


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether an open file is the file at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
