"""The state of a folder of predictions: a JSON file that records how each output was made.

An entry contains the digests of an output, of its input, and of its recipe, which is everything else that affects the
output. The file contains no time, host or location, so that the same work results in the same file, no matter which run
did which part. Several runs may write it at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from titanic_batch.errors import OutputBusyError, OutputError, TransferError
from titanic_batch.writing.publishing import Publication, check_creatable

NAME = "_state.json"
FORMAT = "titanic-batch folder"
FORMAT_VERSION = 1
_SAVE_SECONDS = 2.0  # a killed run loses, and has to repeat, no more finished work than this
_WAIT_SECONDS = 60.0  # another run locks the file only while it writes it


@dataclass(frozen=True, slots=True)
class Entry:
    """How an output was made. All digests are SHA-256 in hex."""

    input_bytes: int | None
    input_sha256: str | None
    recipe: str
    output_bytes: int
    output_sha256: str | None


def recipe_of(parts: Mapping[str, Any]) -> str:
    """Return the digest of everything that affects an output except its input."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class FolderState:
    """The state file of a folder.

    Entries that other runs write in the meantime are kept: to save, the file is locked, read again, and published with
    the entries of this run added.

    Raises
    ------
    OutputError, TransferError
        The path exists and is not a file, or the file can't be created or replaced.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, NAME)
        with suppress(OSError):
            if not stat.S_ISREG(os.stat(self._path).st_mode):  # reading a named pipe would block
                raise OutputError(f"{self._path} is no file: it would tell what is done, so remove what is there.")
        check_creatable(self._path)
        self._entries = _read(self._path)
        self._unsaved: dict[str, Entry] = {}
        self._saved_at = time.monotonic()

    def made(self, name: str, source: str, recipe: str) -> Entry | None:
        """Return the entry of an output, if it is unchanged and ``recipe`` made it from the current ``source``."""
        entry = self._entries.get(name)
        if entry is None or entry.recipe != recipe:
            return None
        output = os.path.join(self._folder, name)
        try:
            is_current = (
                os.path.getsize(output) == entry.output_bytes
                and os.path.isfile(source)
                and _digest(source) == entry.input_sha256
                and _digest(output) == entry.output_sha256
            )
        except OSError:
            return None
        return entry if is_current else None

    def note(self, name: str, entry: Entry) -> None:
        """Add the entry of an output, and every few seconds try to `save`: a failure only matters at the end."""
        self._unsaved[name] = entry
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            with suppress(OutputBusyError, OutputError, TransferError):
                self.save()
            self._saved_at = time.monotonic()

    def save(self) -> None:
        """Write the entries that are not saved yet.

        Raises
        ------
        OutputBusyError, OutputError, TransferError
        """
        if not self._unsaved:
            return
        with Publication(_WAIT_SECONDS) as publication:
            output = publication.add(self._path)
            entries = self._entries | _read(self._path) | self._unsaved
            content = {
                "format": FORMAT,
                "version": FORMAT_VERSION,
                "outputs": {name: asdict(entry) for name, entry in sorted(entries.items())},
            }
            output.file.write(f"{json.dumps(content, indent=1)}\n".encode())
            publication.publish()
        self._entries, self._unsaved = entries, {}
        self._saved_at = time.monotonic()


def _read(path: str) -> dict[str, Entry]:
    """Return the entries of a state file; none if it is missing, damaged or newer, so that the work is done again."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if (content["format"], content["version"]) != (FORMAT, FORMAT_VERSION):
            return {}
        return {name: Entry(**entry) for name, entry in content["outputs"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
