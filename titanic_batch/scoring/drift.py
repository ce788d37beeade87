"""Whether the rows that are scored are still like those that the model was fitted on.

The features, and the probabilities, of both are counted and compared by the population stability index,

    PSI = sum over all cells of (p - q) * ln(p / q)

with the shares p of the scored rows and q of the training rows. Where nothing has changed but chance, the PSI of n and
m rows in c cells is distributed about as (1/n + 1/m) * chi2 with c - 1 degrees of freedom (Yurdakul and Naranjo,
"Statistical properties of the population stability index", Journal of Risk Model Validation 14, 2020). So a limit is
never lower than what chance makes of so many rows in one run of a thousand.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

DEFAULT_LIMIT = 0.25
FALSE_ALARMS = 0.001  # runs that may be called drifted for nothing
MAX_VALUES = 256
PROBABILITY_BINS = 10
PREDICTIONS = "predictions"

# Cells that hold fewer training rows are counted as one: a share of next to nothing makes any PSI.
_LEAST_ROWS = 9

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reference:
    """How often what occurs among the ``rows`` that a model was fitted on.

    ``features`` holds the values of each feature, rising, and how many rows have each; a feature of too many values is
    left out. ``missing`` is the share of missing values of each column that the pipeline takes. ``predictions`` counts
    held-out probabilities in 10 bins of equal width, where there were any.
    """

    rows: int
    features: Mapping[str, tuple[NDArray[np.float64], Counts]]
    missing: Mapping[str, float]
    predictions: Counts | None = None

    @classmethod
    def of(cls, names: Sequence[str], X: NDArray[Any], missing: Mapping[str, float]) -> Self:
        """Count the features ``X`` of training rows, of shape (n_samples, n_features)."""
        features = {}
        for position, name in enumerate(names):
            values, counts = np.unique(X[:, position].astype(np.float64), return_counts=True)
            if len(values) <= MAX_VALUES:
                features[name] = values, counts.astype(np.int64)
        return cls(len(X), features, missing)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` described.

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
        """Return all of it as JSON has it."""
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
    """How far a feature, or the predictions, moved: the PSI, and what chance alone may make of it.

    ``unseen`` is the share of rows with a value that no training row has.
    """

    name: str
    psi: float
    chance: float
    unseen: float

    def passes(self, limit: float) -> bool:
        """Whether it moved further than the limit, and than by chance."""
        return self.psi > max(limit, self.chance)


@dataclass(frozen=True, slots=True)
class MissingShare:
    """The share of missing values in a column, now and in training."""

    column: str
    share: float
    trained: float


@dataclass(frozen=True, slots=True)
class Drift:
    """How ``rows`` that were scored compare with those that the model was fitted on."""

    rows: int
    shifts: Sequence[Shift]
    missing: Sequence[MissingShare]

    @property
    def worst(self) -> Shift:
        """What moved furthest beyond chance."""
        return max(self.shifts, key=lambda shift: shift.psi - shift.chance)

    def passing(self, limit: float = DEFAULT_LIMIT) -> list[Shift]:
        """Return what moved further than the limit, and than by chance, the furthest first."""
        return sorted((shift for shift in self.shifts if shift.passes(limit)), key=lambda shift: -shift.psi)

    def describe(self, limit: float = DEFAULT_LIMIT) -> str | None:
        """Return one line about what passes the limit; None: nothing does."""
        if not (passing := self.passing(limit)):
            return None
        moved = ", ".join(f"{shift.name} {shift.psi:.2f}" for shift in passing)
        return f"the {self.rows} scored rows are not like those of the fit (PSI above {limit:g}: {moved})"

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {
            "rows": self.rows,
            "psi": {
                shift.name: {"psi": shift.psi, "chance": shift.chance, "unseen": shift.unseen} for shift in self.shifts
            },
            "missing": {part.column: {"share": part.share, "trained": part.trained} for part in self.missing},
        }


class Tally:
    """Counts scored rows in the cells of a reference. Safe to use from several threads.

    Parameters
    ----------
    reference
        What to compare with.
    names
        The names of the features, as many as the rows to be added have columns.
    """

    def __init__(self, reference: Reference, names: Sequence[str]) -> None:
        self._reference = reference
        self._positions = {name: names.index(name) for name in reference.features if name in names}
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        reference = self._reference
        # A cell for each value, and one for all that are unseen.
        self._counts = {name: np.zeros(len(reference.features[name][0]) + 1, np.int64) for name in self._positions}
        self._predictions = np.zeros(PROBABILITY_BINS, np.int64)
        self._rows = 0
        self._missing: dict[str, int] = dict.fromkeys(reference.missing, 0)

    def add(self, X: NDArray[Any], probabilities: NDArray[np.float64], counts: Counts | None = None) -> None:
        """Count feature rows ``X`` and their probabilities, each once, or as often as ``counts`` says."""
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
        """Compare with the reference what was added since this was last called; None where nothing was."""
        with self._lock:
            drift = self._compared() if self._rows else None
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
    """Count probabilities in 10 bins of equal width, each once, or as often as ``counts`` says."""
    places = np.minimum((probabilities * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    return _weighed(places, counts, PROBABILITY_BINS)


def _shift(name: str, trained: Counts, scored: Counts, compared: int) -> Shift:
    """Compare counts in the same cells; ``compared`` such comparisons are made in one run."""
    unseen = float(scored[trained == 0].sum() / scored.sum())
    rare = trained < _LEAST_ROWS
    if rare.any():
        trained, scored = (np.append(counts[~rare], counts[rare].sum()) for counts in (trained, scored))
    from scipy.special import chdtri  # validate, which compares nothing, starts sooner

    n, m, cells = int(scored.sum()), int(trained.sum()), len(trained)
    # Half a row more in each cell, so that none is empty.
    p, q = (scored + 0.5) / (n + 0.5 * cells), (trained + 0.5) / (m + 0.5 * cells)
    psi = float(((p - q) * np.log(p / q)).sum())
    chance = float(chdtri(max(cells - 1, 1), FALSE_ALARMS / compared)) * (1 / n + 1 / m)
    return Shift(name, psi, chance, unseen)


def _weighed(places: NDArray[np.integer[Any]], counts: Counts | None, cells: int) -> Counts:
    weighed: Counts = np.bincount(places, counts, cells).astype(np.int64)  # exact below 2**53
    return weighed


def _counts(data: Any, length: int) -> Counts:
    counts = np.array(data)
    if counts.shape != (length,) or counts.dtype.kind != "i" or not length or (counts < 0).any():
        raise ValueError("counts are whole numbers, one a cell")
    return counts.astype(np.int64)
