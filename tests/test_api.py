"""What a program imports: the same jobs as the command's, with reports to look at, and nothing that comes along."""

from __future__ import annotations

import csv
import hashlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pytest

import titanic_batch
from tests.passengers import csv_bytes, passenger
from titanic_batch import Model, fit_file, score_file, score_folder, validate_file
from titanic_batch.api import ScoreKeywords
from titanic_batch.errors import ModelError, UsageError
from titanic_batch.reading.sources import PassedOver
from titanic_batch.runs.options import RejectLimit, RunOptions

ROOT = Path(__file__).resolve().parents[1]


def test_scoring_a_file_writes_what_the_model_predicts(
    tmp_path: Path, model_file: Path, small_model: Model, test_csv: Path
) -> None:
    report = score_file(test_csv, tmp_path / "p.parquet", model_file, keep=["Sex"])
    assert (report.rows, report.accepted, report.failure) == (418, 418, None)
    assert report.drift is not None
    assert report.drift.rows == 418
    predictions = pd.read_parquet(tmp_path / "p.parquet")
    assert predictions.columns.tolist() == ["PassengerId", "Sex", "Survived", "Probability"]
    expected = small_model.predict_proba(pd.read_csv(test_csv))[:, 1]
    assert predictions["Probability"].to_numpy().tobytes() == expected.tobytes()


def test_a_model_at_hand_scores_like_its_file(
    tmp_path: Path, model_file: Path, small_model: Model, test_csv: Path
) -> None:
    one = score_file(test_csv, tmp_path / "one.csv", small_model)
    other = score_file([test_csv], str(tmp_path / "other.csv"), str(model_file), jobs=2)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()
    assert one.drift == other.drift


def test_rows_that_break_the_contract_are_reported(tmp_path: Path, small_model: Model, test_csv: Path) -> None:
    spoiled = tmp_path / "spoiled.csv"
    spoiled.write_text(test_csv.read_text().replace(",male,", ",Male,", 1))
    report = validate_file(spoiled)
    assert report.failure == "1 of 418 rows rejected, 0 allowed (not_allowed Sex: 1)"
    assert score_file(spoiled, tmp_path / "p.csv", small_model).failure == report.failure
    assert not (tmp_path / "p.csv").exists()
    assert validate_file(spoiled, max_rejects="1%", rejects=tmp_path / "r.csv").failure is None
    assert (tmp_path / "r.csv").exists()
    assert validate_file(spoiled, max_rejects=1).failure is None


def test_labels_are_checked_where_they_are_asked_for() -> None:
    assert validate_file(ROOT / "data" / "train.csv", labelled=True, min_rows=891).failure is None
    assert validate_file(ROOT / "data" / "train.csv", min_rows=892).failure is not None


def test_what_keeps_a_run_from_its_end_is_raised(tmp_path: Path, model_file: Path, test_csv: Path) -> None:
    with pytest.raises(ModelError, match="not the pinned one"):
        score_file(test_csv, tmp_path / "p.csv", model_file, model_sha256="0" * 64)
    with pytest.raises(UsageError, match="no limit of rejects"):
        validate_file(test_csv, max_rejects=-1)


def test_a_folder_gets_a_file_for_each_input(tmp_path: Path, model_file: Path, test_csv: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "good.csv").write_bytes(test_csv.read_bytes())
    (inputs / "spoiled.csv").write_text(test_csv.read_text().replace(",male,", ",Male,", 1))
    begun: list[int] = []
    done: list[str] = []
    units = score_folder(
        inputs,
        tmp_path / "out",
        model_file,
        keep=["Sex"],
        on_begin=lambda units: begun.append(len(units)),
        on_done=lambda unit: done.append(unit.name),
    )
    assert begun == [2]
    assert done == [unit.name for unit in units] == ["good.csv", "spoiled.csv"]
    assert [unit.failure for unit in units] == [None, "1 of 418 rows rejected, 0 allowed (not_allowed Sex: 1)"]
    score_file(inputs / "good.csv", tmp_path / "one.csv", model_file, keep=["Sex"])
    assert (tmp_path / "out" / "good.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert not (tmp_path / "out" / "spoiled.csv").exists()
    again = score_folder(inputs, tmp_path / "out", model_file, keep=["Sex"], resume=True)
    assert [unit.skipped for unit in again] == [True, False]
    half = score_folder(inputs, tmp_path / "half", model_file, shard="1/2", max_rejects=1)
    assert [(unit.name, unit.failure) for unit in half] == [("spoiled.csv", None)]


def test_fitting_a_file_saves_what_its_report_holds(tmp_path: Path, test_csv: Path) -> None:
    report = fit_file(ROOT / "data" / "train.csv", tmp_path / "m.skops", parameters={"n_estimators": 5}, seed=7)
    assert (report.failure, report.output) == (None, str(tmp_path / "m.skops"))
    saved = Model.load(tmp_path / "m.skops")
    passengers = pd.read_csv(test_csv)
    assert saved.predict_proba(passengers).tobytes() == report.model.predict_proba(passengers).tobytes()
    assert (saved.seed, saved.manifest["metrics"]["cross_validation"]["accuracy"]["value"]) == (
        7,
        report.cross_validation.accuracy,
    )
    failed = fit_file(None, tmp_path / "none.skops", parameters={"n_estimators": 5}, min_accuracy=0.99)
    assert failed.failure is not None
    assert not (tmp_path / "none.skops").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs": -2}, "jobs -2: there is at least 1"),
        ({"jobs": 0}, "jobs 0: there is at least 1"),
        ({"input_format": "CSV"}, "input_format CSV: it is one of csv, "),
        ({"output_format": "bogus"}, "output_format bogus: it is one of csv, "),
        ({"max_psi": float("nan")}, "max_psi nan: it is a number"),
        ({"model_sha256": "0" * 64}, "this one is at hand"),
        ({"rejects": ""}, "name of a file is empty"),
        ({"inputs": []}, "nothing to read"),
        ({"output": ""}, "name of a file is empty"),
        ({"also_written": "p.csv"}, "p.csv"),
        ({"keep": "PassengerId"}, "PassengerId is written anyway"),
        ({"keep_key_text": "PassengerId"}, "PassengerId: that column is written anyway"),
        ({"keep_key_text": ""}, "keep_key_text: the name of a column is empty"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any],
    words: str,
    small_model: Model,
    test_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"inputs": test_csv, "output": "p.csv", "model": small_model} | options
    with pytest.raises(UsageError, match=re.escape(words)):
        score_file(**given)
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_option_is_no_option(small_model: Model, test_csv: Path, tmp_path: Path) -> None:
    """Also where no type checker has told so."""
    mistyped: list[Any] = [{"max_reject": 5}, {"rejects": "r.csv"}, {"keep": ["Name"]}]
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_reject'"):
        score_file(test_csv, tmp_path / "p.csv", small_model, **mistyped[0])
    with pytest.raises(TypeError, match="unexpected keyword argument 'rejects'"):
        score_folder(test_csv, tmp_path / "out", small_model, **mistyped[1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'keep'"):
        validate_file(test_csv, **mistyped[2])


def test_a_search_is_one_of_two(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--search random: it is one of grid, halving"):
        fit_file(None, tmp_path / "m.skops", search="random")


def test_keys_come_back_as_they_stood(small_model: Model, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(csv_bytes([passenger(1, PassengerId="000123"), passenger(2, PassengerId="7.0")]))
    score_file(tmp_path / "in.csv", tmp_path / "p.csv", small_model, keep_key_text="Id")
    score_folder(tmp_path / "in.csv", tmp_path / "out", small_model, keep_key_text="Id")
    for name in ("p.csv", "out/in.csv"):
        assert [row[:2] for row in csv.reader((tmp_path / name).read_text().splitlines())] == [
            ["PassengerId", "Id"],
            ["123", "000123"],
            ["7", "7.0"],
        ]


def test_one_column_to_keep_needs_no_list(small_model: Model, test_csv: Path, tmp_path: Path) -> None:
    score_file(test_csv, tmp_path / "p.csv", small_model, keep="Cabin")
    assert pd.read_csv(tmp_path / "p.csv").columns[1] == "Cabin"


def test_a_model_that_is_not_fitted_scores_nothing(test_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not fitted yet"):
        score_file(test_csv, tmp_path / "p.csv", Model())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"search": "random"}, "random: it is one of grid, halving"),
        ({"parameters": {"q": 1}}, "there is no parameter q"),
        ({"min_accuracy": 5}, "a number from 0 to 1"),
    ],
    ids=str,
)
def test_a_fit_that_makes_no_sense_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        fit_file(None, tmp_path / "m.skops", **options)


def test_the_public_names_are_these() -> None:
    assert titanic_batch.__all__ == [
        "Model",
        "__version__",
        "fit_file",
        "score_file",
        "score_folder",
        "validate_file",
    ]
    assert all(hasattr(titanic_batch, name) for name in titanic_batch.__all__)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = titanic_batch.other


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "absent"),
    [
        ("import titanic_batch", {"numpy", "pandas", "pyarrow", "sklearn", "scipy"}),
        ("from titanic_batch import validate_file", {"sklearn", "scipy", "skops"}),
    ],
)
def test_importing_brings_no_more_than_is_asked_for(program: str, absent: set[str]) -> None:
    program += f"\nimport sys\nprint(sorted(set(sys.modules) & {absent!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## In Python\n")[2].partition("\n## ")[0]
    program, shown = re.findall(r"^```(?:python|text)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (tmp_path / "data").symlink_to(ROOT / "data")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == shown


def test_rejects_that_would_overwrite_their_input_are_refused(tmp_path: Path, test_csv: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(test_csv.read_bytes())
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        validate_file(source, rejects=source)
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        fit_file(source, tmp_path / "m.skops", rejects=source)
    assert source.read_bytes() == test_csv.read_bytes()


def test_rejects_do_not_overwrite_the_holdout(tmp_path: Path, test_csv: Path) -> None:
    holdout = tmp_path / "h.csv"
    holdout.write_bytes((ROOT / "data" / "holdout.csv").read_bytes())
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        fit_file(None, tmp_path / "m.skops", holdout=holdout, rejects=holdout)


def test_files_that_are_passed_over_are_in_reports(tmp_path: Path, small_model: Model, test_csv: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "a.csv").write_bytes(test_csv.read_bytes())
    (inputs / "b.txt").touch()
    expected = [PassedOver(str(inputs / "b.txt"), "unknown suffix")]
    assert validate_file(inputs).passed_over == expected
    assert score_file(inputs, tmp_path / "p.csv", small_model).passed_over == expected
    told: list[PassedOver] = []
    score_folder(inputs, tmp_path / "out", small_model, on_passed_over=told.extend)
    assert told == expected
    score_folder(inputs / "a.csv", tmp_path / "other", small_model, on_passed_over=lambda files: told.clear())
    assert told == expected, "it is called only where there are any"
    (inputs / "a.csv").write_bytes((ROOT / "data" / "train.csv").read_bytes())
    report = fit_file(inputs, tmp_path / "m.skops", holdout=inputs, parameters={"n_estimators": 2})
    assert report.passed_over == expected * 2


@pytest.mark.parametrize("url", ["s3://b/k.csv", "file:///x.skops"])
def test_a_url_is_refused_wherever_a_file_is_named(
    small_model: Model, test_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[Callable[[], object]] = [
        lambda: score_file(url, "p.csv", small_model),
        lambda: score_file([test_csv, url], "p.csv", small_model),
        lambda: score_file(test_csv, url, small_model),
        lambda: score_file(test_csv, "p.csv", url),
        lambda: score_file(test_csv, "p.csv", small_model, rejects=url),
        lambda: score_file(test_csv, "p.csv", small_model, also_written=[url]),
        lambda: score_folder(url, "out", small_model),
        lambda: score_folder(test_csv, url, small_model),
        lambda: score_folder(test_csv, "out", url),
        lambda: validate_file(url),
        lambda: validate_file(test_csv, rejects=url),
        lambda: fit_file(url, "m.skops"),
        lambda: fit_file(None, url),
        lambda: fit_file(None, "m.skops", holdout=url),
        lambda: fit_file(None, "m.skops", compare=url),
        lambda: fit_file(None, "m.skops", html=url),
        lambda: Model.load(url),
        lambda: small_model.save(url),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=f"^{url.partition('/')[0]}//... is a URL"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_keywords_are_the_options_of_a_run() -> None:
    options = get_type_hints(RunOptions)
    explicit = {"rejects", "with_values", "resume", "shard"}  # parameters of the functions that take them
    assert ScoreKeywords.__optional_keys__ - {"model_sha256", "also_written"} == options.keys() - explicit
    for function in (score_file, score_folder, validate_file):
        parameters = inspect.signature(function).parameters
        assert "inputs" in parameters
        assert {name for name in parameters if name in options} <= explicit
    keywords = {name: hint for name, hint in get_type_hints(ScoreKeywords).items() if name in options}
    # What a program may give is what the run gets, or what stands for it.
    wider = {"max_rejects": int | str | RejectLimit, "input_format": str | None, "output_format": str | None}
    assert keywords == {name: options[name] for name in keywords} | wider


def test_a_limit_of_drift_is_refused_where_the_model_tells_nothing_of_its_rows(
    tmp_path: Path, small_model: Model, test_csv: Path
) -> None:
    model = tmp_path / "model.joblib"
    small_model.save(model)
    pin = hashlib.sha256(model.read_bytes()).hexdigest()
    loaded = Model.load(model, pin)
    told = f"--max-psi compares the rows with those of the fit, of which {model} tells nothing: leave it out, or "
    for given in ({"model": model, "model_sha256": pin}, {"model": loaded}):
        for score, target in ((score_file, tmp_path / "p.csv"), (score_folder, tmp_path / "out")):
            options: dict[str, Any] = {**given, "max_psi": 0.0}
            with pytest.raises(UsageError, match=re.escape(told)):
                score(test_csv, target, **options)
    assert os.listdir(tmp_path) == ["model.joblib"]
    assert score_file(test_csv, tmp_path / "p.csv", loaded).drift is None
    # The features of a model that is fitted here are compared, if not its predictions.
    drift = score_file(test_csv, tmp_path / "p.csv", small_model, max_psi=9.0).drift
    assert drift is not None
