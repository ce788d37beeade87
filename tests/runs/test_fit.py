"""The job that makes a model: from a file of labelled passengers to a model file, or to a reason why not."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from titanic_batch.cli.command import app
from titanic_batch.errors import DataError
from titanic_batch.models import tuning
from titanic_batch.models.artifact import read_artifact
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.fitting import NOTEBOOK_GRID
from titanic_batch.reading.sources import Inputs, find_inputs
from titanic_batch.runs.fit import FitOptions, fit, labelled_frame
from titanic_batch.runs.options import RejectLimit, RunOptions
from titanic_batch.writing.publishing import Publication

DATA = Path(__file__).resolve().parents[2] / "data"
TRAIN, HOLDOUT, TEST = DATA / "train.csv", DATA / "holdout.csv", DATA / "test.csv"
ACCURACY = re.compile(r"^(10-fold cross-validation|holdout) +(\d+)  (0\.\d{4}) \(", re.MULTILINE)

Titanic = Callable[..., Result]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model that the command fitted, and what it printed."""
    path = tmp_path_factory.mktemp("fitted") / "model.skops"
    result = CliRunner().invoke(app, ["fit", str(TRAIN), "--holdout", str(HOLDOUT), "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return path, result.stdout


def labelled_input(path: Path) -> Inputs:
    return find_inputs([str(path)])


def manifest_of(path: Path | str) -> Manifest:
    manifest = read_artifact(str(path)).manifest
    assert manifest is not None
    return manifest


def labelled(target: Path, rows: pd.DataFrame) -> Path:
    rows.to_csv(target, index=False)
    return target


def test_fitting_prints_both_accuracies_and_keeps_them(fitted: tuple[Path, str]) -> None:
    path, printed = fitted
    found = {name: (int(rows), float(accuracy)) for name, rows, accuracy in ACCURACY.findall(printed)}
    assert printed.endswith(f"saved: {path}\n")
    metrics = manifest_of(path).fit_record.metrics
    assert found == {
        "10-fold cross-validation": (891, round(metrics["cross_validation"]["accuracy"]["value"], 4)),
        "holdout": (418, round(metrics["holdout"]["accuracy"]["value"], 4)),
    }
    assert metrics["holdout"]["rows"] == 418
    evaluation = Model.load(path).evaluate(pd.read_csv(HOLDOUT))
    assert evaluation.to_json() == metrics["holdout"]
    assert min(found[name][1] for name in found) > 0.75
    for part in metrics.values():
        assert all(part[name]["low"] < part[name]["value"] < part[name]["high"] for name in part if name != "rows")
    assert os.listdir(path.parent) == ["model.skops"]


def test_the_command_fits_what_the_library_fits(fitted: tuple[Path, str], reference: Model) -> None:
    rows = pd.read_csv(TEST)
    loaded = Model.load(fitted[0])
    assert loaded.predict_proba(rows).tobytes() == reference.predict_proba(rows).tobytes()
    assert loaded.manifest["training"] == reference.manifest["training"], "the way to the frame leaves no trace"


@pytest.mark.slow
def test_without_a_file_the_packaged_passengers_are_fitted_on(titanic: Titanic, fitted: tuple[Path, str]) -> None:
    result = titanic("fit")
    assert result.exit_code == 0
    assert result.stdout.endswith("saved: model.skops\n")
    assert "holdout" not in result.stdout
    assert ACCURACY.findall(result.stdout) == ACCURACY.findall(fitted[1])[:1]
    assert manifest_of("model.skops").fit_record.training == manifest_of(fitted[0]).fit_record.training


def test_tuning_takes_the_parameters_of_the_notebooks_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole grid takes a minute; which of its parameters win is shown by the parity test.
    few = {name: values[:1] for name, values in NOTEBOOK_GRID.items()} | {"n_estimators": [4, 9]}
    monkeypatch.setattr(tuning, "NOTEBOOK_GRID", few)
    output = tmp_path / "model.skops"
    report = fit(FitOptions(labelled_input(TRAIN), str(output), RunOptions(), search="grid"))
    parameters = manifest_of(output).parameters
    for name, values in NOTEBOOK_GRID.items():
        assert parameters[name] in values
    assert parameters["max_samples"] is None
    assert report.cross_validation.accuracy > 0.75


def test_a_labelled_frame_is_what_pandas_reads(tmp_path: Path) -> None:
    frame = labelled_frame(labelled_input(TRAIN), RunOptions())
    expected = packaged_rows()
    assert len(frame) == 891
    for name in frame.columns:
        assert frame[name].astype(object).where(frame[name].notna(), None).tolist() == (
            expected[name].astype(object).where(expected[name].notna(), None).tolist()
        )


def test_a_bad_label_fails_the_fit(titanic: Titanic, tmp_path: Path) -> None:
    rows = packaged_rows().astype({"Survived": object})
    rows.loc[3, "Survived"] = 2
    rows.loc[5, "Survived"] = None
    source = labelled(tmp_path / "bad.csv", rows)
    result = titanic("fit", source, "-o", "model.skops", "--rejects", "r.csv")
    assert result.exit_code == 65
    assert result.stderr == (
        f"titanic: {source}: 2 of 891 rows rejected, 0 allowed (missing Survived: 1, not_allowed Survived: 1): "
        "no model fitted; the rejected rows are in r.csv.\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["bad.csv", "r.csv"]
    with Path("r.csv").open(newline="") as file:
        assert [row["reject_row"] for row in csv.DictReader(file)] == ["4", "6"]


def test_bad_rows_of_the_holdout_fail_the_fit_too(titanic: Titanic, tmp_path: Path) -> None:
    source = labelled(tmp_path / "bad.csv", packaged_rows().head(30).assign(Pclass=9))
    result = titanic("fit", TRAIN, "--holdout", source, "-o", "model.skops")
    assert result.exit_code == 65
    assert result.stderr == (
        f"titanic: {source}: 30 of 30 rows rejected, 0 allowed (not_allowed Pclass: 30): no model fitted.\n"
    )
    assert os.listdir(tmp_path) == ["bad.csv"]


def test_rejects_within_the_limit_are_not_fitted_on(tmp_path: Path) -> None:
    rows = packaged_rows().head(100)
    rows.loc[7, "Sex"] = "unknown"
    source = labelled(tmp_path / "bad.csv", rows)
    frame = labelled_frame(labelled_input(source), RunOptions(max_rejects=RejectLimit(1)))
    assert frame["PassengerId"].tolist() == [key for key in rows["PassengerId"] if key != rows["PassengerId"][7]]
    with pytest.raises(DataError, match="1 of 100 rows rejected, 0 allowed"):
        labelled_frame(labelled_input(source), RunOptions())


def test_passengers_without_labels_are_nothing_to_fit_on(titanic: Titanic, tmp_path: Path) -> None:
    result = titanic("fit", TEST, "-o", "model.skops")
    assert result.exit_code == 65
    assert result.stderr == f"titanic: {TEST}: column missing: Survived.\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("count", "label"),
    [(0, None), (1, None), (15, None), (891, 1)],
    ids=["no rows", "one row", "few rows", "one kind"],
)
def test_too_few_rows_are_told(titanic: Titanic, tmp_path: Path, count: int, label: int | None) -> None:
    rows = packaged_rows().head(count)
    source = labelled(tmp_path / "few.csv", rows if label is None else rows.assign(Survived=label))
    for options in ([], ["--tune"]):
        result = titanic("fit", source, "-o", "model.skops", *options)
        assert (result.exit_code, result.stdout) == (65, "")
        assert result.stderr == "titanic: cross-validation needs at least 10 rows with each label: add some.\n"
        assert os.listdir(tmp_path) == ["few.csv"]


def test_a_failing_fit_leaves_the_last_model(titanic: Titanic, tmp_path: Path, model_file: Path) -> None:
    Path("model.skops").write_bytes(model_file.read_bytes())
    assert titanic("fit", TEST, "-o", "model.skops").exit_code == 65
    assert Path("model.skops").read_bytes() == model_file.read_bytes()
    assert os.listdir(tmp_path) == ["model.skops"]


def test_parameters_and_seed_are_those_given(titanic: Titanic) -> None:
    options = ["--param", "n_estimators=3", "--param", "max_depth=2", "--seed", "5"]
    result = titanic("fit", TRAIN, "-o", "model.skops", *options)
    assert result.exit_code == 0
    manifest = manifest_of("model.skops")
    assert (manifest.parameters["n_estimators"], manifest.parameters["max_depth"], manifest.seed) == (3, 2, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--param", "depth=3"], "--param depth=3: there is no parameter depth; there are"),
        (["--param", "max_depth=x"], "--param max_depth=x: it must be an int"),
        (["--param", "bootstrap=False"], "these parameters can't be fitted: "),
        (["--tune", "--param", "bootstrap=False", "--param", "max_samples=0.5"], "these parameters can't be fitted: "),
        (["--tune", "--search", "random"], "--search random: it is one of grid, halving"),
    ],
)
def test_parameters_that_cannot_be_are_wrong_usage(
    titanic: Titanic, tmp_path: Path, options: list[str], message: str
) -> None:
    result = titanic("fit", TRAIN, "-o", "model.skops", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"titanic: {message}")
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_few_rows_are_fitted_without_a_word(titanic: Titanic) -> None:
    rows = packaged_rows().groupby("Survived").head(12)
    result = titanic("fit", labelled(Path("few.csv"), rows), "-o", "model.skops", "--param", "n_estimators=3")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.slow
def test_a_model_that_is_not_good_enough_is_not_saved(titanic: Titanic, model_file: Path) -> None:
    Path("model.skops").write_bytes(model_file.read_bytes())
    options = ["--param", "n_estimators=3", "-o", "model.skops"]
    result = titanic("fit", TRAIN, *options, "--min-accuracy", "0.99")
    assert result.exit_code == 65
    assert re.fullmatch(
        r"titanic: the cross-validated accuracy is 0\.\d{4}, less than 0\.99: no model saved\.\n", result.stderr
    )
    assert "saved" not in result.stdout
    assert Path("model.skops").read_bytes() == model_file.read_bytes()
    dead = labelled(Path("dead.csv"), packaged_rows().head(60).assign(Survived=0, Sex="female", Pclass=1))
    result = titanic("fit", TRAIN, *options, "--min-accuracy", "0.6", "--holdout", dead)
    assert result.exit_code == 65
    assert "the holdout accuracy is 0." in result.stderr
    assert titanic("fit", TRAIN, *options, "--min-accuracy", "0.6").exit_code == 0
    assert Path("model.skops").read_bytes() != model_file.read_bytes()


@pytest.mark.slow
def test_two_models_are_compared_on_the_same_folds(titanic: Titanic) -> None:
    few = ["--param", "n_estimators=3", "--jobs", "1"]
    assert titanic("fit", TRAIN, "-o", "old.skops", *few, "--param", "max_depth=1").exit_code == 0
    result = titanic("fit", TRAIN, "-o", "new.skops", *few, "--compare", "old.skops")
    assert result.exit_code == 0
    assert re.search(r"^brier score: 0\.\d+ -> .* better, and not by chance$", result.stdout, re.MULTILINE)


def test_an_old_model_that_is_none_ends_the_fit(titanic: Titanic, tmp_path: Path) -> None:
    result = titanic("fit", TRAIN, "-o", "model.skops", "--compare", "gone.skops")
    assert result.exit_code == 78
    assert os.listdir(tmp_path) == []


def test_an_output_that_cannot_be_written_is_noticed_before_fitting(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "fit", lambda *_: pytest.fail("it was fitted"))
    assert titanic("fit", TRAIN, "-o", "nowhere/model.skops").exit_code == 73
    with Publication() as publication:
        publication.add("model.skops")
        result = titanic("fit", TRAIN, "-o", "model.skops")
    assert result.exit_code == 75
    assert not Path("model.skops").exists()


def test_held_out_predictions_are_kept_to_compare_with(fitted: tuple[Path, str]) -> None:
    assert sum(manifest_of(fitted[0]).fit_record.reference["predictions"]) == 891
