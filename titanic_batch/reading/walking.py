"""Folders and globs: which files they contain.

A glob matches what `glob.glob` matches with ``recursive=True``. But `glob.glob` takes a folder that it can't list for
an empty one, and a name that it can't look up for one that does not exist. Here, such a fault is noted.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from glob import has_magic
from typing import Literal

from titanic_batch.errors import InputError, TransferError
from titanic_batch.reading.paths import opening_error

Kind = Literal["file", "folder", "other"]
"""What a name leads to, links followed; other: a pipe, a socket or a device."""

_MISSING = (errno.ENOENT, errno.ENOTDIR)


def kind_of(status: os.stat_result) -> Kind:
    """Return what has this status."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    return "folder" if stat.S_ISDIR(status.st_mode) else "other"


def split_glob(pattern: str) -> tuple[str, list[str]]:
    """Return the folder that a glob begins with, up to the first part with a wildcard, and its other parts."""
    folder, parts = pattern, list[str]()
    while has_magic(folder):
        folder, part = os.path.split(folder)
        parts.insert(0, part)
    return folder, parts


class Walk:
    """Lists folders, each of them once, and matches globs.

    Attributes
    ----------
    errors : list of InputError or TransferError
        What could not be listed or looked up. The walk goes on without it.
    """

    def __init__(self) -> None:
        self.errors: list[InputError | TransferError] = []
        self._listed: dict[str, list[os.DirEntry[str]]] = {}

    def files_in(self, folder: str) -> dict[str, Kind]:
        """Return the names in an existing folder, sorted, each with what it leads to.

        What can't be told counts as a file: opening it says why.
        """
        return dict(sorted((entry.name, _kind_or_file(entry)) for entry in self._entries(folder, exists=True)))

    def glob(self, pattern: str) -> dict[str, Kind]:
        """Return the paths that a glob matches, sorted, each with what it leads to, as `files_in` does."""
        base, parts = split_glob(pattern)
        if parts[-1] == "**":
            parts.append("*")  # the same files
        folders = [base]
        for part in parts[:-1]:
            # `**` may reach a folder in more than one way.
            folders = list(dict.fromkeys(path for folder in folders for path in self._subfolders(folder, part, base)))
        found = (match for folder in folders for match in self._matches(folder, parts[-1], exists=folder != base))
        return dict(sorted(found))

    def _entries(self, folder: str, *, exists: bool) -> list[os.DirEntry[str]]:
        """Return what is in a folder; nothing if it does not have to exist, and doesn't."""
        if folder not in self._listed:
            entries = self._listed[folder] = []
            try:
                with os.scandir(folder or os.curdir) as listing:
                    entries.extend(listing)
            except OSError as error:
                if error.errno not in _MISSING:
                    self.errors.append(opening_error(folder or os.curdir, error, "listed"))
                elif exists:
                    self.errors.append(TransferError(f"{folder} vanished while it was listed: try again."))
        return self._listed[folder]

    def _matching(self, folder: str, part: str, *, exists: bool) -> Iterator[os.DirEntry[str]]:
        """Yield what in a folder matches one part of a glob, which has a wildcard."""
        matches = re.compile(fnmatch.translate(part)).match
        for entry in self._entries(folder, exists=exists):
            if matches(entry.name) and (part.startswith(".") or not entry.name.startswith(".")):
                yield entry

    def _matches(self, folder: str, part: str, *, exists: bool) -> Iterator[tuple[str, Kind]]:
        """Yield what in a folder matches the last part of a glob."""
        if has_magic(part):
            for entry in self._matching(folder, part, exists=exists):
                yield os.path.join(folder, entry.name), _kind_or_file(entry)
            return
        path = os.path.join(folder, part)
        try:
            yield path, kind_of(os.stat(path))
        except OSError as error:
            if error.errno not in _MISSING or os.path.lexists(path):
                yield path, "file"

    def _subfolders(self, folder: str, part: str, base: str) -> Iterator[str]:
        """Yield the folders in a folder that match a part of a glob, other than the last."""
        if part == "**":
            yield from self._below(folder, base)
        elif has_magic(part):
            for entry in self._matching(folder, part, exists=folder != base):
                path = os.path.join(folder, entry.name)
                if self._is_folder(path, entry):
                    yield path
        elif self._is_folder(path := os.path.join(folder, part)):
            yield path

    def _below(self, folder: str, base: str) -> Iterator[str]:
        """Yield a folder and all folders below it. A link to a folder that it is in itself is not followed."""
        todo = [(folder, frozenset[object]())]
        while todo:
            path, above = todo.pop()
            try:
                status = os.stat(path or os.curdir)
                identity: object = (status.st_dev, status.st_ino)
            except OSError:
                identity = path  # listing it says why
            if identity in above:
                continue
            yield path
            above |= {identity}
            for entry in self._matching(path, "*", exists=path != base):
                below = os.path.join(path, entry.name)
                if self._is_folder(below, entry):
                    todo.append((below, above))

    def _is_folder(self, path: str, entry: os.DirEntry[str] | None = None) -> bool:
        """Return whether a path leads to a folder. If that can't be told, it is an error: rows may be in it."""
        try:
            return (_kind(entry) if entry is not None else kind_of(os.stat(path))) == "folder"
        except OSError as error:
            if entry is not None or error.errno not in _MISSING or os.path.lexists(path):
                self.errors.append(opening_error(path, error))
            return False


def _kind(entry: os.DirEntry[str]) -> Kind:
    """Return what an entry of a folder leads to. Raises an OSError if that can't be told, such as of a broken link."""
    if entry.is_file(follow_symlinks=False):  # known from the listing, on most file systems
        return "file"
    return "folder" if entry.is_dir(follow_symlinks=False) else kind_of(entry.stat())


def _kind_or_file(entry: os.DirEntry[str]) -> Kind:
    try:
        return _kind(entry)
    except OSError:
        return "file"
