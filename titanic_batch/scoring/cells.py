"""Cells that the values of a feature are counted in: one for each value, or ranges with about as many rows each."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# Cells with fewer training rows are merged into one: the PSI of a share close to 0 may be anything.
LEAST_ROWS = 9
RANGES = 10
MAX_VALUES = 256

# A feature with many values is counted by value only if nearly all rows have values that this many rows share.
_COMMON_ROWS = 30
_UNCOMMON_SHARE = 0.05

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of a feature, and how many of the training rows are in each.

    Attributes
    ----------
    points
        The values of the cells; or if ``lowest`` is given, the upper ends of ranges, each of which includes its own and
        begins after that of the range before. They rise.
    counts
        The number of training rows for each point.
    missing
        The number of training rows without a value, or with one that is not finite.
    lowest
        The smallest training value, where the first range begins; None for single values.
    """

    points: NDArray[np.float64]
    counts: Counts
    missing: int = 0
    lowest: float | None = None

    @classmethod
    def of(cls, column: NDArray[np.float64]) -> Self | None:
        """Return the cells for the values of training rows; None if they have none."""
        finite = column[np.isfinite(column)]
        if not len(finite):
            return None
        values, counts = np.unique(finite, return_counts=True)
        missing = len(column) - len(finite)
        uncommon = counts[counts < _COMMON_ROWS].sum() > _UNCOMMON_SHARE * len(finite)
        if len(values) <= RANGES or (len(values) <= MAX_VALUES and not uncommon):
            return cls(values, counts.astype(np.int64), missing)
        totals = counts.cumsum()
        ends = _ends(totals)
        return cls(values[ends], np.diff(totals[ends], prepend=0).astype(np.int64), missing, float(values[0]))

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is something else.
        """
        in_ranges = "edges" in data
        points = np.array(data["edges" if in_ranges else "values"], np.float64)
        if points.ndim != 1 or not len(points) or not (np.diff(points) > 0).all():
            raise ValueError("the values or edges of a feature don't rise")
        lowest = float(data["lowest"]) if in_ranges else None
        if lowest is not None and not lowest <= points[0]:
            raise ValueError("the ranges of a feature begin above the first edge")
        missing = data.get("missing", 0)
        if type(missing) is not int or missing < 0:
            raise ValueError("missing values are a whole number")
        return cls(points, counts_of_json(data["counts"], len(points)), missing, lowest)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        points = [_plain(point) for point in self.points.tolist()]
        form = {"values": points} if self.lowest is None else {"lowest": _plain(self.lowest), "edges": points}
        return {**form, "counts": self.counts.tolist(), **({"missing": self.missing} if self.missing else {})}

    @property
    def trained(self) -> Counts:
        """The number of training rows in each cell: for each point, for what no training row has, and for missing.

        Without missing values among the training rows, they are of what no training row has.
        """
        return np.concatenate([self.counts, [0, self.missing] if self.missing else [0]])

    @property
    def expected(self) -> Counts:
        """``trained``, with the rows to be expected outside the range of the training rows.

        Of n + 1 rows, one is smaller or larger than all others with a chance of up to 2 / (n + 1), which ties make
        smaller. So one of the training rows is put there: none would raise false alarms.
        """
        expected = self.trained
        if self.lowest is not None:
            expected[len(self.points)] = 1
        return expected

    def places(self, column: NDArray[np.float64]) -> NDArray[np.integer[Any]]:
        """Return the position of the cell of each value, of shape (n_samples,)."""
        places = np.searchsorted(self.points, column)
        if self.lowest is None:
            places[self.points.take(places, mode="clip") != column] = len(self.points)
        else:
            places[column < self.lowest] = len(self.points)
        if self.missing:
            places[~np.isfinite(column)] = len(self.points) + 1
        return places


def numeric_columns(X: Any) -> Callable[[int], NDArray[np.float64]]:
    """Return a function that gives a feature's column as numbers, NaN where there is none.

    Parameters
    ----------
    X
        Features of shape (n_samples, n_features): an array of any dtype, a sparse matrix, or a frame.
    """
    if hasattr(X, "tocsc"):
        columns = X.tocsc()
        return lambda position: columns[:, [position]].toarray().ravel().astype(np.float64)
    if hasattr(X, "iloc"):
        return lambda position: _numbers(X.iloc[:, position].to_numpy())
    return lambda position: _numbers(X[:, position])


def counts_of_json(data: Any, length: int) -> Counts:
    """Return counts of as many cells.

    Raises
    ------
    ValueError
        They are something else.
    """
    counts = np.array(data)
    if counts.shape != (length,) or counts.dtype.kind != "i" or not length or (counts < 0).any():
        raise ValueError("counts are whole numbers, one a cell")
    return counts.astype(np.int64)


def _ends(totals: NDArray[np.integer[Any]]) -> list[int]:
    """Return the positions of the values that ranges end with.

    Parameters
    ----------
    totals
        How many rows have each value, or one before it.
    """
    ends: list[int] = []
    rows, done = int(totals[-1]), 0
    for left in range(RANGES, 0, -1):
        if ends and rows - done < LEAST_ROWS:
            break
        size = max(-(-(rows - done) // left), LEAST_ROWS)
        ends.append(min(int(np.searchsorted(totals, done + size)), len(totals) - 1))
        done = int(totals[ends[-1]])
    ends[-1] = len(totals) - 1
    return ends


def _numbers(column: NDArray[Any]) -> NDArray[np.float64]:
    if column.dtype.kind in "biuf":
        return column.astype(np.float64)
    if column.dtype.kind != "O":
        return np.full(len(column), np.nan)
    # Not ``astype``, which makes numbers of text too, and fails where it can't.
    return np.array([float(v) if isinstance(v, numbers.Real | np.bool_) else np.nan for v in column], np.float64)


def _plain(number: float) -> int | float:
    return int(number) if number.is_integer() else number
