"""Predictions of any fitted scikit-learn pipeline."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from titanic_batch.scoring.frames import frame_of
from titanic_batch.scoring.shortcuts import FeatureColumns, TreeSum, parts_of_pipeline


class PipelinePredictor:
    """Predicts with any fitted scikit-learn pipeline whose last step has ``predict_proba``.

    If the classifier's arithmetic depends on the shape of its input, as the matrix product of a linear model does,
    predictions agree with those for the whole frame within 1e-12, and otherwise bit by bit.

    Parameters
    ----------
    pipeline
        Fitted on a frame. It is kept, and must not change.
    event
        The class whose code is 1, and whose probability is predicted; any other has code 0.
    columns
        What it was fitted on, where its first step does not tell.
    """

    def __init__(self, pipeline: Pipeline, event: object = 1, columns: Sequence[str] = ()) -> None:
        self.columns: tuple[str, ...] = tuple(getattr(pipeline, "feature_names_in_", columns))
        steps: Pipeline | None = pipeline[:-1] if len(pipeline) > 1 else None
        self._steps = steps
        self._feature_names = feature_names_of(pipeline)
        self.parts = parts_of_pipeline(steps)
        self._features = FeatureColumns(steps) if steps is not None else frame_of
        self._classifier = copy.copy(pipeline[-1])
        self._event = event
        self._place = self._classifier.classes_.tolist().index(event)
        if hasattr(self._classifier, "n_jobs"):
            # With several threads, trees would be summed in the order in which they finish.
            self._classifier.n_jobs = 1
        is_forest = type(self._classifier) is RandomForestClassifier and self._classifier.n_outputs_ == 1
        self._forest = TreeSum(self._classifier) if is_forest else None

    @property
    def feature_names(self) -> list[str]:
        """The features, in order."""
        return self._feature_names

    def features(self, table: pa.Table) -> Any:
        """Return the features of rows: a list of arrays of shape (n_samples,), or what the steps return for a frame."""
        X = self._features(table)
        if isinstance(X, pd.DataFrame) and all(isinstance(d, np.dtype) and d.kind in "biuf" for d in X.dtypes):
            X = X.to_numpy(np.result_type(np.bool_, *X.dtypes))
        return X

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return codes and probabilities of features ``X``, (n_samples, n_features), as (n_samples, 2)."""
        if self._forest is not None and isinstance(X, np.ndarray):
            probabilities = self._forest(X)
            # As ``predict`` of the classifier does.
            codes = np.argmax(probabilities, axis=1) == self._place
        else:
            if isinstance(X, np.ndarray) and hasattr(self._classifier, "feature_names_in_"):
                X = pd.DataFrame(X, columns=self._classifier.feature_names_in_)  # it warns if names are missing
            probabilities = self._classifier.predict_proba(X)
            codes = self._classifier.predict(X) == self._event
        return np.column_stack([codes, probabilities[:, self._place]])


def feature_names_of(pipeline: Pipeline) -> list[str]:
    """Return the names of the features that the last step of a fitted pipeline is given.

    Where the steps before it don't name what they make, or not each by another name, the features are numbered.
    """
    try:
        names = pipeline.feature_names_in_ if len(pipeline) == 1 else pipeline[:-1].get_feature_names_out()
        return [str(name) for name in names]
    except (AttributeError, ValueError):
        return [f"x{number}" for number in range(pipeline[-1].n_features_in_)]
