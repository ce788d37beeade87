"""A package that is made for another notebook: its names, what is refused, and that all of it works once installed."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import new_notebook
from new_notebook import NewPackageError, new_package
from tests.serving import Address, free_port

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PENGUINS = EXAMPLES / "penguins"
OF_THE_TITANIC = re.compile(r"titanic|passenger|surviv", re.IGNORECASE)
SCRIPT = [sys.executable, str(ROOT / "new_notebook.py")]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The files of a package for the penguins."""
    return {path: content.decode() for path, (content, _) in new_package("penguins", PENGUINS).items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A notebook's folder to spoil."""
    return Path(shutil.copytree(PENGUINS, tmp_path / "penguins"))


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_nothing_speaks_of_the_titanic_but_the_licence(texts: Mapping[str, str]) -> None:
    speaking = {path for path, text in texts.items() if OF_THE_TITANIC.search(path + text)}
    assert speaking == {"LICENSE"}
    assert texts["LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_folder_takes_the_place_of_the_one_before(texts: Mapping[str, str]) -> None:
    inside = {
        path.removeprefix("penguins_batch/penguins/") for path in texts if path.startswith("penguins_batch/penguins/")
    }
    assert inside == {path.name for path in PENGUINS.iterdir() if path.is_file()}
    assert texts["penguins_batch/penguins/train.csv"].encode() == (PENGUINS / "train.csv").read_bytes()
    assert "from penguins_batch import penguins as notebook" in texts["penguins_batch/notebook/folder.py"]
    assert "from penguins_batch.checking.contract import Contract" in texts["penguins_batch/penguins/schema.py"]


def test_what_comes_along_can_be_parsed(texts: Mapping[str, str]) -> None:
    for path, text in texts.items():
        if path.endswith(".py"):
            ast.parse(text, path)
        elif path.endswith(".yaml"):
            assert list(yaml.safe_load_all(text))
        elif path.endswith(".json"):
            json.loads(text)
    assert {path.partition("/")[0] for path in texts if path.startswith("tests/")} == {"tests"}
    assert "tests/notebook/test_folder.py" in texts


def test_every_file_that_is_linked_is_there(texts: Mapping[str, str]) -> None:
    for page in ("README.md", "docs/serving.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", texts[page]):
            linked = os.path.normpath(Path(page).parent / target)
            assert any(path == linked or path.startswith(f"{linked}/") for path in texts), target


def test_a_name_of_two_words_is_written_as_each_place_has_it() -> None:
    texts = {path: content.decode() for path, (content, _) in new_package("credit_risk", PENGUINS).items()}
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == "credit-risk-batch"
    assert project["scripts"] == {"credit-risk": "credit_risk_batch.__main__:main"}
    assert "class CreditRiskError(Exception)" in texts["credit_risk_batch/errors.py"]
    assert '"CREDIT_RISK_SHARD_COUNT"' in texts["credit_risk_batch/runs/shards.py"]
    assert '"credit_risk_last_success_timestamp_seconds"' in texts["credit_risk_batch/runs/prometheus.py"]
    assert 'FORMAT = "credit-risk-batch model"' in texts["credit_risk_batch/models/manifest.py"]
    assert '"credit_risk_batch.model": self.identity' in texts["credit_risk_batch/models/model.py"]
    assert "/opt/credit-risk/bin" in texts["jobs/cron/credit-risk"]
    assert "COPY credit_risk_batch ./credit_risk_batch" in texts["Dockerfile"]
    assert yaml.safe_load(texts["jobs/kubernetes/base/nightly.yaml"])["metadata"]["name"] == "credit-risk-nightly"


def test_the_notebooks_words_are_quoted_where_they_must_be(folder: Path) -> None:
    task = r'Predict "late" payers of $100 in C:\new'
    words = folder / "words.py"
    words.write_text(words.read_text(encoding="utf-8") + f"TASK = {task!r}\n", encoding="utf-8")
    files = new_package("late", folder)
    description = tomllib.loads(files["pyproject.toml"][0].decode())["project"]["description"]
    assert description == f"{task}, as a batch job that a team can trust every night."
    assert r"Predict \"late\" payers of \$100 in C:\\new" in files["Dockerfile"][0].decode()


def test_the_folders_own_words_are_left_alone(folder: Path) -> None:
    (folder / "more.py").write_text('PASSENGERS = ["PassengerId", "passengers"]\n', encoding="utf-8")
    assert new_package("airline", folder)["airline_batch/penguins/more.py"][0] == (folder / "more.py").read_bytes()


def test_a_model_is_not_taken_along_and_caches_are_not(folder: Path) -> None:
    (folder / "reference.skops").write_bytes(b"PK")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "words.pyc").write_bytes(b"\0")
    files = new_package("penguins", folder)
    assert [path for path in files if "skops" in path or "pycache" in path] == []


@pytest.mark.parametrize(
    "name",
    ["Penguins", "2birds", "sea-birds", "_birds", "sea__birds", "birds_", "class", "''", "json", "skops", "sklearn",
     "flask", "scikit_learn", "titanic", "test", "b" * 31],
)  # fmt: skip
def test_a_name_that_can_not_be_taken_is_refused(name: str) -> None:
    with pytest.raises(NewPackageError, match=re.escape(name)):
        new_package(name, PENGUINS)


def test_a_folder_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(NewPackageError, match="nowhere is no folder"):
        new_package("birds", folder / "nowhere")
    (folder / "schema.py").unlink()
    (folder / "pipeline.py").unlink()
    with pytest.raises(NewPackageError, match=r"lacks schema\.py, pipeline\.py"):
        new_package("birds", folder)


@pytest.mark.parametrize("name", ["models", "api", "notebook", "sea-birds", "class"])
def test_a_folder_whose_name_can_not_be_imported_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(NewPackageError, match=name):
        new_package("birds", folder.rename(folder.parent / name))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("TASK = 'Predict'\n", "has no ROWS"),
        ("ROWS = TASK = ' '\n", "has no TASK"),
        ("TASK = \n", "can't be run: SyntaxError"),
        ("import nothing_at_all\n", "can't be run: ModuleNotFoundError"),
    ],
)
def test_words_that_can_not_be_read_are_refused(folder: Path, words: str, expected: str) -> None:
    (folder / "words.py").write_text(words, encoding="utf-8")
    with pytest.raises(NewPackageError, match=expected):
        new_package("birds", folder)


def test_a_word_of_the_titanic_that_is_left_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "more.py").write_text("# penguins\n# of the Titanic\n", encoding="utf-8")
    with pytest.raises(NewPackageError, match=r"would be left: penguins/more\.py:2: Titanic"):
        new_package("birds", folder)
    template = folder.parent / "template"
    template.mkdir()
    (template / "README.md").write_text("Who survived\n", encoding="utf-8")
    monkeypatch.setattr(new_notebook, "TEMPLATE", template)
    with pytest.raises(NewPackageError, match=r"would be left: README\.md:1: surviv"):
        new_package("birds", PENGUINS)


def test_the_script_says_in_one_line_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "new"
    done = make("json", "--folder", PENGUINS, "-o", output)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "new_notebook.py: json is the name of a module of Python, of a library, or of this package: take another.\n"
    )
    assert not output.exists()
    output.mkdir()
    (output / "work").touch()
    done = make("penguins", "--folder", PENGUINS, "-o", output)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"new_notebook.py: {output} exists already: name another folder, or remove it.\n"
    assert [path.name for path in output.iterdir()] == ["work"]


def test_the_script_writes_the_package(tmp_path: Path, texts: Mapping[str, str]) -> None:
    done = make("penguins", "--folder", PENGUINS, "-o", tmp_path / "of" / "birds")
    assert (done.returncode, done.stderr) == (0, "")
    output = tmp_path / "of" / "birds"
    written = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert written == set(texts)
    assert os.access(output / ".ci" / "run", os.X_OK)
    assert not os.access(output / "README.md", os.X_OK)
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", output], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout


class Installed:
    """A package that is installed in an environment of its own, and its command."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.package = package
        self.folder = folder
        self._bin = folder / "venv" / "bin"
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.run("pip", "install", "-q", "--disable-pip-version-check", f"{package}[test]")

    def variables(self) -> dict[str, str]:
        left_out = ("PYTHON", "PYTEST", "COV_", "PENGUINS_", "TITANIC_", "AIP_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        return inherited | {"PATH": f"{self._bin}:{os.environ['PATH']}", "COLUMNS": "200"}

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run one of its programs, and return what it printed on both streams."""
        done = subprocess.run(
            [self._bin / program, *arguments], cwd=cwd or self.folder, env=self.variables(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[Address]:
        port = free_port()
        process = subprocess.Popen(
            [self._bin / "penguins", "serve", "--port", str(port), *arguments], cwd=self.folder, env=self.variables(),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                address = Address(port, process=process)
                address.wait_until_ready()
                yield address
            finally:
                process.terminate()


def predicted_by_the_notebook() -> list[dict[str, str | float]]:
    """Return the predictions of the notebook itself, its cells run one after the other."""
    cells = json.loads((EXAMPLES / "penguins.ipynb").read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    source += "\nimport json\nprint(json.dumps(predictions.to_dict('records')))"
    done = subprocess.run([sys.executable, "-c", source], cwd=EXAMPLES, capture_output=True, text=True, check=True)
    predicted: list[dict[str, str | float]] = json.loads(done.stdout)
    return predicted


@pytest.mark.slow
def test_the_penguins_go_all_the_way_in_an_empty_environment(tmp_path: Path) -> None:
    made = make("penguins", "--folder", PENGUINS, "-o", tmp_path / "penguins-batch")
    assert made.returncode == 0, made.stderr
    package = tmp_path / "penguins-batch"
    (tmp_path / "work").mkdir()
    penguins = Installed(package, tmp_path / "work")
    train, season = package / "penguins_batch/penguins/train.csv", EXAMPLES / "penguins_2009.csv"
    said = [penguins.run("penguins", "--help"), penguins.run("penguins", "--version")]
    said += [penguins.run("penguins", name, "--help") for name in ("fit", "validate", "score", "serve", "inspect")]

    fitted = penguins.run("penguins", "fit", "-o", "model.skops", "--report", "model.html")
    assert fitted.endswith("saved: model.skops\nreport: model.html\n")
    said += [fitted, (tmp_path / "work/model.html").read_text(encoding="utf-8")]
    said += [penguins.run("penguins", "inspect", "model.skops")]
    assert penguins.run("penguins", "validate", "--labelled", train) == f"{train}: 216 rows, 0 rejected\n"
    assert penguins.run("penguins", "validate", season) == f"{season}: 120 rows, 0 rejected\n"
    penguins.run("penguins", "score", season, "-o", "preds.csv", "--report", "run.json", "--metrics", "run.prom")
    with (tmp_path / "work/preds.csv").open(encoding="utf-8", newline="") as file:
        predicted = [row | {"probability_male": float(row["probability_male"])} for row in csv.DictReader(file)]
    assert predicted == predicted_by_the_notebook()
    said += [(tmp_path / "work" / name).read_text(encoding="utf-8") for name in ("run.json", "run.prom")]

    with penguins.serving("--model", "model.skops") as server:
        answer = server.ask("/predict", season.read_bytes())
        assert (answer.status, answer.body) == (200, (tmp_path / "work/preds.csv").read_bytes())
        said += [
            server.ask(path).body.decode() for path in ("/", "/model", "/openapi.json", "/metrics", "/page/page.js")
        ]
    assert "penguins_last_run_rows" in said[-6]
    assert [found[0] for text in said if (found := OF_THE_TITANIC.search(text))] == []
    assert "passed" in penguins.run("pytest", "-q", cwd=package)
