"""The scores of a model, table by table."""

from __future__ import annotations

import pyarrow as pa

from titanic_batch.notebook.labels import written_labels
from titanic_batch.reading.columns import arrow_numbers
from titanic_batch.scoring.drift import Drift
from titanic_batch.scoring.scorer import Scorer


class ModelScores:
    """Scores tables of accepted rows, and counts what they are like."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return the labels, as they are written, and probabilities (float64) of ``rows``, in their order.

        ``rows`` must have at least the columns of the contract but for its key, with the contract's types.
        """
        scored = self._scorer.score(rows)
        return written_labels(scored.code), arrow_numbers(scored.probability)

    @property
    def measures_drift(self) -> bool:
        """Whether the model records the rows of its fit, so that others can be compared with them."""
        return self._scorer.measures_drift

    def take_drift(self) -> Drift | None:
        """Return how the rows since the last call compare with those of the fit; None if unknown, or without rows."""
        return self._scorer.take_drift()
