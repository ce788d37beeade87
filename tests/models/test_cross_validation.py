"""Figures are scikit-learn's, their intervals allow for shared training rows, and real differences are called real."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.model_selection import cross_validate as sklearn_cross_validate
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from titanic_batch.errors import DataError
from titanic_batch.models.cross_validation import CrossValidation, RepeatedFolds, compare, cross_validate
from titanic_batch.models.evaluation import METRICS, calibration_slope

Rows = tuple[pd.DataFrame, NDArray[np.int64]]
SCORERS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced_accuracy",
    "roc_auc": "roc_auc",
    "log_loss": "neg_log_loss",
    "brier_score": "neg_brier_score",
}


@pytest.fixture(scope="module")
def rows() -> Rows:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 5, (300, 3)), columns=["a", "b", "c"])
    return X, (X["a"].to_numpy() + rng.normal(0, 1.5, 300) > 2).astype(np.int64)


def tree(depth: int) -> Pipeline:
    return Pipeline([("classifier", DecisionTreeClassifier(max_depth=depth, min_samples_leaf=5, random_state=0))])


def test_figures_are_those_of_scikit_learn(rows: Rows) -> None:
    X, y = rows
    found = cross_validate(tree(3), X, y, seed=4, repeats=2)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=2, random_state=4)
    expected = sklearn_cross_validate(tree(3), X, y, cv=folds, scoring=list(SCORERS.values()))
    for metric, scorer in SCORERS.items():
        np.testing.assert_allclose(found.values(metric), abs(expected[f"test_{scorer}"]), rtol=1e-12, err_msg=metric)
        assert found.evaluation().metrics[metric].value == pytest.approx(abs(expected[f"test_{scorer}"].mean()))


def test_the_interval_over_folds_is_that_of_the_corrected_t_test(
    rows: Rows,
) -> None:
    found = cross_validate(tree(3), *rows, seed=4)
    values = found.values("accuracy")
    # 2.262157: the 97.5% quantile of Student's t with 9 degrees of freedom, from any table.
    reach = 2.262157 * math.sqrt((1 / 10 + 1 / 9) * values.var(ddof=1))
    estimate = found.evaluation().metrics["accuracy"]
    assert estimate.high - estimate.value == pytest.approx(reach, rel=1e-6)
    assert estimate.value - estimate.low == pytest.approx(reach, rel=1e-6)


def test_every_row_is_held_out_once_a_repeat(
    rows: Rows,
) -> None:
    found = cross_validate(tree(2), *rows, seed=1, repeats=3)
    assert len(found.folds) == 30
    for start in (0, 10, 20):
        held_out = np.concatenate([fold.rows for fold in found.folds[start : start + 10]])
        assert sorted(held_out.tolist()) == list(range(300))
    y, probabilities = found.pooled()
    assert len(y) == len(probabilities) == 900
    place = found.folds[3].rows[0]
    assert found.held_out()[place] == found.folds[3].probabilities[0]


def test_figures_on_some_rows_count_only_these(
    rows: Rows,
) -> None:
    X, y = rows
    found = cross_validate(tree(3), X, y, seed=1)
    mask = (X["b"] == 1).to_numpy()
    evaluation = found.on(mask)
    assert evaluation.rows == mask.sum()
    folds = [(y[f.rows[mask[f.rows]]], f.probabilities[mask[f.rows]]) for f in found.folds if mask[f.rows].any()]
    assert evaluation.accuracy == pytest.approx(np.mean([accuracy_score(truth, p > 0.5) for truth, p in folds]))


def test_the_column_that_tells_most_is_the_most_important(
    rows: Rows,
) -> None:
    importances = cross_validate(tree(3), *rows, seed=1, importance=True).importances()
    assert len(importances) == 3
    assert importances[0].low > max(importances[1].value, importances[2].value)


def test_a_better_pipeline_is_really_better(rows: Rows) -> None:
    guess = Pipeline([("classifier", DummyClassifier(strategy="prior"))])
    old, new = (cross_validate(pipeline, *rows, seed=1, repeats=2) for pipeline in (guess, tree(1)))
    found = compare(old, new, "log_loss")
    assert found.is_real
    assert found.difference.high < 0
    assert found.new < found.old
    backwards = compare(new, old, "log_loss")
    assert backwards.difference.value == -found.difference.value
    assert backwards.p_value == found.p_value


def test_a_pipeline_is_not_really_better_than_itself(
    rows: Rows,
) -> None:
    folds = cross_validate(tree(3), *rows, seed=1)
    found = compare(folds, folds, "accuracy")
    assert (found.difference.value, found.p_value, found.is_real) == (0, 1, False)


@pytest.mark.slow
def test_equally_good_pipelines_are_hardly_ever_called_different() -> None:
    # They differ in their seeds.
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(120, 4)), columns=list("abcd"))
    y = (X["a"].to_numpy() + rng.normal(size=120) > 0).astype(np.int64)
    called = 0
    for seed in range(20):
        one, other = (
            cross_validate(
                Pipeline([("c", DecisionTreeClassifier(max_features=1, splitter="random", random_state=s))]), X, y, seed
            )
            for s in (seed, seed + 100)
        )
        called += compare(one, other, "accuracy").is_real
    assert called <= 4


def test_all_metrics_have_an_estimate(rows: Rows) -> None:
    data = cross_validate(tree(1), *rows, seed=1).evaluation().to_json()
    assert list(data) == ["rows", *METRICS]
    assert set(data["accuracy"]) == {"value", "low", "high"}


def test_too_few_rows_of_a_label_are_told() -> None:
    with pytest.raises(DataError, match="at least 10 rows with each label"):
        cross_validate(tree(1), pd.DataFrame({"a": range(30)}), np.array([1] * 9 + [0] * 21), seed=1)


def test_the_calibration_slope_of_folds_is_the_mean_of_their_repeats(rows: Rows) -> None:
    X, y = rows
    found = cross_validate(tree(3), X, y, seed=4, repeats=2)
    of_one = [calibration_slope(*CrossValidation(y, part).pooled()) for part in (found.folds[:10], found.folds[10:])]
    assert of_one[0] != of_one[1]
    assert found.calibration_slope() == pytest.approx(np.mean(of_one))


def test_repeated_folds_are_the_same_for_any_pipeline(rows: Rows) -> None:
    folds = RepeatedFolds(*rows, seed=3)
    one, other = folds.cross_validate(tree(1)), folds.cross_validate(tree(3), importance=True)
    assert one.repeats == other.repeats == 5
    for fold, its_twin in zip(one.folds, other.folds, strict=True):
        assert fold.rows.tolist() == its_twin.rows.tolist()
    assert [fold.importances is not None for fold in other.folds] == [True] * 10 + [False] * 40
