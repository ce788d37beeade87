"""Drift: whether the scored rows are still like those that the model was fitted on.

The features and probabilities of both are counted and compared by the population stability index,

    PSI = sum over all cells of (p - q) * ln(p / q)

where p are the shares of the scored rows and q those of the training rows. If both are samples of the same population,
the PSI of n and m rows in c cells has about the distribution of (1/n + 1/m) * chi2 with c - 1 degrees of freedom
(Yurdakul and Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation 14,
2020). So no limit is applied below the value that chance alone exceeds in one run of a thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from titanic_batch.scoring.chi_squared import chi_squared_limit

DEFAULT_LIMIT = 0.25
FALSE_ALARMS = 0.001  # the share of runs that may be reported by mistake
MAX_VALUES = 256
PROBABILITY_BINS = 10
PREDICTIONS = "predictions"

# Cells with fewer training rows are merged into one: the PSI of a share close to 0 may be anything.
_LEAST_ROWS = 9

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reference:
    """The distribution of the rows that a model was fitted on.

    Attributes
    ----------
    rows
        Number of rows.
    features
        For each feature its values, in increasing order, and how many rows have each. Features with too many values
        are left out.
    missing
        The share of missing values in each column.
    predictions
        How many held-out probabilities lie in each of 10 bins of equal width; None if there were none.
    """

    rows: int
    features: Mapping[str, tuple[NDArray[np.float64], Counts]]
    missing: Mapping[str, float]
    predictions: Counts | None = None

    @classmethod
    def of(cls, names: Sequence[str], X: NDArray[Any], missing: Mapping[str, float]) -> Self:
        """Return the reference of training rows, without predictions.

        Parameters
        ----------
        names
            The names of the features.
        X
            The features, of shape (n_samples, n_features).
        missing
            The share of missing values in each column.
        """
        features = {}
        for position, name in enumerate(names):
            values, counts = np.unique(X[:, position].astype(np.float64), return_counts=True)
            if len(values) <= MAX_VALUES:
                features[name] = values, counts.astype(np.int64)
        return cls(len(X), features, missing)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote.

        Raises
        ------
        AttributeError, KeyError, TypeError, ValueError
            It is something else.
        """
        features = {}
        for name, feature in data["features"].items():
            values, counts = np.array(feature["values"], np.float64), _counts(feature["counts"], len(feature["values"]))
            if values.ndim != 1 or not (np.diff(values) > 0).all():
                raise ValueError("the values of a feature don't rise")
            features[str(name)] = values, counts
        missing = {str(name): float(share) for name, share in data["missing"].items()}
        predictions = data["predictions"]
        if type(data["rows"]) is not int or data["rows"] < 1:
            raise ValueError("there are no rows")
        return cls(
            data["rows"],
            features,
            missing,
            None if predictions is None else _counts(predictions, PROBABILITY_BINS),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "rows": self.rows,
            "features": {
                name: {"values": [int(v) if v.is_integer() else v for v in values.tolist()], "counts": counts.tolist()}
                for name, (values, counts) in self.features.items()
            },
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
        The share of rows with a value that no training row has.
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
        # A cell for each value, and one for all unseen values.
        self._counts = {name: np.zeros(len(reference.features[name][0]) + 1, np.int64) for name in self._positions}
        self._predictions = np.zeros(PROBABILITY_BINS, np.int64)
        self._rows = 0
        self._missing: dict[str, int] = dict.fromkeys(reference.missing, 0)

    def add(self, X: NDArray[Any], probabilities: NDArray[np.float64], counts: Counts | None = None) -> None:
        """Count rows, each once, or as often as ``counts`` says.

        Parameters
        ----------
        X
            Their features, of shape (n_samples, n_features).
        probabilities
            Of shape (n_samples,).
        counts
            Of shape (n_samples,).
        """
        cells = {}
        for name, position in self._positions.items():
            values = self._reference.features[name][0]
            column = X[:, position].astype(np.float64)
            places = np.searchsorted(values, column)
            places[values.take(places, mode="clip") != column] = len(values)
            cells[name] = places
        bins = probability_counts(probabilities, counts)
        with self._lock:
            for name, places in cells.items():
                self._counts[name] += _weighed(places, counts, len(self._counts[name]))
            self._predictions += bins
            self._rows += len(X) if counts is None else int(counts.sum())

    def add_missing(self, column: str, count: int) -> None:
        """Count missing values."""
        if count and column in self._missing:
            with self._lock:
                self._missing[column] += count

    def take_drift(self) -> Drift | None:
        """Compare the rows added since the last call with the reference; None if there is nothing to compare."""
        with self._lock:
            is_compared = self._rows and (self._counts or self._reference.predictions is not None)
            drift = self._compared() if is_compared else None
            self._clear()
        return drift

    def _compared(self) -> Drift:
        reference, rows = self._reference, self._rows
        compared = len(self._counts) + (reference.predictions is not None)
        shifts = [
            _shift(name, np.append(reference.features[name][1], 0), counts, compared)
            for name, counts in self._counts.items()
        ]
        if reference.predictions is not None:
            shifts.append(_shift(PREDICTIONS, reference.predictions, self._predictions, compared))
        missing = [MissingShare(name, count / rows, reference.missing[name]) for name, count in self._missing.items()]
        return Drift(rows, shifts, missing)


def probability_counts(probabilities: NDArray[np.float64], counts: Counts | None = None) -> Counts:
    """Return how many probabilities lie in each of 10 bins of equal width.

    Each counts once, or as often as ``counts`` says.
    """
    places = np.minimum((probabilities * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    return _weighed(places, counts, PROBABILITY_BINS)


def _shift(name: str, trained: Counts, scored: Counts, compared: int) -> Shift:
    """Compare counts in the same cells. ``compared`` is the number of such comparisons in a run."""
    unseen = float(scored[trained == 0].sum() / scored.sum())
    rare = trained < _LEAST_ROWS
    if rare.any():
        trained, scored = (np.append(counts[~rare], counts[rare].sum()) for counts in (trained, scored))
    n, m, cells = int(scored.sum()), int(trained.sum()), len(trained)
    # Half a row is added to each cell, so that none is empty.
    p, q = (scored + 0.5) / (n + 0.5 * cells), (trained + 0.5) / (m + 0.5 * cells)
    psi = float(((p - q) * np.log(p / q)).sum())
    chance = chi_squared_limit(max(cells - 1, 1), FALSE_ALARMS / compared) * (1 / n + 1 / m)
    return Shift(name, psi, chance, unseen)


def _weighed(places: NDArray[np.integer[Any]], counts: Counts | None, cells: int) -> Counts:
    weighed: Counts = np.bincount(places, counts, cells).astype(np.int64)  # exact below 2**53
    return weighed


def _counts(data: Any, length: int) -> Counts:
    counts = np.array(data)
    if counts.shape != (length,) or counts.dtype.kind != "i" or not length or (counts < 0).any():
        raise ValueError("counts are whole numbers, one a cell")
    return counts.astype(np.int64)
