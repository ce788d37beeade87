"""The model: fitted, evaluated, saved and loaded, always with the same bits; and never anything but a model."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

from tests.model_files import members_of, sealed
from titanic_batch.cli.command import app
from titanic_batch.errors import DataError, ModelError, OutputError, UsageError
from titanic_batch.models.artifact import DEFAULT_MODEL, with_manifest
from titanic_batch.models.model import Model, resolve_model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.version import __version__

ROOT = Path(__file__).resolve().parents[2]


class Exploding:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def resealed(path: Path, model: Path, replace: Callable[[str, bytes], bytes | None]) -> Path:
    """Write a model file whose members were tampered with by someone who can seal it."""
    changed = {name: replace(name, content) for name, content in members_of(model.read_bytes()).items()}
    members = {name: content for name, content in changed.items() if content is not None}
    path.write_bytes(sealed(members, Model.load(model).manifest))
    return path


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


@pytest.mark.parametrize("key", ["version", "digest"])
def test_a_model_for_another_schema_is_refused(tmp_path: Path, small_model: Model, key: str) -> None:
    schema = {"version": CONTRACT.version, "digest": CONTRACT.digest} | {key: 99 if key == "version" else "0"}
    path = tmp_path / "model.skops"
    path.write_bytes(with_manifest(skops.io.dumps(small_model.pipeline), small_model.manifest | {"schema": schema}))
    told = rf"for another schema \({key} {schema[key]}, and this is {key} [0-9a-f]+\): fit it again"
    with pytest.raises(ModelError, match=told):
        Model.load(path)


@pytest.mark.parametrize("schema", [None, [], "1", {}])
def test_a_model_whose_manifest_names_no_schema_is_refused(tmp_path: Path, small_model: Model, schema: Any) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(with_manifest(skops.io.dumps(small_model.pipeline), small_model.manifest | {"schema": schema}))
    with pytest.raises(ModelError):
        Model.load(path)


def test_a_pickle_that_is_not_pinned_is_not_loaded(tmp_path: Path) -> None:
    path, trace = tmp_path / "model.joblib", tmp_path / "it ran"
    joblib.dump(Exploding(trace), path)
    with pytest.raises(ModelError, match=r"is a pickle, which can run any code: name its digest with --model-sha256"):
        Model.load(path)
    with pytest.raises(ModelError, match="not the pinned one"):
        Model.load(path, "0" * 64)
    assert not trace.exists()
    joblib.load(path)
    assert trace.exists(), "it would have run"


def test_types_that_are_not_ours_are_not_built(tmp_path: Path, small_model: Model, passengers: pd.DataFrame) -> None:
    path = tmp_path / "model.skops"
    foreign = make_pipeline(FunctionTransformer(os.mkdir), RandomForestClassifier(n_estimators=1))
    path.write_bytes(with_manifest(skops.io.dumps(foreign), small_model.manifest))
    with pytest.raises(ModelError, match="holds types that are not ours to trust: fit it again"):
        Model.load(path, digest_of(path))


def test_a_pickle_hidden_in_a_skops_file_is_not_run(tmp_path: Path, model_file: Path) -> None:
    trace = tmp_path / "it ran"
    pickled = pickle.dumps(Exploding(trace))
    array = io.BytesIO()
    np.save(array, np.array([Exploding(trace)], dtype=object), allow_pickle=True)
    for content in (pickled, array.getvalue()):
        path = resealed(
            tmp_path / "model.skops",
            model_file,
            lambda name, old, content=content: content if name.endswith(".npy") else old,  # type: ignore[misc]
        )
        with pytest.raises(ModelError):
            Model.load(path)
        assert not trace.exists()


@pytest.mark.parametrize("damage", ["no schema", "empty schema", "no arrays", "empty arrays"])
def test_a_sealed_file_that_cannot_be_built_is_refused(tmp_path: Path, model_file: Path, damage: str) -> None:
    how, what = damage.split()
    suffix = ".json" if what == "schema" else ".npy"
    path = resealed(
        tmp_path / "model.skops",
        model_file,
        lambda name, old: old if not name.endswith(suffix) else None if how == "no" else b"",
    )
    with pytest.raises(ModelError, match=r"is not safe to build \(its data has another form"):
        Model.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "holds no fitted pipeline: make one with titanic fit"),
        (LogisticRegression(), "types that are not ours to trust"),
        (build_pipeline(), "holds no fitted pipeline: make one with titanic fit"),
    ],
    ids=["no pipeline", "no pipeline of ours", "not fitted"],
)
@pytest.mark.parametrize("suffix", ["skops", "joblib"])
def test_what_is_no_fitted_pipeline_is_refused(
    tmp_path: Path, small_model: Model, content: object, message: str, suffix: str
) -> None:
    path = tmp_path / f"model.{suffix}"
    if suffix == "skops":
        path.write_bytes(with_manifest(skops.io.dumps(content), small_model.manifest))
    else:
        joblib.dump(content, path)
        message = "holds no fitted pipeline: make one with titanic fit"
    with pytest.raises(ModelError, match=message):
        Model.load(path, digest_of(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no pickle", b"\x80\x04", b"\x78\x9c broken"])
def test_a_pinned_file_that_is_no_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        Model.load(path, digest_of(path))


def test_a_pinned_pickle_that_is_cut_short_is_refused(tmp_path: Path, small_model: Model) -> None:
    whole, path = tmp_path / "whole.joblib", tmp_path / "model.joblib"
    small_model.save(whole)
    content = whole.read_bytes()
    for kept in (1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(ModelError):
            Model.load(path, digest_of(path))


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


@pytest.mark.parametrize(
    ("fitted_by", "cautious"), [(sklearn.__version__, False), ("1.2.0", True), ("99.1.0", True), ("x", True)]
)
def test_a_model_of_another_minor_version_is_loaded_with_a_caution(
    tmp_path: Path, small_model: Model, fitted_by: str, cautious: bool
) -> None:
    libraries = small_model.manifest["libraries"] | {"scikit-learn": fitted_by}
    path = tmp_path / "model.skops"
    path.write_bytes(
        with_manifest(skops.io.dumps(small_model.pipeline), small_model.manifest | {"libraries": libraries})
    )
    expected = (
        f"the model {path} was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: "
        "its predictions may differ."
    )
    assert Model.load(path).caution == (expected if cautious else None)
    result = CliRunner().invoke(
        app, ["score", str(ROOT / "data" / "test.csv"), "-o", str(tmp_path / "p.csv"), "-m", str(path)]
    )
    assert result.exit_code == 0
    assert result.stderr == (f"titanic: {expected}\n" if cautious else "")
