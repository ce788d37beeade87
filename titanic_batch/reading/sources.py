"""Resolution of the files, folders, globs and stdin that a user names into individual sources."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from typing import cast

from titanic_batch.errors import InputError, TransferError, UsageError
from titanic_batch.reading.formats import FORMATS, STDIN, Format, format_of
from titanic_batch.reading.paths import opening_error
from titanic_batch.reading.walking import Kind, Walk, kind_of, split_glob

_SUFFIXES = tuple(f".{file_format}" for file_format in FORMATS)

# Passed over in silence in a folder, besides hidden files: what Spark and Hadoop write beside data, and what we do.
_SILENT_NAMES = frozenset({"_SUCCESS", "_metadata", "_common_metadata", "_state.json"})
_SILENT_SUFFIX = ".crc"
_SILENT_PART = ".rejects."
_MOST_NAMED = 10


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


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that a named folder contains and that is not read, and why.

    The reason is ``unknown suffix``, ``leading underscore``, ``folder`` (with the suffix of a file) or ``not a file``
    (a pipe, a socket or a device). Only the last two occur for a glob, since it chooses names itself.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the names that a user gave refer to.

    Attributes
    ----------
    names
        The names as given.
    sources
        What to read, in order.
    passed_over
        What named folders contain and is not read. Hidden files, what Spark and Hadoop write beside their data
        (``_SUCCESS``, ``_metadata``, ``_common_metadata``, ``*.crc``) and what a run of ours writes besides predictions
        (``*.rejects.*``, ``_state.json``) are not listed.
    error
        Why the sources are not all that the names refer to, if so.
    """

    names: Sequence[str]
    sources: Sequence[Source]
    passed_over: Sequence[PassedOver] = ()
    error: InputError | TransferError | None = None

    @property
    def files(self) -> list[str]:
        """Names of the sources that are not stdin."""
        return [source.name for source in self.sources if source.stream is None]

    def require_all(self) -> Sequence[Source]:
        """Return the sources, after checking that there are no others.

        Raises
        ------
        InputError, TransferError
            What `error` is.
        """
        if self.error is not None:
            raise self.error
        return self.sources


def find_inputs(names: Sequence[str], input_format: Format | None = None) -> Inputs:
    """Return what paths, folders, globs and ``-`` refer to, in the given order.

    The files of a folder or a glob are sorted by name. A folder stands for the files directly in it whose suffix
    indicates a format and whose name has no leading underscore, or for all of them if ``input_format`` is given.

    A file that exists and can't be opened is a source like any other. If a file or folder that is named does not exist,
    a folder can't be listed, or a folder or glob contains no input, this is the `Inputs.error`.

    Raises
    ------
    UsageError
        The format of a file is unknown, or stdin is named more than once.
    """
    if names.count(STDIN) > 1:
        raise UsageError("- (stdin) can be read only once.")
    search = _Search(input_format)
    for name in names:
        search.add(name)
    read = {source.name for source in search.sources}
    passed_over = [file for file in dict.fromkeys(search.passed_over) if file.name not in read]
    return Inputs(tuple(names), search.sources, passed_over, next(iter(search.walk.errors), None))


def describe(passed_over: Sequence[PassedOver]) -> str:
    """Return how many files are passed over, and the first of them with the reasons."""
    named = ", ".join(f"{file.name} ({file.reason})" for file in passed_over[:_MOST_NAMED])
    more = f" and {len(passed_over) - _MOST_NAMED} more" * (len(passed_over) > _MOST_NAMED)
    return f"{len(passed_over)} file{'s' * (len(passed_over) != 1)} passed over: {named}{more}"


class _Search:
    """Collects what names refer to."""

    def __init__(self, input_format: Format | None) -> None:
        self.walk = Walk()
        self.sources: list[Source] = []
        self.passed_over: list[PassedOver] = []
        self._format = input_format

    def add(self, name: str) -> None:
        """Add what a name refers to."""
        if name == STDIN:
            self._add_stdin()
            return
        try:
            kind = kind_of(os.stat(name))
        except OSError as error:
            self._add_unknown(name, error)
        else:
            if kind == "folder":
                self._add_folder(name)
            else:
                self._read(name, os.path.dirname(name))

    def _add_stdin(self) -> None:
        if sys.stdin is None:
            self.walk.errors.append(InputError("stdin is closed: lead a file or a pipe into it, or name a file."))
        else:
            self.sources.append(Source("stdin", self._format or "csv", cast("io.BufferedReader", sys.stdin.buffer)))

    def _add_unknown(self, name: str, error: OSError) -> None:
        """Add what a name refers to that can't be looked up."""
        if has_magic(name) and not os.path.lexists(name):
            self._add_glob(name)
        elif error.errno in (errno.ENOENT, errno.ENOTDIR) and not os.path.lexists(name):
            self.walk.errors.append(InputError(f"{name} does not exist: check the path."))
        elif self._format or _has_suffix(name):
            self._read(name, os.path.dirname(name))  # opening it says why it can't be read
        else:
            self.walk.errors.append(opening_error(name, error))

    def _add_folder(self, folder: str) -> None:
        begun, passed_over = len(self.sources), list[PassedOver]()
        for name, kind in self.walk.files_in(folder).items():
            if not _is_silent(name):
                path = os.path.join(folder, name)
                if reason := self._reason_to_pass_over(name, kind):
                    passed_over.append(PassedOver(path, reason))
                elif kind == "file":
                    self._read(path, folder)
        self.passed_over += passed_over
        if len(self.sources) == begun:
            what = f"{folder} holds no file to read ({', '.join(_SUFFIXES)})"
            self.walk.errors.append(InputError(_and_passed_over(what, passed_over)))

    def _add_glob(self, pattern: str) -> None:
        base, parts = split_glob(pattern)
        begun, passed_over = len(self.sources), list[PassedOver]()
        for path, kind in self.walk.glob(pattern).items():
            if kind == "file":
                self._read(path, base)
            elif kind == "other":
                passed_over.append(PassedOver(path, "not a file"))
            elif _has_suffix(path) and "**" not in parts:  # which finds what is in it
                passed_over.append(PassedOver(path, "folder"))
        self.passed_over += passed_over
        if len(self.sources) == begun:
            self.walk.errors.append(InputError(_and_passed_over(f"no file matches {pattern}", passed_over)))

    def _read(self, path: str, base: str) -> None:
        relative = os.path.normpath(path[len(base) :].lstrip(os.sep))
        self.sources.append(Source(path, self._format or format_of(path), None, relative))

    def _reason_to_pass_over(self, name: str, kind: Kind) -> str | None:
        if kind == "other":
            return "not a file"
        if kind == "folder":
            return "folder" if _has_suffix(name) else None
        if self._format is not None:
            return None
        if name.startswith("_"):
            return "leading underscore"
        return None if _has_suffix(name) else "unknown suffix"


def _is_silent(name: str) -> bool:
    """Return whether a name in a folder is passed over without a word."""
    return name.startswith(".") or name in _SILENT_NAMES or name.endswith(_SILENT_SUFFIX) or _SILENT_PART in name


def _has_suffix(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def _and_passed_over(what: str, passed_over: Sequence[PassedOver]) -> str:
    return f"{what}; {describe(passed_over)}." if passed_over else f"{what}."
