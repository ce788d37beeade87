"""The folder of the notebook, changed: what is wrong in it is said at once, and what may be left out is not missed."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEST = ROOT / "data" / "test.csv"

Run = Callable[..., subprocess.CompletedProcess[str]]


class Package:
    """A copy of the package whose folder of the notebook can be changed."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.folder = top / "titanic_batch" / "passenger"
        shutil.copytree(ROOT / "titanic_batch", top / "titanic_batch", ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, name: str, pattern: str, replacement: str) -> None:
        file = self.folder / name
        text, count = re.subn(pattern, replacement, file.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert count, f"{pattern} is not in {name}"
        file.write_text(text)

    def run(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "titanic_batch", *map(str, arguments)],
            cwd=self.top,
            env={**os.environ, "PYTHONPATH": str(self.top), "COLUMNS": "100"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        return done

    def with_labels(self, negative: object, positive: object) -> None:
        """Give the label other values, in the folder's words and rows."""
        self.edit("words.py", r"^LABELS = .*?\n", f"LABELS = ({negative!r}, {positive!r})\n")
        kind = {"bool": "bool_()", "int": "int64()", "str": "string()"}[type(positive).__name__]
        self.edit("schema.py", r"\{LABEL: pap\.Column\(pa\.int64\(\)", f"{{LABEL: pap.Column(pa.{kind}")
        with (self.folder / "train.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in (negative, positive)]
        with (self.folder / "train.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "Survived": texts[int(row["Survived"])]} for row in rows)
        (self.folder / "reference.skops").unlink()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


def fault(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stderr.count("\n") == 1
    prefix = "titanic: titanic_batch.passenger is not as its docstring asks: "
    assert done.stderr.startswith(prefix)
    return done.stderr.removeprefix(prefix)


def test_all_that_is_wrong_is_named_at_once(package: Package) -> None:
    package.edit("words.py", "^TITLE = .*?\n", "")
    package.edit("words.py", "^LABELS = .*?\n", "LABELS = (1, 2, 3)\n")
    package.edit("schema.py", "^LABELLED_CONTRACT = .*?\n", "")
    package.edit("fitting.py", "^GROUPS = .*?\n", "GROUPS = 3\n")
    (package.folder / "pipeline.py").unlink()
    assert fault(package.run("--help", code=78)) == (
        "words.py has no TITLE, a text that is not empty; words.LABELS must be the two values of the label, of one "
        "type (more than two, or numbers to regress on, can't be predicted); "
        "schema.py has no LABELLED_CONTRACT, a Contract; "
        "fitting.GROUPS must be a list of columns; pipeline.py is missing.\n"
    )


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "expected"),
    [
        (
            "schema.py",
            r"Check\.isin\(LABELS\)",
            "Check.isin([0, 1, 2])",
            "must allow in Survived what words.LABELS lists",
        ),
        ("schema.py", r"^LABELLED_CONTRACT = .*?\n", "LABELLED_CONTRACT = CONTRACT\n", "has no column Survived"),
        (
            "schema.py",
            r"^CONTRACT = .*?\n",
            "CONTRACT = 1 / 0\n",
            "schema.py fails in line 48: ZeroDivisionError: division",
        ),
        ("words.py", r'^LABEL = "Survived"', 'LABEL = "Sex"', "schema.CONTRACT has the label Sex"),
        (
            "fitting.py",
            r"^GROUPS = .*?\n",
            'GROUPS = ("PassengerId", "Deck")\n',
            "names PassengerId, Deck, no column",
        ),
        ("features.py", r'\("Cabin",\)', '("Deck",)', "features.FEATURES names Deck, no column"),
        ("fitting.py", r'"criterion",\n', "", "fitting.NOTEBOOK_GRID names criterion, not in PARAMETERS"),
    ],
)
def test_names_that_contradict_each_other_are_told(
    package: Package, file: str, pattern: str, replacement: str, expected: str
) -> None:
    package.edit(file, pattern, replacement)
    arguments = ("fit", "-o", "m.skops") if file != "schema.py" else ("score", TEST, "-o", "out.csv")
    assert expected in fault(package.run(*arguments, code=78))
    assert sorted(path.name for path in package.top.iterdir()) == ["titanic_batch"]


def test_a_missing_contract_is_told_by_the_python_api_too(package: Package) -> None:
    package.edit("schema.py", "^CONTRACT = .*?\n", "")
    program = "import titanic_batch.errors as e\ntry:\n from titanic_batch import score_file\n"
    program += "except e.NotebookError as error:\n print(error)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=package.top, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(package.top)},
    )  # fmt: skip
    assert "schema.py has no CONTRACT, a Contract" in done.stdout


@pytest.mark.slow
def test_what_may_be_left_out_is_not_missed(package: Package) -> None:
    (package.folder / "fitting.py").unlink()
    for name in ("PROBABILITY", "CLASSIFIER", "NOT_FOR", "VERDICTS", "THOSE", "EVENT", "HAPPENED", "POSITIVES"):
        if name != "PROBABILITY":
            package.edit("words.py", rf"^{name} = (?:\(\n.*?\n\)|[^\n]*)\n", "")
    help_of_fit = package.run("fit", "--help").stdout
    assert not {"--tune", "--search", "--param"} & set(re.findall(r"--\w+", help_of_fit))
    assert "Seed of the classifier." in help_of_fit
    package.run("fit", "-o", "m.skops", "--report", "page.html")
    page = (package.top / "page.html").read_text()
    assert "What it is for</h2>" in page
    assert "How many passengers with Survived 1 are found" in page
    assert "share that has Survived 1" in page
    prose = page.partition("<h2>The pipeline</h2>")[0]
    assert [word for word in ("The notebook", "By group", "What it is not", ">None<", "died") if word in prose] == []
    usage = package.run("fit", "-o", "m.skops", "--tune", code=2)
    assert "No such option: --tune" in usage.stderr


@pytest.mark.slow
def test_without_packaged_rows_a_model_must_be_named(package: Package) -> None:
    (package.folder / "train.csv").rename(package.top / "train.csv")
    (package.folder / "reference.skops").unlink()
    assert package.run("score", TEST, "-o", "out.csv", code=78).stderr == (
        "titanic: there is no reference model: name a model with --model, or make one with titanic fit.\n"
    )
    assert package.run("fit", "-o", "m.skops", code=65).stderr == (
        "titanic: there are no labelled passengers in this package: name a file of them.\n"
    )
    package.run("fit", "train.csv", "-o", "m.skops")
    package.run("score", TEST, "-o", "out.csv", "--model", "m.skops")


@pytest.mark.slow
def test_rows_that_break_the_contract_are_none_to_carry(package: Package) -> None:
    (package.folder / "reference.skops").unlink()
    package.edit("train.csv", "male", "unknown")
    assert "rows in" in (said := package.run("fit", "-o", "m.skops", code=78).stderr)
    assert said.endswith("break the contract: titanic validate --labelled says which.\n")


LABEL_PAIRS: list[tuple[object, object]] = [("no", "yes"), ("saved", "lost"), (1, 0), (-5, 1000), ('a "b"', "c,d")]


@pytest.mark.slow
@pytest.mark.parametrize(("negative", "positive"), LABEL_PAIRS)
def test_labels_are_written_as_they_stand_in_the_column(package: Package, negative: object, positive: object) -> None:
    package.run("fit", "-o", "before.skops")
    package.run("score", TEST, "-o", "before.parquet", "--model", "before.skops")
    before = pq.read_table(package.top / "before.parquet")
    package.with_labels(negative, positive)
    package.run("fit", "-o", "m.skops", "--report", "page.html")
    package.run("score", TEST, "-o", "after.parquet", "--model", "m.skops", "--report", "report.json")
    package.run("score", TEST, "-o", "after.csv", "--model", "m.skops")
    after = pq.read_table(package.top / "after.parquet")
    assert json.loads((package.top / "report.json").read_text())["model"]["engine"] == "plain"
    labels = after["Survived"].to_pylist()
    assert set(labels) == {negative, positive}
    assert {type(label) for label in labels} == {type(positive)}
    for label, probability in zip(labels, after["Probability"].to_pylist(), strict=True):
        assert (label == positive) == (probability > 0.5) or probability == 0.5
    with (package.top / "after.csv").open(newline="") as file:
        assert [row["Survived"] for row in csv.DictReader(file)] == [str(label) for label in labels]
    if np.array([negative, positive]).argsort().tolist() == [
        0,
        1,
    ]:  # the same classes in the same order, so the same trees
        assert after["Probability"].equals(before["Probability"])
        assert [label == positive for label in labels] == [label == 1 for label in before["Survived"].to_pylist()]


def test_a_pipeline_that_gives_no_probabilities_is_refused(package: Package) -> None:
    package.edit("pipeline.py", "RandomForestClassifier", "RandomForestRegressor")
    assert package.run("fit", "-o", "m.skops", code=78).stderr == (
        "titanic: pipeline.build_pipeline must return a scikit-learn Pipeline whose last step is a classifier with "
        "predict_proba: numbers to regress on can't be predicted.\n"
    )
