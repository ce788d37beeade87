"""Runs on a machine that allows few files, few threads or little memory."""

from __future__ import annotations

import gzip
import re
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.process import TIMEOUT, environment
from tests.passengers import csv_bytes, parquet_bytes, passenger, passengers, typed

TITANIC = "from titanic_batch.cli.command import main; main()"
LARGE_STACK = 2**46  # of each thread: more than there can be


def run_limited(
    folder: Path, *arguments: str, limit: int, value: int, code: str = TITANIC
) -> subprocess.CompletedProcess[str]:
    """Run the command with one of its limits changed."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(limit, (value, resource.getrlimit(limit)[1])),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_any_number_of_inputs_needs_few_open_files(tmp_path: Path, model_file: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    for number in range(200):
        rows = [passenger(number * 3 + place) for place in (1, 2, 3)]
        data = csv_bytes(rows) if suffix == "csv" else parquet_bytes(typed(rows))
        (tmp_path / "in" / f"{number:03}.{suffix}").write_bytes(data)
    arguments = ("score", "in", "-o", "p.parquet", "-m", str(model_file), "--report", "r.json")
    done = run_limited(tmp_path, *arguments, limit=resource.RLIMIT_NOFILE, value=64)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert pq.read_table(tmp_path / "p.parquet")["PassengerId"].to_pylist() == list(range(1, 601))


def test_all_headers_are_checked_before_a_row_is_read(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv_bytes(passengers(3)).replace(b"male", b"?"))
    (tmp_path / "b.csv").write_bytes(csv_bytes(passengers(3)).replace(b"Parch", b"Perch"))
    arguments = ("score", "a.csv", "b.csv", "-o", "p.csv", "-m", str(model_file))
    done = run_limited(tmp_path, *arguments, limit=resource.RLIMIT_NOFILE, value=64)
    expected = "titanic: b.csv: column missing: Parch (nearest: Perch).\n"
    assert (done.returncode, done.stderr, (tmp_path / "p.csv.rejects.csv").exists()) == (65, expected, False)


def test_without_room_for_a_thread_a_run_may_be_tried_again(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "in.csv").write_bytes(csv_bytes(passengers(3)))
    arguments = ("score", "in.csv", "-o", "p.csv", "-m", str(model_file), "--jobs", "2")
    done = run_limited(tmp_path, *arguments, limit=resource.RLIMIT_STACK, value=LARGE_STACK)
    message = "titanic: no thread can be started: allow more processes or memory, or use fewer --jobs, and try again.\n"
    assert (done.returncode, done.stderr) == (74, message)
    # Python's own threads fit, but not that of Arrow's parser.
    code = f"import threading; threading.stack_size(2**20); {TITANIC}"
    done = run_limited(tmp_path, *arguments, limit=resource.RLIMIT_STACK, value=LARGE_STACK, code=code)
    message = "the machine has no room for a thread to read in.csv: allow more processes or memory, and try again."
    assert (done.returncode, done.stderr) == (74, f"titanic: {message}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.parametrize("command", ["score", "validate", "fit", "serve"])
def test_too_little_memory_for_the_libraries_is_told_before_they_are_loaded(
    tmp_path: Path, test_csv: Path, command: str
) -> None:
    options = {"score": [str(test_csv), "-o", "p.csv"], "validate": [str(test_csv)]}.get(command, [])
    done = run_limited(tmp_path, command, *options, limit=resource.RLIMIT_AS, value=400 * 2**20)
    assert done.returncode == 74
    assert done.stderr.startswith("titanic: there is not enough memory: the limits on this process (ulimit) leave ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("score", "in.csv", "-o", "p.csv"), ("--help",)])
@pytest.mark.parametrize("mebibytes", [20, 30, 45])
def test_too_little_memory_for_the_command_line_is_told_before_it_is_read(
    tmp_path: Path, arguments: tuple[str, ...], mebibytes: int
) -> None:
    code = "from titanic_batch.__main__ import main; main()"
    done = run_limited(tmp_path, *arguments, limit=resource.RLIMIT_AS, value=mebibytes * 2**20, code=code)
    assert (done.returncode, done.stdout) == (74, "")
    assert re.fullmatch(
        r"titanic: there is not enough memory: the limits on this process \(ulimit\) leave \d+ MiB, and 40 are needed; "
        r"raise them, or use fewer --jobs, and try again\.\n",
        done.stderr,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in.csv", "in.parquet", "in.csv.gz"])
def test_little_memory_is_enough_or_the_run_may_be_tried_again(tmp_path: Path, model_file: Path, name: str) -> None:
    rows = [passenger(key) for key in range(1, 2001)]
    many = csv_bytes(rows)
    body = many.partition(b"\n")[2]
    if name == "in.parquet":
        (tmp_path / name).write_bytes(parquet_bytes(typed(rows)))
    else:
        data = many + body * 200  # repeated keys, which are all rejected
        (tmp_path / name).write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    codes = []
    for mebibytes in range(500, 1100, 100):
        arguments = ("score", name, "-o", "p.csv", "-m", str(model_file), "--max-rejects", "100%", "--jobs", "4")
        done = run_limited(tmp_path, *arguments, limit=resource.RLIMIT_AS, value=mebibytes * 2**20)
        assert done.returncode in (0, 74), (mebibytes, done.stderr)
        assert all(line.startswith("titanic: ") for line in done.stderr.splitlines()), done.stderr
        codes.append(done.returncode)
    assert codes[0] == 74
    assert codes[-1] == 0
