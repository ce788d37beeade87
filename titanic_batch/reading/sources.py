"""Resolution of the files, folders, globs and stdin that a user names into individual sources."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from titanic_batch.errors import InputError, UsageError, reason_of
from titanic_batch.reading.formats import FORMATS, STDIN, Format, format_of


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes
    ----------
    name
        Name of the source in messages and reports. For a file, its path.
    format
        File format of the content.
    stream
        A stream with the content, which can be read once. None if the content is in the file ``name``.
    relative_name
        Path relative to the named folder, or to the part of the glob without wildcards.
    """

    name: str
    format: Format
    stream: io.BufferedIOBase | None = None
    relative_name: str = ""


def find_sources(inputs: Sequence[str], input_format: Format | None = None) -> list[Source]:
    """Return the sources for paths, folders, globs and ``-``, in the given order.

    The files of a folder or a glob are sorted by name. A folder stands for the files directly in it whose suffix
    indicates a format, or for all of them if ``input_format`` is given. Names with a leading dot or underscore and
    rejects files are skipped.

    Raises
    ------
    InputError
        A file or folder does not exist, or a folder or glob contains no input.
    UsageError
        The format of a file is unknown, or stdin is named more than once.
    """
    named = [(name, given) for given in inputs for name in _names(given, input_format)]
    stdin = sum(name == STDIN for name, _ in named)
    if stdin > 1:
        raise UsageError("- (stdin) can be read only once.")
    if stdin and sys.stdin is None:
        raise InputError("stdin is closed: lead a file or a pipe into it, or name a file.")
    return [
        Source("stdin", input_format or "csv", cast("io.BufferedReader", sys.stdin.buffer))
        if name == STDIN
        else Source(name, input_format or format_of(name), None, os.path.relpath(name, _base_folder(given)))
        for name, given in named
    ]


def _names(given: str, input_format: Format | None) -> Iterator[str]:
    """Yield the files that ``given`` refers to; ``-`` is yielded unchanged."""
    if given == STDIN or os.path.isfile(given):
        yield given
    elif os.path.isdir(given):
        yield from _files_in(given, input_format)
    elif glob.has_magic(given):
        found = sorted(name for name in glob.glob(given, recursive=True) if os.path.isfile(name))
        if not found:
            raise InputError(f"no file matches {given}.")
        yield from found
    elif os.path.exists(given):
        yield given  # a named pipe or a device
    else:
        raise InputError(f"{given} does not exist: check the path.")


def _files_in(folder: str, input_format: Format | None) -> list[str]:
    suffixes = tuple(f".{file_format}" for file_format in FORMATS)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder} can't be listed ({reason_of(error)}).") from None
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


def _base_folder(given: str) -> str:
    """Return the folder that `Source.relative_name` is relative to."""
    if os.path.isdir(given):
        return given
    base = os.path.dirname(given)
    while glob.has_magic(base) and not os.path.exists(given):
        base = os.path.dirname(base)
    return base or os.curdir
