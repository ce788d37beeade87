"""Checks on the names of a run's inputs and outputs, made before the libraries that read the files are imported."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress

from titanic_batch.errors import OutputError, UsageError, reason_of
from titanic_batch.writing.streams import STDOUT, is_stream


def is_folder(output: str) -> bool:
    """Return whether an output is a folder, which receives one file of predictions per input."""
    return output.endswith(os.sep) or os.path.isdir(output)


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


def require_distinct_files(inputs: Sequence[str], outputs: Sequence[str | None]) -> None:
    """Check that no output is also an input or another output.

    Raises
    ------
    UsageError
        A file would be overwritten or written twice.
    OutputError
        A name is relative, and there is no working directory.
    """
    given = [name for name in outputs if name is not None]
    if given.count(STDOUT) > 1:
        raise UsageError("- (stdout) is named for two outputs: name a file for one of them.")
    named = [name for name in given if name != STDOUT and not is_stream(name)]
    paths = [real_path(name) for name in named]
    read = _input_files(inputs)
    for name, path in zip(named, paths, strict=True):
        if path in read:
            raise UsageError(f"{name} is an input and would be overwritten: name another output.")
        if paths.count(path) > 1:
            raise UsageError(f"{name} is named for two outputs: name another file for one of them.")


def _input_files(inputs: Sequence[str]) -> set[str]:
    """Return the real paths of all existing files that the inputs may refer to."""
    found = [name for given in inputs for name in (given, *glob.glob(given, recursive=True))]
    for given in inputs:
        if os.path.isdir(given):
            with suppress(OSError):
                found += [os.path.join(given, name) for name in os.listdir(given)]
    return {os.path.realpath(name) for name in found if os.path.isfile(name)}
