"""The common base of open CSV and Parquet inputs, with the check for required columns."""

from __future__ import annotations

import codecs
import difflib
import io
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from typing import Self

import pyarrow as pa

from titanic_batch.errors import DataError, TransferError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.column_names import is_nameless
from titanic_batch.reading.columns import is_compatible, type_name
from titanic_batch.reading.files import CountingReader, FileState, reading_from, state_of
from titanic_batch.reading.formats import COMPRESSION, REJECT_PREFIX
from titanic_batch.reading.signatures import other_content
from titanic_batch.reading.sources import Source

_MAX_COMPARED = 1_000  # existing names that a missing one is compared with; each comparison takes microseconds
_SEPARATOR_LINE = re.compile(rb'(?:\xef\xbb\xbf)*"?sep=(.)', re.IGNORECASE)
_OTHER_DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a bar"}


class InputTable(ABC):
    """A source whose columns are known. Its rows can be read once, with `blocks`.

    Created by `opening.open_table`. A file is open only while its header or its blocks are read, so that any number of
    tables can be created before the first one is read. As a context manager, a table closes what else it opened: a pipe
    or a copy of a stream.

    Attributes
    ----------
    source : Source
    size : int or None
        Sum of `Block.size` over all blocks, or None if it can't be known in advance.
    ordinary_block_size : int
        `Block.size` of a block in a file with short rows or small row groups.
    """

    ordinary_block_size: int

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size: int | None = None
        self._state = None if source.stream is not None else state_of(source.name)
        self._bytes: CountingReader | None = None
        self._start = b""  # how a CSV begins, decompressed
        self._all_names: tuple[str, ...] = ()
        self._types: Mapping[str, pa.DataType] = {}
        self._unreadable: frozenset[str] = frozenset()  # columns of a type that can't be read
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what this table opened and still has open."""
        with reading_from(self.source.name):
            self._closing.close()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns, in file order, except those that rejects files add."""
        return tuple(name for name in self._all_names if not name.startswith(REJECT_PREFIX))

    @property
    def readable_names(self) -> tuple[str, ...]:
        """The names whose fields `Block.fields` returns: all but those of columns that can't be read."""
        return self.names

    @property
    def byte_size(self) -> int | None:
        """Size of the source in bytes, or None if unknown. For a pipe, the number of bytes read so far."""
        return self._state.size if self._state is not None else self._bytes.count if self._bytes is not None else None

    @abstractmethod
    def blocks(self, wanted: Sequence[str], *, fields: bool = False) -> Generator[Block, None, None]:
        """Yield the blocks of the table in order.

        Parameters
        ----------
        wanted
            The columns that will be read from the blocks.
        fields
            Whether `Block.fields` will be called.

        Raises
        ------
        DataError
            The source is damaged.
        TransferError
            Reading failed midway.
        """

    def sha256(self) -> str | None:
        """Return the SHA-256 of the source in hex, or None if it was not requested.

        All blocks must have been read.
        """
        return self._bytes.hexdigest if self._bytes is not None else None

    def type_of(self, name: str) -> pa.DataType:
        """Return the Arrow type of a column in the source. All columns of a CSV are text."""
        return self._types.get(name, pa.string())

    def require(self, wanted: Mapping[str, pa.DataType | None]) -> None:
        """Check that the columns exist and can be converted to the wanted types.

        Raises
        ------
        DataError
            A column is missing, occurs more than once, or can't be read or converted. The message lists all missing
            columns, each with the most similar existing name, if there is one.
        """
        if missing := [name for name in wanted if name not in self.names]:
            if len(missing) == len(wanted) and (what := self._other_content()):
                raise DataError(f"{self.source.name} is {what}.")
            raise DataError(f"{self.source.name}: {self._missing_message(missing, len(wanted))}")
        # Checked second: if the header is missing, these are values of the first row and not column names.
        counted = Counter(self._all_names).items()
        if twice := sorted(name for name, count in counted if count > 1 and (name in wanted or not is_nameless(name))):
            raise DataError(f"{self.source.name}: column {', '.join(twice)} stands in the header more than once.")
        if unreadable := [name for name in wanted if name in self._unreadable]:
            raise DataError(
                f"{self.source.name}: column {', '.join(unreadable)} has a type that can't be read here: convert it."
            )
        for name, arrow_type in wanted.items():
            found = self._types.get(name)
            if arrow_type is not None and found is not None and not is_compatible(found, arrow_type):
                wanted_name = type_name(arrow_type)
                raise DataError(f"{self.source.name}: column {name} holds {found}, not {wanted_name}: convert it.")

    def require_unchanged(self) -> None:
        """Check that the file has not changed since it was opened, so that all rows come from the same version.

        Raises
        ------
        TransferError
            The file was modified, replaced or removed.
        """
        if self._state is not None:
            self._require_state(state_of(self.source.name))

    def _require_same(self, file: io.BufferedReader) -> None:
        """Check that an open file is the one that the state was taken of.

        Raises
        ------
        TransferError
            It is not.
        """
        if self._state is not None:
            self._require_state(state_of(file.fileno()))

    def _require_state(self, now: FileState | None) -> None:
        if now != self._state:
            what = "vanished" if now is None else "changed"
            raise TransferError(f"{self.source.name} {what} while it was read: try again.")

    def _other_content(self) -> str | None:
        """Return what a CSV is of which no column is there, if the way it begins tells."""
        return other_content(self._start, self.source.format, decompressed=self.source.format in COMPRESSION)

    def _missing_message(self, missing: Sequence[str], wanted_count: int) -> str:
        if separator := _SEPARATOR_LINE.match(self._start):
            more = "" if separator[1] == b"," else ", and separate the fields by commas"
            return f"it begins with sep=, which only Excel understands: delete the first line{more}."
        if self._start.startswith(2 * codecs.BOM_UTF8):
            return "it begins with two byte-order marks: delete one of them."
        if len(self.names) == 1:
            for delimiter, name in _OTHER_DELIMITERS.items():
                if delimiter in self.names[0]:
                    return f"its fields are separated by {name}: separate them by commas."
        folded = {name.casefold(): name for name in self.names}
        # If all wanted columns are missing, the names may be the values of a first row. Then only names that differ in
        # case are suggested.
        all_missing = len(missing) == wanted_count
        near = {name: _nearest(name, folded, only_case=all_missing) for name in missing}
        if all_missing and set(near.values()) == {None} and self.source.format != "parquet":
            return f"the first line names none of the columns {', '.join(missing)}: is the header missing?"
        parts = [name if nearest is None else f"{name} (nearest: {nearest})" for name, nearest in near.items()]
        return f"column{'s' * (len(missing) > 1)} missing: {', '.join(parts)}."


def _nearest(name: str, folded: Mapping[str, str], *, only_case: bool) -> str | None:
    """Return the most similar existing column, or None. ``folded`` contains the columns by case-folded name.

    If there are very many columns, only the first ones are compared.
    """
    key = name.casefold()
    if only_case or key in folded:
        return folded.get(key)
    close = difflib.get_close_matches(key, islice(folded, _MAX_COMPARED), n=1, cutoff=0.75)
    return folded[close[0]] if close else None
