"""Only a file with a pipeline of ours is loaded, and nothing in any other file runs."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import zlib
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
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

from tests.model_files import members_of, sealed, with_manifest
from titanic_batch.cli.command import app
from titanic_batch.errors import ModelError, TransferError
from titanic_batch.models.model import Model
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.passenger.schema import CONTRACT

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


@pytest.mark.parametrize(("key", "value"), [("version", CONTRACT.version - 1), ("version", 99), ("digest", "0")])
def test_a_model_for_another_schema_is_refused(tmp_path: Path, small_model: Model, key: str, value: Any) -> None:
    schema = {"version": CONTRACT.version, "digest": CONTRACT.digest} | {key: value}
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


def test_a_pickle_does_not_tell_how_it_was_fitted(tmp_path: Path, small_model: Model, passengers: pd.DataFrame) -> None:
    path = tmp_path / "model.joblib"
    small_model.save(path)
    loaded = Model.load(path, digest_of(path))
    assert loaded.manifest == {
        name: value
        for name, value in small_model.manifest.items()
        if name not in {"fitted_at", "training", "metrics", "reference"}
    }
    assert loaded.info.fit is None
    scores = loaded.scores()
    scores(pa.Table.from_pandas(passengers))
    assert scores.take_drift() is None


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
            lambda name, old, content=content: content if name.endswith(".npy") else old,  # type: ignore[misc]  # mypy infers no default's type
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
        (LogisticRegression(), "holds no fitted pipeline: make one with titanic fit"),
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


def pickled_by(version: str, path: Path, model: Model, *, protocol: int | None = None) -> str:
    """Write the pickle that another version of scikit-learn would have written, and return its digest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", version)
        joblib.dump(model.pipeline, path, protocol=protocol)
    return digest_of(path)


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize(
    ("fitted_by", "cautious"),
    [(sklearn.__version__, False), (f"{sklearn.__version__}.post1", False), ("1.2.0", True), ("99.1.0", True)],
)
def test_a_pickle_of_another_minor_version_is_loaded_with_a_caution(
    tmp_path: Path, small_model: Model, fitted_by: str, cautious: bool, compress: int
) -> None:
    path = tmp_path / "model.joblib"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn.base.__version__", fitted_by)
        joblib.dump(small_model.pipeline, path, compress=compress)
    loaded = Model.load(path, digest_of(path))
    assert loaded.manifest["libraries"]["scikit-learn"] == fitted_by
    expected = (
        f"the model {path} was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: "
        "its predictions may differ."
    )
    assert loaded.caution == (expected if cautious else None)
    result = CliRunner().invoke(
        app,
        ["score", str(ROOT / "data" / "test.csv"), "-o", str(tmp_path / "p.csv"), "-m", str(path)],
        env={"TITANIC_MODEL_SHA256": digest_of(path)},
    )
    assert result.exit_code == 0
    assert result.stderr == (f"titanic: {expected}\n" if cautious else "")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("fitted_by", ["0.24.2", "99.1.0", "1.10.dev0"])
def test_a_pickle_of_another_version_that_cannot_be_built_names_both(
    tmp_path: Path, small_model: Model, monkeypatch: pytest.MonkeyPatch, fitted_by: str, protocol: int
) -> None:
    path = tmp_path / "model.joblib"
    digest = pickled_by(fitted_by, path, small_model, protocol=protocol)
    monkeypatch.delattr("sklearn.compose._column_transformer.ColumnTransformer")  # as if it were in another module
    told = f"was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: fit it again."
    with pytest.raises(ModelError, match=f"can't be built with scikit-learn .* and {told}"):
        Model.load(path, digest)


@pytest.mark.parametrize("fitted_by", ["0.24.2", "99.1.0"])
def test_a_skops_model_of_another_version_that_cannot_be_built_names_both(
    tmp_path: Path, small_model: Model, model_file: Path, fitted_by: str
) -> None:
    libraries = small_model.manifest["libraries"] | {"scikit-learn": fitted_by}
    manifest = small_model.manifest | {"libraries": libraries}
    path = tmp_path / "model.skops"
    members = members_of(model_file.read_bytes())
    renamed = {name: content.replace(b'"max_depth"', b'"max_deepness"') for name, content in members.items()}
    foreign = {name: content.replace(b"ColumnTransformer", b"ColumnReformer") for name, content in members.items()}
    for changed in (renamed, foreign):
        path.write_bytes(sealed(changed, manifest))
        with pytest.raises(ModelError) as caught:
            Model.load(path)
        told = f", and was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: fit it again."
        assert str(caught.value).endswith(told)
        path.write_bytes(sealed(changed, small_model.manifest))
        with pytest.raises(ModelError) as caught:
            Model.load(path)
        assert "fitted by" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["skops", "joblib"])
@pytest.mark.parametrize(
    ("lack", "message"),
    [
        (MemoryError("could not allocate 8 bytes"), "there is not enough memory to load the model {}: give more, and "),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is not enough memory to load the model {}: "),
        (ImportError("x.so: failed to map segment from shared object"), "there is not enough memory to load the mod"),
        (zlib.error("Error -4 while decompressing data"), "there is not enough memory to load the model {}: "),
        (OSError(errno.EIO, "Input/output error"), "loading the model {} failed (Input/output error): try again."),
    ],
    ids=["memory", "ENOMEM", "library", "zlib", "EIO"],
)
def test_what_the_machine_lacks_is_not_the_models_fault(
    tmp_path: Path, small_model: Model, monkeypatch: pytest.MonkeyPatch, suffix: str, lack: Exception, message: str
) -> None:
    path = tmp_path / f"model.{suffix}"
    small_model.save(path)

    def fail(*_: Any) -> None:
        raise lack

    monkeypatch.setattr("sklearn.ensemble.RandomForestClassifier.__setstate__", fail)
    with pytest.raises(TransferError) as caught:
        _ = Model.load(path, digest_of(path)).pipeline
    assert str(caught.value).startswith(message.format(path))
