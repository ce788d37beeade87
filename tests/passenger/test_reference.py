"""The reference model in the package is what the packaged rows give, and starts without scikit-learn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from titanic_batch import Model
from titanic_batch.models.artifact import MANIFEST
from titanic_batch.notebook.folder import REFERENCE_FILE

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "titanic_batch" / "passenger" / REFERENCE_FILE


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_reference_model_is_scored_from_its_arrays() -> None:
    model = Model.reference()
    assert (model.engine, model.source, model.sha256, model.identity) == ("plain", "reference", None, "reference")
    assert model.is_reference
    assert model.caution is None


def test_the_reference_model_predicts_what_a_fit_on_the_packaged_rows_does(passengers: pd.DataFrame) -> None:
    fitted = Model().fit(passengers)
    rows = pa.Table.from_pandas(passengers)
    for found, expected in zip(Model.reference().scores()(rows), fitted.scores()(rows), strict=True):
        assert found.equals(expected)


def test_any_scikit_learn_can_make_the_pipeline_of_the_reference_model(
    monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    monkeypatch.setattr("titanic_batch.models.pipelines.build", pytest.fail)  # as one that can't build the file's
    model = Model.reference()
    _, probabilities = model.scores()(pa.Table.from_pandas(passengers))
    assert model.predict_proba(passengers)[:, 1].tobytes() == probabilities.to_numpy().tobytes()
    assert (model.engine, model.source, model.caution) == ("plain", "reference", None)


def test_without_its_file_the_reference_model_is_fitted(
    monkeypatch: pytest.MonkeyPatch, passengers: pd.DataFrame
) -> None:
    expected = Model.reference().predict_proba(passengers)
    monkeypatch.setattr("titanic_batch.models.model.REFERENCE_FILE", "gone.skops")
    model = Model.reference()
    assert (model.engine, model.source, model.sha256) == ("scikit-learn", "reference", None)
    assert model.predict_proba(passengers).tobytes() == expected.tobytes()


@pytest.mark.slow
def test_the_locked_versions_fit_the_same_file(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "-r",
        ROOT / "requirements.lock",
    ]
    subprocess.run(install, check=True)
    refitted = tmp_path / REFERENCE_FILE
    script: list[str | Path] = [python, ROOT / "data" / "refit_reference.py", "-o", refitted]
    subprocess.run(script, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    found, expected = members_of(refitted), members_of(REFERENCE)
    manifests = [json.loads(members.pop(MANIFEST)) for members in (found, expected)]
    for manifest in manifests:
        del manifest["python_version"]  # any that runs the tests
    assert manifests[0] == manifests[1]
    assert found == expected, f"fit it again: {sys.executable} data/refit_reference.py"
