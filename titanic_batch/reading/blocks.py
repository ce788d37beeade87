"""What passes from reading to validation: blocks of rows, and what is wrong with which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.reading.rules import Problem


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one block: typed columns, all rows of the block in order, and what is wrong with which of them.

    A field that could not be converted is null in ``table`` and stands in ``problems``.
    """

    table: pa.Table
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fields:
    """Rows as they stood: a string column for each column of the file, and the whole line where fields don't fit."""

    table: pa.Table
    lines: list[str | None]


class Block(Protocol):
    """A unit of work: some rows of one source, small enough for memory, to be read in any thread."""

    @property
    def size(self) -> int:
        """How much of the source it is, in the unit of the source's own size."""

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns that ``types`` names, each of its type (None: as it stands)."""

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the given rows as they stood, every column of the source, text as `columns.escape` leaves it."""
