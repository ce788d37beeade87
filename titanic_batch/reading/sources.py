"""Inputs: from what a user names (files, folders, globs, stdin) to tables whose header has been looked at."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from titanic_batch.errors import InputError, UsageError
from titanic_batch.reading.formats import FORMATS, STDIN, Format, format_of


@dataclass(frozen=True, slots=True)
class Source:
    """One input: what messages and reports call it (a path, if it is one), its format, and its bytes if they are here.

    ``stream`` is read once; None: the bytes are in the file that ``name`` names.
    """

    name: str
    format: Format
    stream: io.BufferedIOBase | None = None


def find_sources(inputs: Sequence[str], input_format: Format | None = None) -> list[Source]:
    """Return the inputs that are named by paths, folders, globs and ``-``, in order; a folder's and a glob's by name.

    A folder stands for the files in it, not below it, whose suffix tells a format; names with a leading dot or
    underscore and rejects files are passed over.

    Raises
    ------
    InputError
        A file or folder is not there, or there is nothing in it.
    UsageError
        A format can't be told, or stdin is named twice.
    """
    names: list[str] = []
    for given in inputs:
        if given == STDIN or os.path.isfile(given):
            names.append(given)
        elif os.path.isdir(given):
            names += _files_in(given, input_format)
        elif glob.has_magic(given):
            found = sorted(name for name in glob.glob(given, recursive=True) if os.path.isfile(name))
            if not found:
                raise InputError(f"no file matches {given}.")
            names += found
        elif os.path.exists(given):
            names.append(given)  # a named pipe or a device
        else:
            raise InputError(f"{given} does not exist: check the path.")
    if names.count(STDIN) > 1:
        raise UsageError("- (stdin) can be read only once.")
    if STDIN in names and sys.stdin is None:
        raise InputError("stdin is closed: lead a file or a pipe into it, or name a file.")
    return [
        Source("stdin", input_format or "csv", cast("io.BufferedReader", sys.stdin.buffer))
        if name == STDIN
        else Source(name, input_format or format_of(name))
        for name in names
    ]


def _files_in(folder: str, input_format: Format | None) -> list[str]:
    suffixes = tuple(f".{known}" for known in FORMATS)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} can't be listed ({error.strerror}).") from None
    found = [
        os.path.join(folder, name)
        for name in names
        if (input_format or name.lower().endswith(suffixes))
        and not name.startswith((".", "_"))
        and ".rejects." not in name
        and os.path.isfile(os.path.join(folder, name))
    ]
    if not found:
        raise InputError(f"{folder} holds no file to read ({', '.join(suffixes)}).")
    return found
