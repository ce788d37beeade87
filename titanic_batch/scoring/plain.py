"""Predictions of trees on encoded columns, without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.scoring.encoders import FeatureStep
from titanic_batch.scoring.predictor import encoded_columns, parts_of
from titanic_batch.scoring.trees import TreeEnsemble


class PlainPredictor:
    """Predicts as a pipeline of a ``ColumnTransformer`` and a ``RandomForestClassifier`` does, bit by bit.

    Parameters
    ----------
    columns
        The columns that the pipeline was fitted on.
    steps
        How features are made of them, in the order of the features.
    trees
        Give the probabilities of both classes.
    event
        The place of the class whose code is 1, and whose probability is predicted.
    """

    def __init__(
        self, columns: Sequence[str], steps: Sequence[FeatureStep], trees: TreeEnsemble, event: int = 1
    ) -> None:
        self.columns = tuple(columns)
        self.parts = parts_of(steps)
        self.feature_names = [name for name, _ in self.parts]
        self._trees = trees
        self._event = event

    def features(self, table: pa.Table) -> list[NDArray[Any]]:
        """Return the features of rows, each of shape (n_samples,).

        Raises
        ------
        ColumnTypeError
            A column has another type than the contract's.
        """
        return encoded_columns(table, self.parts)

    def predict(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return codes and probabilities for features of shape (n_samples, n_features), side by side."""
        probabilities = self._trees(X)
        # The first of the likeliest classes, as ``predict`` of the classifier.
        codes = np.argmax(probabilities, axis=1) == self._event
        return np.column_stack([codes, probabilities[:, self._event]])
