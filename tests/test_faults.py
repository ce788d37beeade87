"""Faults of the machine: a full disk, a folder that can't be written, runs that are killed, many runs at once."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from tests.machine import ROOT, need
from tests.passengers import csv_bytes, passenger, passengers

Titanic = Callable[..., Result]

KILL_RUNS = Path(__file__).with_name("kill_runs.py")
EARLY_ENDS = Path(__file__).with_name("early_ends.py")
PAGES = 16  # of the small disk, 4 KiB each


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        if os.environ.get("CI") == "true":
            pytest.fail(f"mount {arguments}: {done.stderr}")
        pytest.skip("a file system can't be mounted here")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, with an old output on it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={PAGES * 4}k", "titanic-test", folder)
    try:
        for name in ("p.csv", "p.parquet", "p.csv.gz"):
            (folder / name).write_text("old")
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def many_csv(tmp_path: Path) -> Path:
    """Passengers whose predictions need more room than the small disk has."""
    path = tmp_path / "many.csv"
    # Keys that no encoding makes small.
    path.write_bytes(csv_bytes(passenger(key * 982_451_653 % 2**40) for key in range(30_000)))
    return path


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.csv.gz"])
def test_a_full_disk_keeps_the_old_predictions(
    titanic: Titanic, tmp_path: Path, disk: Path, many_csv: Path, name: str
) -> None:
    before = content(disk)
    result = titanic("score", many_csv, "-o", disk / name, "--keep", "Fare", "--report", "r.json")
    assert (result.exit_code, result.stderr) == (
        74,
        f"titanic: writing {disk / name} failed (No space left on device): free some space and try again.\n",
    )
    assert content(disk) == before
    assert Path("r.json").read_text().count('"exit_code": 74') == 1
    few = tmp_path / "few.csv"
    few.write_bytes(csv_bytes(passengers(5)))
    assert titanic("score", few, "-o", disk / name).exit_code == 0, "once there is space"


def test_a_full_disk_is_told_also_where_rejects_or_a_record_fill_it(
    titanic: Titanic, tmp_path: Path, disk: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_bytes(csv_bytes(passenger(key, Sex="?") for key in range(3000)))
    before = content(disk)
    result = titanic("score", bad, "-o", tmp_path / "p.csv", "--rejects", disk / "r.csv", "--max-rejects", "100%")
    assert result.exit_code == 74
    assert f"writing {disk / 'r.csv'} failed (No space left on device)" in result.stderr
    assert titanic("validate", bad, "--rejects", disk / "r.csv").exit_code == 74
    (disk / "filler").write_bytes(b"x" * 4096 * (PAGES - len(before)))
    good = tmp_path / "good.csv"
    good.write_bytes(csv_bytes(passengers(5)))
    result = titanic("score", good, "-o", tmp_path / "p.csv", "--report", disk / "r.json")
    assert result.exit_code == 74
    assert f"writing {disk / 'r.json'} failed (No space left on device)" in result.stderr
    assert {name: data for name, data in content(disk).items() if name != "filler"} == before


def test_one_input_that_fills_the_disk_leaves_the_others(
    titanic: Titanic, tmp_path: Path, disk: Path, many_csv: Path
) -> None:
    few = tmp_path / "few.csv"
    few.write_bytes(csv_bytes(passengers(5)))
    (disk / "out").mkdir()
    drifts = []
    for inputs, code in (((many_csv, few), 74), ((few,), 0)):
        assert titanic("score", *inputs, "-o", disk / "out", "--report", "r.json").exit_code == code
        assert set(content(disk / "out")) == {"few.csv", "_state.json"}
        drifts.append(json.loads(Path("r.json").read_text())["inputs"][-1]["drift"])
    assert drifts[0] == drifts[1], "the rows of the failed input count"


def test_a_folder_that_cannot_be_written_is_told(titanic: Titanic, tmp_path: Path, disk: Path, test_csv: Path) -> None:
    mount("-o", "remount,ro", disk)
    before = content(disk)
    for arguments in (
        ["score", test_csv, "-o", disk / "p.csv"],
        ["score", test_csv, "-o", f"{disk}/new/"],
        ["score", test_csv, "-o", "p.csv", "--report", disk / "r.json"],
        ["validate", test_csv, "-o", disk / "report.txt"],
    ):
        result = titanic(*arguments)
        assert (result.exit_code, result.stdout) == (73, ""), arguments
        assert result.stderr.startswith("titanic: ")
        assert result.stderr.endswith("(Read-only file system).\n")
        assert result.stderr.count("\n") == 1
    assert content(disk) == before
    assert os.listdir(tmp_path) == ["disk"]


@pytest.mark.slow
def test_each_call_that_fails_is_told_and_leaves_whole_outputs() -> None:
    need("gcc")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fail_calls"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [re.sub("[0-9]+(,|$)", "N\\1", line) for line in done.stdout.splitlines()] == [
        f"{command}, 0: N, 73: N, 74: N" for command in ("score", "score", "validate")
    ]


@pytest.mark.slow
def test_killed_and_failing_and_simultaneous_runs_leave_whole_outputs() -> None:
    done = subprocess.run(
        [sys.executable, str(KILL_RUNS), "--runs", "20", "--rows", "3000", "--steps"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    counts = {outcome: int(count) for outcome, _, count in (line.rpartition(": ") for line in done.stdout.splitlines())}
    for number in ("SIGKILL", "SIGTERM"):
        assert counts.get(f"{number} stopped", 0) + counts.get(f"{number} done before", 0) == 20
        assert counts.get(f"{number} stopped", 0) > 0
    assert counts["kill -9"] > 20, "steps of publishing"
    assert counts["at once --wait 0"] == 20
    assert counts["at once 75"] > 0


@pytest.mark.slow
def test_runs_that_end_early_while_threads_are_at_work_do_not_crash() -> None:
    done = subprocess.run([sys.executable, str(EARLY_ENDS), "--runs", "5"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count(": 5 as it should") == 8


@pytest.fixture
def mounted_file(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file over the file of a name, as ``docker run -v`` of a file does."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file")
    mounted: list[Path] = []

    def mount_file(name: str) -> Path:
        source, path = tmp_path / f"source-{len(mounted)}", tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in (source, path):
            file.write_bytes(b"old")
        mount("--bind", source, path)
        mounted.append(path)
        return path

    yield mount_file
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["score", "bad.csv", "-o", "p.csv"], "p.csv"),
        (["score", "bad.csv", "-o", "p.csv"], "p.csv.rejects.csv"),
        (["score", "good.csv", "-o", "p.csv"], "p.csv.rejects.csv"),
        (["score", "bad.csv", "-o", "p.csv", "--max-rejects", "9", "--rejects", "r.csv"], "p.csv"),
        (["score", "bad.csv", "-o", "p.csv", "--report", "r.json"], "r.json"),
        (["score", "bad.csv", "-o", "p.csv", "--report", "r.json", "--metrics", "m.prom"], "m.prom"),
        (["score", "bad.csv", "-o", "out/"], "out/_state.json"),
        (["validate", "bad.csv", "-o", "report.txt", "--rejects", "r.csv"], "report.txt"),
        (["validate", "bad.csv", "-o", "report.txt", "--rejects", "r.csv"], "r.csv"),
        (["fit", "-o", "model.skops", "--report", "page.html"], "model.skops"),
        (["fit", "-o", "model.skops", "--report", "page.html"], "page.html"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_mounted_file_is_refused_before_anything_is_published(
    titanic: Titanic, tmp_path: Path, mounted_file: Callable[[str], Path], arguments: list[str], name: str
) -> None:
    (tmp_path / "good.csv").write_bytes(csv_bytes(passengers(5)))
    (tmp_path / "bad.csv").write_bytes(csv_bytes([*passengers(5), passenger(6, Sex="?")]))
    mounted_file(name)
    before = content(tmp_path)
    result = titanic(*arguments)
    assert (result.exit_code, result.stdout) == (73, "")
    assert result.stderr == (
        f"titanic: {name} can't be replaced, since it is mounted by itself: mount its folder, not the file.\n"
    )
    found = content(tmp_path)
    if "--report" in arguments and arguments[0] == "score" and name != "r.json":
        assert found.pop("r.json", b"").count(b'"exit_code": 73') == 1
    assert found == before


def test_one_mounted_file_of_a_folder_leaves_the_others(
    titanic: Titanic, tmp_path: Path, mounted_file: Callable[[str], Path]
) -> None:
    for name in ("a.csv", "b.csv", "sub/c.csv", "d.csv"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(csv_bytes(passengers(5)))
    mounted_file("out/b.csv")
    (tmp_path / "out" / "sub").touch()
    result = titanic("score", "in/**/*.csv", "-o", "out/")
    assert result.exit_code == 73
    assert [line for line in result.stderr.splitlines() if "are not like" not in line] == [
        "titanic: out/b.csv can't be replaced, since it is mounted by itself: mount its folder, not the file.",
        "titanic: out/sub is no folder: name another.",
        "titanic: 2 of 4 inputs failed: see above.",
    ]
    found = content(tmp_path / "out")
    assert set(found) == {"_state.json", "a.csv", "b.csv", "d.csv", "sub"}
    assert found["b.csv"] == b"old"
    assert found["a.csv"] == found["d.csv"]


def test_a_folder_that_cannot_be_synced_holds_what_was_published(
    titanic: Titanic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "in.csv").write_bytes(csv_bytes([*passengers(5), passenger(6, Sex="?")]))
    for output in ("p.csv", "new/folder/"):
        result = titanic("score", "in.csv", "-o", output, "--max-rejects", "1", "--report", "r.json")
        assert result.exit_code == 0
        assert (
            Path("r.json")
            .read_text()
            .startswith('{\n  "format": "titanic-batch run",\n  "version": 1,\n  "status": "succ')
        )
    assert set(content(tmp_path)) == {
        *("in.csv", "p.csv", "p.csv.rejects.csv", "r.json"),
        *("new/folder/in.csv", "new/folder/_rejects/in.csv.rejects.csv", "new/folder/_state.json"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("output", ["drop/p.csv", "drop/"])
def test_predictions_are_dropped_into_a_folder_that_cannot_be_read(
    tmp_path: Path, model_file: Path, output: str
) -> None:
    need("setpriv", root=True)
    (tmp_path / "in.csv").write_bytes(csv_bytes(passengers(5)))
    drop = tmp_path / "drop"
    drop.mkdir()
    drop.chmod(0o300)
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", sys.executable, "-m", "titanic_batch"]
    for options in ([], ["--report", "drop/r.json"]):
        done = subprocess.run(
            [*command, "score", "in.csv", "-o", output, "-m", str(model_file), *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    found = content(drop)
    expected = {"p.csv", "r.json"} if output == "drop/p.csv" else {"in.csv", "_state.json", "r.json"}
    assert set(found) == expected
