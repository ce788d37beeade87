"""Inputs that a disk or a network fails to give: system calls that really fail, injected by strace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import TIMEOUT, environment
from tests.machine import need
from tests.passengers import csv_bytes, passengers

pytestmark = [pytest.mark.machine, pytest.mark.slow]

AGAIN = "(Input/output error): try again."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two inputs, and one below it."""
    need("strace")
    for key, name in enumerate(["a.csv", "b.csv", "sub/c.csv"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(csv_bytes(passengers(5, 10 * key)))
    return tmp_path


def run(folder: Path, path: str, fault: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command while system calls that have to do with a path fail. stderr is without what strace says."""
    traced = ["strace", "-f", "-qqq", "-o", "/dev/null", "-P", path, "-e", f"inject={fault}"]
    done = subprocess.run(
        [*traced, sys.executable, "-m", "titanic_batch", *map(str, arguments)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    done.stderr = re.sub(r"^strace: .*\n", "", done.stderr, flags=re.MULTILINE)
    return done


@pytest.mark.parametrize(
    ("path", "fault", "name", "words"),
    [
        ("in/b.csv", "openat,newfstatat,statx:error=EIO", "in", f"in/b.csv can't be opened {AGAIN}"),
        ("in/b.csv", "openat,newfstatat,statx:error=EIO", "in/b.csv", f"in/b.csv can't be opened {AGAIN}"),
        ("in/b.csv", "openat:error=ESTALE", "in/**/*.csv", "in/b.csv can't be opened (Stale file handle): try again."),
        ("in/b.csv", "openat:error=EMFILE", "in/*.csv", "in/b.csv can't be opened (Too many open files): try again."),
        ("in", "newfstatat,statx:error=EIO", "in", f"in can't be opened {AGAIN}"),
        ("in", "openat:error=EIO", "in", f"in can't be listed {AGAIN}"),
        ("in", "openat:error=EIO", "in/*.csv", f"in can't be listed {AGAIN}"),
        ("in", "getdents64:error=EIO:when=1", "in", f"in can't be listed {AGAIN}"),
        ("in", "getdents64:error=EIO:when=2", "in/*.csv", f"in can't be listed {AGAIN}"),
        ("in/sub", "openat:error=EIO", "in/**/*.csv", f"in/sub can't be listed {AGAIN}"),
        ("in/sub", "getdents64:error=EIO", "in/**/*.csv", f"in/sub can't be listed {AGAIN}"),
        ("in/sub", "openat:error=ENOENT", "in/**/*.csv", "in/sub vanished while it was listed: try again."),
        ("in/sub", "openat:error=ENOTDIR", "in/*/*.csv", "in/sub vanished while it was listed: try again."),
    ],
)
def test_what_a_disk_fails_to_give_is_not_passed_over(
    folder: Path, path: str, fault: str, name: str, words: str
) -> None:
    process = run(folder, path, fault, "validate", name)
    assert (process.returncode, process.stdout, process.stderr) == (74, "", f"titanic: {words}\n")


@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_fault_that_passes_loses_no_row(folder: Path, when: int) -> None:
    (folder / "in" / "l.csv").symlink_to(folder / "in" / "sub" / "c.csv")
    process = run(folder, "in/l.csv", f"newfstatat,statx,openat:error=EIO:when={when}", "validate", "in")
    whole = "in/a.csv, in/b.csv, in/l.csv: 15 rows, 0 rejected\n"
    assert (process.returncode, process.stdout) in [(0, whole), (74, "")]
    assert process.stderr in ["", f"titanic: in/l.csv can't be opened {AGAIN}\n"]


@pytest.mark.parametrize("names", [["in"], ["in/*.csv"], ["in/a.csv", "in/b.csv"]])
def test_an_input_that_a_disk_fails_to_give_leaves_the_others(folder: Path, model_file: Path, names: list[str]) -> None:
    options = ("-o", "out/", "-m", model_file, "--report", "r.json")
    process = run(folder, "in/b.csv", "openat,newfstatat,statx:error=EIO", "score", *names, *options)
    assert process.returncode == 74
    said = process.stderr.splitlines()
    assert said[-2:] == [
        f"titanic: in/b.csv can't be opened {AGAIN}",
        "titanic: 1 of 2 inputs failed: see above.",
    ]
    inputs = json.loads((folder / "r.json").read_text())["inputs"]
    assert [(one["name"], one["exit_code"]) for one in inputs] == [("in/a.csv", 0), ("in/b.csv", 74)]
    assert (folder / "out" / "a.csv").exists()


def test_a_shard_that_cannot_tell_a_size_takes_no_part(folder: Path, model_file: Path) -> None:
    """Another shard may tell it, share out the inputs otherwise, and leave one of them to this one."""
    options = ("-o", "out/", "-m", model_file, "--shard", "0/2")
    process = run(folder, "in/b.csv", "newfstatat,statx:error=EIO", "score", "in", *options)
    assert (process.returncode, process.stderr) == (74, f"titanic: in/b.csv can't be opened {AGAIN}\n")


def test_an_output_of_which_it_cannot_be_told_whether_it_is_a_folder_is_not_written(folder: Path) -> None:
    (folder / "out").mkdir()
    process = run(folder, "out", "newfstatat,statx:error=EIO", "score", "in", "-o", "out")
    assert (process.returncode, process.stderr) == (74, f"titanic: out can't be opened {AGAIN}\n")
