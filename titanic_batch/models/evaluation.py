"""How good a pipeline is on rows that it has not seen, and how sure that is.

The figures are scikit-learn's. Their intervals hold 95% of the time: over the folds of a cross-validation they are
those of the corrected resampled t-test, since folds share their training rows and their figures vary too little for
what they stand for (Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52, 2003; for
repeated folds Bouckaert and Frank, PAKDD 2004).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit, ndtri, stdtr, stdtrit
from sklearn.base import clone
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from titanic_batch.errors import DataError
from titanic_batch.passenger.pipeline import NOTEBOOK_HELD_OUT

FOLDS = 10
REPEATS = 5
CONFIDENCE = 0.95
IMPORTANCE_REPEATS = 5

Probabilities = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]

# Each takes labels and the probabilities of label 1.
METRICS: dict[str, Callable[[Labels, Probabilities], float]] = {
    "accuracy": lambda y, p: accuracy_score(y, p > 0.5),
    "balanced_accuracy": lambda y, p: balanced_accuracy_score(y, p > 0.5),
    "roc_auc": roc_auc_score,
    "log_loss": partial(log_loss, labels=[0, 1]),
    "brier_score": brier_score_loss,
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier_score"})
QUICK_METRICS = ("accuracy", "log_loss", "brier_score")  # what `evaluate` gives as well


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the interval that holds the true one 95% of the time."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a model is on ``rows`` labelled rows that it has not seen; `metrics` are some of `METRICS`."""

    rows: int
    metrics: Mapping[str, Estimate]

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return self.metrics["accuracy"].value

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {"rows": self.rows, **{name: asdict(estimate) for name, estimate in self.metrics.items()}}


@dataclass(frozen=True, slots=True)
class Fold:
    """A fold's rows, and the probabilities that a pipeline fitted on all others gives for them."""

    rows: NDArray[np.int64]
    probabilities: Probabilities
    importances: NDArray[np.float64] | None
    """How much the log loss grows where a column's values are shuffled; a row a column."""


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The folds of a cross-validation, repeat after repeat, with the labels ``y`` of all rows."""

    y: Labels
    folds: Sequence[Fold]

    def values(self, metric: str) -> NDArray[np.float64]:
        """Return a metric on each fold."""
        return np.array([METRICS[metric](self.y[fold.rows], fold.probabilities) for fold in self.folds])

    def evaluation(self, metrics: Sequence[str] = tuple(METRICS)) -> Evaluation:
        """Return the means over the folds."""
        return Evaluation(len(self.y), {name: _mean_over_folds(self.values(name)) for name in metrics})

    def pooled(self) -> tuple[Labels, Probabilities]:
        """Return the labels and probabilities of all folds, one behind the other."""
        return (
            np.concatenate([self.y[fold.rows] for fold in self.folds]),
            np.concatenate([fold.probabilities for fold in self.folds]),
        )

    def calibration_slope(self) -> float:
        """Return the mean of the repeats' `calibration_slope`: folds by themselves have too few rows."""
        repeats = [
            CrossValidation(self.y, self.folds[start : start + FOLDS]).pooled()
            for start in range(0, len(self.folds), FOLDS)
        ]
        return float(np.mean([calibration_slope(*repeat) for repeat in repeats]))

    def held_out(self) -> Probabilities:
        """Return the probability of each row, in their order: that of the first repeat."""
        probabilities = np.empty(len(self.y))
        for fold in self.folds[:FOLDS]:
            probabilities[fold.rows] = fold.probabilities
        return probabilities

    def on(self, mask: NDArray[np.bool_]) -> Evaluation:
        """Return how good the predictions are for some of the rows, a boolean mask; folds without any are left out."""
        parts = [
            Fold(fold.rows[inside], fold.probabilities[inside], None)
            for fold in self.folds
            if (inside := mask[fold.rows]).any()
        ]
        evaluation = CrossValidation(self.y, parts).evaluation(QUICK_METRICS)
        return Evaluation(int(mask.sum()), evaluation.metrics)

    def importances(self) -> list[Estimate]:
        """Return the importance of each column, in their order: the mean over the folds where it was measured."""
        measured = np.array([fold.importances for fold in self.folds if fold.importances is not None])
        return [_mean_over_folds(column.mean(axis=1)) for column in measured.transpose(1, 0, 2)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better the new pipeline is than the old one on the same folds: the difference, and how likely by chance.

    ``p_value`` is that of the two-sided corrected resampled t-test.
    """

    metric: str
    old: float
    new: float
    difference: Estimate
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether chance makes such a difference in fewer than 5% of cases."""
        return self.p_value < 1 - CONFIDENCE

    @property
    def is_better(self) -> bool:
        """Whether the new one is better, be it by chance."""
        return (self.difference.value < 0) == (self.metric in LOWER_IS_BETTER)


def cross_validate(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: Labels,
    seed: int,
    jobs: int = 1,
    *,
    repeats: int = 1,
    importance: bool = False,
) -> CrossValidation:
    """Fit a pipeline anew for each of 10 stratified, shuffled folds, and have it predict the fold.

    ``importance`` measures also how much each column counts, on the folds of the first repeat, which takes as long
    again. ``jobs`` processes, whose number changes nothing; they start in about two seconds.

    Raises
    ------
    DataError
        There are fewer than 10 rows of a label.
    """
    check_count(y)
    splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=seed).split(X, y)
    calls = (
        delayed(_fold)(pipeline, X, y, *split, seed if importance and place < FOLDS else None)
        for place, split in enumerate(splits)
    )
    with few_rows_are_fine():
        return CrossValidation(y, Parallel(n_jobs=jobs)(calls))


@contextmanager
def few_rows_are_fine() -> Iterator[None]:
    """Fit without scikit-learn's warning that a share of few rows is few rows, in this process and its workers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using the fractional value max_samples", UserWarning)
        yield


def check_count(y: Labels) -> None:
    """Raise `DataError` where there are too few rows of a label to cross-validate."""
    if min(np.count_nonzero(y == label) for label in (0, 1)) < FOLDS:
        raise DataError(f"cross-validation needs at least {FOLDS} rows with each label: add some.")


def evaluate(y: Labels, probabilities: Probabilities) -> Evaluation:
    """Return how good probabilities are, each for a row of its own; there is at least one."""
    rows = len(y)
    likelihood = np.clip(np.where(y == 1, probabilities, 1 - probabilities), np.finfo(float).eps, 1)
    return Evaluation(
        rows,
        {
            "accuracy": _share(METRICS["accuracy"](y, probabilities), rows),
            "log_loss": _mean_over_rows(METRICS["log_loss"](y, probabilities), -np.log(likelihood)),
            "brier_score": _mean_over_rows(METRICS["brier_score"](y, probabilities), (probabilities - y) ** 2),
        },
    )


def calibration_slope(y: Labels, probabilities: Probabilities) -> float:
    """Return by how much log-odds must be stretched to fit the labels: 1 where they are right.

    More where they are too timid, less where too bold: the slope of the labels' logistic regression on the
    log-odds (Cox, "Two further applications of a model for binary regression", Biometrika 45, 1958). Probabilities are
    kept within 0.001 and 0.999, since a forest may be certain, and log-odds have no end there.
    """
    from sklearn.linear_model import LogisticRegression  # scoring, which needs `evaluate` alone, starts sooner

    log_odds = logit(np.clip(probabilities, 0.001, 0.999))
    return float(LogisticRegression(C=np.inf).fit(log_odds[:, np.newaxis], y).coef_[0, 0])


def compare(old: CrossValidation, new: CrossValidation, metric: str) -> Comparison:
    """Compare two pipelines that were cross-validated on the same folds."""
    of_old, of_new = old.values(metric), new.values(metric)
    difference = _mean_over_folds(of_new - of_old)
    error = _standard_error(of_new - of_old)
    if error:
        p_value = float(2 * stdtr(len(of_old) - 1, -abs(difference.value) / error))
    else:
        p_value = 0.0 if difference.value else 1.0
    return Comparison(metric, float(of_old.mean()), float(of_new.mean()), difference, p_value)


@dataclass(frozen=True, slots=True)
class NotebookProtocol:
    """The accuracies that the notebook shows: on some rows held out once, and the mean over 10 plain folds."""

    held_out_accuracy: float
    folds_accuracy: float


@dataclass(frozen=True, slots=True)
class FullEvaluation:
    """What the HTML report shows beyond the table: the model and the notebook's forest on the same repeated folds.

    ``groups`` holds for each column, and each value of it, how good the model is on these rows. ``importances`` has an
    estimate for each column of ``columns``.
    """

    repeated: CrossValidation
    notebook: CrossValidation
    protocol: NotebookProtocol
    protocol_of_notebook: NotebookProtocol
    columns: Sequence[str]
    groups: Mapping[str, Mapping[str, Evaluation]]


def notebook_protocol(pipeline: Pipeline, X: pd.DataFrame, y: Labels) -> NotebookProtocol:
    """Evaluate as the notebook does: on some rows held out once, and over 10 folds that are not shuffled."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, **NOTEBOOK_HELD_OUT)
    return NotebookProtocol(
        float(clone(pipeline).fit(X_train, y_train).score(X_test, y_test)),
        float(cross_val_score(pipeline, X, y, cv=KFold(FOLDS)).mean()),
    )


def _fold(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: Labels,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    importance_seed: int | None,
) -> Fold:
    fitted = clone(pipeline).fit(X.iloc[train], y[train])
    held_out = X.iloc[test]
    importances = None
    if importance_seed is not None:
        from sklearn.inspection import permutation_importance  # scoring, which needs `evaluate` alone, starts sooner

        importances = permutation_importance(
            fitted,
            held_out,
            y[test],
            scoring="neg_log_loss",
            n_repeats=IMPORTANCE_REPEATS,
            random_state=importance_seed,
        ).importances
    return Fold(test, fitted.predict_proba(held_out)[:, 1], importances)


def _standard_error(values: NDArray[np.float64]) -> float:
    """Return the corrected standard error of the mean over folds, of which each is a tenth of the rows."""
    if len(values) < 2:
        return 0.0
    return sqrt((1 / len(values) + 1 / (FOLDS - 1)) * float(values.var(ddof=1)))


def _mean_over_folds(values: NDArray[np.float64]) -> Estimate:
    mean = float(values.mean())
    reach = float(stdtrit(max(len(values) - 1, 1), 0.5 + CONFIDENCE / 2)) * _standard_error(values)
    return Estimate(mean, mean - reach, mean + reach)


def _mean_over_rows(value: float, losses: Probabilities) -> Estimate:
    deviation = float(losses.std(ddof=1)) if len(losses) > 1 else 0.0
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * deviation / sqrt(len(losses))
    return Estimate(float(value), float(value) - reach, float(value) + reach)


def _share(share: float, rows: int) -> Estimate:
    """Return a share of rows with Wilson's interval."""
    z2 = float(ndtri(0.5 + CONFIDENCE / 2)) ** 2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    reach = sqrt(z2 * (share * (1 - share) / rows + z2 / (4 * rows**2))) / (1 + z2 / rows)
    return Estimate(float(share), max(0.0, centre - reach), min(1.0, centre + reach))
