"""Shortcuts around scikit-learn's overhead, each checked on the first rows."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from titanic_batch.scoring.encoders import Bins, Categories, Passthrough
from titanic_batch.scoring.frames import frame_of
from titanic_batch.scoring.predictor import ColumnTypeError, Parts, encoded_columns

_PROOF_ROWS = 100
# scikit-learn changes the warning filters of the process to run in threads, which two threads must not do at once.
_PROVING = threading.Lock()


def parts_of_pipeline(steps: Pipeline | None) -> Parts | None:
    """Return how each feature is made.

    Return None unless the steps are a single ``ColumnTransformer`` that encodes columns one by one, or passes them
    through.
    """
    if steps is None or len(steps) != 1 or type(steps[0]) is not ColumnTransformer or steps[0].transformer_weights:
        return None
    parts: Parts = []
    for _, transformer, names in steps[0].transformers_:
        if transformer == "drop":
            continue
        passes = isinstance(transformer, FunctionTransformer) and transformer.func is None
        encoder = Passthrough() if passes else getattr(transformer, "encoder", None)
        if (
            not isinstance(encoder, Bins | Categories | Passthrough)
            or not isinstance(names, list)
            or set(map(type, names)) != {str}
        ):
            return None
        parts += [(name, encoder) for name in names]
    return parts or None


class FeatureColumns:
    """``transform`` of the steps before the classifier, on Arrow columns where the steps are simple enough.

    Frames take several times as long, much of it under the interpreter's lock. That the values are the same is checked
    on the first rows; if they are not, the steps are called on a frame.
    """

    def __init__(self, steps: Pipeline) -> None:
        self._steps = steps
        self._parts = parts_of_pipeline(steps)
        self._proven = False

    def __call__(self, table: pa.Table) -> Any:
        """Return the features as a list of columns, or what the steps return for a frame."""
        if not self._proven and table.num_rows:
            with _PROVING:
                sample = table.slice(0, _PROOF_ROWS)
                if not _are_same(self._steps.transform(frame_of(sample)), self.columns(sample)):
                    self._parts = None
                self._proven = True
        columns = self.columns(table)
        return self._steps.transform(frame_of(table)) if columns is None else columns

    def columns(self, table: pa.Table) -> list[NDArray[Any]] | None:
        """Return the features, each of shape (n_samples,); None if these columns need a frame."""
        try:
            return encoded_columns(table, self._parts) if self._parts else None
        except ColumnTypeError:
            return None


def require_same_features(steps: Pipeline, frame: pd.DataFrame) -> None:
    """Check that a model file's arrays are given the same features as its pipeline: on all rows of a frame.

    They are compared as numbers, whatever the frame's dtypes make of them. Steps that make features otherwise than
    value by value have no shortcut, and nothing is checked.

    Raises
    ------
    AssertionError
        The encoders give other features than the transformers.
    """
    columns = FeatureColumns(steps).columns(pa.Table.from_pandas(frame, preserve_index=False))
    if columns is None:
        return
    theirs = pd.DataFrame(steps.transform(frame)).to_numpy(np.float64, na_value=np.nan)
    if not np.array_equal(theirs, np.column_stack(columns), equal_nan=True):
        raise AssertionError("the encoders and the transformers make different features of the same rows")


def _are_same(theirs: Any, ours: list[NDArray[Any]] | None) -> bool:
    if not isinstance(theirs, np.ndarray) or ours is None:
        return False
    X = np.column_stack(ours)
    return theirs.dtype == X.dtype and np.array_equal(theirs, X, equal_nan=X.dtype.kind == "f")


class TreeSum:
    """``predict_proba`` of a ``RandomForestClassifier`` with one output, without the cost of running trees in parallel.

    For few rows, that cost is ten times what the trees need. The trees are summed in the same order, so the bits are
    the same, which is checked on the first rows; if they are not, ``predict_proba`` itself is called.
    """

    def __init__(self, forest: RandomForestClassifier) -> None:
        self._forest = copy.copy(forest)
        vars(self._forest).pop("feature_names_in_", None)  # it would warn that names are missing
        self._trees = [tree.tree_ for tree in forest.estimators_]
        self._proven = False

    def __call__(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities of features ``X``, (n_samples, n_features), as (n_samples, n_classes)."""
        if not len(X):
            return np.empty((0, len(self._forest.classes_)))
        if not self._proven:
            with _PROVING:
                sample = X[:_PROOF_ROWS]
                if not np.array_equal(self._sum(sample), self._forest.predict_proba(sample)):
                    self._trees = []
                self._proven = True
        return self._sum(X) if self._trees else self._forest.predict_proba(X)

    def _sum(self, X: NDArray[Any]) -> NDArray[np.float64]:
        X = np.ascontiguousarray(X, dtype=np.float32)
        total = np.zeros((len(X), len(self._forest.classes_)))
        for tree in self._trees:
            total += tree.predict(X)
        total /= len(self._trees)
        return total
