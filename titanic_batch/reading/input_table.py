"""An open input whose columns are known: what CSV and Parquet have in common, and whether the columns will do."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from typing import Self

import pyarrow as pa

from titanic_batch.errors import DataError, TransferError
from titanic_batch.reading.blocks import Block
from titanic_batch.reading.columns import is_compatible, type_name
from titanic_batch.reading.files import CountingReader, state_of
from titanic_batch.reading.formats import OWN_PREFIX
from titanic_batch.reading.sources import Source

_MAX_COMPARED = 1_000  # names that a missing one is compared with, each of which takes microseconds
_OTHER_DELIMITERS = {";": "a semicolon", "\t": "a tab", "|": "a bar"}


class InputTable(ABC):
    """A source that was opened and whose columns are known; its rows are read once, by `blocks`.

    Made by `opening.open_table`. Used as a context, it closes at the end what it has opened.

    Attributes
    ----------
    source : Source
    size : int or None
        What `Block.size` of all blocks will add up to; None where it can't be known before.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size: int | None = None
        self._state = None if source.stream is not None else state_of(source.name)
        self._bytes: CountingReader | None = None
        self._all_names: tuple[str, ...] = ()
        self._types: dict[str, pa.DataType] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        self._closing.close()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of the file, but our own of a rejects file."""
        return tuple(name for name in self._all_names if not name.startswith(OWN_PREFIX))

    @property
    def byte_size(self) -> int | None:
        """Size of the source; None where that isn't known, or not yet: a pipe's at its end."""
        return self._state.size if self._state is not None else self._bytes.count if self._bytes is not None else None

    @abstractmethod
    def blocks(self, wanted: Sequence[str] | None) -> Iterator[Block]:
        """Yield the rows, block by block. ``wanted``: the columns that will be read; None: all.

        Raises
        ------
        DataError
            The source is damaged.
        TransferError
            Reading failed midway.
        """

    def sha256(self) -> str | None:
        """Return the digest of all its bytes, in hex, if it was to be taken, and after all blocks were read."""
        if self._bytes is None:
            return None
        self._bytes.read_to_end()
        return self._bytes.hexdigest

    def type_of(self, name: str) -> pa.DataType:
        """Return the Arrow type of a column as it stands: text in a CSV."""
        return self._types.get(name, pa.string())

    def require(self, wanted: Mapping[str, pa.DataType | None]) -> None:
        """Check that the columns are there and of a type that can be made the wanted one.

        Raises
        ------
        DataError
            Names every column that is missing, with the nearest name that is there, or stands there twice, or is of a
            type that can't be used.
        """
        if missing := [name for name in wanted if name not in self.names]:
            raise DataError(f"{self.source.name}: {self._what_is_missing(missing, len(wanted))}")
        # Not before, or the values of a first row that is no header would be taken for names.
        if twice := sorted(name for name, count in Counter(self._all_names).items() if count > 1):
            raise DataError(f"{self.source.name}: column {', '.join(twice)} stands in the header more than once.")
        for name, arrow_type in wanted.items():
            found = self._types.get(name)
            if arrow_type is not None and found is not None and not is_compatible(found, arrow_type):
                wanted_name = type_name(arrow_type)
                raise DataError(f"{self.source.name}: column {name} holds {found}, not {wanted_name}: convert it.")

    def require_unchanged(self) -> None:
        """Check that a file is as it was when it was opened: what was read of another may be of neither.

        Raises
        ------
        TransferError
        """
        if self._state is not None and (now := state_of(self.source.name)) != self._state:
            what = "vanished" if now is None else "changed"
            raise TransferError(f"{self.source.name} {what} while it was read: try again.")

    def _what_is_missing(self, missing: Sequence[str], of: int) -> str:
        if len(self.names) == 1:
            for delimiter, name in _OTHER_DELIMITERS.items():
                if delimiter in self.names[0]:
                    return f"its fields are separated by {name}: separate them by commas."
        folded = {name.casefold(): name for name in self.names}
        # Where no column is there, the names may be the values of a first row: then only their case may differ.
        near = {name: _nearest(name, folded, only_case=len(missing) == of) for name in missing}
        if len(missing) == of and set(near.values()) == {None} and self.source.format != "parquet":
            return f"the first line names none of the columns {', '.join(missing)}: is the header missing?"
        parts = [name if nearest is None else f"{name} (nearest: {nearest})" for name, nearest in near.items()]
        return f"column{'s' * (len(missing) > 1)} missing: {', '.join(parts)}."


def _nearest(name: str, folded: Mapping[str, str], *, only_case: bool) -> str | None:
    """Return the name that is likely meant, of those by their folded spelling; of very many the first are tried."""
    key = name.casefold()
    if only_case or key in folded:
        return folded.get(key)
    close = difflib.get_close_matches(key, islice(folded, _MAX_COMPARED), n=1, cutoff=0.75)
    return folded[close[0]] if close else None
