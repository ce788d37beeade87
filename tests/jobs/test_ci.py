"""The files for CI that users copy: what they run is run here, on good and on bad data."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import DATA

CI = Path(__file__).resolve().parents[2] / "jobs" / "ci"
WORKFLOW = yaml.safe_load((CI / "github-workflow.yml").read_text(encoding="utf-8"))
(HOOK,) = yaml.safe_load((CI / "pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]


def commands() -> list[str]:
    """Return the shell commands of the workflow that call titanic."""
    steps: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in steps if re.search(r"^\s*titanic ", step.get("run", ""), re.MULTILINE)]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the passengers in ``data``."""
    (tmp_path / "data").mkdir()
    for name in ("train.csv", "holdout.csv", "test.csv"):
        shutil.copy(DATA / name, tmp_path / "data")
    return tmp_path


def spoil(path: Path) -> None:
    """Give the second row an unknown sex and the third a class that does not exist."""
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows[2] = re.sub(",(fe)?male,", ",unknown,", rows[2])
    rows[3] = re.sub("^([0-9]+),[0-9],", r"\1,4,", rows[3])
    path.write_text("".join(rows), encoding="utf-8")


def run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TITANIC_", "GITHUB_"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        arguments,
        cwd=folder,
        env={**inherited, "PATH": path, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def run_workflow(folder: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run the workflow's step as GitHub runs it, and return what it did and the job's summary."""
    (command,) = commands()
    summary = folder / "summary.md"
    done = run(["bash", "-e", "-c", command], folder, GITHUB_STEP_SUMMARY=str(summary))
    return done, summary.read_text(encoding="utf-8")


def run_hook(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run the hook as pre-commit runs it: its entry, split as a shell would, and the names of files."""
    return run([*shlex.split(HOOK["entry"]), *names], folder)


def test_workflow_has_what_a_workflow_needs() -> None:
    # YAML 1.1 takes the key "on" for a truth value.
    assert set(WORKFLOW[True]) == {"pull_request", "push", "workflow_dispatch"}
    (job,) = WORKFLOW["jobs"].values()
    assert job["runs-on"] == "ubuntu-latest"
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [step.get("uses", "").partition("@")[0] for step in job["steps"]] == [
        "actions/checkout",
        "actions/setup-python",
        "",
        "",
    ]
    assert job["steps"][2]["run"] == "pip install ."
    assert len(commands()) == 1


@pytest.mark.slow
def test_workflow_passes_good_data(repository: Path) -> None:
    done, summary = run_workflow(repository)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert summary.count("rows, 0 rejected (passed)") == 3


@pytest.mark.slow
def test_workflow_fails_bad_data_and_annotates_each_bad_row(repository: Path) -> None:
    spoil(repository / "data" / "test.csv")
    done, summary = run_workflow(repository)
    assert done.returncode == 65
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "::error file=data/test.csv,line=4,title=not_allowed Pclass::row 3 breaks not_allowed (1 of 1)",
        "::error file=data/test.csv,line=3,title=not_allowed Sex::row 2 breaks not_allowed (1 of 1)",
        "::error title=titanic validate::2 of 418 rows rejected, 0 allowed (not_allowed Pclass: 1, not_allowed Sex: 1)",
    ]
    assert "| not_allowed | Sex | 1 | data/test.csv:2 |" in summary
    assert summary.count("rows, 0 rejected (passed)") == 2


@pytest.mark.slow
def test_workflow_fails_also_where_only_the_first_file_is_bad(repository: Path) -> None:
    spoil(repository / "data" / "holdout.csv")
    done, _ = run_workflow(repository)
    assert done.returncode == 65
    assert "file=data/holdout.csv,line=3," in done.stdout


def test_hook_is_for_the_files_that_titanic_reads() -> None:
    names = ["data/a.csv", "data/b/c.csv.gz", "data/d.csv.zst", "data/e.parquet"]
    assert all(re.search(HOOK["files"], name) for name in names)
    assert not any(
        re.search(HOOK["files"], name) for name in ("data/README.md", "a.csv", "data/a.csv.txt", "xdata/a.csv")
    )
    assert HOOK["language"] == "system"


@pytest.mark.slow
def test_hook_passes_good_files_even_if_they_share_keys(repository: Path) -> None:
    done = run_hook(repository, "data/test.csv", "data/holdout.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "data/test.csv: 418 rows, 0 rejected\ndata/holdout.csv: 418 rows, 0 rejected\n"


@pytest.mark.slow
def test_hook_fails_a_bad_file_whatever_stands_beside_it(repository: Path) -> None:
    (repository / "data" / "a name with blanks.csv").write_bytes((repository / "data" / "test.csv").read_bytes())
    spoil(repository / "data" / "a name with blanks.csv")
    done = run_hook(repository, "data/a name with blanks.csv", "data/test.csv")
    assert done.returncode == 65
    assert "data/a name with blanks.csv: 418 rows, 2 rejected\n" in done.stdout
    assert "data/test.csv: 418 rows, 0 rejected\n" in done.stdout


def test_hook_without_a_file_has_nothing_to_say(repository: Path) -> None:
    done = run_hook(repository)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
