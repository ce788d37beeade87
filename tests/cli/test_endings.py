"""How a run ends: its exit code, its one line, and what it leaves behind."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.command import Titanic, assert_fails, edited, is_silent, names_in
from tests.cli.process import closed_pipe, environment, run_process
from titanic_batch.cli.endings import ending_of
from titanic_batch.models.scores import ModelScores

# Inputs and outputs


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "in.csv", "is empty: not even a header"),
        (b"", "in.parquet", "is empty: not even a header"),
        (b"1,2,3\n", "in.csv", "is the header missing?"),
        (b"PassengerId,Pclass\n1,1\n", "in.csv", "columns missing: "),
        (b"PassengerId;Pclass\n1;1\n", "in.csv", "separated by a semicolon"),
        (b"\xff\xfea\0", "in.csv", "is not UTF-8"),
        (b"PAR1", "in.csv", "say --input-format parquet"),
        (b"no parquet at all", "in.parquet", "is not Parquet, or is cut short"),
        (b"no gzip at all", "in.csv.gz", "in.csv.gz"),
        (gzip.compress(bytes(range(256)) * 500, mtime=0)[:300], "in.csv.gz", "in.csv.gz"),
        (b"no zstd at all", "in.csv.zst", "in.csv.zst"),
    ],
)
@pytest.mark.parametrize("command", ["score", "validate"])
def test_data_that_cannot_be_read_as_passengers_is_reported(
    titanic: Titanic, tmp_path: Path, command: str, content: bytes, name: str, words: str
) -> None:
    Path(name).write_bytes(content)
    output = ["-o", "p.csv"] if command == "score" else []
    assert_fails(titanic(command, name, *output), 65, words)
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone.csv", "gone.csv does not exist"),
        ("gone/*.csv", "no file matches gone/*.csv"),
        ("empty", "empty holds no file to read"),
    ],
)
@pytest.mark.parametrize("command", ["score", "validate", "fit"])
def test_an_input_that_cannot_be_opened_is_reported(
    titanic: Titanic, tmp_path: Path, command: str, name: str, words: str
) -> None:
    Path("empty").mkdir()
    output = {"score": ["-o", "p.csv"], "validate": [], "fit": ["-o", "m.skops"]}[command]
    assert_fails(titanic(command, name, *output), 66, words)
    assert names_in(tmp_path) == ["empty"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "gone/p.csv"], "gone/p.csv can't be created (No such file or directory)"),
        (["-o", "p.csv", "--rejects", "folder.csv"], "folder.csv is a folder"),
        (["-o", "p.csv", "--rejects", "gone/r.csv"], "gone/r.csv can't be created"),
    ],
)
def test_an_output_that_cannot_be_created_is_reported(
    titanic: Titanic, tmp_path: Path, test_csv: Path, options: list[str], words: str
) -> None:
    Path("folder.csv").mkdir()
    assert_fails(titanic("score", test_csv, *options), 73, words)
    assert names_in(tmp_path) == ["folder.csv"]


def test_a_full_disk_is_reported(titanic: Titanic, tmp_path: Path, test_csv: Path, bad_csv: Path) -> None:
    result = titanic("score", test_csv, "-o", "/dev/full", "--output-format", "csv")
    assert_fails(result, 74, "writing /dev/full failed (No space left on device): free some space and try again.")
    result = titanic("validate", bad_csv, "-o", "/dev/full")
    assert_fails(result, 74, "writing /dev/full failed")
    assert names_in(tmp_path) == ["bad.csv"]


HOLD = """
import sys
from titanic_batch.writing.publishing import Publication
output = Publication().add(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_an_output_that_another_process_holds_is_left_to_it(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    Path("p.csv").write_text("old")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, "p.csv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert_fails(titanic("score", test_csv, "-o", "p.csv"), 75, "p.csv is being written by another run")
        assert Path("p.csv").read_text() == "old"
        holder.kill()
    assert is_silent(titanic("score", test_csv, "-o", "p.csv"))
    assert names_in(tmp_path) == ["p.csv"]


# Messages


def test_no_message_and_no_report_shows_a_value(titanic: Titanic, tmp_path: Path, test_csv: Path) -> None:
    source = edited(test_csv, tmp_path / "bad.csv", 5, Sex="SECRET", Age="SECRET", PassengerId="SECRET")
    for arguments in (["score", source, "-o", "p.csv"], ["validate", source], ["validate", source, "--format", "json"]):
        result = titanic(*arguments)
        assert result.exit_code == 65
        assert "SECRET" not in result.output


def test_a_message_is_one_line_whatever_the_name_of_a_file(titanic: Titanic) -> None:
    result = titanic("score", "a\nb\x1b.csv", "-o", "out.csv")
    assert (result.exit_code, result.stderr) == (66, "titanic: a\\nb\\x1b.csv does not exist: check the path.\n")


def test_an_error_prints_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    process = run_process("-m", "titanic_batch", "validate", "gone.csv", "--rejects", "r.csv", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (66, "")
    assert process.stderr == "titanic: gone.csv does not exist: check the path.\n"
    assert names_in(tmp_path) == []


# Internal errors


def test_an_internal_error_is_not_reported_as_an_error_in_the_data(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test_csv: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(ModelScores, "__call__", fail)
    result = titanic("score", test_csv, "-o", "p.csv")
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)
    assert names_in(tmp_path) == []


def test_an_internal_error_ends_in_a_traceback(model_file: Path) -> None:
    program = (
        "from titanic_batch.cli import command\n"
        "from titanic_batch.models import artifact\n"
        "def fail(name): raise RuntimeError('ours')\n"
        "artifact.read_artifact = fail\n"
        "command.main()"
    )
    process = run_process("-c", program, "inspect", model_file)
    assert process.returncode == 1
    assert process.stderr.startswith("Traceback (most recent call last):\n")
    assert process.stderr.endswith("RuntimeError: ours\n")


# Standard streams


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "closed", "exit_code"),
    [
        (["validate", "p.csv"], ">&-", 73),
        (["validate", "p.csv", "--rejects", "bad.csv"], ">&-", 73),
        (["validate", "p.csv", "-o", "/dev/fd/2"], "2>&-", 73),
        (["validate", "p.csv", "-o", "/dev/fd/0"], "<&-", 73),
        (["validate", "p.csv", "-o", "/dev/stdout"], ">&-", 73),
        (["validate", "p.csv", "-o", "/dev/fd/4"], "", 73),  # where the process has a descriptor of its own
        (["validate", "p.csv", "-o", "/dev/fd/9"], "9<p.csv", 73),
        (["fit", "-o", "m.skops"], ">&-", 73),
        (["--version"], ">&-", 73),
        (["validate", "missing.csv"], "2>&-", 66),
        (["validate", "-"], "<&-", 66),
        (["validate", "p.csv", "-o", "r.txt"], "<&- >&- 2>&-", 0),
    ],
)
def test_a_closed_stream_matters_only_where_it_is_used(
    arguments: list[str], closed: str, exit_code: int, test_csv: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_bytes(test_csv.read_bytes())
    command = f'"$0" -m titanic_batch "$@" {closed}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == exit_code
    said = {66: "stdin is closed: lead a file or a pipe into it, or name a file.", 73: " is not open for writing: "}
    assert said.get(exit_code, "") in done.stderr if "2>&-" not in closed else not done.stderr
    assert "Traceback" not in done.stderr
    if exit_code == 73:
        assert os.listdir(tmp_path) == ["p.csv"]
    if exit_code == 0:
        assert (tmp_path / "r.txt").read_text() == "p.csv: 418 rows, 0 rejected\n"


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "exit_code"), [("5", 0), ("0", 65)])
def test_a_message_that_cannot_be_written_changes_nothing(
    model_file: Path, test_csv: Path, tmp_path: Path, limit: str, exit_code: int
) -> None:
    (tmp_path / "p.csv").write_bytes(test_csv.read_bytes().replace(b",male,", b",Male,", 2))
    arguments = ["score", "p.csv", "-o", "out.csv", "-m", str(model_file), "--max-rejects", limit]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "titanic_batch", *arguments], cwd=tmp_path, stderr=full)
    assert done.returncode == exit_code
    assert (tmp_path / "out.csv").exists() == (exit_code == 0)


def test_a_closed_pipe_ends_the_run_quietly(model_file: Path) -> None:
    with closed_pipe() as stdout:
        process = run_process("-m", "titanic_batch", "inspect", model_file, stdout=stdout)
    assert (process.returncode, process.stderr) == (141, "")


def test_a_full_disk_behind_stdout_is_reported(model_file: Path) -> None:
    with open("/dev/full", "w") as full:
        process = run_process("-m", "titanic_batch", "inspect", model_file, stdout=full.fileno())
    assert process.returncode == 74
    assert process.stderr.startswith("titanic: writing stdout failed (No space left on device): free some space")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["score", "--help"]], ids=" ".join)
def test_help_and_version_report_a_closed_pipe_and_a_full_disk(arguments: list[str]) -> None:
    with closed_pipe() as stdout:
        process = run_process("-m", "titanic_batch", *arguments, stdout=stdout)
    assert (process.returncode, process.stderr) == (141, "")
    with open("/dev/full", "w") as full:
        process = run_process("-m", "titanic_batch", *arguments, stdout=full.fileno())
    told = "titanic: writing failed (No space left on device): free some space and try again.\n"
    assert (process.returncode, process.stderr) == (74, told)


# Signals


class Feed(threading.Thread):
    """Writes passengers to a named pipe without end; after ``rows`` of them it writes no more, and keeps it open."""

    def __init__(self, pipe: Path, rows: float) -> None:
        super().__init__()
        self.written = threading.Event()
        self._pipe = pipe
        self._rows = rows
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            with self._pipe.open("wb") as file:
                file.write(b"PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin\n")
                row = 0
                while row < self._rows and not self._stopped.is_set():
                    file.write(b"".join(b"%d,3,male,22,0,0,7.25,\n" % key for key in range(row, row + 20_000)))
                    row += 20_000
                file.flush()
                self.written.set()
                self._stopped.wait()
        except BrokenPipeError:
            pass

    def stop(self) -> None:
        self._stopped.set()
        # Where nobody ever opened the pipe, this lets it be opened.
        os.close(os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK))
        self.join(10)
        assert not self.is_alive()


def stopped_by(number: signal.Signals, folder: Path, rows: float, *arguments: str | Path) -> tuple[int, str, float]:
    """Return how a run over an endless pipe ends when it is told to, and how many seconds that takes."""
    os.mkfifo(folder / "in.csv")
    feed = Feed(folder / "in.csv", rows)
    feed.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "titanic_batch", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        while not (feed.written.is_set() or len(list(folder.glob(".*"))) == 2) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.5)
        started = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        return process.returncode, out + err, time.monotonic() - started
    finally:
        process.kill()
        process.communicate()
        feed.stop()


def test_sigterm_ends_a_run_and_leaves_nothing(tmp_path: Path, model_file: Path) -> None:
    (tmp_path / "p.csv").write_text("old")
    code, output, seconds = stopped_by(
        signal.SIGTERM, tmp_path, float("inf"), "score", "in.csv", "-o", "p.csv", "-m", model_file
    )
    assert (code, output) == (143, "titanic: stopped by SIGTERM: nothing was published, so run it again.\n")
    assert seconds < 5
    assert names_in(tmp_path) == ["in.csv", "p.csv"]
    assert (tmp_path / "p.csv").read_text() == "old"


@pytest.mark.slow
def test_sigint_ends_a_run_that_waits_for_input(tmp_path: Path) -> None:
    code, output, seconds = stopped_by(
        signal.SIGINT, tmp_path, 40_000, "validate", "in.csv", "--rejects", "r.csv", "--max-rejects", "100%"
    )
    assert (code, output) == (130, "titanic: stopped by SIGINT: nothing was published, so run it again.\n")
    assert seconds < 5
    assert names_in(tmp_path) == ["in.csv"]


@pytest.mark.slow
def test_sigterm_ends_a_run_whose_input_stalls_midway(tmp_path: Path) -> None:
    code, output, seconds = stopped_by(
        signal.SIGTERM, tmp_path, 4_000_000, "validate", "in.csv", "--rejects", "r.csv", "-j", "2"
    )
    assert (code, output) == (143, "titanic: stopped by SIGTERM: nothing was published, so run it again.\n")
    assert seconds < 5
    assert names_in(tmp_path) == ["in.csv"]


def test_a_library_that_does_not_fit_into_memory_is_no_bug() -> None:
    """Packages replace the loader's own error by another ImportError."""
    loader = ImportError("libparquet.so: failed to map segment from shared object")
    package = ImportError("install the package again")
    package.__cause__ = loader
    for error in (loader, package, MemoryError()):
        message = "there is not enough memory: give more, or use fewer --jobs, and try again."
        assert tuple(ending_of(error)) == (74, message)
    assert ending_of(ImportError("install the package again")).code == 1


def test_a_stop_that_python_ignores_is_not_reported_and_a_fault_is() -> None:
    """A signal may arrive within the callback of a weak reference, from which no exception comes out."""
    program = """
import signal, sys, weakref
from titanic_batch.cli import process
from titanic_batch.writing import stopping

process.on_signals(stopping.ask)
for act in (lambda _: signal.raise_signal(signal.SIGINT), lambda _: 1 / 0):
    thing = type("Thing", (), {})()
    reference = weakref.ref(thing, act)
    del thing
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout) == (0, "went on\n")
    assert "ZeroDivisionError" in done.stderr
    assert "Stopped" not in done.stderr
