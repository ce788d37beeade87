"""The model: fitted, evaluated, saved and loaded, always with the same bits; and never anything but a model."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from titanic_batch.errors import DataError, ModelError, OutputError, UsageError
from titanic_batch.models.artifact import DEFAULT_MODEL
from titanic_batch.models.model import Model
from titanic_batch.models.resolution import resolve_model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.version import __version__


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", ["skops", "joblib"])
def test_a_model_is_the_same_after_saving_and_loading(
    tmp_path: Path, small_model: Model, passengers: pd.DataFrame, suffix: str
) -> None:
    path = tmp_path / f"model.{suffix}"
    small_model.save(path)
    loaded = Model.load(path, digest_of(path))
    expected = small_model.predict_proba(passengers)
    assert loaded.predict_proba(passengers).tobytes() == expected.tobytes()
    assert loaded.predict(passengers).tobytes() == small_model.predict(passengers).tobytes()
    assert loaded.evaluate(passengers) == small_model.evaluate(passengers)
    assert loaded.sha256 == loaded.identity == digest_of(path)
    assert loaded.source == str(path)
    assert not loaded.is_reference
    assert os.listdir(tmp_path) == [path.name]


def test_the_manifest_travels_with_the_model(model_file: Path, small_model: Model) -> None:
    assert Model.load(model_file).manifest == small_model.manifest


def test_the_manifest_is_a_copy(model_file: Path) -> None:
    model = Model.load(model_file)
    model.manifest["training"]["rows"] = 0
    model.manifest["metrics"]["holdout"] = {}
    model.manifest["categories"]["Sex"].append("x")
    assert model.manifest == model.info.to_json() == Model.load(model_file).manifest


def test_nothing_is_known_of_a_model_that_is_not_fitted(small_model: Model, passengers: pd.DataFrame) -> None:
    model = Model()
    assert model.manifest == {}
    with pytest.raises(ModelError, match="not fitted yet"):
        model.record("holdout", small_model.evaluate(passengers))


def test_an_evaluation_is_recorded_and_saved(tmp_path: Path, model_file: Path, passengers: pd.DataFrame) -> None:
    model = Model.load(model_file)
    evaluation = model.evaluate(passengers)
    model.record("holdout", evaluation)
    model.record("cross_validation", evaluation, [891, *[0] * 9])
    model.save(tmp_path / "model.skops")
    manifest = Model.load(tmp_path / "model.skops").manifest
    assert list(manifest["metrics"]) == ["holdout", "cross_validation"]
    assert manifest["metrics"]["holdout"] == evaluation.to_json()
    assert manifest["reference"]["predictions"] == [891, *[0] * 9]


def test_a_model_that_was_loaded_is_saved_to_the_same_bytes(model_file: Path) -> None:
    assert Model.load(model_file).to_bytes() == model_file.read_bytes()


def test_a_joblib_model_is_the_plain_pipeline(tmp_path: Path, small_model: Model, passengers: pd.DataFrame) -> None:
    small_model.save(tmp_path / "model.joblib")
    pipeline = joblib.load(tmp_path / "model.joblib")
    assert type(pipeline) is Pipeline
    assert pipeline.predict(passengers).tolist() == small_model.predict(passengers).tolist()


def test_predictions_are_labels_and_probabilities(small_model: Model, passengers: pd.DataFrame) -> None:
    labels, probabilities = small_model.predict(passengers), small_model.predict_proba(passengers)
    assert labels.shape == (891,)
    assert set(labels.tolist()) == {0, 1}
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (891, 2)
    np.testing.assert_array_equal(labels, probabilities[:, 1] > 0.5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_accuracy_is_the_share_of_right_predictions(small_model: Model, passengers: pd.DataFrame) -> None:
    rows = passengers.head(100)
    evaluation = small_model.evaluate(rows)
    assert evaluation.rows == 100
    assert evaluation.accuracy == sum(small_model.predict(rows) == rows["Survived"]) / 100


def test_there_is_no_accuracy_without_rows(small_model: Model, passengers: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="there are no rows to evaluate the model on"):
        small_model.evaluate(passengers.head(0))


@pytest.mark.parametrize(
    "use",
    [
        lambda model, rows: model.predict(rows),
        lambda model, rows: model.predict_proba(rows),
        lambda model, rows: model.evaluate(rows),
        lambda model, rows: model.save("model.skops"),
        lambda model, rows: model.save("model.joblib"),
    ],
    ids=["predict", "predict_proba", "evaluate", "save skops", "save joblib"],
)
def test_a_model_that_is_not_fitted_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passengers: pd.DataFrame,
    use: Callable[[Model, pd.DataFrame], object],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="not fitted yet: call fit with labelled passengers, or load a model"):
        use(Model(), passengers)
    assert os.listdir(tmp_path) == []


def test_the_same_data_and_seed_give_the_same_bits(small_model: Model, passengers: pd.DataFrame) -> None:
    again = Model(n_estimators=5).fit(passengers)
    assert again.predict_proba(passengers).tobytes() == small_model.predict_proba(passengers).tobytes()
    assert again.manifest["training"] == small_model.manifest["training"]
    other = Model(24, n_estimators=5).fit(passengers)
    assert other.predict_proba(passengers).tobytes() != small_model.predict_proba(passengers).tobytes()


def test_other_columns_and_their_order_change_nothing(small_model: Model, passengers: pd.DataFrame) -> None:
    shuffled = passengers[passengers.columns[::-1]].drop(columns=["Name", "Ticket", "PassengerId"]).assign(more="x")
    again = Model(n_estimators=5).fit(shuffled)
    assert again.predict_proba(passengers).tobytes() == small_model.predict_proba(passengers).tobytes()
    assert again.manifest["training"] == small_model.manifest["training"]


def test_fitting_leaves_the_frame_as_it_was() -> None:
    frame = packaged_rows()
    before = frame.copy(deep=True)
    Model(n_estimators=1).fit(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_the_digest_of_the_training_data_tells_other_data() -> None:
    def digest(frame: pd.DataFrame) -> str:
        found: str = Model(n_estimators=1).fit(frame).manifest["training"]["digest"]
        return found

    frame = packaged_rows()
    assert digest(frame.assign(Name="x")) == digest(frame), "not fitted on"
    assert len({digest(frame), digest(frame.head(890)), digest(frame.assign(SibSp=frame["SibSp"] + 1))}) == 3


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1)], ids=["none", "one"])
def test_fitting_needs_rows_of_both_kinds(passengers: pd.DataFrame, rows: slice) -> None:
    with pytest.raises(DataError, match="needs rows of both kinds"):
        Model().fit(passengers[rows])
    with pytest.raises(DataError, match="needs rows of both kinds"):
        Model().fit(passengers[passengers["Survived"] == 1])


def test_saving_replaces_a_model_whole(tmp_path: Path, small_model: Model, passengers: pd.DataFrame) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(b"an old one")
    small_model.save(path)
    assert Model.load(path).predict(passengers).tolist() == small_model.predict(passengers).tolist()
    assert os.listdir(tmp_path) == ["model.skops"]


def test_saving_says_what_it_cannot_do(tmp_path: Path, small_model: Model) -> None:
    with pytest.raises(UsageError):
        small_model.save(tmp_path / "model.pkl")
    with pytest.raises(OutputError):
        small_model.save(tmp_path / "nowhere" / "model.skops")
    assert os.listdir(tmp_path) == []


def test_the_reference_model_is_the_pipeline_fitted_on_the_packaged_passengers(
    reference: Model, passengers: pd.DataFrame
) -> None:
    expected = build_pipeline().fit(passengers, passengers["Survived"]).predict_proba(passengers)
    assert reference.predict_proba(passengers).tobytes() == expected.tobytes()
    assert reference.is_reference
    assert reference.sha256 is None
    assert reference.provenance == {
        "titanic_batch.model": "reference",
        "titanic_batch.version": __version__,
        "titanic_batch.schema_version": str(CONTRACT.version),
    }


def test_scores_are_the_predictions_of_the_pipeline(small_model: Model, passengers: pd.DataFrame) -> None:
    labels, probabilities = small_model.scores()(pa.Table.from_pandas(passengers))
    assert (labels.type, probabilities.type) == (pa.int8(), pa.float64())
    assert labels.to_pylist() == small_model.predict(passengers).tolist()
    assert probabilities.to_numpy().tobytes() == small_model.predict_proba(passengers)[:, 1].tobytes()


def test_without_a_name_the_model_that_is_there_is_used_else_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: Model, model_file: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model(None).is_reference
    small_model.save(DEFAULT_MODEL)
    assert resolve_model(None).sha256 == digest_of(tmp_path / DEFAULT_MODEL)
    assert resolve_model(str(model_file)).source == str(model_file)


def test_a_model_that_is_named_or_there_is_never_replaced_by_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        resolve_model("missing.skops")
    with pytest.raises(ModelError, match="pinned by its SHA-256 and none is named"):
        resolve_model(None, "0" * 64)
    (tmp_path / DEFAULT_MODEL).write_bytes(b"PK damaged")
    with pytest.raises(ModelError, match="is damaged"):
        resolve_model(None)
    (tmp_path / DEFAULT_MODEL).unlink()
    (tmp_path / DEFAULT_MODEL).symlink_to(tmp_path / "gone.skops")
    with pytest.raises(ModelError):
        resolve_model(None)
    (tmp_path / DEFAULT_MODEL).unlink()

    def fail(name: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), name)

    monkeypatch.setattr(os, "lstat", fail)  # whether it is there can't be told
    with pytest.raises(ModelError, match=r"the model model\.skops can't be read"):
        resolve_model(None)
