"""The pipeline: what it takes, what it gives, and that it gives the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from titanic_batch.passenger.pipeline import DEFAULT_PARAMETERS, build_pipeline
from titanic_batch.passenger.words import DEFAULT_SEED

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

TRAIN = Path(__file__).resolve().parents[2] / "data/train.csv"
NEEDED = ["Age", "Fare", "Cabin", "Sex", "Pclass", "SibSp", "Parch"]
TREES = 7


@pytest.fixture(scope="module")
def passengers() -> pd.DataFrame:
    return pd.read_csv(TRAIN)


@pytest.fixture(scope="module")
def fitted(passengers: pd.DataFrame) -> Pipeline:
    return build_pipeline(n_estimators=TREES).fit(passengers, passengers["Survived"])


def probabilities(pipeline: Pipeline, rows: pd.DataFrame) -> NDArray[np.float64]:
    found: NDArray[np.float64] = pipeline.predict_proba(rows)
    assert found.shape == (len(rows), 2)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    return found


def test_is_built_unfitted(passengers: pd.DataFrame) -> None:
    pipeline = build_pipeline()
    with pytest.raises(NotFittedError):
        check_is_fitted(pipeline)
    with pytest.raises(NotFittedError):
        pipeline.predict_proba(passengers)


def test_defaults_reach_the_forest() -> None:
    parameters = build_pipeline().named_steps["classifier"].get_params()
    assert {name: parameters[name] for name in DEFAULT_PARAMETERS} == DEFAULT_PARAMETERS
    assert parameters["random_state"] == DEFAULT_SEED == 23


def test_parameters_overrule_the_defaults() -> None:
    before = dict(DEFAULT_PARAMETERS)
    pipeline = build_pipeline(7, n_estimators=3, max_depth=None, bootstrap=False)
    parameters = pipeline.named_steps["classifier"].get_params()
    given = {"n_estimators": 3, "max_depth": None, "bootstrap": False, "random_state": 7}
    expected = {**DEFAULT_PARAMETERS, **given}
    assert {name: parameters[name] for name in expected} == expected
    assert build_pipeline(7, random_state=8).named_steps["classifier"].random_state == 8
    assert before == DEFAULT_PARAMETERS


def test_unknown_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="n_trees"):
        build_pipeline(n_trees=3)


def test_features_and_their_order(fitted: Pipeline, passengers: pd.DataFrame) -> None:
    assert list(fitted[:-1].get_feature_names_out()) == NEEDED
    assert fitted.named_steps["classifier"].n_features_in_ == len(NEEDED)
    features = fitted[:-1].transform(passengers)
    for name, expected in [
        ("Allison, Master. Hudson Trevor", [1, 4, 2, 1, 1, 1, 2]),  # 0.9167 years, 151.55 pounds, C22 C26
        ("Storey, Mr. Thomas", [7, 0, 8, 1, 3, 0, 0]),  # 60.5 years, neither fare nor cabin known
    ]:
        np.testing.assert_array_equal(features[passengers["Name"] == name], [expected])


def test_other_columns_and_their_order_do_not_count(fitted: Pipeline, passengers: pd.DataFrame) -> None:
    expected = probabilities(fitted, passengers)
    shuffled = passengers.assign(Deck="Z", Noise=np.arange(len(passengers)))[
        ["Noise", *reversed(passengers.columns), "Deck"]
    ]
    np.testing.assert_array_equal(probabilities(fitted, shuffled), expected)
    np.testing.assert_array_equal(probabilities(fitted, passengers[NEEDED]), expected)
    again = build_pipeline(n_estimators=TREES).fit(shuffled, passengers["Survived"])
    np.testing.assert_array_equal(probabilities(again, passengers), expected)


@pytest.mark.parametrize("column", NEEDED)
def test_each_needed_column_is_needed(fitted: Pipeline, passengers: pd.DataFrame, column: str) -> None:
    with pytest.raises(ValueError, match=f"columns are missing: {{'{column}'}}"):
        fitted.predict_proba(passengers.drop(columns=column))


def test_same_seed_gives_the_same_bits(passengers: pd.DataFrame) -> None:
    first, second, other = (
        probabilities(build_pipeline(seed).fit(passengers, passengers["Survived"]), passengers) for seed in (5, 5, 6)
    )
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes()


def test_row_scores_the_same_alone_and_in_a_batch(fitted: Pipeline, passengers: pd.DataFrame) -> None:
    rows = passengers[:20]
    together = probabilities(fitted, rows)
    alone = [probabilities(fitted, rows[position : position + 1]) for position in range(len(rows))]
    assert np.concatenate(alone).tobytes() == together.tobytes()


def test_input_is_left_as_it_was(passengers: pd.DataFrame) -> None:
    rows = passengers.astype({"Cabin": "category", "Sex": "category"})
    before = rows.copy(deep=True)
    labels = rows["Survived"].copy()
    pipeline = build_pipeline(n_estimators=TREES).fit(rows, labels)
    pipeline.predict(rows)
    pipeline.predict_proba(rows)
    pd.testing.assert_frame_equal(rows, before)
    pd.testing.assert_series_equal(labels, before["Survived"])


@pytest.mark.parametrize("kind", ["object", "category", "string[python]", "string[pyarrow]"])
def test_type_of_text_columns_does_not_count(fitted: Pipeline, passengers: pd.DataFrame, kind: Any) -> None:
    rows = passengers.astype({"Cabin": kind, "Sex": kind})
    np.testing.assert_array_equal(probabilities(fitted, rows), probabilities(fitted, passengers))


def test_categories_not_seen_in_fit_are_scored(passengers: pd.DataFrame) -> None:
    seen = passengers[passengers["Cabin"].isna() & (passengers["Sex"] == "male") & passengers["Age"].notna()]
    pipeline = build_pipeline(n_estimators=TREES).fit(seen, seen["Survived"])
    row = {"Age": 30.0, "Fare": 10.0, "Cabin": None, "Sex": "male", "Pclass": 3, "SibSp": 0, "Parch": 0}
    strange: list[dict[str, Any]] = [
        {"Cabin": "T1"},
        {"Cabin": "Z9"},
        {"Cabin": ""},
        {"Sex": "female"},
        {"Sex": "unheard of"},
        {"Sex": None},
        {"Age": None},
        {"Age": 500.0},
        {"Fare": -1.0},
        {"Pclass": 9},
        {"Parch": 99},
    ]
    found = probabilities(pipeline, pd.DataFrame([{**row, **other} for other in strange]))
    assert ((found >= 0) & (found <= 1)).all()


def test_no_rows_have_features_of_the_right_shape(fitted: Pipeline, passengers: pd.DataFrame) -> None:
    assert fitted[:-1].transform(passengers[:0]).shape == (0, len(NEEDED))
