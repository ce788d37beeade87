"""A fitted pipeline over batches of rows: exact, fast, and without knowing which model it is."""

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

from titanic_batch.distinct import DistinctRows

SLICE_ROWS = 2**18  # bounds the memory that features take, however many rows a block has


@dataclass(frozen=True, slots=True)
class Scores:
    """Predicted labels, ``int8`` of shape (n_samples,), and the probability of the last class, ``float64``."""

    label: NDArray[np.int8]
    probability: NDArray[np.float64]


class Scorer:
    """Scores Arrow tables with any fitted scikit-learn pipeline whose last step has ``predict_proba``.

    The scores are those of ``pipeline.predict`` and ``pipeline.predict_proba`` on the whole frame, bit by bit, however
    the rows are cut into tables and whichever threads score them; where the classifier's arithmetic depends on the
    shape of what it is given (a linear model's matrix product), within 1e-12.

    Parameters
    ----------
    pipeline
        Fitted on a frame with column names. Its classes are two integers; it is kept, and must not change.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.columns: tuple[str, ...] = tuple(pipeline.feature_names_in_)
        """Columns that `score` needs."""
        self._features = pipeline[:-1] if len(pipeline) > 1 else None
        self._classifier = copy.copy(pipeline[-1])
        if hasattr(self._classifier, "n_jobs"):
            # A forest that predicts with several threads adds up its trees in whichever order they finish.
            self._classifier.n_jobs = 1
        self._distinct = DistinctRows(self._predict)

    def score(self, table: pa.Table) -> Scores:
        """Return the scores of the rows of ``table``, in their order.

        ``table`` has at least `columns`; strings may be dictionary-encoded, which is faster. It is not changed.
        """
        outputs = [
            self._score_slice(table.slice(start, SLICE_ROWS)) for start in range(0, table.num_rows, SLICE_ROWS)
        ] or [np.empty((0, 2))]
        both = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
        return Scores(both[:, 0].astype(np.int8), np.ascontiguousarray(both[:, 1]))

    def _score_slice(self, table: pa.Table) -> NDArray[np.float64]:
        frame = table.select(list(self.columns)).to_pandas(split_blocks=True)
        X = frame if self._features is None else self._features.transform(frame)
        if isinstance(X, pd.DataFrame) and all(dtype.kind in "biuf" for dtype in X.dtypes):
            X = X.to_numpy()
        return self._distinct(X) if isinstance(X, np.ndarray) else self._predict(X)

    def _predict(self, X: Any) -> NDArray[np.float64]:
        """Return label and probability side by side, of shape (n_samples, 2)."""
        probabilities = self._classifier.predict_proba(X)
        if isinstance(self._classifier, RandomForestClassifier):
            # What its predict does with the same probabilities, without walking the trees again.
            labels = self._classifier.classes_.take(np.argmax(probabilities, axis=1))
        else:
            labels = self._classifier.predict(X)
        return np.column_stack([labels.astype(np.float64), probabilities[:, -1]])
