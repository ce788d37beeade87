"""Exit codes that show a scheduler how a run ended. Most are from ``sysexits.h``."""

from __future__ import annotations

from collections.abc import Iterable

from titanic_batch.errors import (
    DataError,
    InputError,
    ModelError,
    NotebookError,
    OutputBusyError,
    OutputError,
    TitanicError,
    TransferError,
    UsageError,
)

DONE = 0
INTERNAL_ERROR = 1
WRONG_USAGE = 2
INVALID_DATA = 65
WRONG_CONFIGURATION = 78
TRANSFER_FAILED = 74
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

_CODES: dict[type[TitanicError], int] = {
    UsageError: WRONG_USAGE,
    DataError: INVALID_DATA,
    InputError: 66,
    OutputError: 73,
    TransferError: TRANSFER_FAILED,
    OutputBusyError: 75,
    ModelError: WRONG_CONFIGURATION,
    NotebookError: WRONG_CONFIGURATION,
}

# Codes of failures that a retry may fix come first: a scheduler that saw only another code would not retry.
_MOST_URGENT_FIRST = (TRANSFER_FAILED, 75, 73, 66, INVALID_DATA, DONE)


def code_of(error: TitanicError) -> int:
    """Return the exit code for an error."""
    return next(code for error_type, code in _CODES.items() if isinstance(error, error_type))


def combined_code(codes: Iterable[int]) -> int:
    """Return the exit code of a run whose inputs ended with ``codes``; 0 if there are none."""
    return min(codes, key=_MOST_URGENT_FIRST.index, default=DONE)
