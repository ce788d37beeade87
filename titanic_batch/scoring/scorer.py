"""Scores of Arrow tables: fast, and identical to the predictor's own for the whole table, bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.scoring.distinct import DistinctRows
from titanic_batch.scoring.drift import Drift, Reference, Tally
from titanic_batch.scoring.predictor import Predictor

SLICE_ROWS = 2**18  # bounds the memory of the features, however many rows a block has


@dataclass(frozen=True, slots=True)
class Scores:
    """Codes of predicted labels, ``int8``, and probabilities of code 1, ``float64``, both of shape (n_samples,)."""

    code: NDArray[np.int8]
    probability: NDArray[np.float64]


class Scorer:
    """Scores Arrow tables.

    The scores are those of the predictor on the whole table, however the rows are divided into tables and whichever
    threads score them.

    Parameters
    ----------
    predictor
        Makes the predictions.
    reference
        The distribution of the training rows, to measure drift.
    """

    def __init__(self, predictor: Predictor, reference: Reference | None = None) -> None:
        self.predictor = predictor
        self._tally = None if reference is None else Tally(reference, list(predictor.feature_names))
        self._distinct = DistinctRows(predictor.predict, None if self._tally is None else self._count)

    @property
    def measures_drift(self) -> bool:
        """Whether there is a reference."""
        return self._tally is not None

    def take_drift(self) -> Drift | None:
        """Return how the rows scored since the last call compare with the reference; None without either.

        It must not be called while rows are being scored.
        """
        if self._tally is None:
            return None
        for rows, outputs, counts in self._distinct.take_counted():
            self._tally.add(rows, outputs[:, 1], counts)
        return self._tally.take_drift()

    def score(self, table: pa.Table) -> Scores:
        """Return the scores of rows, in their order.

        Parameters
        ----------
        table
            Has at least the predictor's columns; strings may be dictionary-encoded, which is faster. It is not changed.
        """
        starts = range(0, table.num_rows, SLICE_ROWS)
        parts = [self._score_slice(table.slice(start, SLICE_ROWS)) for start in starts] or [[np.empty(0)] * 2]
        codes, probabilities = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        return Scores(codes.astype(np.int8), probabilities)

    def _score_slice(self, table: pa.Table) -> list[NDArray[np.float64]]:
        """Return codes and probabilities."""
        table = table.select(list(self.predictor.columns))
        if self._tally is not None:
            for name, column in zip(table.column_names, table.columns, strict=True):
                self._tally.add_missing(name, column.null_count)
        X = self.predictor.features(table)
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1]:
            X = list(X.T)
        if isinstance(X, list):
            return self._distinct(X)
        outputs = self.predictor.predict(X)
        if table.num_rows:
            self._count(X, outputs)
        return list(outputs.T.copy())

    def _count(self, X: Any, outputs: NDArray[np.float64]) -> None:
        if self._tally is not None:
            self._tally.add(X, outputs[:, 1])
