"""A fitted pipeline over batches of rows: exact, fast, and without knowing which model it is."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from titanic_batch.distinct import DistinctRows
from titanic_batch.drift import Drift, Reference, Tally

_PROOF_ROWS = 100
SLICE_ROWS = 2**18  # bounds the memory that features take, however many rows a block has
KNOWN_ROWS = 2**16  # about 20 MB


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
    reference
        What the rows it was fitted on were like, for `drift` to compare with.
    """

    def __init__(self, pipeline: Pipeline, reference: Reference | None = None) -> None:
        self.columns: tuple[str, ...] = tuple(pipeline.feature_names_in_)
        """Columns that `score` needs."""
        self.features: Pipeline | None = pipeline[:-1] if len(pipeline) > 1 else None
        """What makes features of the columns; None: they are the features."""
        self._features = _Features(self.features) if self.features is not None else _frame
        self._classifier = copy.copy(pipeline[-1])
        if hasattr(self._classifier, "n_jobs"):
            # A forest that predicts with several threads adds up its trees in whichever order they finish.
            self._classifier.n_jobs = 1
        is_forest = type(self._classifier) is RandomForestClassifier and self._classifier.n_outputs_ == 1
        self._forest = _Forest(self._classifier) if is_forest else None
        self._tally: Tally | None = None
        if reference is not None:
            names = self.columns if self.features is None else self.features.get_feature_names_out()
            self._tally = Tally(reference, [str(name) for name in names])
        self._distinct = DistinctRows(self.predict_features, None if self._tally is None else self._count)

    def take_drift(self) -> Drift | None:
        """Return how the rows scored since this was last called compare with the reference; None without it, or them.

        Nothing is being scored meanwhile.
        """
        if self._tally is None:
            return None
        for rows, outputs, counts in self._distinct.take_counted():
            self._tally.add(rows, outputs[:, 1], counts)
        return self._tally.take_drift()

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
        table = table.select(list(self.columns))
        if self._tally is not None:
            for name, column in zip(self.columns, table.columns, strict=True):
                self._tally.add_missing(name, column.null_count)
        X = self._features(table)
        if isinstance(X, pd.DataFrame) and all(isinstance(d, np.dtype) and d.kind in "biuf" for d in X.dtypes):
            X = X.to_numpy(np.result_type(np.bool_, *X.dtypes))
        return self._distinct(X) if isinstance(X, np.ndarray) else self.predict_features(X)

    def _count(self, X: NDArray[Any], outputs: NDArray[np.float64]) -> None:
        if self._tally is not None:
            self._tally.add(X, outputs[:, 1])

    def predict_features(self, X: Any) -> NDArray[np.float64]:
        """Return label and probability side by side, of shape (n_samples, 2), for rows of features."""
        if self._forest is not None and isinstance(X, np.ndarray):
            probabilities = self._forest(X)
            # What the forest's own predict does with its probabilities.
            labels = self._classifier.classes_.take(np.argmax(probabilities, axis=1))
        else:
            if isinstance(X, np.ndarray) and hasattr(self._classifier, "feature_names_in_"):
                X = pd.DataFrame(X, columns=self._classifier.feature_names_in_)  # it warns where it misses the names
            probabilities = self._classifier.predict_proba(X)
            labels = self._classifier.predict(X)
        return np.column_stack([labels.astype(np.float64), probabilities[:, -1]])


@dataclass(frozen=True, slots=True)
class RowScore:
    """The scores of one row; ``text`` is the probability as a CSV of Arrow's shows it."""

    label: int
    probability: float
    text: str


class RowScorer:
    """Scores a few rows of plain values, to the bits of `Scorer.score`, without the cost of a frame for each call.

    The features of a row are made value by value, so the pipeline's must be elementwise: a ``ColumnTransformer`` that
    passes columns on, or codes them with what has a ``code`` method for one value. Rows whose features are the same
    have the same scores, which are remembered, for up to ``KNOWN_ROWS`` distinct ones. Safe to call from several
    threads.

    Parameters
    ----------
    scorer
        Whose pipeline it is.
    columns
        What the values of a row are, in their order; at least those that the scorer needs.
    """

    def __init__(self, scorer: Scorer, columns: Sequence[str]) -> None:
        self._scorer = scorer
        self._codes = _codes_of(scorer, columns)
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


def _codes_of(scorer: Scorer, columns: Sequence[str]) -> list[tuple[int, Callable[[Any], Any] | None]] | None:
    """Return, for each feature, the place of the value that it is made of, and how; None where that can't be told."""
    steps = scorer.features
    if steps is None or len(steps) != 1 or type(steps[0]) is not ColumnTransformer or steps[0].transformer_weights:
        return None
    places = {name: place for place, name in enumerate(columns)}
    codes: list[tuple[int, Callable[[Any], Any] | None]] = []
    for _, transformer, names in steps[0].transformers_:
        if transformer == "drop":
            continue
        passes = isinstance(transformer, FunctionTransformer) and transformer.func is None
        code = None if passes else getattr(transformer, "code", None)
        if not (passes or code) or not isinstance(names, list) or not set(names) <= places.keys():
            return None
        codes += [(places[name], code) for name in names]
    return codes


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return the table as pandas would have it, sharing memory where it can.

    ``to_pandas`` does the same under the interpreter's lock, where one thread waits for the other.
    """
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            array = column.combine_chunks()
            codes = pc.fill_null(array.indices, -1).to_numpy()
            kind = pd.CategoricalDtype(array.dictionary.to_pandas())
            columns[name] = pd.Categorical.from_codes(codes, dtype=kind, validate=False)  # Arrow has seen to that
        elif pa.types.is_floating(column.type):
            columns[name] = pc.fill_null(column, float("nan")).to_numpy()
        else:
            columns[name] = column.to_pandas() if column.null_count else column.to_numpy()
    return pd.DataFrame(columns, copy=False)


class _Features:
    """``transform`` of the steps before the classifier, without what a `ColumnTransformer` spends around its own.

    That is two thirds of the time for a block of a hundred thousand rows, under the interpreter's lock. Each of its
    transformers gets the same columns and their results stand side by side in the same order, so the values are the
    same, which is checked on the first rows that come: if ever they were not, the steps are asked themselves.
    """

    def __init__(self, steps: Pipeline) -> None:
        self._steps = steps
        is_plain = len(steps) == 1 and type(steps[0]) is ColumnTransformer and not steps[0].transformer_weights
        parts = steps[0].transformers_ if is_plain else []
        self._parts = [(part, columns) for _, part, columns in parts if not isinstance(part, str)]
        if not all(isinstance(columns, list) and set(map(type, columns)) == {str} for _, columns in self._parts):
            self._parts = []
        self._proven = False

    def __call__(self, table: pa.Table) -> Any:
        if not self._proven and table.num_rows:
            sample = table.slice(0, _PROOF_ROWS)
            theirs, ours = self._steps.transform(_frame(sample)), self._side_by_side(sample)
            if not _are_same(theirs, ours):
                self._parts = []
            self._proven = True
        features = self._side_by_side(table)
        return self._steps.transform(_frame(table)) if features is None else features

    def _side_by_side(self, table: pa.Table) -> NDArray[Any] | None:
        """Return what the transformers make of a table, of shape (n_samples, n_features); None if it isn't numbers."""
        arrays = [np.asarray(part.transform(_frame(table.select(columns)))) for part, columns in self._parts]
        if not arrays or any(array.ndim != 2 or array.dtype.kind not in "biuf" for array in arrays):
            return None
        # Column by column, as those who read it go through it.
        X = np.empty((table.num_rows, sum(array.shape[1] for array in arrays)), np.result_type(*arrays), order="F")
        return np.concatenate(arrays, axis=1, out=X)


def _are_same(one: Any, other: Any) -> bool:
    are_arrays = isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype == other.dtype
    return are_arrays and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


class _Forest:
    """``predict_proba`` of a random forest of one output, without what it spends on each tree to run them in parallel.

    That is about ten times the trees' own work where there are few rows. The sums are made in the same order, so the
    bits are the same, which is checked on the first rows that come: if ever they were not, the forest is asked itself.
    """

    def __init__(self, forest: RandomForestClassifier) -> None:
        self._forest = copy.copy(forest)
        vars(self._forest).pop("feature_names_in_", None)  # it warns where it misses the names
        self._trees = [tree.tree_ for tree in forest.estimators_]
        self._proven = False

    def __call__(self, X: NDArray[Any]) -> NDArray[np.float64]:
        if not len(X):
            return np.empty((0, len(self._forest.classes_)))
        if not self._proven:
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
