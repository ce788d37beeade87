"""The job: every row is accounted for, in order, and the predictions appear only where the data kept the contract."""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.named_inputs import Inputs, score, validate
from tests.sized_rows import ALL_MAY_FAIL, COLUMNS, CONTRACT, Rows, large, write
from titanic_batch.errors import DataError, InputError, OutputBusyError, TransferError, UsageError
from titanic_batch.runs.options import RejectLimit
from titanic_batch.runs.report import FIRST_ROWS, RunReport
from titanic_batch.writing.predictions import PredictedColumns
from titanic_batch.writing.publishing import Publication


def predictions(path: Path) -> list[tuple[int, int, float]]:
    table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    return list(zip(*table.to_pydict().values(), strict=True))


def broken(report: RunReport) -> dict[tuple[str, str | None], int]:
    return {(rule.rule, rule.column): rule.rows for rule in report.rules}


def first_rows(report: RunReport, rule: str) -> list[tuple[str, int]]:
    return [
        (os.path.basename(row.source), row.number)
        for count in report.rules
        if count.rule == rule
        for row in count.first_rows
    ]


def test_each_row_gets_a_prediction_in_order(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("7", "6.5", "red"), ("-3", "", "blue"), ("5", "5", "red")])
    report = score(Inputs([source]), COLUMNS, str(tmp_path / "out.parquet"))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["id", "large", "Probability"]
    assert table.schema.types == [pa.int64(), pa.int8(), pa.float64()]
    assert table.schema.metadata[b"model"] == b"large"
    assert predictions(tmp_path / "out.parquet") == [(7, 1, 0.65), (-3, 0, 0.0), (5, 0, 0.5)]
    assert report == RunReport([source], 3, 3, 0, [], str(tmp_path / "out.parquet"))
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.parquet"]


@pytest.mark.slow
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([*map(str, range(30)), "x", ""]),
            st.sampled_from(["0", "1.5", "10", "", "11", "big"]),
            st.sampled_from(["red", "blue", "green", ""]),
        ),
        max_size=60,
    ),
    jobs=st.sampled_from([1, 2]),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_in_are_rows_scored_plus_rows_rejected(tmp_path: Path, rows: Rows, jobs: int) -> None:
    rules: list[dict[tuple[str, str], bool]] = []
    seen = set()
    for key, size, colour in rows:
        is_key = key not in ("", "x")
        rules.append(
            {
                ("missing", "id"): key == "",
                ("type", "id"): key == "x",
                ("duplicate_key", "id"): is_key and key in seen,
                ("out_of_range", "size"): size == "11",
                ("type", "size"): size == "big",
                ("missing", "colour"): colour == "",
                ("not_allowed", "colour"): colour == "green",
            }
        )
        seen |= {key} if is_key else set()
    good = [row for row, breaks in zip(rows, rules, strict=True) if not any(breaks.values())]
    counts = Counter(rule for breaks in rules for rule, is_broken in breaks.items() if is_broken)

    source = write(tmp_path / "in.csv", rows)
    inputs = Inputs([source], max_rejects=ALL_MAY_FAIL, jobs=jobs)
    report = score(inputs, COLUMNS, str(tmp_path / "out.csv"))

    assert report.failure is None
    assert (report.rows, report.accepted, report.rejected) == (len(rows), len(good), len(rows) - len(good))
    assert broken(report) == counts
    assert [rule.rows for rule in report.rules] == sorted(counts.values(), reverse=True)
    for rule in report.rules:
        places = [place for place, breaks in enumerate(rules, 1) if breaks.get((rule.rule, str(rule.column)))]
        assert [row.number for row in rule.first_rows] == places[:FIRST_ROWS]
    assert predictions(tmp_path / "out.csv") == [
        (int(key), int(float(size or 0) > 5), float(size or 0) / 10) for key, size, _ in good
    ]
    rejects = tmp_path / "out.csv.rejects.csv"
    assert rejects.exists() == (len(good) < len(rows))
    if rejects.exists():
        found = pyarrow.csv.read_csv(rejects)
        places = [place for place, breaks in enumerate(rules, 1) if any(breaks.values())]
        assert found["reject_row"].to_pylist() == places
        assert report.rejects == str(rejects)
    judged = validate(inputs, CONTRACT)
    assert (judged.rows, judged.accepted, judged.rules) == (report.rows, report.accepted, report.rules)


def test_too_many_rejects_publish_only_the_rejects(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    source = write(tmp_path / "in.csv", [("1", "1", "red"), ("2", "99", "red"), ("3", "98", "pink")])
    report = score(Inputs([source], max_rejects=RejectLimit(1)), COLUMNS, str(tmp_path / "out.csv"))
    assert report.failure == "2 of 3 rows rejected, 1 allowed (out_of_range size: 2, not_allowed colour: 1)"
    assert report.output is None
    assert (tmp_path / "out.csv").read_text() == "old"
    rejects = tmp_path / "out.csv.rejects.csv"
    assert report.rejects == str(rejects)
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    found = pyarrow.csv.read_csv(rejects).to_pydict()
    assert (found["id"], found["size"], found["colour"]) == ([2, 3], [99, 98], ["red", "pink"])
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv", "out.csv.rejects.csv"]


def test_too_few_rows_publish_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    report = score(Inputs([source], min_rows=2), COLUMNS, str(tmp_path / "out.csv"))
    assert report.failure == "1 rows, at least 2 expected"
    assert os.listdir(tmp_path) == ["in.csv"]
    assert score(Inputs([source], min_rows=1), COLUMNS, str(tmp_path / "out.csv")).failure is None


def test_a_header_alone_gives_predictions_without_rows(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [])
    report = score(Inputs([source]), COLUMNS, str(tmp_path / "out.csv"))
    assert (report.rows, report.failure) == (0, None)
    assert (tmp_path / "out.csv").read_text() == "id,large,Probability\n"


def test_a_run_without_rejects_removes_the_old_default_rejects_file(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    rejects = tmp_path / "out.csv.rejects.csv"
    rejects.write_text("old")
    report = score(Inputs([source]), COLUMNS, str(tmp_path / "out.csv"))
    assert report.rejects is None
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


def test_a_named_rejects_file_is_written_even_without_rejects(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    rejects = tmp_path / "bad.csv"
    inputs = Inputs([source], rejects=str(rejects))
    header = "reject_source,reject_row,reject_reasons,reject_line,id,size,colour,note\n"
    assert score(inputs, COLUMNS, str(tmp_path / "out.csv")).rejects == str(rejects)
    assert rejects.read_text() == header
    rejects.unlink()
    assert validate(inputs, CONTRACT).rejects == str(rejects)
    assert rejects.read_text() == header


def test_several_inputs_make_one_output_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    second = write(tmp_path / "b.csv", [("3", "1", "red"), ("4", "2", "red")])
    first = write(tmp_path / "c.parquet", [("9", "3", "red")])
    write(folder / "z.csv", [("2", "4", "red")])
    write(folder / "a.csv", [("1", "5", "red")])
    inputs = Inputs([first, second, str(folder)], jobs=2)
    report = score(inputs, COLUMNS, str(tmp_path / "out.parquet"))
    assert [row[0] for row in predictions(tmp_path / "out.parquet")] == [9, 3, 4, 1, 2]
    assert report.sources == [first, second, str(folder / "a.csv"), str(folder / "z.csv")]
    assert (report.rows, report.accepted) == (5, 5)


def test_a_key_counts_once_over_all_inputs(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", [("1", "1", "red"), ("2", "1", "red"), ("1", "2", "red")])
    second = write(tmp_path / "b.parquet", [("5", "1", "red"), ("2", "9", "red"), ("1", "9", "pink")])
    inputs = Inputs([first, second], max_rejects=ALL_MAY_FAIL)
    report = score(inputs, COLUMNS, str(tmp_path / "out.csv"))
    assert [row[0] for row in predictions(tmp_path / "out.csv")] == [1, 2, 5]
    assert broken(report) == {("duplicate_key", "id"): 3, ("not_allowed", "colour"): 1}
    assert first_rows(report, "duplicate_key") == [("a.csv", 3), ("b.parquet", 2), ("b.parquet", 3)]
    found = pyarrow.csv.read_csv(tmp_path / "out.csv.rejects.csv").to_pydict()
    assert [os.path.basename(name) for name in found["reject_source"]] == ["a.csv", "b.parquet", "b.parquet"]
    assert found["reject_row"] == [3, 2, 3]


def test_the_same_rows_give_the_same_bytes_however_they_are_cut(tmp_path: Path) -> None:
    rows = [(str(key), f"{key % 11}", ("red", "blue")[key % 2]) for key in range(500)]
    whole = write(tmp_path / "whole.csv", rows)
    parts = [write(tmp_path / f"part{start:03}.csv", rows[start : start + 70]) for start in range(0, 500, 70)]
    for suffix in ("csv", "parquet"):
        score(Inputs([whole]), COLUMNS, str(tmp_path / f"whole.out.{suffix}"))
        score(Inputs(parts, jobs=2), COLUMNS, str(tmp_path / f"parts.out.{suffix}"))
        assert (tmp_path / f"whole.out.{suffix}").read_bytes() == (tmp_path / f"parts.out.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("output", "rejects", "message"),
    [
        ("in.csv", None, "is an input and would be overwritten"),
        ("link.csv", None, "is an input and would be overwritten"),
        ("./sub/../in.csv", None, "is an input and would be overwritten"),
        ("out.csv", "in.csv", "is an input and would be overwritten"),
        ("out.csv", "out.csv", "is named for two outputs"),
        ("out.csv", "./out.csv", "is named for two outputs"),
        ("out.txt", None, "the format of out.txt can't be told from its name"),
        ("out.csv", "bad.txt", "the format of bad.txt can't be told from its name"),
    ],
)
def test_contradictory_names_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, rejects: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "in.csv", [("1", "1", "red")])
    (tmp_path / "link.csv").symlink_to("in.csv")
    before = (tmp_path / "in.csv").read_bytes()
    with pytest.raises(UsageError, match=message):
        score(Inputs(["in.csv"], rejects=rejects), COLUMNS, output)
    assert (tmp_path / "in.csv").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "link.csv", "sub"]


def test_rejects_of_a_run_into_a_stream_need_a_file(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red"), ("2", "99", "red")])
    with pytest.raises(UsageError, match="name a file with --rejects, or allow none"):
        score(Inputs([source], max_rejects=ALL_MAY_FAIL), COLUMNS, "/dev/null", "csv")
    report = score(Inputs([source]), COLUMNS, "/dev/null", "csv")
    assert report.failure == "1 of 2 rows rejected, 0 allowed (out_of_range size: 1)"
    assert report.rejects is None


def test_an_error_in_scoring_leaves_the_old_predictions(tmp_path: Path) -> None:
    def fail(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        raise ZeroDivisionError

    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(ZeroDivisionError):
        score(Inputs([source], jobs=2), PredictedColumns(CONTRACT, "large", fail), str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


def test_an_input_that_turns_out_damaged_leaves_the_old_predictions(tmp_path: Path) -> None:
    good = write(tmp_path / "a.csv", [("1", "1", "red")])
    bad = Path(write(tmp_path / "b.parquet", [(str(key), "1", "red") for key in range(5000)]))
    content = bytearray(bad.read_bytes())
    content[4:2000] = bytes(1996)
    bad.write_bytes(content)
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(DataError, match=r"b\.parquet is damaged"):
        score(Inputs([good, str(bad)], jobs=2), COLUMNS, str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.parquet", "out.csv"]


def _shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"9,1,red,\n")


def _replace(path: Path) -> None:
    (path.parent / "other").write_bytes(path.read_bytes())
    os.replace(path.parent / "other", path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("change", "what"), [(os.unlink, "vanished"), (_shrink, "changed"), (_grow, "changed"), (_replace, "changed")]
)
def test_an_input_that_changes_while_it_is_read_is_reported(
    tmp_path: Path, suffix: str, change: Callable[[Path], None], what: str
) -> None:
    source = Path(write(tmp_path / f"in.{suffix}", [(str(key), "1", "red") for key in range(100)]))
    (tmp_path / "out.csv").write_text("old")

    def scores(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        change(source)
        return large(rows)

    with pytest.raises(TransferError, match=f"in.{suffix} {what} while it was read: try again"):
        score(Inputs([str(source)]), replace(COLUMNS, scores=scores), str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "old"
    assert set(os.listdir(tmp_path)) <= {"out.csv", source.name}


def test_a_parquet_that_vanishes_between_its_header_and_its_rows_is_reported(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", [("1", "1", "red")])
    second = Path(write(tmp_path / "b.parquet", [("2", "1", "red")]))

    def scores(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        second.unlink(missing_ok=True)
        return large(rows)

    with pytest.raises(TransferError, match=r"b\.parquet (failed midway|vanished)"):
        score(Inputs([first, str(second)]), replace(COLUMNS, scores=scores), str(tmp_path / "out.csv"))
    assert os.listdir(tmp_path) == ["a.csv"]


def test_an_output_folder_that_vanishes_is_reported(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    (tmp_path / "out").mkdir()

    def scores(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        shutil.rmtree(tmp_path / "out")
        return large(rows)

    with pytest.raises(TransferError, match=r"^writing .*/out/p\.csv.* failed \(No such file or directory\)"):
        score(Inputs([source]), replace(COLUMNS, scores=scores), str(tmp_path / "out" / "p.csv"))
    assert os.listdir(tmp_path) == ["in.csv"]


def test_old_rejects_stay_until_new_predictions_come(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    rejects = tmp_path / "out.csv.rejects.csv"
    rejects.write_text("old")
    there = []

    def scores(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        there.append(rejects.exists())
        return large(rows)

    score(Inputs([source]), replace(COLUMNS, scores=scores), str(tmp_path / "out.csv"))
    assert there == [True]
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


def test_an_output_that_another_run_is_writing_is_left_to_it(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    with Publication() as other:
        other.add(str(tmp_path / "out.csv")).file.write(b"theirs")
        with pytest.raises(OutputBusyError):
            score(Inputs([source]), COLUMNS, str(tmp_path / "out.csv"))
        other.publish()
    assert (tmp_path / "out.csv").read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


def test_a_missing_input_is_reported_before_anything_is_created(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    with pytest.raises(InputError):
        score(Inputs([source, str(tmp_path / "gone.csv")]), COLUMNS, str(tmp_path / "out.csv"))
    assert os.listdir(tmp_path) == ["in.csv"]


def test_validate_passes_on_the_accepted_rows_with_the_types_of_the_contract(tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red"), ("2", "99", "red"), ("3", "", "blue")])
    tables: list[pa.Table] = []
    report = validate(Inputs([source]), CONTRACT, tables.append)
    assert report.failure is not None
    accepted = pa.concat_tables(tables)
    assert accepted.schema.types == list(CONTRACT.types.values())
    assert accepted.to_pydict() == {"id": [1, 3], "size": [1.0, None], "colour": ["red", "blue"]}
    assert os.listdir(tmp_path) == ["in.csv"]


def test_progress_ends_with_all_rows_and_bytes(tmp_path: Path) -> None:
    rows = [(str(key), "1", "red") for key in range(100)]
    first, second = write(tmp_path / "a.csv", rows[:40]), write(tmp_path / "b.csv", rows[40:])
    seen: list[tuple[int, int, int | None]] = []
    validate(Inputs([first, second], progress=lambda *progress: seen.append(progress)), CONTRACT)
    size = os.path.getsize(first) + os.path.getsize(second)
    assert [total for _, _, total in seen] == [size] * len(seen)
    assert [rows for rows, _, _ in seen] == [40, 100]
    assert size - 2 * len("id,size,colour,note\n") <= seen[-1][1] <= size
    seen.clear()
    write(tmp_path / "c.parquet", [("1000", "1", "red")])
    names = [first, str(tmp_path / "c.parquet")]
    validate(Inputs(names, progress=lambda *progress: seen.append(progress)), CONTRACT)
    assert [total for _, _, total in seen] == [None, None], "bytes and rows can't be summed"
