"""What can go wrong that is no fault of the program, each as one exception.

Every message is one line that says what is wrong and what to do, and holds no value out of a row. The library
raises these; which exit code or HTTP status each leads to is decided where the command or the request ends.

    TitanicError
    ├── UsageError      the call contradicts itself
    ├── DataError       the data breaks the contract as a whole: no header, a missing column, too many rejects
    ├── InputError      an input cannot be opened
    ├── OutputError     an output cannot be created
    ├── OutputBusyError another run holds the output
    ├── TransferError   reading or writing failed midway; trying again may help
    └── ModelError      a model is missing, damaged, made for another schema, or not the pinned one
"""

import re

_ENDS_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TitanicError(Exception):
    """Base of every error that a user, a file or a machine can cause."""


class UsageError(TitanicError):
    """The call contradicts itself or asks for something that does not exist."""


class DataError(TitanicError):
    """The data breaks the contract."""


class InputError(TitanicError):
    """An input cannot be opened."""


class OutputError(TitanicError):
    """An output cannot be created."""


class OutputBusyError(TitanicError):
    """Another run holds the output."""


class TransferError(TitanicError):
    """Reading or writing failed midway."""


class ModelError(TitanicError):
    """A model is missing, damaged, made for another schema, or not the pinned one."""


def one_line(text: str) -> str:
    """Return a message with all that would end its line, or do more, as an escape: a file's name may hold it."""
    return _ENDS_A_LINE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
