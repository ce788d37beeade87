"""Exceptions for failures that are not bugs: those caused by the user, a file or the machine.

Each message is a single line that says what is wrong and what to do about it, and contains no value from a row. The
library only raises these exceptions; the command line and the server map them to exit codes and HTTP statuses.

    TitanicError
    ├── UsageError      the arguments contradict each other, or name something that does not exist
    ├── DataError       the data as a whole violates the contract: no header, a missing column, too many rejects
    ├── InputError      an input cannot be opened
    ├── OutputError     an output cannot be created
    ├── OutputBusyError an output is being written by another run
    ├── TransferError   reading or writing failed midway; a retry may succeed
    ├── ModelError      a model is missing, damaged, built for another schema, or not the pinned one
    └── NotebookError   the folder of the notebook lacks a name, or one is something else than it must be
"""

import errno
import os
import re
import zlib

# What libraries say of an allocation that failed where they raise no MemoryError: the loader, zlib, zstd, C++.
_OUT_OF_MEMORY = re.compile(
    "cannot allocate memory|failed to map segment|insufficient memory|Error -4 |not enough memory|bad_alloc", re.I
)
_LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PASSING = frozenset(
    {
        *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS),
        *(errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN),
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)


class TitanicError(Exception):
    """Base class of all errors caused by the user, a file or the machine."""


class UsageError(TitanicError):
    """The arguments contradict each other, or name something that does not exist."""


class DataError(TitanicError):
    """The data violates the contract."""


class InputError(TitanicError):
    """An input cannot be opened."""


class OutputError(TitanicError):
    """An output cannot be created."""


class OutputBusyError(TitanicError):
    """An output is being written by another run."""


class TransferError(TitanicError):
    """Reading or writing failed midway."""


class ModelError(TitanicError):
    """A model is missing, damaged, built for another schema, or not the pinned one."""


class NotebookError(TitanicError):
    """The folder of the notebook lacks a name, or one is something else than it must be."""


def one_line(text: str) -> str:
    """Return a message with line breaks and control characters escaped, since file names may contain them."""
    return _LINE_BREAKS_AND_CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def reason_of(error: OSError) -> str:
    """Return why a system call failed, in the system's words, which an error that a library raises may lack."""
    return error.strerror or (os.strerror(error.errno) if error.errno else "I/O error")


def may_pass(error: OSError) -> bool:
    """Return whether an error is the machine's at the moment, such as a full disk, and not one of a name or a right.

    A library's own error, without a number, is taken for one of the machine.
    """
    return error.errno is None or error.errno in _PASSING


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory could not be allocated, so that nothing that was read is at fault.

    Extension modules that don't fit into memory raise an ImportError, which packages replace by others, and
    decompressors errors of their own.
    """
    if isinstance(error, ImportError) and (cause := error.__cause__ or error.__context__) and is_out_of_memory(cause):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, ImportError | OSError | zlib.error) and _OUT_OF_MEMORY.search(str(error)) is not None
    )
