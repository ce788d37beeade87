"""Many inputs into a folder: each by itself, done once, shared out, and as if each were scored alone."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from tests.passengers import csv_bytes, passenger, passengers
from titanic_batch.models.scores import ModelScores
from titanic_batch.writing.publishing import Publication

Titanic = Callable[..., Result]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write(path: Path, first: int, rows: int, **fields: str) -> Path:
    """Write passengers in the format of the suffix; the third has these fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = passengers(rows, first)
    data[2] = passenger(first + 2, **fields)
    plain = csv_bytes(data)
    if path.suffix == ".parquet":
        pq.write_table(pyarrow.csv.read_csv(pyarrow.BufferReader(plain)), path)
    else:
        path.write_bytes(gzip.compress(plain, mtime=0) if path.suffix == ".gz" else plain)
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for number in range(4):
        write(folder / f"{number}.csv", 1, 10 * (number + 1))
        write(folder / f"{number}.parquet", 1, 15 * (number + 1))
    write(folder / "sub" / "deep" / "z.csv.gz", 1, 7)
    return folder


def test_each_file_is_scored_as_if_alone(titanic: Titanic, tmp_path: Path, inputs: Path) -> None:
    result = titanic("score", "in/**/*.csv", "in/**/*.gz", "in/*.parquet", "-o", "out/")
    assert (result.exit_code, result.stdout) == (0, "")
    assert all("are not like those of the fit" in line for line in result.stderr.splitlines()), "they are made up"
    found = content(tmp_path / "out")
    assert set(found) - {"_state.json"} == set(content(inputs))
    for name in content(inputs):
        alone = "alone" + "".join(Path(name).suffixes)
        assert titanic("score", f"in/{name}", "-o", alone).exit_code == 0
        assert found[name] == Path(alone).read_bytes(), name


def test_a_folder_that_is_there_is_one_without_a_slash(titanic: Titanic, tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "out").mkdir()
    assert titanic("score", "in", "-o", "out", "--output-format", "csv").exit_code == 2, "0.csv and 0.parquet"
    assert titanic("score", "in/0.csv", "in/1.parquet", "-o", "out", "--output-format", "csv").exit_code == 0
    assert set(content(tmp_path / "out")) == {"0.csv", "1.csv", "_state.json"}
    assert (tmp_path / "out" / "1.csv").read_bytes().startswith(b"PassengerId,Survived,Probability\n1,")


def test_one_bad_input_does_not_stop_the_others(titanic: Titanic, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.csv", 1, 5)
    write(tmp_path / "in" / "b.csv", 1, 5, Sex="SECRET")
    (tmp_path / "in" / "c.csv").touch()
    write(tmp_path / "in" / "d.csv", 1, 5)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.csv").write_text("old")
    result = titanic("score", "in", "-o", "out/")
    assert result.exit_code == 65
    assert result.stderr.splitlines() == [
        "titanic: in/b.csv: 1 of 5 rows rejected, 0 allowed (not_allowed Sex: 1): no predictions written; "
        "the rejected rows are in out/_rejects/b.csv.rejects.csv.",
        "titanic: in/c.csv is empty: not even a header.",
        "titanic: 2 of 4 inputs failed: see above.",
    ]
    found = content(tmp_path / "out")
    assert set(found) == {"a.csv", "b.csv", "d.csv", "_rejects/b.csv.rejects.csv", "_state.json"}
    assert found["b.csv"] == b"old"
    assert b"SECRET" in found["_rejects/b.csv.rejects.csv"]
    write(tmp_path / "in" / "b.csv", 1, 5)
    assert titanic("score", "in/b.csv", "-o", "out/").exit_code == 0
    assert "_rejects/b.csv.rejects.csv" not in content(tmp_path / "out")


def test_an_input_for_which_memory_does_not_suffice_does_not_stop_the_others(
    titanic: Titanic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("a", 5), ("b", 50), ("c", 5)):
        write(tmp_path / "in" / f"{name}.csv", 1, rows)
    scored = ModelScores.__call__

    def scored_if_few(scores: ModelScores, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        if rows.num_rows > 20:
            raise MemoryError("Unable to allocate 8.00 GiB")
        return scored(scores, rows)

    monkeypatch.setattr(ModelScores, "__call__", scored_if_few)
    result = titanic("score", "in", "-o", "out/")
    assert (result.exit_code, result.stderr.splitlines()) == (
        74,
        [
            "titanic: there is not enough memory to read in/b.csv: give more, or use fewer --jobs, and try again.",
            "titanic: 1 of 3 inputs failed: see above.",
        ],
    )
    assert set(content(tmp_path / "out")) == {"a.csv", "c.csv", "_state.json"}


def test_limits_hold_for_each_input(titanic: Titanic, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "in" / f"{name}.csv", 1, 5, Sex="?")
    result = titanic("score", "in", "-o", "out/", "--max-rejects", 1)
    assert result.exit_code == 0, "one in each, and the same keys"
    assert result.stderr == "".join(
        f"titanic: in/{name}.csv: 1 of 5 rows rejected: see out/_rejects/{name}.csv.rejects.csv.\n" for name in "ab"
    )


def test_the_gravest_exit_code_counts(titanic: Titanic, tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "in" / f"{name}.csv", 1, 5)
    (tmp_path / "in" / "a.csv").write_bytes(b"")
    (tmp_path / "out" / "c.csv").mkdir(parents=True)
    result = titanic("score", "in", "-o", "out")
    assert result.exit_code == 73
    assert "out/c.csv is a folder" in result.stderr
    with Publication() as other:
        other.add("out/b.csv")
        assert titanic("score", "in", "-o", "out").exit_code == 75


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in/0.csv", "-o", "p.csv", "--resume"], "--resume and --shard need a folder as the output"),
        (["in/0.csv", "-o", "p.csv", "--shard", "0/2"], "--resume and --shard need a folder as the output"),
        (["in", "-o", "out/", "--shard", "2/2"], "--shard 2/2 is no shard"),
        (["in", "-o", "out/", "--shard", "auto"], "needs JOB_COMPLETION_INDEX and TITANIC_SHARD_COUNT"),
        (["in", "-o", "out/", "--rejects", "r.csv"], "rejects go to its _rejects"),
        (["-", "-o", "out/"], "- (stdin) has no name"),
        (["in", "-o", "in"], "lies in the output folder"),
        (["in/0.csv", "in/*.csv", "-o", "out/"], "out/0.csv would be written twice, for in/0.csv and in/0.csv"),
        (["in/0.csv", "more/0.csv", "-o", "out/"], "out/0.csv would be written twice, for in/0.csv and more/0.csv"),
        (["in/*/../../more/0.csv", "-o", "out/deep/"], "in/sub/../../more/0.csv has no place below out/deep/"),
        (["in", "-o", "linked/"], "in/0.csv is an input and would be overwritten"),
        (["in", "-o", "out/", "--report", "in/0.csv"], "in/0.csv is an input and would be overwritten"),
        (["in", "-o", "out/", "--report", "out/0.csv"], "out/0.csv is named for two outputs"),
        (["in", "-o", "out/", "--report", "r", "--metrics", "./r"], "is named for two outputs"),
    ],
)
def test_what_contradicts_itself_is_wrong_usage(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inputs: Path, arguments: list[str], words: str
) -> None:
    for name in ("JOB_COMPLETION_INDEX", "TITANIC_SHARD_COUNT"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path / "more" / "0.csv", 1, 5)
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "sub").mkdir(exist_ok=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "1.csv").symlink_to(tmp_path / "in" / "0.csv")
    before = content(tmp_path)
    result = titanic("score", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
    assert words in result.stderr
    assert content(tmp_path) == before


# Resuming


def scored(titanic: Titanic, *options: str) -> set[str]:
    """Run with --resume, and return which inputs were scored."""
    result = titanic("score", "in", "-o", "out/", "--resume", "--report", "r.json", *options)
    assert result.exit_code == 0, result.output
    inputs = json.loads(Path("r.json").read_text())["inputs"]
    assert {one["status"] for one in inputs} <= {"succeeded", "skipped"}
    return {Path(one["name"]).name for one in inputs if one["status"] == "succeeded"}


@pytest.mark.slow
def test_what_is_done_is_skipped_and_the_rest_is_done(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_file: Path
) -> None:
    for name in ("a.csv", "b.parquet", "c.csv"):
        write(tmp_path / "in" / name, 1, 8)
    everything = {"a.csv", "b.parquet", "c.csv"}
    assert scored(titanic) == everything
    before = {path: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    assert scored(titanic) == set()
    assert {path: path.stat().st_ino for path in (tmp_path / "out").iterdir()} == before, "nothing is written again"

    os.utime(tmp_path / "in" / "a.csv")
    assert scored(titanic) == set(), "the content counts"
    write(tmp_path / "in" / "a.csv", 1, 8, Sex="male", Age="3")
    assert scored(titanic) == {"a.csv"}
    write(tmp_path / "in" / "d.csv", 1, 9)
    assert scored(titanic) == {"d.csv"}

    output = tmp_path / "out" / "c.csv"
    good = output.read_bytes()
    output.write_bytes(good.replace(b"0.", b"1.", 1))
    assert scored(titanic) == {"c.csv"}, "an output that was changed is no output"
    assert output.read_bytes() == good
    output.unlink()
    assert scored(titanic) == {"c.csv"}

    assert scored(titanic, "--keep", "Fare") == everything | {"d.csv"}
    assert scored(titanic) == everything | {"d.csv"}
    assert scored(titanic, "--max-rejects", "1") == everything | {"d.csv"}
    assert scored(titanic, "--jobs", "1", "--wait", "1", "--max-rejects", "1") == set(), "these shape no output"
    monkeypatch.delenv("TITANIC_MODEL")
    assert scored(titanic, "--max-rejects", "1") == everything | {"d.csv"}, "another model"
    monkeypatch.setenv("TITANIC_MODEL", str(model_file))
    (tmp_path / "out" / "_state.json").write_text("{")
    assert scored(titanic) == everything | {"d.csv"}
    assert titanic("score", "in", "-o", "out/", "--report", "r.json").exit_code == 0
    assert {one["status"] for one in json.loads(Path("r.json").read_text())["inputs"]} == {"succeeded"}


def test_a_skipped_input_has_its_digest_in_the_report(titanic: Titanic, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.csv", 1, 8)
    scored(titanic)
    first = json.loads(Path("r.json").read_text())["inputs"][0]
    scored(titanic)
    again = json.loads(Path("r.json").read_text())
    assert (again["inputs"][0]["bytes"], again["inputs"][0]["sha256"]) == (first["bytes"], first["sha256"])
    assert again["outputs"] == []
    assert again["rows"] == {"in": 0, "scored": 0, "rejected": 0}


def test_a_failing_input_is_tried_again(titanic: Titanic, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.csv", 1, 5)
    write(tmp_path / "in" / "b.csv", 1, 5, Sex="?")
    for _ in range(2):
        result = titanic("score", "in", "-o", "out/", "--resume")
        assert result.exit_code == 65
    write(tmp_path / "in" / "b.csv", 1, 5)
    assert scored(titanic) == {"b.csv"}


# Shards


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["in/**/*.csv*", "in/*.parquet"])
@pytest.mark.parametrize("count", [2, 3])
def test_shards_leave_what_one_run_leaves(
    titanic: Titanic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inputs: Path, pattern: str, count: int
) -> None:
    write(inputs / "bad.csv", 1, 9, Sex="?")
    write(inputs / "bad.parquet", 1, 9, Sex="?")
    options = (pattern, "--max-rejects", "1")
    assert titanic("score", *options, "-o", "one/").exit_code == 0
    monkeypatch.setenv("TITANIC_SHARD_COUNT", str(count))
    seen: list[str] = []
    for index in reversed(range(count)):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        shard = "auto" if index else f"0/{count}"
        assert titanic("score", *options, "-o", "many/", "--shard", shard, "--report", "r.json").exit_code == 0
        report = json.loads(Path("r.json").read_text())
        assert report["options"]["shard"] == f"{index}/{count}"
        seen += [one["name"] for one in report["inputs"]]
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert len(seen) == len(set(seen)) == len(content(tmp_path / "one")) - 2, "all but the state and the rejects"


def test_a_shard_with_nothing_to_do_succeeds(titanic: Titanic, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.csv", 1, 5)
    result = titanic("score", "in", "-o", "out/", "--shard", "1/2", "--report", "r.json")
    assert (result.exit_code, result.output) == (0, "")
    report = json.loads(Path("r.json").read_text())
    assert (report["status"], report["inputs"], report["predictions"]) == ("succeeded", [], None)
    assert content(tmp_path / "out") == {}


def test_runs_of_one_folder_keep_what_the_other_noted(titanic: Titanic, tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "in" / f"{name}.csv", 1, 5)
    assert titanic("score", "in/a.csv", "-o", "out/").exit_code == 0
    assert titanic("score", "in/b.csv", "-o", "out/").exit_code == 0
    assert list(json.loads((tmp_path / "out" / "_state.json").read_text())["outputs"]) == ["a.csv", "b.csv"]
    assert scored(titanic) == set()


def test_what_a_killed_run_left_in_the_folder_is_cleared(titanic: Titanic, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.csv", 1, 5)
    scored(titanic)
    (tmp_path / "out" / ".a.csv.partial").write_bytes(b"half")
    (tmp_path / "out" / ".gone.csv.partial").write_bytes(b"half")
    assert scored(titanic) == set()
    assert set(content(tmp_path / "out")) == {"a.csv", "_state.json"}


def test_a_name_that_only_begins_as_the_folder_above_has_a_place(titanic: Titanic, tmp_path: Path) -> None:
    write(tmp_path / "..odd.csv", 1, 5)
    assert titanic("score", "..odd.csv", "-o", "out/").exit_code == 0
    assert set(content(tmp_path / "out")) == {"..odd.csv", "_state.json"}
