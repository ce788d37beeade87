"""The notebook's steps written again in plain pandas: the same features, and no less accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.preprocessing import LabelEncoder

from titanic_batch.passenger.fitting import NOTEBOOK_PARAMETERS
from titanic_batch.passenger.pipeline import build_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = Path(__file__).resolve().parents[2] / "data"
NAMES = {
    "Age": ["Unknown", "Baby", "Child", "Teenager", "Student", "Young Adult", "Adult", "Senior"],
    "Fare": ["Unknown", "1_quartile", "2_quartile", "3_quartile", "4_quartile"],
    "Cabin": ["A", "B", "C", "D", "E", "F", "G", "T", "N"],
    "Sex": ["female", "male"],
}
AS_THEY_ARE = ["Pclass", "SibSp", "Parch"]
GRID = {
    "n_estimators": [4, 6, 9],
    "max_features": ["log2", "sqrt"],
    "criterion": ["entropy", "gini"],
    "max_depth": [2, 3, 5, 10],
    "min_samples_split": [2, 3, 5],
    "min_samples_leaf": [1, 5, 8],
}
SEED = 23


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return pd.read_csv(DATA / "train.csv")


@pytest.fixture(scope="module")
def holdout() -> pd.DataFrame:
    return pd.read_csv(DATA / "holdout.csv")


@pytest.fixture(scope="module")
def passengers(train: pd.DataFrame, holdout: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([train, holdout], ignore_index=True)


@pytest.fixture(scope="module")
def named(passengers: pd.DataFrame) -> pd.DataFrame:
    """Return the notebook's features before it encodes them."""
    rows = passengers.copy()
    rows["Cabin"] = rows["Cabin"].fillna("N").map(lambda cabin: cabin[0])
    age_edges, fare_edges = (-1, 0, 5, 12, 18, 25, 35, 60, 120), (-1, 0, 8, 15, 31, 1000)
    rows["Age"] = pd.cut(rows["Age"].fillna(-0.5), age_edges, labels=NAMES["Age"]).astype(str)
    rows["Fare"] = pd.cut(rows["Fare"].fillna(-0.5), fare_edges, labels=NAMES["Fare"]).astype(str)
    return rows[["Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Cabin"]]


@pytest.fixture(scope="module")
def encoded(named: pd.DataFrame) -> pd.DataFrame:
    """Return the notebook's features as its forest gets them: coded over train and test together."""
    return named.assign(**{column: LabelEncoder().fit_transform(named[column]) for column in NAMES})


@pytest.fixture(scope="module")
def ours(passengers: pd.DataFrame) -> pd.DataFrame:
    features = build_pipeline().named_steps["features"].set_output(transform="pandas")
    coded: pd.DataFrame = features.fit_transform(passengers)
    return coded


def notebook_forest(**parameters: object) -> RandomForestClassifier:
    return RandomForestClassifier(**{"random_state": SEED, **parameters})


def test_there_are_all_passengers(ours: pd.DataFrame, named: pd.DataFrame) -> None:
    assert len(ours) == len(named) == 1309
    assert sorted(ours.columns) == sorted(named.columns)


@pytest.mark.parametrize("column", NAMES)
def test_categories_have_the_notebooks_names(ours: pd.DataFrame, named: pd.DataFrame, column: str) -> None:
    names = dict(enumerate(NAMES[column]))
    assert ours[column].map(names).tolist() == named[column].tolist()
    assert set(named[column]) == set(NAMES[column])


@pytest.mark.parametrize("column", AS_THEY_ARE)
def test_numbers_are_as_they_were(ours: pd.DataFrame, named: pd.DataFrame, column: str) -> None:
    assert ours[column].tolist() == named[column].tolist()


@pytest.mark.slow
def test_features_are_as_accurate_as_the_notebooks(
    passengers: pd.DataFrame, encoded: pd.DataFrame, ours: pd.DataFrame
) -> None:
    labels = passengers["Survived"]
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=10, random_state=SEED)
    forest = notebook_forest(n_estimators=9, max_depth=5, min_samples_leaf=5)
    theirs, own = (cross_val_score(forest, features, labels, cv=folds) for features in (encoded, ours))
    assert abs(np.mean(own - theirs)) < 0.01


def test_default_pipeline_is_as_accurate_as_claimed(train: pd.DataFrame, holdout: pd.DataFrame) -> None:
    pipeline = build_pipeline().fit(train, train["Survived"])
    assert pipeline.score(holdout, holdout["Survived"]) >= 0.78


@pytest.fixture(scope="module")
def found(train: pd.DataFrame, encoded: pd.DataFrame) -> dict[str, object]:
    """Return the parameters that the notebook's grid search finds on 80 % of the rows."""
    rows, _, labels, _ = train_test_split(encoded[: len(train)], train["Survived"], test_size=0.2, random_state=SEED)
    search = GridSearchCV(notebook_forest(), GRID, scoring="accuracy", cv=5).fit(rows, labels)
    return dict(search.best_params_)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [[SEED], range(5)], ids=["default seed", "mean of five seeds"])
def test_default_pipeline_is_as_accurate_as_the_notebooks_procedure(
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    encoded: pd.DataFrame,
    found: dict[str, object],
    seeds: Sequence[int],
) -> None:
    labels, truth = train["Survived"], holdout["Survived"]
    rows, unseen = encoded[: len(train)], encoded[len(train) :]

    def accuracies(model: Any, known: pd.DataFrame, other: pd.DataFrame) -> tuple[float, float]:
        ten_folds = cross_val_score(model, known, labels, cv=KFold(10), scoring="accuracy")
        return model.fit(known, labels).score(other, truth), ten_folds.mean()

    theirs = [accuracies(notebook_forest(**found, random_state=seed), rows, unseen) for seed in seeds]
    own = [accuracies(build_pipeline(seed), train, holdout) for seed in seeds]
    assert (np.mean(own, axis=0) >= np.mean(theirs, axis=0)).all()


@pytest.mark.slow
def test_the_notebooks_parameters_are_those_that_its_search_finds(found: dict[str, object]) -> None:
    assert found | {"max_samples": None} == NOTEBOOK_PARAMETERS


@pytest.mark.slow
def test_default_pipeline_is_more_accurate_and_better_calibrated(
    train: pd.DataFrame, encoded: pd.DataFrame, found: dict[str, object]
) -> None:
    rows, labels = encoded[: len(train)], train["Survived"]
    scoring = ["accuracy", "neg_log_loss", "neg_brier_score"]
    gains = []
    for seed in range(10):
        folds = StratifiedKFold(n_splits=10, shuffle=True, random_state=seed)
        theirs = cross_validate(notebook_forest(**found, random_state=seed), rows, labels, cv=folds, scoring=scoring)
        own = cross_validate(build_pipeline(seed), train, labels, cv=folds, scoring=scoring)
        gains.append([np.mean(own[f"test_{score}"] - theirs[f"test_{score}"]) for score in scoring])
    assert (np.mean(gains, axis=0) > 0).all()
