"""Predictions of any fitted scikit-learn pipeline."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from titanic_batch.scoring.frames import frame_of
from titanic_batch.scoring.shortcuts import FeatureColumns, TreeSum, parts_of_pipeline


def feature_names_of(pipeline: Pipeline) -> list[str]:
    """Return the names of the features that the last step of a fitted pipeline is given, in order.

    Where a step does not tell the names of what it makes, they are numbered: x0, x1 and so on, as scikit-learn does it.
    """
    if len(pipeline) == 1:
        return [str(name) for name in pipeline.feature_names_in_]
    try:
        return [str(name) for name in pipeline[:-1].get_feature_names_out()]
    except (AttributeError, ValueError):
        return [f"x{place}" for place in range(pipeline[-1].n_features_in_)]


def numbers_of(X: Any) -> NDArray[np.float64]:
    """Return features of any form as numbers, of shape (n_samples, n_features); what is none is NaN."""
    if issparse(X):
        return np.asarray(X.toarray(), np.float64)
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
    numbers = np.full(frame.shape, np.nan)
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        if pd.api.types.is_numeric_dtype(column.dtype) or column.dtype == object:
            numbers[:, place] = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return numbers


class PipelinePredictor:
    """Predicts with any fitted scikit-learn pipeline whose last step has ``predict_proba``.

    If the classifier's arithmetic depends on the shape of its input, as the matrix product of a linear model does,
    predictions agree with those for the whole frame within 1e-12, and otherwise bit by bit.

    Parameters
    ----------
    pipeline
        Fitted on a frame with column names, with two integers as its classes. It is kept, and must not change.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.columns: tuple[str, ...] = tuple(pipeline.feature_names_in_)
        self._pipeline = pipeline
        steps: Pipeline | None = pipeline[:-1] if len(pipeline) > 1 else None
        self._steps = steps
        self.parts = parts_of_pipeline(steps)
        self._features = FeatureColumns(steps) if steps is not None else frame_of
        self._classifier = copy.copy(pipeline[-1])
        if hasattr(self._classifier, "n_jobs"):
            # With several threads, trees would be summed in the order in which they finish.
            self._classifier.n_jobs = 1
        is_forest = type(self._classifier) is RandomForestClassifier and self._classifier.n_outputs_ == 1
        self._forest = TreeSum(self._classifier) if is_forest else None

    @property
    def feature_names(self) -> list[str]:
        """The features, in order."""
        return feature_names_of(self._pipeline)

    def features(self, table: pa.Table) -> Any:
        """Return the features of rows: a list of arrays of shape (n_samples,), or what the steps return for a frame."""
        X = self._features(table)
        if isinstance(X, pd.DataFrame) and all(isinstance(d, np.dtype) and d.kind in "biuf" for d in X.dtypes):
            X = X.to_numpy(np.result_type(np.bool_, *X.dtypes))
        return X

    def numbers(self, X: Any) -> NDArray[np.float64]:
        """Return features as numbers; see `numbers_of`."""
        return numbers_of(X)

    def predict(self, X: Any) -> NDArray[np.float64]:
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
