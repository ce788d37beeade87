"""A few rows of plain values scored, to the bits of a whole table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from titanic_batch.scoring.scorer import Scorer
from titanic_batch.scoring.shortcuts import parts_of

KNOWN_ROWS = 2**16  # about 20 MB


@dataclass(frozen=True, slots=True)
class RowScore:
    """The scores of one row; ``text`` is the probability as a CSV of Arrow's shows it."""

    label: int
    probability: float
    text: str


class RowScorer:
    """Scores a few rows of plain values, to the bits of `Scorer.score`, without the cost of a frame for each call.

    The features of a row are made value by value, so the pipeline's must be elementwise: a ``ColumnTransformer`` that
    passes columns on, or codes them with the transformers of `transformers`. Rows whose
    features are the same have the same scores, which are remembered, for up to ``KNOWN_ROWS`` distinct ones. Safe to
    call from several threads.

    Parameters
    ----------
    scorer
        Whose pipeline it is.
    columns
        What the values of a row are, in their order; at least those that the scorer needs.
    """

    def __init__(self, scorer: Scorer, columns: Sequence[str]) -> None:
        self._scorer = scorer
        self._codes: list[tuple[int, Callable[[Any], Any] | None]] | None = None
        parts = parts_of(scorer.features)
        if parts is not None and {name for name, _ in parts} <= set(columns):
            places = {name: place for place, name in enumerate(columns)}
            self._codes = [(places[name], None if encoder is None else encoder.code) for name, encoder in parts]
        self._known: dict[tuple[Any, ...], RowScore] = {}
        self._lock = threading.Lock()

    @property
    def can_score(self) -> bool:
        """Whether the pipeline's features are such that single values make them."""
        return self._codes is not None

    def score(self, rows: Sequence[Sequence[Any]]) -> list[RowScore]:
        """Return the scores of rows of int, float, str or, where missing, None; not for what `can_score` not."""
        assert self._codes is not None  # noqa: S101  # what can_score tells
        features = [
            tuple(row[place] if code is None else code(row[place]) for place, code in self._codes) for row in rows
        ]
        known = self._known
        scores = {key: known.get(key) for key in features}
        if unknown := [key for key, score in scores.items() if score is None]:
            scores |= self._learned(unknown)
        return [scores[key] for key in features]  # type: ignore[misc]  # those that were None are learned

    def _learned(self, keys: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], RowScore]:
        both = self._scorer.predict_features(np.array(keys))
        texts = pa.array(np.ascontiguousarray(both[:, 1])).cast(pa.string()).to_pylist()
        scores = {
            key: RowScore(int(label), probability, text)
            for key, (label, probability), text in zip(keys, both.tolist(), texts, strict=True)
        }
        with self._lock:
            if len(self._known) + len(scores) > KNOWN_ROWS:
                self._known = {}
            self._known.update(scores)
        return scores
