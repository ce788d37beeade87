"""Whatever the notebook is: its folder is as it should be, and its rows and its model go all the way."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import escape

from tests.notebook.conftest import Run
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import features_of
from titanic_batch.notebook.folder import NAMES, read
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.notebook.words import DESCRIPTION, LABEL, LABELS, PROBABILITY, TASK

ROOT = Path(__file__).resolve().parents[2]
KEY = CONTRACT.key


def fields_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_fields(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def reasons_in(path: Path) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return the number of each row in a file of rejects, with the rules that it breaks and their columns."""
    return [
        (row["reject_row"], [(reason["rule"], reason["column"]) for reason in json.loads(row["reject_reasons"])])
        for row in fields_of(path)
    ]


@pytest.mark.parametrize("part", NAMES)
def test_the_folder_has_what_it_must_have(part: str) -> None:
    assert read(part).keys() == NAMES[part].keys()


def test_the_packaged_rows_keep_the_contract(run: Run, train_csv: Path, rows: pd.DataFrame) -> None:
    done = run("validate", "--labelled", train_csv)
    assert (done.exit_code, done.stdout) == (0, f"{train_csv}: {len(rows)} rows, 0 rejected\n")
    assert set(rows[LABEL].unique()) == set(LABELS)


@pytest.mark.parametrize("read_as", ["csv", "parquet"])
def test_predictions_are_those_of_the_pipeline_bit_by_bit(
    run: Run, train_csv: Path, table: pa.Table, rows: pd.DataFrame, fitted: Model, model_of_rows: Path, read_as: str
) -> None:
    source = Path(f"rows.{read_as}")
    if read_as == "parquet":
        pq.write_table(table, source)
    else:
        source.write_bytes(train_csv.read_bytes())
    for name in ("predictions.csv", "predictions.parquet"):
        done = run("score", source, "-o", name, "-m", model_of_rows)
        assert (done.exit_code, done.stdout) == (0, "")
    X = features_of(rows)
    probabilities = np.ascontiguousarray(fitted.predict_proba(X)[:, 1])  # those of the event, whichever class it is
    predicted = pq.read_table("predictions.parquet")
    assert predicted.column_names == [KEY, LABEL, PROBABILITY]
    assert predicted[KEY].to_pylist() == table[KEY].to_pylist()
    assert predicted[LABEL].to_pylist() == fitted.pipeline.predict(X).tolist()
    assert predicted[PROBABILITY].to_numpy().tobytes() == probabilities.tobytes()
    written = fields_of(Path("predictions.csv"))
    assert np.array([float(row[PROBABILITY]) for row in written]).tobytes() == probabilities.tobytes()
    assert [row[KEY] for row in written] == [str(key) for key in table[KEY].to_pylist()]


def test_a_row_that_lacks_a_value_is_rejected(run: Run, train_csv: Path, model_of_rows: Path) -> None:
    rows = fields_of(train_csv)
    column = ([name for name in CONTRACT.required if name != KEY] or [KEY])[0]
    rows[1][column] = ""
    done = run("score", write_fields(Path("rows.csv"), rows), "-o", "predictions.csv", "-m", model_of_rows)
    assert done.exit_code == 65
    assert f"1 of {len(rows)} rows rejected" in done.stderr
    assert not Path("predictions.csv").exists()
    assert reasons_in(Path("predictions.csv.rejects.csv")) == [("2", [("missing", column)])]


def test_a_row_whose_key_came_before_is_rejected(run: Run, train_csv: Path, model_of_rows: Path) -> None:
    rows = fields_of(train_csv)
    given = write_fields(Path("rows.csv"), [*rows, rows[0]])
    done = run("score", given, "-o", "predictions.csv", "-m", model_of_rows, "--max-rejects", "1")
    assert done.exit_code == 0
    assert reasons_in(Path("predictions.csv.rejects.csv")) == [(str(len(rows) + 1), [("duplicate_key", KEY)])]
    assert len(fields_of(Path("predictions.csv"))) == len(rows)


def test_a_file_without_a_column_is_refused(run: Run, train_csv: Path, model_of_rows: Path) -> None:
    column = CONTRACT.without_key[0]
    rows = [{name: value for name, value in row.items() if name != column} for row in fields_of(train_csv)]
    done = run("score", write_fields(Path("rows.csv"), rows), "-o", "predictions.csv", "-m", model_of_rows)
    assert done.exit_code == 65
    assert column in done.stderr


def test_help_tells_the_task(run: Run) -> None:
    assert TASK in " ".join(run("--help").stdout.split())
    for command in ("fit", "score", "validate", "serve", "inspect"):
        assert run(command, "--help").exit_code == 0


def test_the_manifest_tells_what_the_model_is_for(run: Run, model_of_rows: Path, rows: pd.DataFrame) -> None:
    manifest: dict[str, Any] = json.loads(run("inspect", "--json", model_of_rows).stdout)["manifest"]
    assert manifest["description"] == DESCRIPTION
    assert manifest["training"]["rows"] == len(rows)
    assert re.search(rf"^training\.rows +{len(rows)}$", run("inspect", model_of_rows).stdout, re.MULTILINE)


@pytest.mark.slow
def test_fit_saves_a_model_that_score_takes_and_writes_a_page(run: Run, train_csv: Path) -> None:
    done = run("fit", train_csv, "-o", "model.skops", "--report", "model.html")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith("saved: model.skops\nreport: model.html\n")
    assert escape(DESCRIPTION) in Path("model.html").read_text(encoding="utf-8")
    assert run("score", train_csv, "-o", "predictions.csv", "-m", "model.skops", "--max-psi", "0.25").exit_code == 0


def test_what_the_image_is_made_of_is_there(train_csv: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    packaged = {ROOT / name for name in re.findall(r"titanic_batch/\S+\.csv", dockerfile)}
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert copied
    assert packaged == {ROOT / train_csv.relative_to(train_csv.parents[2])}
    for name in [*" ".join(copied).split(), *packaged, *let_in]:
        assert (ROOT / name).exists(), name
