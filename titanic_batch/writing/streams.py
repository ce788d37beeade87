"""Targets that are written to, rather than replaced by renaming: stdout, pipes, devices and open descriptors."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys

from titanic_batch.errors import OutputError

STDOUT = "-"

# Names of descriptors that are already open. Opening such a name again would truncate a file, and would not give the
# same pipe.
_OPEN_DESCRIPTOR = re.compile(r"/{1,2}(?:dev/(?:(std\w+)|fd/(\d+))|proc/(?:self|thread-self)/fd/(\d+))")
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_MOST_LINKS = 40  # as in the kernel


class _Descriptors:
    only_inherited = False


def trust_only_inherited_descriptors() -> None:
    """Make `open_descriptor` refuse what this process opened itself, such as the file of another output.

    Whoever starts a command can only mean descriptors that were open before.
    """
    _Descriptors.only_inherited = True


def is_stream(path: str) -> bool:
    """Return whether a path is a pipe, a device or an open descriptor, which is written to and never renamed over."""
    try:
        return _descriptor_of(path) is not None or is_pipe_or_device(path)
    except OSError:
        return False


def is_pipe_or_device(path: str) -> bool:
    """Return whether there is something at a path that is neither a file nor a folder.

    Raises
    ------
    OSError
        It can't be told.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def open_descriptor(target: str, name: str) -> int | None:
    """Return the descriptor that a target refers to, or None if it must be opened by its path.

    Raises
    ------
    OutputError
        The descriptor isn't open for writing.
    """
    descriptor = 1 if target == STDOUT else _descriptor_of(target)
    if descriptor is None:
        return None
    try:
        is_open = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        # What Python opens has this flag, and what was inherited can't have it.
        if _Descriptors.only_inherited and fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            is_open = False
    except (OSError, OverflowError):
        is_open = False
    if not is_open or (descriptor == 1 and sys.stdout is None):
        raise OutputError(f"{name} is not open for writing: lead it somewhere.")
    return descriptor


def require_writable(path: str, name: str) -> None:
    """Check that a pipe or a device may be opened for writing, without opening it, which could wait for a reader.

    Raises
    ------
    OutputError
        It may not.
    """
    if stat.S_ISSOCK(os.stat(path).st_mode):
        raise OutputError(f"{name} is a socket, which can't be written to like a file: name a file or a pipe.")
    if not os.access(path, os.W_OK):
        raise OutputError(f"{name} may not be written to: see to its rights, or name another file.")


def _descriptor_of(path: str) -> int | None:
    """Return the descriptor that a path, or what it links to, is a name of."""
    for _ in range(_MOST_LINKS):
        if match := _OPEN_DESCRIPTOR.fullmatch(os.path.normpath(path)):
            standard, *numbers = match.groups()
            return _STANDARD.get(standard) if standard else int(next(filter(None, numbers)))
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:  # no link
            break
    return None
