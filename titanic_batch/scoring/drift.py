"""Drift: whether the scored rows are still like those that the model was fitted on.

The features and probabilities of both are counted and compared by the population stability index,

    PSI = sum over all cells of (p - q) * ln(p / q)

where p are the shares of the scored rows and q those of the training rows. If both are samples of the same population,
the PSI of n and m rows in c cells has about the distribution of (1/n + 1/m) * chi2 with c - 1 degrees of freedom
(Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation 14,
2020). So no limit is applied below the value that chance alone exceeds in one run of a thousand. It rises with the
cells, so features of many values are counted in ranges: see `cells`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from titanic_batch.scoring.cells import LEAST_ROWS, Cells, Counts, counts_of_json, numeric_columns
from titanic_batch.scoring.chi_squared import chi_squared_limit

DEFAULT_LIMIT = 0.25
FALSE_ALARMS = 0.001  # the share of runs that may be reported by mistake
PROBABILITY_BINS = 10
PREDICTIONS = "predictions"
MAX_FEATURES = 256  # of wider rows, the first ones are counted


@dataclass(frozen=True, slots=True)
class Reference:
    """The distribution of the rows that a model was fitted on.

    Attributes
    ----------
    rows
        Number of rows.
    features
        The cells of each feature. Features without numbers are left out.
    missing
        The share of missing values in each column.
    predictions
        How many held-out probabilities lie in each of 10 bins of equal width; None if there were none.
    """

    rows: int
    features: Mapping[str, Cells]
    missing: Mapping[str, float]
    predictions: Counts | None = None

    @classmethod
    def of(cls, names: Sequence[str], X: Any, missing: Mapping[str, float]) -> Self:
        """Return the reference of training rows, without predictions.

        Parameters
        ----------
        names
            The names of the features.
        X
            The features, of shape (n_samples, n_features): an array, a sparse matrix, or a frame.
        missing
            The share of missing values in each column.
        """
        column = numeric_columns(X)
        counted = {name: Cells.of(column(position)) for position, name in enumerate(names[:MAX_FEATURES])}
        return cls(X.shape[0], {name: cells for name, cells in counted.items() if cells is not None}, missing)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote.

        Raises
        ------
        AttributeError, KeyError, TypeError, ValueError
            It is something else.
        """
        features = {str(name): Cells.from_json(feature) for name, feature in data["features"].items()}
        missing = {str(name): float(share) for name, share in data["missing"].items()}
        predictions = data["predictions"]
        if type(data["rows"]) is not int or data["rows"] < 1:
            raise ValueError("there are no rows")
        return cls(
            data["rows"],
            features,
            missing,
            None if predictions is None else counts_of_json(predictions, PROBABILITY_BINS),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "rows": self.rows,
            "features": {name: cells.to_json() for name, cells in self.features.items()},
            "missing": dict(self.missing),
            "predictions": None if self.predictions is None else self.predictions.tolist(),
        }


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a feature, or the predictions, moved.

    Attributes
    ----------
    name
        The feature, or ``PREDICTIONS``.
    psi
        The population stability index.
    chance
        The index that chance alone exceeds too rarely to matter.
    unseen
        The share of rows with a value that no training row has: outside their range, where they are counted by ranges,
        or missing, where theirs never are.
    """

    name: str
    psi: float
    chance: float
    unseen: float

    def passes(self, limit: float) -> bool:
        """Return whether it moved further than the limit, and further than by chance."""
        return self.psi > max(limit, self.chance)


@dataclass(frozen=True, slots=True)
class MissingShare:
    """The share of missing values in a column, in the scored rows and in the training rows."""

    column: str
    share: float
    trained: float


@dataclass(frozen=True, slots=True)
class Drift:
    """How ``rows`` scored rows compare with those that the model was fitted on."""

    rows: int
    shifts: Sequence[Shift]
    missing: Sequence[MissingShare]

    @property
    def worst(self) -> Shift:
        """What moved furthest beyond chance."""
        return max(self.shifts, key=lambda shift: shift.psi - shift.chance)

    def passing(self, limit: float = DEFAULT_LIMIT) -> list[Shift]:
        """Return what moved further than the limit, and further than by chance; the largest PSI comes first."""
        return sorted((shift for shift in self.shifts if shift.passes(limit)), key=lambda shift: -shift.psi)

    def describe(self, limit: float = DEFAULT_LIMIT) -> str | None:
        """Return a line about what passes the limit; None if nothing does."""
        if not (passing := self.passing(limit)):
            return None
        moved = ", ".join(f"{shift.name} {shift.psi:.2f}" for shift in passing)
        return f"the {self.rows} scored rows are not like those of the fit (PSI above {limit:g}: {moved})"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "rows": self.rows,
            "psi": {
                shift.name: {"psi": shift.psi, "chance": shift.chance, "unseen": shift.unseen} for shift in self.shifts
            },
            "missing": {part.column: {"share": part.share, "trained": part.trained} for part in self.missing},
        }


class Tally:
    """Counts scored rows in the cells of a reference. It is safe to use from several threads.

    Parameters
    ----------
    reference
        What to compare with.
    names
        The names of the features of the rows that are added.
    """

    def __init__(self, reference: Reference, names: Sequence[str]) -> None:
        self._reference = reference
        self._positions = {name: names.index(name) for name in reference.features if name in names}
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        reference = self._reference
        self._counts = {name: np.zeros(len(reference.features[name].trained), np.int64) for name in self._positions}
        self._predictions = np.zeros(PROBABILITY_BINS, np.int64)
        self._rows = 0
        self._missing: dict[str, int] = dict.fromkeys(reference.missing, 0)

    def add(self, X: Any, probabilities: NDArray[np.float64], counts: Counts | None = None) -> None:
        """Count rows, each once, or as often as ``counts`` says.

        Parameters
        ----------
        X
            Their features, of shape (n_samples, n_features), as for `Reference.of`.
        probabilities
            Of shape (n_samples,).
        counts
            Of shape (n_samples,).
        """
        column = numeric_columns(X)
        added = {}
        for name, position in self._positions.items():
            places = self._reference.features[name].places(column(position))
            added[name] = _weighed(places, counts, len(self._counts[name]))
        bins = probability_counts(probabilities, counts)
        with self._lock:
            for name, more in added.items():
                self._counts[name] += more
            self._predictions += bins
            self._rows += len(probabilities) if counts is None else int(counts.sum())

    def add_missing(self, column: str, count: int) -> None:
        """Count missing values."""
        if count and column in self._missing:
            with self._lock:
                self._missing[column] += count

    def take_drift(self) -> Drift | None:
        """Compare the rows that were added since the last call with the reference.

        Return None if there were none, or if the reference has nothing to compare them with.
        """
        with self._lock:
            comparable = self._counts or self._reference.predictions is not None
            drift = self._compared() if self._rows and comparable else None
            self._clear()
        return drift

    def _compared(self) -> Drift:
        reference, rows = self._reference, self._rows
        compared = len(self._counts) + (reference.predictions is not None)
        shifts = [
            _shift(name, cells.expected, counts, compared, _unseen(cells.trained, counts))
            for name, counts in self._counts.items()
            for cells in [reference.features[name]]
        ]
        if reference.predictions is not None:
            unseen = _unseen(reference.predictions, self._predictions)
            shifts.append(_shift(PREDICTIONS, reference.predictions, self._predictions, compared, unseen))
        missing = [MissingShare(name, count / rows, reference.missing[name]) for name, count in self._missing.items()]
        return Drift(rows, shifts, missing)


def probability_counts(probabilities: NDArray[np.float64], counts: Counts | None = None) -> Counts:
    """Return how many probabilities lie in each of 10 bins of equal width.

    Each counts once, or as often as ``counts`` says.
    """
    places = np.minimum((probabilities * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    return _weighed(places, counts, PROBABILITY_BINS)


def _shift(name: str, trained: Counts, scored: Counts, compared: int, unseen: float) -> Shift:
    """Compare counts in the same cells. ``compared`` is the number of such comparisons in a run."""
    rare = trained < LEAST_ROWS
    if rare.any():
        trained, scored = (np.append(counts[~rare], counts[rare].sum()) for counts in (trained, scored))
    n, m, cells = int(scored.sum()), int(trained.sum()), len(trained)
    # Half a row is added to each cell, so that none is empty.
    p, q = (scored + 0.5) / (n + 0.5 * cells), (trained + 0.5) / (m + 0.5 * cells)
    psi = float(((p - q) * np.log(p / q)).sum())
    chance = chi_squared_limit(max(cells - 1, 1), FALSE_ALARMS / compared) * (1 / n + 1 / m)
    return Shift(name, psi, chance, unseen)


def _unseen(trained: Counts, scored: Counts) -> float:
    return float(scored[trained == 0].sum() / scored.sum())


def _weighed(places: NDArray[np.integer[Any]], counts: Counts | None, cells: int) -> Counts:
    weighed: Counts = np.bincount(places, counts, cells).astype(np.int64)  # exact below 2**53
    return weighed
