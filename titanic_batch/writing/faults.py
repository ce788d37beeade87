"""Errors of the system while an output is created or written, as errors that say what to do."""

from __future__ import annotations

import errno
import os

from titanic_batch.errors import OutputError, TransferError, may_pass, reason_of

_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files"),
    errno.ENOMEM: "give more memory",
}
# Answers to a rename, above all, that trying again does not change.
_LASTING = {
    **dict.fromkeys((errno.EBUSY, errno.EXDEV), "mount its folder, not the file"),
    **dict.fromkeys((errno.EPERM, errno.EACCES, errno.EROFS), "see to its rights, or name another file"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR), "name another file"),
}


def create_error(name: str, error: OSError) -> OutputError | TransferError:
    """Return the exception to raise if the output ``name`` can't be created."""
    if may_pass(error):
        return write_error(name, error)
    folder = os.path.dirname(name)
    hint = f": make the folder {folder} first" if error.errno == errno.ENOENT and folder else ""
    return OutputError(f"{name} can't be created ({reason_of(error)}){hint}.")


def write_error(name: str, error: OSError) -> OutputError | TransferError:
    """Return the exception to raise if the output ``name`` can't be written or published."""
    if error.errno == errno.ENOENT and error.filename is None:  # from tempfile, which has tried several folders
        return OutputError(f"{name} needs a folder for temporary files: set TMPDIR to one that has space.")
    if (advice := _LASTING.get(error.errno or 0)) is not None:
        return OutputError(f"{name} can't be written ({reason_of(error)}): {advice}.")
    hint = _HINTS.get(error.errno or 0, "see to the disk")
    return TransferError(f"writing {name} failed ({reason_of(error)}): {hint} and try again.")
