"""Validating: the rejects that scoring would have, and nothing written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import Titanic, assert_fails, names_in


def test_validate_rejects_what_score_rejects_and_writes_nothing(
    titanic: Titanic, tmp_path: Path, bad_csv: Path, test_csv: Path
) -> None:
    result = titanic("validate", bad_csv)
    assert (result.exit_code, result.stderr) == (65, "")
    assert f"{bad_csv}: 418 rows, 1 rejected" in result.stdout
    assert "not_allowed Pclass: 1 row, " in result.stdout
    assert f"{bad_csv}:3" in result.stdout
    assert titanic("validate", bad_csv, "--max-rejects", 1).exit_code == 0
    assert names_in(tmp_path) == ["bad.csv"]
    result = titanic("validate", test_csv)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{test_csv}: 418 rows, 0 rejected\n", "")


def test_validate_labelled_requires_labels(titanic: Titanic, test_csv: Path) -> None:
    assert titanic("validate", "--labelled", test_csv.parent / "train.csv").exit_code == 0
    assert_fails(titanic("validate", "--labelled", test_csv), 65, "column missing: Survived")


def test_a_report_has_one_line_for_a_file_whatever_its_name(titanic: Titanic, test_csv: Path, tmp_path: Path) -> None:
    shutil.copy(test_csv, tmp_path / "a\n::error::b.csv")
    assert titanic("validate", "a\n::error::b.csv").stdout == "a\\n::error::b.csv: 418 rows, 0 rejected\n"


def test_a_job_summary_that_cannot_be_written_is_reported(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, test_csv: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "gone/summary.md")
    result = titanic("validate", test_csv, "--format", "github")
    assert_fails(result, 74, "writing gone/summary.md failed (No such file or directory)")


@pytest.mark.slow
def test_a_small_input_needs_no_temporary_folder(test_csv: Path) -> None:
    script = (
        "import tempfile\ntempfile._candidate_tempdir_list = lambda: []\n"
        "from titanic_batch.cli.command import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script, "validate", str(test_csv)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{test_csv}: 418 rows, 0 rejected\n"
