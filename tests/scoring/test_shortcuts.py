"""A shortcut that gives anything but what scikit-learn gives is left, on the first rows that show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from tests.passengers import many
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.scoring.frames import frame_of
from titanic_batch.scoring.shortcuts import FeatureColumns, TreeSum, parts_of_pipeline
from titanic_batch.scoring.transformers import CategoryEncoder


@pytest.fixture
def pipeline(pipeline_named: Callable[[str], Pipeline]) -> Pipeline:
    return pipeline_named("ours")


@pytest.fixture
def rows(pipeline: Pipeline) -> pa.Table:
    return many(300).select(list(pipeline.feature_names_in_))


def features_of(pipeline: Pipeline, rows: pa.Table) -> NDArray[Any]:
    features: NDArray[Any] = pipeline[:-1].transform(frame_of(rows))
    return features


def test_features_are_made_column_by_column_as_the_steps_make_them(pipeline: Pipeline, rows: pa.Table) -> None:
    columns = FeatureColumns(pipeline[:-1])(rows)
    assert isinstance(columns, list)
    expected = features_of(pipeline, rows)
    assert np.column_stack(columns).dtype == expected.dtype
    assert np.array_equal(np.column_stack(columns), expected)


def test_features_that_differ_are_made_by_the_steps(
    pipeline: Pipeline, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = CategoryEncoder.transform
    monkeypatch.setattr(CategoryEncoder, "transform", lambda encoder, X: transform(encoder, X) + np.int8(1))
    features = FeatureColumns(pipeline[:-1])
    for _ in range(2):
        found = features(rows)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, features_of(pipeline, rows))


def test_steps_that_are_not_elementwise_have_no_parts(pipeline_named: Callable[[str], Pipeline]) -> None:
    assert parts_of_pipeline(pipeline_named("ours")[:-1]) is not None
    assert parts_of_pipeline(pipeline_named("extra trees")[:-1]) is None
    assert parts_of_pipeline(None) is None


def test_probabilities_of_trees_are_added_up_as_the_ensemble_does(pipeline: Pipeline, rows: pa.Table) -> None:
    X = features_of(pipeline, rows)
    assert np.array_equal(TreeSum(pipeline[-1])(X), pipeline[-1].predict_proba(X))
    assert TreeSum(pipeline[-1])(X[:0]).shape == (0, 2)


def test_an_ensemble_whose_probabilities_differ_is_asked_itself(
    pipeline: Pipeline, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = features_of(pipeline, rows)
    ensemble = pipeline[-1]
    predict = type(ensemble).predict_proba
    monkeypatch.setattr(type(ensemble), "predict_proba", lambda own, X: np.sqrt(predict(own, X)))
    summed = TreeSum(ensemble)
    for _ in range(2):
        assert np.array_equal(summed(X), np.sqrt(predict(ensemble, X)))


def test_a_fit_whose_encoders_and_transformers_disagree_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = CategoryEncoder.transform

    def other_in_one_row(encoder: CategoryEncoder, X: Any) -> NDArray[Any]:
        codes = transform(encoder, X)
        codes[-1] += np.int8(1)
        return codes

    monkeypatch.setattr(CategoryEncoder, "transform", other_in_one_row)
    with pytest.raises(AssertionError, match="different features of the same rows"):
        Model(n_estimators=2).fit(packaged_rows())


DTYPES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "nullable": lambda frame: frame.convert_dtypes(),
    "Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "categories": lambda frame: frame.astype({"Sex": "category", "Cabin": "category"}),
    "float32": lambda frame: frame.astype({"Age": np.float32, "Fare": np.float32}),
}


@pytest.mark.parametrize("dtypes", DTYPES)
def test_a_fit_takes_frames_of_any_dtypes(dtypes: str) -> None:
    frame = DTYPES[dtypes](packaged_rows())
    fitted = Model(n_estimators=2).fit(frame)
    if dtypes != "float32":  # whose fares lie in other bins here and there
        expected = Model(n_estimators=2).fit(packaged_rows())
        assert fitted.predict_proba(frame).tobytes() == expected.predict_proba(packaged_rows()).tobytes()
