"""Names of files: which of them are refused, and what it means if one can't be opened."""

from __future__ import annotations

import errno
import os
import re

from titanic_batch.errors import InputError, TransferError, UsageError, may_pass, reason_of

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def require_path(name: str) -> None:
    """Check that a name that a user gives is one that a file can have here, and not a URL.

    Raises
    ------
    UsageError
    """
    if url := _URL.match(name):
        # Without the rest, which may contain a password or a signature.
        raise UsageError(
            f"{url['scheme']}://... is a URL, which is neither read nor written here: "
            "copy the file by other means, or mount its folder, and give a path."
        )
    if "\0" in name:
        raise UsageError("the name of a file contains a null character.")


def opening_error(name: str, error: OSError, verb: str = "opened") -> InputError | TransferError:
    """Return the exception to raise if a file or a folder can't be opened, or a folder can't be listed.

    It is a `TransferError` if trying again may help.
    """
    why = reason_of(error)
    if may_pass(error):
        return TransferError(f"{name} can't be {verb} ({why}): try again.")
    if error.errno == errno.ENOENT and os.path.islink(name):
        return InputError(f"{name} is a link that leads nowhere: mend or remove it.")
    return InputError(f"{name} can't be {verb} ({why}).")
