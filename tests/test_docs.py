"""Every command in the how-to is run, and must print what the how-to shows; what docs/ links to is there."""

from __future__ import annotations

import os
import re
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
DOCS = ROOT / "docs"
HOW_TO = (DOCS / "another_notebook.md").read_text(encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """A copy of this repository; a server that still runs next to it is ended."""
    left_out = shutil.ignore_patterns(".*_cache", "__pycache__", ".git", ".hypothesis", "*.egg-info", "benchmarks")
    yield Path(shutil.copytree(ROOT, tmp_path / "clone", ignore=left_out))
    for file in tmp_path.glob("*/*.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.mark.slow
def test_every_command_of_the_how_to_prints_what_is_shown(clone: Path) -> None:
    """All of them in one shell, since it changes its folder and its environment."""
    commands = shown_commands(HOW_TO)
    end = "\nprintf '\\0'\n"
    left_out = ("PYTHON", "PYTEST", "COV_", "PENGUINS_", "TITANIC_", "AIP_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    done = subprocess.run(
        ["bash", "-c", "".join(f"{command}{end}" for command, _ in commands)],
        cwd=clone,
        env=inherited
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "100",
            "LC_ALL": "C",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_QUIET": "2",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    printed = done.stdout.split("\0")
    assert len(printed) == len(commands) + 1
    for (command, output), text in zip(commands, printed, strict=False):
        assert text == output, command


def test_the_how_to_has_ten_steps() -> None:
    steps = re.findall(r"^## (\d+)\. ", HOW_TO, re.MULTILINE)
    assert steps == [str(number) for number in range(1, 11)]


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), ROOT / "examples" / "README.md"], ids=lambda page: page.name)
def test_every_file_that_is_linked_is_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
