"""The scores of a few rows of plain values, bit by bit those of a whole table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from titanic_batch.reading.columns import arrow_numbers
from titanic_batch.scoring.scorer import Scorer

KNOWN_ROWS = 2**16  # about 20 MB


@dataclass(frozen=True, slots=True)
class RowScore:
    """The code of a row's label, and its probability. ``text`` is that as Arrow writes it to a CSV."""

    code: int
    probability: float
    text: str


class RowScorer:
    """Scores a few rows of plain values without a frame for each call, and returns the same bits as `Scorer.score`.

    Features are made value by value, so those of the pipeline must be elementwise: a ``ColumnTransformer`` that passes
    columns through, or encodes them with `transformers`. Scores are cached by features, for up to ``KNOWN_ROWS``
    distinct ones. It is safe to call from several threads.

    Parameters
    ----------
    scorer
        Scores features that are not cached.
    columns
        The columns of a row, in the order of its values: those of the scorer, at least.
    """

    def __init__(self, scorer: Scorer, columns: Sequence[str]) -> None:
        self._scorer = scorer
        self._codes: list[tuple[int, Callable[[Any], Any]]] | None = None
        parts = scorer.predictor.parts
        if parts is not None and {name for name, _ in parts} <= set(columns):
            places = {name: place for place, name in enumerate(columns)}
            self._codes = [(places[name], encoder.code) for name, encoder in parts]
        self._known: dict[tuple[Any, ...], RowScore] = {}
        self._lock = threading.Lock()

    @property
    def can_score(self) -> bool:
        """Whether the features of the pipeline can be made value by value."""
        return self._codes is not None

    def score(self, rows: Sequence[Sequence[Any]]) -> list[RowScore]:
        """Return the scores of rows; only where `can_score`.

        The values of a row are of type int, float or str; a missing one is None.
        """
        assert self._codes is not None  # noqa: S101  # can_score
        features = [tuple(code(row[place]) for place, code in self._codes) for row in rows]
        known = self._known
        scores = {key: known.get(key) for key in features}
        if unknown := [key for key, score in scores.items() if score is None]:
            scores |= self._learned(unknown)
        return [scores[key] for key in features]  # type: ignore[misc]  # none of them is None now

    def _learned(self, keys: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], RowScore]:
        both = self._scorer.predictor.predict(np.array(keys))
        texts = arrow_numbers(both[:, 1]).cast(pa.string()).to_pylist()
        scores = {
            key: RowScore(int(code), probability, text)
            for key, (code, probability), text in zip(keys, both.tolist(), texts, strict=True)
        }
        with self._lock:
            if len(self._known) + len(scores) > KNOWN_ROWS:
                self._known = {}
            self._known.update(scores)
        return scores
