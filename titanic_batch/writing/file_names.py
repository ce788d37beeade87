"""Which files a run reads and writes, by what it was told: looked at before anything is imported to read them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress

from titanic_batch.errors import UsageError
from titanic_batch.writing.publishing import STDOUT, is_stream


def is_folder(output: str) -> bool:
    """Tell whether an output is a folder, for one file of predictions for each input."""
    return output.endswith(os.sep) or os.path.isdir(output)


def require_distinct_files(inputs: Sequence[str], outputs: Sequence[str | None]) -> None:
    """Check that no file is written that is read, or written as two things.

    Raises
    ------
    UsageError
    """
    given = [name for name in outputs if name is not None]
    if given.count(STDOUT) > 1:
        raise UsageError("- (stdout) is named for two outputs: name a file for one of them.")
    named = [name for name in given if name != STDOUT and not is_stream(name)]
    places = [os.path.realpath(name) for name in named]
    read = _files_named(inputs)
    for name, place in zip(named, places, strict=True):
        if place in read:
            raise UsageError(f"{name} is an input and would be overwritten: name another output.")
        if places.count(place) > 1:
            raise UsageError(f"{name} is named for two outputs: name another file for one of them.")


def _files_named(inputs: Sequence[str]) -> set[str]:
    """Return the real paths of the files that may be read, of those that are there."""
    found = [name for given in inputs for name in (given, *glob.glob(given, recursive=True))]
    for given in inputs:
        if os.path.isdir(given):
            with suppress(OSError):
                found += [os.path.join(given, name) for name in os.listdir(given)]
    return {os.path.realpath(name) for name in found if os.path.isfile(name)}
