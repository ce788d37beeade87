"""Help, the version, and arguments that are refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import Titanic, assert_fails, names_in
from titanic_batch.version import __version__

COMMANDS = ["fit", "score", "validate", "serve", "inspect"]


def test_help_shows_an_example_for_the_program_and_for_each_command(titanic: Titanic) -> None:
    result = titanic("--help")
    assert result.exit_code == 0
    assert "Example: titanic score input.csv -o preds.parquet" in result.stdout
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", result.stdout, re.MULTILINE)
        help_of_command = titanic(command, "--help")
        assert help_of_command.exit_code == 0
        assert f" Example: titanic {command} " in help_of_command.stdout


def test_the_version_is_the_packages(titanic: Titanic) -> None:
    result = titanic("--version")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"titanic {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["--nothing"],
        ["score"],
        ["score", "in.csv"],
        ["score", "-o", "p.csv"],
        ["score", "in.csv", "-o", "p.csv", "--nothing"],
        ["score", "in.csv", "-o", "p.csv", "--min-rows", "-1"],
        ["score", "in.csv", "-o", "p.csv", "--jobs", "0"],
        ["score", "in.csv", "-o", "p.csv", "--jobs", "many"],
        ["score", "in.csv", "-o", "p.csv", "--jobs", "513"],
        ["validate", "in.csv", "-j", "1000000"],
        ["fit", "-j", "99999999999999999999"],
        ["score", "in.csv", "-o", "p.csv", "--max-psi", "nan"],
        ["score", "in.csv", "-o", "p.csv", "--wait", "nan"],
        ["fit", "--seed", "-1"],
        ["fit", "--min-accuracy", "nan"],
        ["serve", "--fit-margin", "nan"],
        ["serve", "--port", "65536"],
        ["inspect"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_reported_with_the_usage(titanic: Titanic, tmp_path: Path, arguments: list[str]) -> None:
    result = titanic(*arguments)
    assert result.exit_code == 2
    assert "Usage: titanic" in result.output
    assert "Traceback" not in result.output
    assert names_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["0", "", "7", "many"])
def test_wrong_usage_is_reported_whatever_width_the_terminal_claims(columns: str) -> None:
    command = [sys.executable, "-m", "titanic_batch", "score"]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": columns}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["score", "in.csv", "-o", "p.csv", "--max-rejects", "few"], "few is no limit of rejects"),
        (["score", "in.csv", "-o", "p.csv", "--max-rejects", "101%"], "101% is no limit of rejects"),
        (["validate", "in.csv", "--max-rejects", "-1"], "-1 is no limit of rejects"),
        (["score", "in.csv", "-o", "p.csv", "--input-format", "xlsx"], "--input-format xlsx: it is one of csv, "),
        (["score", "in.csv", "-o", "p.csv", "--output-format", "arrow"], "--output-format arrow: it is one of csv, "),
        (["score", "in.csv", "-o", "p.xlsx"], "the format of p.xlsx can't be told from its name"),
        (["score", "in.txt", "-o", "p.csv"], "the format of in.txt can't be told from its name"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Survived"], "Survived is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "PassengerId"], "PassengerId is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Probability"], "Probability is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Name", "--keep", "Name"], "Name is written anyway"),
        (["score", "in.csv", "-o", "p.csv", "--keep-key-text", "Survived"], "--keep-key-text Survived: that column"),
        (["score", "in.csv", "-o", "out/", "--keep-key-text", ""], "--keep-key-text: the name of a column is empty."),
        (["score", "in.csv", "-o", "p.csv", "--keep", "Fare", "--keep-key-text", "Fare"], "--keep-key-text Fare: that"),
        (["score", "in.csv", "-o", "in.csv"], "in.csv is an input and would be overwritten"),
        (["score", "in.csv", "-o", "p.csv", "--rejects", "p.csv"], "p.csv is named for two outputs"),
        (["score", "-", "-", "-o", "p.csv"], "can be read only once"),
        *(
            (["score", "in.csv", "-o", "p.csv", option, value], f"{option} {value}: it must be a finite number.")
            for option, value in [("--max-psi", "inf"), ("--wait", "inf")]
        ),
        (["score", "in.csv", "-o", ""], "--output is followed by an empty name"),
        *(
            (["score", "in.csv", "-o", "p.csv", f"{option}="], f"{option} is followed by an empty name")
            for option in ("--report", "--metrics", "--rejects", "--model")
        ),
        *((["validate", "in.csv", option, ""], "is followed by an empty name") for option in ("--rejects", "-o")),
        *(
            (["fit", option, ""], "is followed by an empty name")
            for option in ("--output", "--holdout", "--compare", "--report", "--rejects")
        ),
        (["serve", "-m", ""], "--model is followed by an empty name"),
        (["serve", "--fit-token-file", ""], "--fit-token-file is followed by an empty name"),
        (["inspect", "m.skops", "--diff", ""], "--diff is followed by an empty name"),
        (["score", "in.csv", "-o", "-", "--max-rejects", "1"], "name a file with --rejects"),
        (["score", "in.csv", "-o", "p.csv", "-m", "model.pkl"], "a .skops or a .joblib file"),
        (["validate", "in.csv", "--format", "xml"], "--format xml: it is one of"),
        (["validate"], "nothing to validate"),
        (["fit", "-o", "model.pkl"], "a .skops or a .joblib file"),
        (["fit", "-o", "-"], "a .skops or a .joblib file"),
        (["inspect", "model"], "a .skops or a .joblib file"),
    ],
)
def test_contradictory_arguments_are_refused(
    titanic: Titanic, tmp_path: Path, test_csv: Path, arguments: list[str], words: str
) -> None:
    shutil.copy(test_csv, "in.csv")
    shutil.copy(test_csv, "in.txt")
    assert_fails(titanic(*arguments), 2, words)
    assert names_in(tmp_path) == ["in.csv", "in.txt"]
    assert Path("in.csv").read_bytes() == test_csv.read_bytes()
