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
_OPEN_DESCRIPTOR = re.compile(r"/dev/(?:(stdout)|(stderr)|fd/(\d+))|/proc/self/fd/(\d+)")


def is_stream(path: str) -> bool:
    """Return whether a path is a pipe, a device or an open descriptor, which is written to and never renamed over."""
    if _OPEN_DESCRIPTOR.fullmatch(path):
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def open_descriptor(target: str, name: str) -> int | None:
    """Return the descriptor that a target refers to, or None if it must be opened by its path.

    Raises
    ------
    OutputError
        The descriptor isn't open for writing.
    """
    if target == STDOUT:
        descriptor = 1
    elif match := _OPEN_DESCRIPTOR.fullmatch(target):
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
