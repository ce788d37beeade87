"""Parameters are read from text without running it, checked before anything is fitted, and searched for on request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV

from titanic_batch.errors import DataError, UsageError
from titanic_batch.models import tuning
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import features_of
from titanic_batch.models.tuning import SEARCHES, parse_parameters, search_parameters
from titanic_batch.passenger.pipeline import build_pipeline

SMALL_GRID: dict[str, list[Any]] = {
    "n_estimators": [2, 4],
    "max_depth": [2, 5, 10],
    "min_samples_leaf": [1, 8],
    "max_samples": [None],
}


WHOLE = ["n_estimators", "max_depth", "min_samples_split", "min_samples_leaf", "max_leaf_nodes", "max_features"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("max_depth=6", 6),
        ("max_depth=None", None),
        ("max_depth=null", None),
        ("max_samples=0.5", 0.5),
        ("max_samples=100", 100),
        ("max_features=sqrt", "sqrt"),
        ("max_features=0.5", 0.5),
        ("criterion=entropy", "entropy"),
        ("bootstrap=False", False),
        ("bootstrap=true", True),
        ("class_weight=balanced", "balanced"),
        ('class_weight={"0": 1, "1": 2.5}', {0: 1, 1: 2.5}),
        ('class_weight={"1": 2}', {1: 2}),
        ("min_samples_split=2147483647", 2**31 - 1),
    ],
)
def test_a_parameter_is_what_its_text_says(text: str, value: object) -> None:
    (found,) = parse_parameters([text]).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_depth", "it is name=value, such as max_depth=6"),
        ("", "it is name=value"),
        ("depth=6", "there is no parameter depth; there are n_estimators, criterion, max_depth"),
        ("n_jobs=4", "there is no parameter n_jobs"),
        ("random_state=1", "there is no parameter random_state"),
        ("max_depth=deep", "it must be an int in the range"),
        ("max_depth=0", "it must be an int in the range"),
        ("max_depth=", "it must be an int in the range"),
        ("max_depth=[1]", "it must be an int in the range"),
        ("n_estimators=1e2", "it must be an int in the range"),
        ("n_estimators=__import__('os').mkdir('x')", "it must be an int in the range"),
        ("criterion=gain", "it must be a str among"),
        ("max_samples=NaN", "it must be"),
        ("max_features=" + "[" * 100_000, "it must be"),
        *((f"{name}=99999999999999999999", "it must be a number, and none over 2147483647") for name in WHOLE),
        ("max_leaf_nodes=2147483648", "it must be a number, and none over 2147483647"),
        ("ccp_alpha=1e400", "it must be a number, and none over 2147483647"),
        ("ccp_alpha=1" + "0" * 400, "it must be a number, and none over 2147483647"),
        ("min_impurity_decrease=NaN", "it must be a number, and none over 2147483647"),
        *(
            (f"class_weight={weights}", "it must be a weight from 0.001 to 1000 for the label 0, 1 or each")
            for weights in (
                '{"0": 1e400, "1": 1}',
                '{"0": 1e308, "1": 1e308}',
                '{"0": 0, "1": 0}',
                '{"0": 1, "1": -1}',
                '{"0": 1, "1": NaN}',
                '{"0": 1, "1": "2"}',
                '{"0": 1, "1": [2]}',
                '{"--1": 1}',
                '{"2": 1}',
                '{"\N{SUPERSCRIPT ONE}": 1}',
                "{}",
            )
        ),
    ],
)
def test_a_parameter_that_cannot_be_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_parameters([text])
    assert str(caught.value).startswith(f"--param {text}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *(f"{name}=2147483647" for name in ("max_depth", "min_samples_split", "min_samples_leaf")),
        'class_weight={"0": 0.001, "1": 1000}',
        'class_weight={"0": 0.001, "1": 0.001}',
        'class_weight={"1": 1000}',
        "ccp_alpha=2147483647",
        "min_impurity_decrease=2147483647.0",
    ],
)
def test_what_a_parameter_may_be_at_most_can_be_fitted(text: str, passengers: pd.DataFrame) -> None:
    model = Model(**{"n_estimators": 2} | parse_parameters([text])).fit(passengers)
    probabilities = model.predict_proba(passengers)
    assert np.isfinite(probabilities).all()


def test_a_parameter_is_given_once() -> None:
    assert parse_parameters(["max_depth=3", "max_features=2"]) == {"max_depth": 3, "max_features": 2}
    with pytest.raises(UsageError, match="max_depth is given twice"):
        parse_parameters(["max_depth=3", "max_depth=3"])


@pytest.mark.slow
@pytest.mark.parametrize("watched", [True, False])
def test_a_grid_search_finds_what_scikit_learns_does(
    passengers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    monkeypatch.setattr(tuning, "NOTEBOOK_GRID", SMALL_GRID)
    monkeypatch.setattr(tuning, "_CANDIDATES_AT_ONCE", 5)
    X, y = features_of(passengers), passengers["Survived"].to_numpy()
    steps: list[tuple[int, int]] = []
    found = search_parameters(X, y, 7, tried=(lambda *step: steps.append(step)) if watched else None)
    grid = {f"classifier__{name}": values for name, values in SMALL_GRID.items()}
    expected = GridSearchCV(build_pipeline(7), grid, scoring="accuracy", cv=5).fit(X, y).best_params_
    assert {f"classifier__{name}": value for name, value in found.items()} == expected
    assert steps == ([(5, 12), (10, 12), (12, 12)] if watched else [])


@pytest.mark.slow
def test_a_fixed_parameter_is_not_searched_for(passengers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "NOTEBOOK_GRID", SMALL_GRID)
    X, y = features_of(passengers), passengers["Survived"].to_numpy()
    for search in SEARCHES:
        found = search_parameters(X, y, fixed={"max_depth": 4, "max_samples": 0.5}, search=search)
        assert (found["max_depth"], found["max_samples"]) == (4, 0.5)
        assert found["n_estimators"] in SMALL_GRID["n_estimators"]


def test_a_search_needs_rows_for_its_folds() -> None:
    with pytest.raises(DataError, match="at least 10 rows with each label"):
        search_parameters(pd.DataFrame({"a": range(12)}), np.arange(12) % 2)
