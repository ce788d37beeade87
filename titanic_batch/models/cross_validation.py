"""How good a pipeline is by cross-validation, and whether another is better.

The intervals are those of the corrected resampled t-test, since folds share their training rows, so that their figures
vary less than those of independent samples would (Nadeau and Bengio, "Inference for the generalization error", Machine
Learning 52, 2003; for repeated folds Bouckaert and Frank, PAKDD 2004).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit
from sklearn.base import clone
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.utils.parallel import Parallel, delayed

from titanic_batch.errors import DataError
from titanic_batch.models.evaluation import (
    CONFIDENCE,
    LOWER_IS_BETTER,
    METRICS,
    QUICK_METRICS,
    Codes,
    Estimate,
    Evaluation,
    Probabilities,
    calibration_slope,
)
from titanic_batch.models.training_data import Labels
from titanic_batch.notebook.labels import EVENT_PLACE, codes_of
from titanic_batch.notebook.words import LABELS

FOLDS = 10
REPEATS = 5
_SHUFFLES = 5  # of each column, to measure its importance


@dataclass(frozen=True, slots=True)
class Fold:
    """A fold's rows, and the probabilities that a pipeline fitted on all other rows predicts for them.

    Attributes
    ----------
    rows
        Their positions, of shape (n_fold,).
    probabilities
        Of shape (n_fold,).
    importances
        How much the log loss grows where a column is shuffled, of shape (n_columns, n_shuffles), if that was measured.
    """

    rows: NDArray[np.int64]
    probabilities: Probabilities
    importances: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """The folds of a cross-validation, one repeat after the other, with the codes ``y`` of the labels of all rows."""

    y: Codes
    folds: Sequence[Fold]

    @property
    def repeats(self) -> int:
        """How many times all rows were divided into folds."""
        return len(self.folds) // FOLDS

    def values(self, metric: str) -> NDArray[np.float64]:
        """Return a metric on each fold, of shape (n_folds,)."""
        return np.array([METRICS[metric](self.y[fold.rows], fold.probabilities) for fold in self.folds])

    def evaluation(self, metrics: Sequence[str] = tuple(METRICS)) -> Evaluation:
        """Return the means over the folds."""
        return Evaluation(len(self.y), {name: _mean(self.values(name)) for name in metrics})

    def pooled(self) -> tuple[Codes, Probabilities]:
        """Return the codes and probabilities of all folds, concatenated; each row as often as there are repeats."""
        return (
            np.concatenate([self.y[fold.rows] for fold in self.folds]),
            np.concatenate([fold.probabilities for fold in self.folds]),
        )

    def calibration_slope(self) -> float:
        """Return the mean of the repeats' `calibration_slope`: a single fold has too few rows."""
        repeats = [
            CrossValidation(self.y, self.folds[start : start + FOLDS]).pooled()
            for start in range(0, len(self.folds), FOLDS)
        ]
        return float(np.mean([calibration_slope(*repeat) for repeat in repeats]))

    def held_out(self) -> Probabilities:
        """Return the probability of each row in the first repeat, of shape (n_samples,)."""
        probabilities = np.empty(len(self.y))
        for fold in self.folds[:FOLDS]:
            probabilities[fold.rows] = fold.probabilities
        return probabilities

    def on(self, mask: NDArray[np.bool_]) -> Evaluation:
        """Return how good the predictions for some of the rows are; folds without any of them are left out.

        ``mask`` is of shape (n_samples,).
        """
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
        return [_mean(column.mean(axis=1)) for column in measured.transpose(1, 0, 2)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a metric differs between two pipelines on the same folds.

    ``p_value`` is that of the two-sided corrected resampled t-test.
    """

    metric: str
    old: float
    new: float
    difference: Estimate
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether the difference is significant at the 5% level."""
        return self.p_value < 1 - CONFIDENCE

    @property
    def is_better(self) -> bool:
        """Whether the new pipeline is better, be it by chance."""
        return (self.difference.value < 0) == (self.metric in LOWER_IS_BETTER)


@dataclass(frozen=True, slots=True)
class RepeatedFolds:
    """Repeated folds of some rows, the same for any pipeline, so that pipelines can be compared.

    Attributes
    ----------
    X
        Of shape (n_samples, n_columns).
    y
        Labels of shape (n_samples,).
    seed
        Seed of the folds.
    jobs
        Processes.
    """

    X: pd.DataFrame
    y: Labels
    seed: int
    jobs: int = 1

    def cross_validate(self, pipeline: Pipeline, *, importance: bool = False) -> CrossValidation:
        """Return the cross-validation of a pipeline; see `cross_validate`."""
        return cross_validate(pipeline, self.X, self.y, self.seed, self.jobs, repeats=REPEATS, importance=importance)


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
    """Fit clones of a pipeline by 10-fold cross-validation, and return what they predict for the held-out rows.

    Parameters
    ----------
    pipeline
        Is not changed.
    X
        Of shape (n_samples, n_columns).
    y
        Labels of shape (n_samples,).
    seed
        Seed of the folds, which are stratified and shuffled.
    jobs
        Processes. Their number does not change the result; they take about two seconds to start.
    repeats
        How many times the rows are divided into folds.
    importance
        Measure also how important each column is, on the folds of the first repeat. This takes as long again.

    Raises
    ------
    DataError
        There are fewer than 10 rows with a label.
    """
    check_count(y)
    splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=seed).split(X, y)
    calls = (
        delayed(_fold)(pipeline, X, y, *split, seed if importance and place < FOLDS else None)
        for place, split in enumerate(splits)
    )
    with without_few_rows_warning():
        return CrossValidation(codes_of(y), Parallel(n_jobs=jobs)(calls))


def check_count(y: Labels) -> None:
    """Raise `DataError` where there are too few rows with a label to cross-validate."""
    if min(np.count_nonzero(y == label) for label in LABELS) < FOLDS:
        raise DataError(f"cross-validation needs at least {FOLDS} rows with each label: add some.")


def compare(old: CrossValidation, new: CrossValidation, metric: str) -> Comparison:
    """Compare two pipelines that were cross-validated on the same folds."""
    of_old, of_new = old.values(metric), new.values(metric)
    difference = _mean(of_new - of_old)
    error = _standard_error(of_new - of_old)
    if error:
        p_value = float(2 * stdtr(len(of_old) - 1, -abs(difference.value) / error))
    else:
        p_value = 0.0 if difference.value else 1.0
    return Comparison(metric, float(of_old.mean()), float(of_new.mean()), difference, p_value)


@contextmanager
def without_few_rows_warning() -> Iterator[None]:
    """Silence scikit-learn's warning that a fraction of few rows is few rows, in this process and its workers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using the fractional value max_samples", UserWarning)
        yield


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
        from sklearn.inspection import permutation_importance  # most fits measure none

        importances = permutation_importance(
            fitted,
            held_out,
            y[test],
            scoring="neg_log_loss",
            n_repeats=_SHUFFLES,
            random_state=importance_seed,
        ).importances
    return Fold(test, fitted.predict_proba(held_out)[:, EVENT_PLACE], importances)


def _standard_error(values: NDArray[np.float64]) -> float:
    """Return the corrected standard error of the mean over folds, each of which has a tenth of the rows."""
    if len(values) < 2:
        return 0.0
    return sqrt((1 / len(values) + 1 / (FOLDS - 1)) * float(values.var(ddof=1)))


def _mean(values: NDArray[np.float64]) -> Estimate:
    """Return the mean over folds with its interval."""
    mean = float(values.mean())
    reach = float(stdtrit(max(len(values) - 1, 1), 0.5 + CONFIDENCE / 2)) * _standard_error(values)
    return Estimate(mean, mean - reach, mean + reach)
