"""What a folder of predictions was made from: one JSON file in it, which several runs may write at once.

An entry says which input, by its digest, and which recipe, by the digest of all that shapes the output, made which
output. No time, host or place is in it, so that the same work leaves the same file, whoever did which part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from titanic_batch.errors import OutputError
from titanic_batch.writing.publishing import Publication

NAME = "_state.json"
FORMAT = "titanic-batch folder"
FORMAT_VERSION = 1
_SAVE_SECONDS = 2.0  # a killed run does again what it did in so short a time
_WAIT_SECONDS = 60.0  # another run holds the file only for as long as it takes to write it


@dataclass(frozen=True, slots=True)
class Entry:
    """How an output was made; all digests are SHA-256 in hex."""

    input_bytes: int | None
    input_sha256: str | None
    recipe: str
    output_bytes: int
    output_sha256: str | None


def recipe_of(parts: Mapping[str, Any]) -> str:
    """Return the digest of all that shapes an output, beside its input."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class FolderState:
    """The state file of a folder.

    What other runs write meanwhile is kept: the file is locked, read, and published with our entries on top.

    Raises
    ------
    OutputError
        What is there by its name is no file.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, NAME)
        if os.path.exists(self._path) and not os.path.isfile(self._path):  # a named pipe would have us wait
            raise OutputError(f"{self._path} is no file: it would tell what is done, so remove what is there.")
        self._entries = _read(self._path)
        self._unsaved: dict[str, Entry] = {}
        self._saved_at = time.monotonic()

    def made(self, name: str, source: str, recipe: str) -> Entry | None:
        """Return how an output was made, if by this recipe from the file as it is now, and if it is unchanged since."""
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
        """Note how an output was made; the file is written now and then, and by `save`, as `save` does."""
        self._unsaved[name] = entry
        if time.monotonic() - self._saved_at > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write what was noted.

        Raises
        ------
        OutputBusyError, OutputError, TransferError
        """
        if not self._unsaved:
            return
        with Publication(_WAIT_SECONDS) as publication:
            output = publication.add(self._path)
            entries = _read(self._path) | self._unsaved
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
    """Return the entries of a state file; none where it is missing, damaged or newer: then work is done again."""
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
