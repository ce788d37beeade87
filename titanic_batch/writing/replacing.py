"""Whether a file can be replaced or removed, found out without doing it.

Being able to create files next to it is not enough: it may be mounted by itself, as a file is by ``docker run -v``, be
immutable or append-only, or belong to another user in a folder with the sticky bit.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys

from titanic_batch.errors import OutputError

# From Linux' fcntl.h and stat.h
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BYTES = 256
_STATX_ATTRIBUTES = slice(8, 16)
_IMMUTABLE, _APPEND_ONLY, _MOUNTED = 0x10, 0x20, 0x2000


def require_replaceable(path: str, name: str) -> None:
    """Check that a file, which need not exist, can be replaced.

    Raises
    ------
    OutputError
        It can't. The error calls it ``name``.
    """
    attributes = _attributes(path)
    if attributes & _MOUNTED:
        raise OutputError(f"{name} can't be replaced, since it is mounted by itself: mount its folder, not the file.")
    if attributes & (_IMMUTABLE | _APPEND_ONLY):
        raise OutputError(f"{name} can't be replaced, since it is immutable or append-only: see lsattr and chattr.")
    if _attributes(os.path.dirname(path)) & _APPEND_ONLY:
        raise OutputError(f"{name} can't be created, since its folder is append-only: see lsattr and chattr.")
    try:
        # Linux refuses to remove a file as if it were a folder, but only after it has checked that it may be removed.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.rmdir(path)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise OutputError(
                f"{name} can't be replaced, since it belongs to another user in a folder with the sticky bit: "
                "remove it as that user, or name another file."
            ) from None


def _attributes(path: str) -> int:
    """Return the attributes that statx(2) knows of a file or a folder; none where there is no such call."""
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    try:
        failed = ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, 0, buffer)
    except (AttributeError, OSError):
        return 0
    return 0 if failed else int.from_bytes(buffer.raw[_STATX_ATTRIBUTES], sys.byteorder)
