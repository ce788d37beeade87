"""The scores of a model, table by table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from titanic_batch.scoring.drift import Drift
from titanic_batch.scoring.scorer import Scorer


class ModelScores:
    """Scores tables of accepted rows, and counts what they are like."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return the labels (int8) and probabilities (float64) of ``rows``, in their order."""
        scored = self._scorer.score(rows)
        return _arrow(scored.label, pa.int8()), _arrow(scored.probability, pa.float64())

    @property
    def measures_drift(self) -> bool:
        """Whether the model records the rows of its fit, so that others can be compared with them."""
        return self._scorer.measures_drift

    def take_drift(self) -> Drift | None:
        """Return how the rows since the last call compare with those of the fit; None if unknown, or without rows."""
        return self._scorer.take_drift()


def _arrow(numbers: NDArray[Any], arrow_type: pa.DataType) -> pa.Array:
    """Return numbers that share their memory with an array, where ``pa.array`` imports NumPy's masked arrays first."""
    return pa.Array.from_buffers(arrow_type, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])
