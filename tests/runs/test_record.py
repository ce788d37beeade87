"""The record of a run tells the truth, however the run ends."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import Result

from tests.passengers import csv_bytes, passenger, passengers
from titanic_batch.models.model import Model
from titanic_batch.models.scores import ModelScores
from titanic_batch.version import __version__
from titanic_batch.writing.publishing import Publication

Titanic = Callable[..., Result]

SCHEMA = json.loads(files("titanic_batch").joinpath("runs/record.schema.json").read_text())
OPTIONS = ("--report", "r.json", "--metrics", "m.prom")


def record(name: str = "r.json") -> dict[str, Any]:
    """Read a record, and check it against its schema."""
    found: dict[str, Any] = json.loads(Path(name).read_text())
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(found)
    return found


def metric(name: str) -> float | None:
    match = re.search(rf"^{name}{{.*}} (\S+)$", Path("m.prom").read_text(), re.MULTILINE)
    return float(match[1]) if match else None


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty passengers, one of them in a class that there is not."""
    path = tmp_path / "in.csv"
    path.write_bytes(csv_bytes([*passengers(19), passenger(20, Pclass="77")]))
    return path


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"format": "titanic-batch run"}, SCHEMA)


def test_a_run_that_went_well_is_told_in_full(
    titanic: Titanic, tmp_path: Path, source: Path, model_file: Path, small_model: Model
) -> None:
    assert titanic("score", source, "-o", "p.parquet", "--max-rejects", "5%", *OPTIONS).exit_code == 0
    found = record()
    assert (found["status"], found["exit_code"], found["message"]) == ("succeeded", 0, None)
    assert found["rows"] == {"in": 20, "scored": 19, "rejected": 1}
    assert found["rejected_by_rule"] == [{"rule": "not_allowed", "column": "Pclass", "rows": 1}]
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert found["inputs"] == [{"name": str(source), "format": "csv", "bytes": source.stat().st_size, "sha256": digest}]
    assert [file["name"] for file in found["outputs"]] == ["p.parquet.rejects.csv", "p.parquet"]
    for file in found["outputs"]:
        content = Path(file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    model_digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert found["model"] == {"source": str(model_file), "sha256": model_digest, "engine": "plain"}
    assert sum(found["predictions"]["labels"].values()) == 19
    assert sum(one["rows"] for one in found["predictions"]["probability"]) == 19
    assert found["versions"]["titanic-batch"] == __version__
    seconds = found["seconds"]
    assert 0 < sum(spent for stage, spent in seconds.items() if stage != "total") <= seconds["total"]
    assert found["options"]["max_rejects"] == "5%"
    assert [metric(f"titanic_last_run_{name}") for name in ("exit_code", "broken_rules")] == [0, 1]
    assert metric("titanic_last_success_timestamp_seconds") == metric("titanic_last_run_timestamp_seconds")


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o027, 0o077])
def test_metrics_can_be_read_by_everybody_whatever_the_umask_and_the_record_comes_last(
    titanic: Titanic, source: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        assert titanic("score", source, "-o", "p.csv", "--max-rejects", 1, *OPTIONS).exit_code == 0
    finally:
        os.umask(before)
    for name, mode in (("r.json", 0o666 & ~umask), ("m.prom", 0o644), ("p.csv.rejects.csv", 0o600)):
        assert stat.S_IMODE(Path(name).stat().st_mode) == mode
    for name in ("r.json", "m.prom"):
        assert Path(name).stat().st_mtime_ns >= Path("p.csv").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in.csv", "-o", "p.csv"], 65, "1 of 20 rows rejected, 0 allowed (not_allowed Pclass: 1): no predictions"),
        (["empty.csv", "-o", "p.csv"], 65, "empty.csv is empty: not even a header."),
        (["gone.csv", "-o", "p.csv"], 66, "gone.csv does not exist: check the path."),
        (
            ["in.csv", "-o", "gone/p.csv"],
            73,
            "gone/p.csv can't be created (No such file or directory): make the folder gone first.",
        ),
        (["good.csv", "-o", "/dev/full", "--output-format", "csv"], 74, "writing /dev/full failed (No space left"),
        (["in.csv", "-o", "held.csv"], 75, "held.csv is being written by another run: try again later."),
        (["in.csv", "-o", "p.csv", "-m", "gone.skops"], 78, "the model gone.skops can't be read"),
        (["gone", "-o", "out/"], 66, "gone does not exist"),
    ],
)
def test_a_run_that_failed_is_told_too(
    titanic: Titanic, tmp_path: Path, source: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "good.csv").write_bytes(csv_bytes(passengers(9)))
    assert titanic("score", "good.csv", "-o", "first.csv", "--metrics", "m.prom").exit_code == 0
    with Publication() as other:
        other.add("held.csv")
        result = titanic("score", *arguments, *OPTIONS)
    assert result.exit_code == code
    found = record()
    assert (found["status"], found["exit_code"]) == ("failed", code)
    assert found["message"].startswith(words)
    assert result.stderr == f"titanic: {found['message']}\n"
    assert metric("titanic_last_run_exit_code") == code
    assert "p.csv" not in [file["name"] for file in found["outputs"]]
    rows = found["rows"]
    assert rows["in"] == rows["scored"] + rows["rejected"]


def test_a_fault_of_ours_is_told_without_its_text(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, source: Path
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("SECRET")

    monkeypatch.setattr(ModelScores, "__call__", fail)
    result = titanic("score", source, "-o", "p.csv", *OPTIONS)
    assert (result.exit_code, type(result.exception)) == (1, RuntimeError)
    assert (record()["exit_code"], record()["message"]) == (1, "a fault of the program (RuntimeError).")
    result = titanic("score", source, "-o", "p.csv", "--log-format", "json")
    assert result.exit_code == 1
    (line,) = map(json.loads, result.stderr.splitlines())
    assert (line["level"], line["message"]) == ("critical", "a fault of the program (RuntimeError).")
    assert any("batch.py" in place for place in line["traceback"])
    assert "SECRET" not in result.stderr


def test_wrong_usage_writes_no_record(titanic: Titanic, source: Path) -> None:
    before = source.read_bytes()
    for name in ("in.csv", "./in.csv"):
        assert titanic("score", "in.csv", "-o", "p.csv", "--report", name).exit_code == 2
        assert titanic("score", "in.csv", "gone.csv", "-o", "p.csv", "--metrics", name).exit_code == 2
    assert titanic("score", "in.csv", "-o", "p.txt", "--report", "r.json").exit_code == 2
    assert source.read_bytes() == before
    assert os.listdir() == ["in.csv"]


def test_a_model_is_not_overwritten_by_the_record(titanic: Titanic, source: Path, small_model: Model) -> None:
    small_model.save("model.skops")
    before = Path("model.skops").read_bytes()
    assert titanic("score", "in.csv", "-o", "p.csv", "-m", "model.skops", "--report", "model.skops").exit_code == 2
    assert Path("model.skops").read_bytes() == before


@pytest.mark.parametrize("option", ["--report", "--metrics"])
def test_a_record_that_cannot_be_created_is_told_before_any_work(titanic: Titanic, source: Path, option: str) -> None:
    result = titanic("score", source, "-o", "p.csv", option, "gone/r", "--max-rejects", 1)
    assert result.exit_code == 73
    assert (
        result.stderr == "titanic: gone/r can't be created (No such file or directory): make the folder gone first.\n"
    )
    assert os.listdir() == ["in.csv"]


def test_where_one_record_cannot_be_written_the_other_tells_of_it(titanic: Titanic, source: Path) -> None:
    result = titanic("score", source, "-o", "p.csv", "--max-rejects", 1, "--report", "r.json", "--metrics", "/dev/full")
    assert result.exit_code == 74
    assert record()["exit_code"] == 74
    assert record()["message"].startswith("writing /dev/full failed (No space left on device)")
    assert [file["name"] for file in record()["outputs"]] == ["p.csv.rejects.csv", "p.csv"]


def test_the_last_success_outlives_failures(titanic: Titanic, source: Path) -> None:
    name = "titanic_last_success_timestamp_seconds"
    titanic("score", source, "-o", "p.csv", *OPTIONS)
    assert metric(name) is None
    titanic("score", source, "-o", "p.csv", "--max-rejects", 1, *OPTIONS)
    success = metric(name)
    assert success is not None
    titanic("score", source, "-o", "p.csv", *OPTIONS)
    assert metric(name) == success
    assert metric("titanic_last_run_exit_code") == 65


def test_no_value_of_a_row_is_in_any_record(titanic: Titanic, tmp_path: Path) -> None:
    row = passenger(1, Sex="SECRET", Age="SECRET", Cabin="SECRET", Fare="SECRET")
    (tmp_path / "in.csv").write_bytes(csv_bytes([row]))
    for output in ("p.csv", "out/"):
        result = titanic("score", "in.csv", "-o", output, "--log-format", "json", *OPTIONS)
        assert result.exit_code == 65
        assert "SECRET" not in result.output + Path("r.json").read_text() + Path("m.prom").read_text()


def test_a_record_may_go_to_stdout(titanic: Titanic, source: Path) -> None:
    result = titanic("score", source, "-o", "p.csv", "--report", "-", "--max-rejects", 1)
    assert json.loads(result.stdout)["exit_code"] == 0
    assert titanic("score", source, "-o", "-", "--report", "-").exit_code == 2


def test_a_folder_is_told_input_by_input(titanic: Titanic, tmp_path: Path, source: Path) -> None:
    (tmp_path / "good.csv").write_bytes(csv_bytes(passengers(9)))
    assert titanic("score", "good.csv", "in.csv", "-o", "out/", "--report", "out/r.json").exit_code == 65
    found = record("out/r.json")
    assert found["rows"] == {"in": 29, "scored": 28, "rejected": 1}
    assert [(one["output"], one["status"], one["exit_code"], one["rows"]["in"]) for one in found["inputs"]] == [
        ("out/good.csv", "succeeded", 0, 9),
        ("out/in.csv", "failed", 65, 20),
    ]
    assert found["inputs"][1]["message"] == "1 of 20 rows rejected, 0 allowed (not_allowed Pclass: 1)"
    assert [file["name"] for file in found["outputs"]] == ["out/good.csv", "out/_rejects/in.csv.rejects.csv"]


@pytest.mark.parametrize("output", ["p.csv", "out/"])
def test_files_that_are_passed_over_are_told(titanic: Titanic, tmp_path: Path, output: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_bytes(csv_bytes(passengers(9)))
    assert titanic("score", "in", "-o", output, "--report", "r.json").exit_code == 0
    assert record()["passed_over"] == []
    for number in range(12):
        (folder / f"part-{number:02}").touch()
    os.mkfifo(folder / "b.csv")
    (folder / "c.parquet").mkdir()
    (folder / "_d.csv").touch()
    assert titanic("score", "in", "-o", output, "--report", "r.json").exit_code == 0
    assert record()["passed_over"] == [
        {"name": "in/_d.csv", "reason": "leading underscore"},
        {"name": "in/b.csv", "reason": "not a file"},
        {"name": "in/c.parquet", "reason": "folder"},
        *({"name": f"in/part-{number:02}", "reason": "unknown suffix"} for number in range(12)),
    ]
    (folder / "a.csv").write_bytes(b"")
    assert titanic("score", "in", "-o", output, "--report", "r.json").exit_code == 65
    assert len(record()["passed_over"]) == 15


@pytest.mark.parametrize(
    ("arguments", "code", "level"),
    [
        (["score", "in.csv", "-o", "p.csv"], 65, "error"),
        (["score", "in.csv", "-o", "p.csv", "--max-rejects", "few"], 2, "error"),
        (["score", "in.csv", "-o", "p.csv", "--min-rows", "-1"], 2, "error"),
        (["validate", "gone.csv"], 66, "error"),
        (["fit", "gone.csv"], 66, "error"),
        (["serve", "-m", "gone.skops"], 78, "error"),
    ],
)
def test_what_is_said_can_be_json(titanic: Titanic, source: Path, arguments: list[str], code: int, level: str) -> None:
    result = titanic(*arguments, "--log-format", "json")
    assert result.exit_code == code
    (line,) = map(json.loads, result.stderr.splitlines())
    assert line.keys() == {"time", "level", "command", "message", "exit_code"}
    assert (line["command"], line["level"], line["exit_code"]) == (arguments[0], level, code)
    assert titanic(*arguments).stderr.startswith(("titanic: ", "Usage: titanic"))


def test_what_is_said_on_the_way_is_a_warning(titanic: Titanic, source: Path) -> None:
    result = titanic("score", source, "-o", "p.csv", "--max-rejects", 1, "--log-format", "json")
    assert result.exit_code == 0
    drifted, line = map(json.loads, result.stderr.splitlines())
    assert drifted["message"].startswith("the 19 scored rows are not like those of the fit")
    assert drifted["level"] == "warning"
    assert line.keys() == {"time", "level", "command", "message"}
    assert (line["level"], line["message"]) == ("warning", "1 of 20 rows rejected: see p.csv.rejects.csv.")
    assert titanic("score", source, "-o", "p.csv", "--log-format", "xml").exit_code == 2


# What takes a process of its own

STUCK = """
import hashlib, os, sys
from titanic_batch.cli import command as cli
from titanic_batch.writing import publishing

class Os:
    def __getattr__(self, name):
        return getattr(os, name)

    def fsync(self, descriptor):
        print("stuck", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # a call that no signal ends

publishing.os = Os()
cli.main()
"""


@pytest.mark.slow
def test_who_stops_while_libraries_are_imported_is_recorded_too(tmp_path: Path, source: Path, model_file: Path) -> None:
    options = ("score", str(source), "-o", "p.csv", "-m", str(model_file), "--report", "r.json")
    program = "import os, signal, sys\nfrom titanic_batch.cli import command as cli\nclass Stop:\n"
    program += (
        "    def find_spec(self, name, *_):\n        if name == 'pyarrow': os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", f"{program}sys.meta_path.insert(0, Stop())\ncli.main()", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 143
    assert process.stderr == "titanic: stopped by SIGTERM: nothing was published, so run it again.\n"
    found = json.loads((tmp_path / "r.json").read_text())
    jsonschema.validate(found, SCHEMA)
    assert (found["status"], found["exit_code"], found["inputs"]) == ("stopped", 143, [])


@pytest.mark.slow
def test_a_reader_that_goes_away_is_recorded(tmp_path: Path, source: Path, model_file: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    options = ("score", "in.csv", "-o", "-", "-m", str(model_file), "--rejects", "x.csv", "--max-rejects", "1")
    process = subprocess.run(
        [sys.executable, "-m", "titanic_batch", *options, "--report", "r.json"],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (process.returncode, process.stderr) == (141, b"")
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["exit_code"], [file["name"] for file in found["outputs"]]) == (141, ["x.csv"])


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_stream_is_told(tmp_path: Path, source: Path, model_file: Path, closed: str) -> None:
    arguments = ("-", "-o", "p.csv") if closed == "<&-" else ("in.csv", "-o", "-", "--max-rejects", "0")
    process = subprocess.run(
        [
            *("bash", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "titanic_batch", "score", *arguments),
            *("-m", str(model_file)),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    code, line = {
        "<&-": (66, "stdin is closed: lead a file or a pipe into it, or name a file."),
        ">&-": (73, "stdout is not open for writing: lead it somewhere."),
    }[closed]
    assert (process.returncode, process.stderr) == (code, f"titanic: {line}\n")
    assert os.listdir(tmp_path) == ["in.csv"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.slow
def test_a_call_that_does_not_return_is_left_all_the_same(
    tmp_path: Path, source: Path, model_file: Path, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_text("old")
    os.mkfifo("r.json")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("r.json").read_bytes()), daemon=True)
    reader.start()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", STUCK, "score", "in.csv", "-o", "p.csv", "-m", str(model_file)),
            *("--max-rejects", "1", "--report", "r.json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    reader.join(10)
    assert (process.returncode, stderr) == (
        code,
        f"titanic: stopped by {number.name}: nothing was published, so run it again.\n",
    )
    assert sorted(os.listdir()) == ["in.csv", "p.csv", "r.json"]
    assert Path("p.csv").read_text() == "old"
    found = json.loads(got[0])
    jsonschema.validate(found, SCHEMA)
    assert (found["status"], found["exit_code"], found["outputs"]) == ("stopped", code, [])
