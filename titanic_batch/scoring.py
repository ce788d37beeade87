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

from titanic_batch.columns import in_one_piece
from titanic_batch.distinct import DistinctRows
from titanic_batch.drift import Drift, Reference, Tally

_PROOF_ROWS = 100
SLICE_ROWS = 2**18  # bounds the memory that features take, however many rows a block has
# scikit-learn's way to run in threads sets the process's warnings aside, which two threads at once would confuse.
_PROVING = threading.Lock()
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
        starts = range(0, table.num_rows, SLICE_ROWS)
        parts = [self._score_slice(table.slice(start, SLICE_ROWS)) for start in starts] or [[np.empty(0)] * 2]
        labels, probabilities = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        return Scores(labels.astype(np.int8), probabilities)

    def _score_slice(self, table: pa.Table) -> list[NDArray[np.float64]]:
        """Return labels and probabilities."""
        table = table.select(list(self.columns))
        if self._tally is not None:
            for name, column in zip(self.columns, table.columns, strict=True):
                self._tally.add_missing(name, column.null_count)
        X = self._features(table)
        if isinstance(X, pd.DataFrame) and all(isinstance(d, np.dtype) and d.kind in "biuf" for d in X.dtypes):
            X = X.to_numpy(np.result_type(np.bool_, *X.dtypes))
        if isinstance(X, np.ndarray) and X.ndim == 2 and X.shape[1]:
            X = list(X.T)
        return self._distinct(X) if isinstance(X, list) else list(self.predict_features(X).T.copy())

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
    passes columns on, or codes them with what has ``code`` for one value, and ``codes`` for a column. Rows whose
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
        parts = _parts_of(scorer.features)
        if parts is not None and {name for name, _ in parts} <= set(columns):
            places = {name: place for place, name in enumerate(columns)}
            self._codes = [(places[name], transformer and transformer.code) for name, transformer in parts]
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


def _parts_of(steps: Pipeline | None) -> list[tuple[str, Any]] | None:
    """Return, for each feature, the column that it is made of, and the transformer; None: it is the column itself.

    None where it is not so simple that the steps are one ``ColumnTransformer`` whose features each come from the column
    in the same place, passed on or coded.
    """
    if steps is None or len(steps) != 1 or type(steps[0]) is not ColumnTransformer or steps[0].transformer_weights:
        return None
    parts: list[tuple[str, Any]] = []
    for _, transformer, names in steps[0].transformers_:
        if transformer == "drop":
            continue
        passes = isinstance(transformer, FunctionTransformer) and transformer.func is None
        codes = hasattr(transformer, "codes") and hasattr(transformer, "code")
        if not (passes or codes) or not isinstance(names, list) or set(map(type, names)) != {str}:
            return None
        parts += [(name, None if passes else transformer) for name in names]
    return parts or None


def _frame(table: pa.Table) -> pd.DataFrame:
    """Return the table as pandas would have it, sharing memory where it can.

    ``to_pandas`` does the same under the interpreter's lock, where one thread waits for the other.
    """
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            array = in_one_piece(column)
            codes = pc.fill_null(array.indices, -1).to_numpy()
            kind = pd.CategoricalDtype(array.dictionary.to_pandas())
            columns[name] = pd.Categorical.from_codes(codes, dtype=kind, validate=False)  # Arrow has seen to that
        elif pa.types.is_floating(column.type):
            columns[name] = pc.fill_null(column, float("nan")).to_numpy()
        else:
            columns[name] = column.to_pandas() if column.null_count else column.to_numpy()
    return pd.DataFrame(columns, copy=False)


class _Features:
    """``transform`` of the steps before the classifier, made of Arrow's columns where they are simple enough.

    Going through frames costs several times as much, much of it under the interpreter's lock. The values are the same,
    which is checked on the first rows that come: if ever they were not, the steps are asked themselves.
    """

    def __init__(self, steps: Pipeline) -> None:
        self._steps = steps
        self._parts = _parts_of(steps)
        self._proven = False

    def __call__(self, table: pa.Table) -> Any:
        """Return the features, column by column, where they are made so; else what the steps make of a frame."""
        if not self._proven and table.num_rows:
            with _PROVING:
                sample = table.slice(0, _PROOF_ROWS)
                if not _are_same(self._steps.transform(_frame(sample)), self._columns(sample)):
                    self._parts = None
                self._proven = True
        columns = self._columns(table)
        return self._steps.transform(_frame(table)) if columns is None else columns

    def _columns(self, table: pa.Table) -> list[NDArray[Any]] | None:
        """Return the features, each of shape (n_samples,); None if they can't be made so of these columns."""
        columns = []
        for name, transformer in self._parts or ():
            column = in_one_piece(table[name])
            values = _numbers(column) if transformer is None else transformer.codes(column)
            if values is None:
                return None
            columns.append(values)
        return columns or None


def _numbers(column: pa.Array) -> NDArray[Any] | None:
    """Return numbers as pandas has them, a missing one as NaN; None if it doesn't hold numbers."""
    if pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False) if column.null_count else column
    elif column.type not in (pa.float64(), pa.float32()):
        return None
    values: NDArray[Any] = (pc.fill_null(column, float("nan")) if column.null_count else column).to_numpy()
    return values


def _are_same(theirs: Any, ours: list[NDArray[Any]] | None) -> bool:
    if not isinstance(theirs, np.ndarray) or ours is None:
        return False
    X = np.column_stack(ours)
    return theirs.dtype == X.dtype and np.array_equal(theirs, X, equal_nan=X.dtype.kind == "f")


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
