"""Every command in the README is run, and must print what the README shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.shown_commands import shown_commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder for all commands, since later ones use what earlier ones wrote; what still runs there is ended."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "data", folder / "data")
    yield folder
    for file in folder.glob("*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGTERM)


def run(command: str, folder: Path) -> str:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TITANIC_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.slow
def test_every_command_prints_what_is_shown(folder: Path) -> None:
    commands = shown_commands(README)
    assert commands
    for command, output in commands:
        assert run(command, folder) == output, command


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = README[:2500]
    assert "pip install . && titanic score data/test.csv -o preds.parquet" in first_screen
    assert re.search(r"^pip install -e '\.\[test\]' && pytest", first_screen, re.MULTILINE)


def test_every_command_that_is_shown_can_be_split_by_a_shell() -> None:
    assert all(shlex.split(command) for command, _ in shown_commands(README))


def test_every_file_that_is_linked_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
