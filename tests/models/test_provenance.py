"""A manifest tells by what, on what and how a model was fitted."""

from __future__ import annotations

import platform

import pytest

from titanic_batch.models.model import Model
from titanic_batch.models.provenance import fit_record_of, manifest_of
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.version import __version__


def test_a_manifest_tells_what_the_pipeline_does(small_model: Model) -> None:
    manifest = manifest_of(small_model.pipeline)
    assert manifest.package_version == __version__
    assert manifest.python_version == platform.python_version()
    assert set(manifest.libraries) == {"scikit-learn", "numpy", "pandas", "skops"}
    assert (manifest.schema.version, manifest.schema.digest) == (CONTRACT.version, CONTRACT.digest)
    assert manifest.features == ["Age", "Fare", "Cabin", "Sex", "Pclass", "SibSp", "Parch"]
    assert manifest.categories["Sex"] == ["female", "male"]
    assert manifest.classifier == "RandomForestClassifier"
    assert manifest.parameters["n_estimators"] == 5
    assert manifest.seed == 23
    assert manifest.fit is None


def test_a_record_tells_what_it_was_fitted_on(small_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    frame = packaged_rows()
    record = fit_record_of(small_model.pipeline, features_of(frame), frame["Survived"].to_numpy())
    assert record.fitted_at == "2001-09-09T01:46:40+00:00"
    assert record.training == small_model.info.fit_record.training
    assert record.training.rows == 891
    assert record.training.columns[-1] == "Survived"
    assert record.training.labels == {"0": 551, "1": 340}
    assert record.metrics == {}
    assert record.reference["features"]["Pclass"] == {"values": [1, 2, 3], "counts": [222, 182, 487]}
