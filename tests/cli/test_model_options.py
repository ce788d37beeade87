"""Which model a command uses, and which ones it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import skops.io

from tests.cli.command import Titanic, assert_fails, assert_predictions, digest_of, is_silent, names_in
from tests.model_files import with_manifest
from titanic_batch.models.model import Model


def scored_by(titanic: Titanic, test_csv: Path, *options: str | Path) -> str:
    """Return what predictions say of the model that made them."""
    assert titanic("score", test_csv, "-o", "p.parquet", *options).exit_code == 0
    return str(pq.read_schema("p.parquet").metadata[b"titanic_batch.model"].decode())


def test_option_environment_folder_and_reference_name_the_model_in_this_order(
    titanic: Titanic,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    test_csv: Path,
    model_file: Path,
) -> None:
    option = tmp_path_factory.mktemp("models") / "option.skops"
    Model(1, n_estimators=1).fit(pd.read_csv(test_csv.parent / "train.csv")).save(option)
    assert scored_by(titanic, test_csv, "--model", option) == digest_of(option)
    assert scored_by(titanic, test_csv) == digest_of(model_file)
    monkeypatch.delenv("TITANIC_MODEL")
    shutil.copy(option, tmp_path / "model.skops")
    assert scored_by(titanic, test_csv) == digest_of(option)
    (tmp_path / "model.skops").unlink()
    result = titanic("score", test_csv, "-o", "p.parquet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "titanic: no model is named, so the reference model is used, fitted on the packaged passengers.\n"
    )
    assert scored_by(titanic, test_csv) == "reference"


def test_the_reference_model_predicts_what_the_pipeline_predicts(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, test_csv: Path, reference: Model
) -> None:
    monkeypatch.delenv("TITANIC_MODEL")
    titanic("score", test_csv, "-o", "p.parquet")
    found = pq.read_table("p.parquet")["Probability"].to_numpy()
    assert found.tobytes() == reference.predict_proba(pd.read_csv(test_csv))[:, 1].tobytes()


def test_a_missing_model_is_reported(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path
) -> None:
    assert_fails(titanic("score", test_csv, "-o", "p.csv", "-m", "gone.skops"), 78, "gone.skops can't be read")
    monkeypatch.setenv("TITANIC_MODEL", "gone.joblib")
    assert_fails(titanic("score", test_csv, "-o", "p.csv"), 78, "gone.joblib can't be read")
    assert_fails(titanic("inspect", "gone.skops"), 78, "gone.skops can't be read")
    assert_fails(titanic("serve"), 78, "gone.joblib can't be read")
    assert names_in(tmp_path) == []


def test_a_damaged_model_in_the_folder_is_reported(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path, model_file: Path
) -> None:
    monkeypatch.delenv("TITANIC_MODEL")
    (tmp_path / "model.skops").write_bytes(model_file.read_bytes()[:-1])
    assert_fails(titanic("score", test_csv, "-o", "p.csv"), 78, "model.skops is damaged")
    assert names_in(tmp_path) == ["model.skops"]


def test_only_the_pinned_model_is_used(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path, model_file: Path
) -> None:
    digest, wrong = digest_of(model_file), "0" * 64
    score = ("score", test_csv, "-o", "p.csv")
    assert_fails(titanic(*score, "--model-sha256", wrong), 78, "is not the pinned one", digest)
    monkeypatch.setenv("TITANIC_MODEL_SHA256", wrong)
    assert_fails(titanic(*score), 78, "is not the pinned one")
    assert names_in(tmp_path) == []
    assert is_silent(titanic(*score, "--model-sha256", digest))
    monkeypatch.setenv("TITANIC_MODEL_SHA256", digest)
    assert is_silent(titanic(*score))
    monkeypatch.delenv("TITANIC_MODEL")
    assert_fails(titanic(*score), 78, "pinned by its SHA-256 and none is named")


@pytest.mark.parametrize("command", [("score", "in.csv", "-o", "p.csv"), ("serve",), ("serve", "--allow-fit")])
@pytest.mark.parametrize("blank", ["", "  ", "\n"])
@pytest.mark.parametrize(
    ("variable", "option", "noun"),
    [("TITANIC_MODEL", "--model", "name"), ("TITANIC_MODEL_SHA256", "--model-sha256", "digest")],
)
def test_a_model_or_pin_that_is_blank_is_refused_and_not_dropped(
    titanic: Titanic,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: tuple[str, ...],
    blank: str,
    variable: str,
    option: str,
    noun: str,
) -> None:
    assert_fails(titanic(*command, option, blank), 2, f"{option} is followed by an empty {noun}: ")
    monkeypatch.setenv(variable, blank)
    assert_fails(titanic(*command), 2, f"{variable} is set and empty: set it to a {noun}, or unset it.")
    assert names_in(tmp_path) == []


def test_an_option_overrules_an_empty_variable(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, test_csv: Path, model_file: Path
) -> None:
    for variable in ("TITANIC_MODEL", "TITANIC_MODEL_SHA256"):
        monkeypatch.setenv(variable, "")
    pin = digest_of(model_file).upper()
    assert is_silent(titanic("score", test_csv, "-o", "p.csv", "--model", model_file, "--model-sha256", pin))


@pytest.mark.parametrize("pin", ["abc", "g" * 64, "0" * 63, "0" * 65, f"{'0' * 64}  model.skops"])
def test_a_pin_that_is_no_digest_is_refused(titanic: Titanic, monkeypatch: pytest.MonkeyPatch, pin: str) -> None:
    assert_fails(titanic("score", "in.csv", "-o", "p.csv", "--model-sha256", pin), 2, "--model-sha256 is no SHA-256: ")
    monkeypatch.setenv("TITANIC_MODEL_SHA256", pin)
    assert_fails(titanic("serve"), 2, "TITANIC_MODEL_SHA256 is no SHA-256: ")


def test_a_pickle_is_used_only_where_it_is_pinned(
    titanic: Titanic, test_csv: Path, small_model: Model, expected: pd.DataFrame
) -> None:
    small_model.save("model.joblib")
    score = ("score", test_csv, "-o", "p.csv", "-m", "model.joblib")
    assert_fails(titanic(*score), 78, "is a pickle, which can run any code", "--model-sha256")
    assert is_silent(titanic(*score, "--model-sha256", digest_of(Path("model.joblib"))))
    assert_predictions(pyarrow.csv.read_csv("p.csv"), expected)
    Path("p.csv").unlink()
    pinned = ("--model-sha256", digest_of(Path("model.joblib")), "--report", "r.json")
    for output in ("p.csv", "out/"):
        refused = titanic("score", test_csv, "-o", output, "-m", "model.joblib", *pinned, "--max-psi", "0.25")
        assert_fails(
            refused, 2, "--max-psi compares the rows with those of the fit, of which model.joblib tells nothing"
        )
    assert not any(Path(name).exists() for name in ("p.csv", "r.json"))


def test_a_model_for_another_schema_is_refused(titanic: Titanic, test_csv: Path, small_model: Model) -> None:
    manifest = small_model.manifest | {"schema": {"version": 99, "digest": "0"}}
    Path("other.skops").write_bytes(with_manifest(skops.io.dumps(small_model.pipeline), manifest))
    assert_fails(titanic("score", test_csv, "-o", "p.csv", "-m", "other.skops"), 78, "another schema (version 99, ")
