"""Scores of Arrow tables by any fitted pipeline: fast, and identical to the pipeline's own predictions, bit by bit."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from titanic_batch.scoring.distinct import DistinctRows
from titanic_batch.scoring.drift import Drift, Reference, Tally
from titanic_batch.scoring.shortcuts import FeatureColumns, TreeSum, frame_of

SLICE_ROWS = 2**18  # bounds the memory of the features, however many rows a block has


@dataclass(frozen=True, slots=True)
class Scores:
    """Predicted labels, ``int8``, and probabilities of the last class, ``float64``, both of shape (n_samples,)."""

    label: NDArray[np.int8]
    probability: NDArray[np.float64]


class Scorer:
    """Scores Arrow tables with any fitted scikit-learn pipeline whose last step has ``predict_proba``.

    The scores are those of ``pipeline.predict`` and ``pipeline.predict_proba`` on the whole frame, bit by bit, however
    the rows are divided into tables and whichever threads score them. If the classifier's arithmetic depends on the
    shape of its input, as the matrix product of a linear model does, they agree within 1e-12.

    Parameters
    ----------
    pipeline
        Fitted on a frame with column names, with two integers as its classes. It is kept, and must not change.
    reference
        The distribution of the training rows, to measure drift.

    Attributes
    ----------
    columns : tuple of str
        The columns that `score` needs.
    features : Pipeline or None
        The steps that make features of the columns; None: the columns are the features.
    """

    def __init__(self, pipeline: Pipeline, reference: Reference | None = None) -> None:
        self.columns: tuple[str, ...] = tuple(pipeline.feature_names_in_)
        self.features: Pipeline | None = pipeline[:-1] if len(pipeline) > 1 else None
        self._features = FeatureColumns(self.features) if self.features is not None else frame_of
        self._classifier = copy.copy(pipeline[-1])
        if hasattr(self._classifier, "n_jobs"):
            # With several threads, trees would be summed in the order in which they finish.
            self._classifier.n_jobs = 1
        is_forest = type(self._classifier) is RandomForestClassifier and self._classifier.n_outputs_ == 1
        self._forest = TreeSum(self._classifier) if is_forest else None
        self._tally: Tally | None = None
        if reference is not None:
            names = self.columns if self.features is None else self.features.get_feature_names_out()
            self._tally = Tally(reference, [str(name) for name in names])
        self._distinct = DistinctRows(self.predict_features, None if self._tally is None else self._count)

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
            Has at least `columns`; strings may be dictionary-encoded, which is faster. It is not changed.
        """
        starts = range(0, table.num_rows, SLICE_ROWS)
        parts = [self._score_slice(table.slice(start, SLICE_ROWS)) for start in starts] or [[np.empty(0)] * 2]
        labels, probabilities = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        return Scores(labels.astype(np.int8), probabilities)

    def _score_slice(self, table: pa.Table) -> list[NDArray[np.float64]]:
        """Return labels and probabilities."""
        table = table.select(list(self.columns))
        if self._tally is not None:
            for name, column in zip(self.columns, table.columns, strict=True):
                self._tally.add_missing(name, column.null_count)
        X = self._features(table)
        if isinstance(X, pd.DataFrame) and all(isinstance(d, np.dtype) and d.kind in "biuf" for d in X.dtypes):
            X = X.to_numpy(np.result_type(np.bool_, *X.dtypes))
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1]:
            X = list(X.T)
        return self._distinct(X) if isinstance(X, list) else list(self.predict_features(X).T.copy())

    def _count(self, X: NDArray[Any], outputs: NDArray[np.float64]) -> None:
        if self._tally is not None:
            self._tally.add(X, outputs[:, 1])

    def predict_features(self, X: Any) -> NDArray[np.float64]:
        """Return labels and probabilities of features ``X``, (n_samples, n_features), as (n_samples, 2)."""
        if self._forest is not None and isinstance(X, np.ndarray):
            probabilities = self._forest(X)
            # As ``predict`` of the classifier does.
            labels = self._classifier.classes_.take(np.argmax(probabilities, axis=1))
        else:
            if isinstance(X, np.ndarray) and hasattr(self._classifier, "feature_names_in_"):
                X = pd.DataFrame(X, columns=self._classifier.feature_names_in_)  # it warns if names are missing
            probabilities = self._classifier.predict_proba(X)
            labels = self._classifier.predict(X)
        return np.column_stack([labels.astype(np.float64), probabilities[:, -1]])
