"""The columns of predictions: those to keep are as they came, and none is written twice."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from decimal import Decimal
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


KEYS = ["000123", " 7", "+8.0", "-0", "9.", "1e3", "NA", "123", "0x10", "00"]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["key as text", "size", "note"])
def test_the_key_is_kept_as_it_stands_in_a_csv(tmp_path: Path, name: str, jobs: int) -> None:
    lines = [f'"{key}",1,red,n{row}' for row, key in enumerate(KEYS)]
    (tmp_path / "in.csv").write_text("\n".join(["id,size,colour,note", *lines, ""]))
    columns = replace(COLUMNS, key_text=name, keep=["colour"])
    inputs = Inputs([str(tmp_path / "in.csv")], jobs=jobs, max_rejects=RejectLimit(9))
    for output in ("out.csv", "out.parquet"):
        report = score(inputs, columns, str(tmp_path / output))
        counts = {(rule.rule, rule.column): rule.rows for rule in report.rules}
        assert counts == {("type", "id"): 2, ("missing", "id"): 1, ("duplicate_key", "id"): 2}
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.names == ["id", name, "colour", "large", "Probability"]
    assert table["id"].to_pylist() == [123, 7, 8, 0, 9]
    assert table[name].to_pylist() == KEYS[:5]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row[name] for row in csv.DictReader(file)] == KEYS[:5]
    score(inputs, replace(columns, key_text=None), str(tmp_path / "without.parquet"))
    assert pq.read_table(tmp_path / "without.parquet").equals(table.drop_columns([name]))


@pytest.mark.parametrize(
    ("keys", "texts"),
    [
        (pa.array([7, 8]), ["7", "8"]),
        (pa.array([7.0, 2.0**60]), ["7", "1.152921504606847e+18"]),
        (pa.array([Decimal("7.00"), Decimal("8.00")]), ["7.00", "8.00"]),
        (pa.array([7, 8]).dictionary_encode(), ["7", "8"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_the_key_of_a_parquet_is_kept_as_text(tmp_path: Path, keys: pa.Array, texts: list[str]) -> None:
    table = pq.read_table(write(tmp_path / "plain.parquet", [("1", "1", "red"), ("2", "1", "red")]))
    pq.write_table(table.set_column(table.schema.get_field_index("id"), "id", keys), tmp_path / "in.parquet")
    score(Inputs([str(tmp_path / "in.parquet")]), replace(COLUMNS, key_text="text"), str(tmp_path / "out.parquet"))
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["text"].to_pylist() == texts
    assert found["id"].to_pylist() == [int(key) for key in keys.to_pylist()]


def test_keys_that_are_no_text_are_rejected_with_and_without_their_text(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,size,colour,note\n1,1,red,\n\xff2,1,red,\n3,1\n")
    found = []
    for key_text in (None, "text"):
        inputs = Inputs([str(tmp_path / "in.csv")], max_rejects=RejectLimit(2))
        report = score(inputs, replace(COLUMNS, key_text=key_text), str(tmp_path / "out.parquet"))
        found.append([(rule.rule, rule.column, rule.rows) for rule in report.rules])
    assert found == [[("encoding", "id", 1), ("wrong_field_count", None, 1)]] * 2
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == ["1"]


@pytest.mark.parametrize("name", ["id", "large", "Probability", "note"])
def test_the_keys_text_needs_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "in.csv", [("1", "1", "red")])
    with pytest.raises(UsageError, match=f"^--keep-key-text {name}: that column is written anyway"):
        score(Inputs([source]), replace(COLUMNS, key_text=name, keep=["note"]), str(tmp_path / "out.csv"))
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_column_to_keep_must_be_in_each_input(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", [("1", "1", "red")])
    (tmp_path / "b.csv").write_text("id,size,colour\n2,1,red\n")
    columns = replace(COLUMNS, keep=["note"])
    with pytest.raises(DataError, match=r"b\.csv: column missing: note"):
        score(Inputs([first, str(tmp_path / "b.csv")]), columns, str(tmp_path / "out.csv"))
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.csv"]
