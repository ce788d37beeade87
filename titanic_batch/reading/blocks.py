"""Blocks of rows, as passed from reading to validation."""

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
    """The rows of one block, converted to typed columns.

    Attributes
    ----------
    table
        All rows of the block, in order. A field that could not be converted is null.
    problems
        The rules that were broken while the rows were read, with the rows that break them.
    """

    table: pa.Table
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fields:
    """Rows with their original, unconverted values.

    Attributes
    ----------
    table
        One string column for each column of the file that can be read.
    lines
        One entry per row: the raw text of the row if its fields don't match the header, otherwise None.
    unread
        Columns of the table of which some fields could not be read, and are null.
    """

    table: pa.Table
    lines: list[str | None]
    unread: frozenset[str] = frozenset()


class Block(Protocol):
    """A unit of work: some rows of one source, few enough to fit in memory. Any thread can read it."""

    @property
    def size(self) -> int:
        """Size of the block, in the unit of `InputTable.size`."""

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Return the columns in ``types``, each converted to its type, or unconverted if that is None."""

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return the original values of the given rows in all columns of the source, escaped with `escapes.escape`."""
