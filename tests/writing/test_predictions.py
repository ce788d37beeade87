"""The columns of predictions: those to keep are as they came, and none is written twice."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.named_inputs import Inputs, score
from tests.sized_rows import COLUMNS, write
from titanic_batch.errors import DataError, UsageError
from titanic_batch.runs.options import RejectLimit


def test_kept_columns_are_written_unchanged_between_key_and_label(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text('id,size,colour,note\n1,7,red,"007, ""x"""\n2,,blue,\n')
    columns = replace(COLUMNS, keep=["note", "size", "colour"])
    score(Inputs([str(source)]), columns, str(tmp_path / "out.parquet"))
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["id", "note", "size", "colour", "large", "Probability"]
    assert table.schema.types[1:4] == [pa.string(), pa.float64(), pa.string()]
    assert table["note"].to_pylist() == ['007, "x"', ""]
    assert table["size"].to_pylist() == [7.0, None]
    assert table["colour"].to_pylist() == ["red", "blue"]


def test_a_kept_column_of_a_parquet_keeps_its_type_unless_inputs_differ(tmp_path: Path) -> None:
    parquet = write(tmp_path / "a.parquet", [("1", "1", "red"), ("2", "1", "red")])
    csv = write(tmp_path / "b.csv", [("3", "1", "red")], note="n")
    columns = replace(COLUMNS, keep=["note"])
    score(Inputs([parquet]), columns, str(tmp_path / "one.parquet"))
    score(Inputs([parquet, csv]), columns, str(tmp_path / "two.parquet"))
    assert pq.read_table(tmp_path / "one.parquet")["note"].combine_chunks() == pa.array([0, 1])
    assert pq.read_table(tmp_path / "two.parquet")["note"].to_pylist() == ["0", "1", "n0"]


def test_a_kept_column_that_a_csv_cannot_hold_becomes_text(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "plain.parquet", [("1", "1", "red"), ("2", "1", "red")]))
    table = table.append_column("many", pa.array([[1, 2], None])).append_column("raw", pa.array([b"a", b"\xff"]))
    pq.write_table(table, tmp_path / "in.parquet")
    columns = replace(COLUMNS, keep=["many", "raw"])
    for output in ("out.csv", "out.parquet"):
        score(Inputs([str(tmp_path / "in.parquet")]), columns, str(tmp_path / output))
    kept = pyarrow.csv.read_csv(tmp_path / "out.csv").select(["many", "raw"]).to_pydict()
    assert kept == {"many": ["[1, 2]", ""], "raw": ["a", "\\xff"]}
    assert pq.read_table(tmp_path / "out.parquet").select(["many", "raw"]).equals(table.select(["many", "raw"]))


KEPT = {
    "identifiers": (pa.array([bytes(16)] * 2, pa.uuid()), "00000000-0000-0000-0000-000000000000"),
    "lists of identifiers": (
        pa.ListArray.from_arrays(pa.array([0, 1, 1], pa.int32()), pa.array([bytes(16)], pa.uuid())),
        '["00000000-0000-0000-0000-000000000000"]',
    ),
    "JSON": (pa.array(['{"a": 1}'] * 2, pa.json_()), '{"a": 1}'),
    "moments of a zone": (pa.array([0] * 2, pa.timestamp("ms", "-01:00")), "1969-12-31 23:00:00.000-0100"),
    "moments of an unknown zone": (pa.array([0] * 2, pa.timestamp("ms", "No/Where")), "1970-01-01 00:00:00.000Z"),
    "days": (pa.array([0] * 2, pa.date32()), "1970-01-01"),
    "codes of bytes": (pa.array([b"\xff"] * 2).dictionary_encode(), "\\xff"),
}


@pytest.mark.parametrize(("column", "text"), KEPT.values(), ids=KEPT)
def test_a_kept_column_may_be_of_any_type(tmp_path: Path, column: pa.Array, text: str) -> None:
    table = pq.read_table(write(tmp_path / "plain.parquet", [("1", "1", "red"), ("2", "1", "red")]))
    pq.write_table(table.append_column("kept", column), tmp_path / "in.parquet")
    for output in ("out.csv", "out.parquet"):
        score(Inputs([str(tmp_path / "in.parquet")]), replace(COLUMNS, keep=["kept"]), str(tmp_path / output))
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["kept"] == text
    stood = pq.read_table(tmp_path / "in.parquet")["kept"]
    assert pq.read_table(tmp_path / "out.parquet")["kept"].equals(stood)


def test_kept_lists_of_views_are_lists_of_text(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "plain.parquet", [("1", "1", "red"), ("2", "1", "none"), ("3", "1", "red")]))
    kept = pa.array([["x"], ["y"], None], pa.list_(pa.string_view()))
    pq.write_table(table.append_column("kept", kept), tmp_path / "in.parquet")
    inputs = Inputs([str(tmp_path / "in.parquet")], max_rejects=RejectLimit(1))
    score(inputs, replace(COLUMNS, keep=["kept"]), str(tmp_path / "out.parquet"))
    expected = pa.array([["x"], None], pa.list_(pa.string()))
    assert pq.read_table(tmp_path / "out.parquet")["kept"].combine_chunks().cast(expected.type) == expected


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_kept_text_is_plain_text_and_utf8(tmp_path: Path, kind: pa.DataType) -> None:
    table = pq.read_table(write(tmp_path / "plain.parquet", [("1", "1", "red"), ("2", "1", "red")]))
    text = pa.array([b"x", b"\xff"]).view(pa.string())
    if pa.types.is_dictionary(kind):
        kept = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), text)
    else:
        kept = text.cast(pa.binary()).cast(kind, safe=False)
    pq.write_table(table.append_column("kept", kept), tmp_path / "in.parquet")
    inputs = Inputs([str(tmp_path / "in.parquet")], max_rejects=RejectLimit(1))
    report = score(inputs, replace(COLUMNS, keep=["kept"]), str(tmp_path / "out.parquet"))
    assert [(rule.rule, rule.column, rule.rows) for rule in report.rules] == [("encoding", "kept", 1)]
    assert pq.read_table(tmp_path / "out.parquet")["kept"].combine_chunks() == pa.array(["x"])


@pytest.mark.parametrize("keep", [["id"], ["large"], ["Probability"], ["note", "note"]])
def test_a_column_that_is_written_anyway_is_refused(tmp_path: Path, keep: list[str]) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,size,colour,note,large,Probability\n1,1,red,x,0,0\n")
    with pytest.raises(UsageError, match=f"^{keep[0]} is written anyway, or kept twice"):
        score(Inputs([str(path)]), replace(COLUMNS, keep=keep), str(tmp_path / "out.csv"))
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_column_to_keep_must_be_in_each_input(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", [("1", "1", "red")])
    (tmp_path / "b.csv").write_text("id,size,colour\n2,1,red\n")
    columns = replace(COLUMNS, keep=["note"])
    with pytest.raises(DataError, match=r"b\.csv: column missing: note"):
        score(Inputs([first, str(tmp_path / "b.csv")]), columns, str(tmp_path / "out.csv"))
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.csv"]
