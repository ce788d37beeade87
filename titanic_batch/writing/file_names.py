"""Checks on the names of a run's inputs and outputs, made before the libraries that read the files are imported."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress

from titanic_batch.errors import OutputError, TransferError, UsageError, reason_of
from titanic_batch.reading.paths import opening_error
from titanic_batch.writing.streams import STDOUT, is_stream


def is_folder(output: str) -> bool:
    """Return whether an output is a folder, which receives one file of predictions per input.

    Raises
    ------
    TransferError
        That can't be told, and trying again may help.
    """
    if output.endswith(os.sep):
        return True
    try:
        return stat.S_ISDIR(os.stat(output).st_mode)
    except OSError as error:
        if isinstance(failure := opening_error(output, error), TransferError):
            raise failure from None
        return False  # creating it says why it can't be


def real_path(output: str) -> str:
    """Return the path of an output without links.

    Raises
    ------
    OutputError
        The path is relative to a working directory that does not exist.
    """
    try:
        return os.path.realpath(output)
    except OSError as error:
        raise OutputError(
            f"{output} can't be created, because the working directory can't be told ({reason_of(error)}): "
            "change to one that exists, or give the whole path."
        ) from None


def require_distinct_files(read: Iterable[str], written: Sequence[str | None]) -> None:
    """Check that no file that is written is also read, or written as something else.

    Raises
    ------
    OutputError
        As `real_path`.
    UsageError
        A file would be overwritten or written twice.
    """
    given = [name for name in written if name is not None]
    if given.count(STDOUT) > 1:
        raise UsageError("- (stdout) is named for two outputs: name a file for one of them.")
    named = [name for name in given if name != STDOUT and not is_stream(name)]
    paths = [real_path(name) for name in named]
    overwritten = _paths_that_are_read(paths, read)
    for name, path in zip(named, paths, strict=True):
        if path in overwritten:
            raise UsageError(f"{name} is an input and would be overwritten: name another output.")
        if paths.count(path) > 1:
            raise UsageError(f"{name} is named for two outputs: name another file for one of them.")


def _paths_that_are_read(paths: Sequence[str], read: Iterable[str]) -> set[str]:
    """Return those of the real paths at which there is a file that is read."""
    existing = {_identity(path) for path in paths} - {None}
    found = set()
    for name in read if existing else ():
        # The same file may have several paths, of which only one is overwritten. To find a real path takes long.
        if (identity := _identity(name)) is None or identity in existing:
            with suppress(OSError):  # it is relative to a working directory that does not exist
                found.add(os.path.realpath(name))
    return found.intersection(paths)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
