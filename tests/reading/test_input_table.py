"""Opened tables: the same rows from every form, and what is reported of a header that can't be used."""

from __future__ import annotations

import gzip
import io
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.passengers import COLUMNS, csv_bytes, parquet_bytes, passenger, passengers, table_of, typed
from tests.reading.inputs import CSV, KEYS, PARQUET, keys_of, message, opened, rows_of, zstd
from titanic_batch.errors import DataError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.column_names import distinct_names, is_nameless
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.formats import format_of
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source, find_inputs

# Rows


SAME: dict[str, bytes] = {
    "plain.csv": CSV,
    "bom.csv": b"\xef\xbb\xbf" + CSV,
    "crlf.csv": csv_bytes(passengers(20), line_end="\r\n"),
    "cr.csv": CSV.replace(b"\n", b"\r"),
    "blank lines.csv": b"\r\n\n" + CSV.replace(b"\n", b"\n\n"),
    "no last line end.csv": CSV.rstrip(b"\n"),
    "quoted.csv": b"\n".join(b'"' + line.replace(b",", b'","') + b'"' for line in CSV.splitlines()),
    "a.csv.gz": gzip.compress(CSV),
    "members.csv.gz": gzip.compress(CSV[:100]) + gzip.compress(b"", mtime=0) + gzip.compress(CSV[100:]),
    "a.csv.zst": zstd(CSV),
    "frames.csv.zst": zstd(CSV[:100]) + zstd(CSV[100:]),
    "a.parquet": PARQUET,
    "groups.parquet": parquet_bytes(typed(passengers(20)), row_group_size=3),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("block_bytes", [1, 64, 2**20])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, block_bytes: int) -> None:
    path = tmp_path / name
    path.write_bytes(SAME[name])
    table = opened(path, block_bytes=block_bytes)
    assert table.names == COLUMNS
    table.require(CONTRACT.types)
    assert keys_of(table) == KEYS
    from_stream = open_table(Source(name, format_of(name), io.BytesIO(SAME[name])), block_bytes)
    assert keys_of(from_stream) == KEYS


def test_named_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[CSV])
    writer.start()
    (source,) = find_inputs([str(tmp_path / "pipe")], "csv").sources
    table = open_table(source)
    assert table.size is None
    assert keys_of(table) == KEYS
    writer.join()


def test_size_is_what_the_blocks_add_up_to(tmp_path: Path) -> None:
    for name, unit in (("plain.csv", len(CSV)), ("groups.parquet", 20)):
        path = tmp_path / name
        path.write_bytes(SAME[name])
        with opened(path, block_bytes=100) as table:
            assert table.size == unit
            done = sum(block.size for block in table.blocks(COLUMNS))
        header = len(CSV.partition(b"\n")[0]) + 1
        assert done == (unit - header if name == "plain.csv" else unit)
    for name in ("a.csv.gz", "a.csv.zst"):
        (tmp_path / name).write_bytes(SAME[name])
        with opened(tmp_path / name) as table:
            assert table.size is None


@pytest.mark.parametrize("data", [csv_bytes([]), csv_bytes([]).rstrip(b"\n"), csv_bytes([]) + b"\n\r\n"])
def test_header_alone_is_a_table_without_rows(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "header.csv"
    path.write_bytes(data)
    with opened(path) as table:
        table.require(CONTRACT.types)
        assert list(table.blocks(COLUMNS)) == []


def test_header_may_be_quoted_and_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes('"a,b","say ""x""","two\nlines",ß, d,\n1,2,3,4,5,6\n'.encode())
    with opened(path) as table:
        assert table.names == ("a,b", 'say "x"', "two\nlines", "ß", " d", "")
    assert rows_of(opened(path)) == [
        {"a,b": "1", 'say "x"': "2", "two\nlines": "3", "ß": "4", " d": "5", "": "6"}
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_the_columns_that_a_rejects_file_adds_are_ignored(tmp_path: Path, name: str) -> None:
    rows = [passenger(1) | {"reject_row": "7", "reject_reasons": "[]"}]
    path = tmp_path / name
    columns = ("reject_row", *COLUMNS, "reject_reasons")
    if name == "in.csv":
        path.write_bytes(csv_bytes(rows, columns))
    else:
        pq.write_table(typed([passenger(1)]).append_column("reject_row", pa.array(["7"])), path)
    with opened(path) as table:
        assert table.names == COLUMNS
        table.require(CONTRACT.types)
        (block,) = table.blocks(COLUMNS)
        assert block.read(CONTRACT.types).table.to_pylist() == typed([passenger(1)]).to_pylist()


# Columns


def test_missing_columns_are_reported_with_the_nearest_name(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    header = CSV.partition(b"\n")[0]
    for spoiled, text in [
        (header.replace(b"Sex,", b""), "column missing: Sex."),
        (header.replace(b"Sex", b"sex"), "column missing: Sex (nearest: sex)."),
        (header.replace(b"Pclass", b"P class"), "column missing: Pclass (nearest: P class)."),
        (header.replace(b"Age", b" Age"), "column missing: Age (nearest:  Age)."),
        (
            header.replace(b"PassengerId", b"passenger_id").replace(b"Cabin", b"Deck"),
            "columns missing: PassengerId (nearest: passenger_id), Cabin.",
        ),
    ]:
        assert message(DataError, spoiled + b"\n", path) == text


def test_a_header_may_have_very_many_columns(tmp_path: Path) -> None:
    """What a name is compared with grows with their number, and not with its square."""
    header = CSV.splitlines()[0]
    more = b"," + b",".join(b"Passenge%06d" % place for place in range(100_000))
    path = tmp_path / "a.csv"
    path.write_bytes(header + more + b"\n")
    with opened(path) as table:
        table.require(CONTRACT.types)
        assert len(table.names) == len(COLUMNS) + 100_000
    assert (
        message(DataError, header + more + b",Age,x,x\n", path) == "column Age, x stands in the header more than once."
    )
    for column, nearest in (("Cabin", b"CABIN"), ("Fare", b"Fares")):
        odd = header.replace(column.encode(), nearest)
        expected = f"column missing: {column} (nearest: {nearest.decode()})."
        assert message(DataError, odd + more + b"\n", path) == expected
    last = header.replace(b",Cabin", b"") + more + b",cabin\n"
    assert message(DataError, last, path) == "column missing: Cabin (nearest: cabin)."


def test_data_without_a_header_is_reported_without_showing_a_value(tmp_path: Path) -> None:
    text = message(DataError, CSV.partition(b"\n")[2], tmp_path / "in.csv")
    names = ", ".join(COLUMNS)
    assert text == f"the first line names none of the columns {names}: is the header missing?"
    near = message(DataError, b"1,3,male,22,1,0,7.25,,Gabin\n", tmp_path / "in.csv")
    assert near == text
    repeated = message(DataError, b"8675309,8675309,8675309\n", tmp_path / "in.csv")
    assert repeated == text


@pytest.mark.parametrize(("delimiter", "name"), [(b";", "a semicolon"), (b"\t", "a tab"), (b"|", "a bar")])
def test_other_delimiters_are_reported(tmp_path: Path, delimiter: bytes, name: str) -> None:
    text = message(DataError, CSV.replace(b",", delimiter), tmp_path / "in.csv")
    assert text == f"its fields are separated by {name}: separate them by commas."


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_a_repeated_column_is_reported(tmp_path: Path, name: str) -> None:
    if name == "in.csv":
        data = CSV.replace(b"Parch", b"Age")
        data = b"\n".join(line + b",0" for line in data.splitlines()).replace(b"Cabin,0", b"Cabin,Parch")
    else:
        table = typed(passengers(2))
        data = parquet_bytes(table.append_column("Age", table["Age"]))
    assert message(DataError, data, tmp_path / name) == "column Age stands in the header more than once."


# Types


def test_the_type_of_a_column_is_that_of_the_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int8()), "b": pa.array(["x"])}), tmp_path / "in.parquet")
    with opened(tmp_path / "in.parquet") as table:
        assert [table.type_of(name) for name in table.names] == [pa.int8(), pa.string()]
    (tmp_path / "in.csv").write_bytes(CSV)
    with opened(tmp_path / "in.csv") as table:
        assert table.type_of("PassengerId") == pa.string()


@pytest.mark.parametrize(
    ("column", "array", "text"),
    [
        ("Age", pa.array(["22"]), "column Age holds string, not a number: convert it."),
        ("Pclass", pa.array([True]), "column Pclass holds bool, not an integer: convert it."),
        ("Sex", pa.array([1]), "column Sex holds int64, not text: convert it."),
        ("Fare", pa.array([[1.0]]), "column Fare holds list<element: double>, not a number: convert it."),
        ("Cabin", pa.array([b"C85"]), "column Cabin holds binary, not text: convert it."),
    ],
    ids=str,
)
def test_types_that_cannot_be_used_are_reported(tmp_path: Path, column: str, array: pa.Array, text: str) -> None:
    table = typed(passengers(1))
    table = table.set_column(COLUMNS.index(column), column, array)
    assert message(DataError, parquet_bytes(table), tmp_path / "in.parquet") == text


def test_types_that_can_be_converted_are_accepted(tmp_path: Path) -> None:
    table = typed(passengers(2))
    table = table.set_column(0, "PassengerId", pa.array([1.0, 2.0]))
    table = table.set_column(2, "Sex", table["Sex"].cast(pa.large_string()))
    table = table.set_column(7, "Cabin", pa.nulls(2))
    table = table.set_column(6, "Fare", pa.array([7, 8], pa.decimal128(5)))
    (tmp_path / "in.parquet").write_bytes(parquet_bytes(table))
    with opened(tmp_path / "in.parquet") as opened_table:
        opened_table.require(CONTRACT.types | {"PassengerId": None})
        (block,) = opened_table.blocks(COLUMNS)
        assert block.read(CONTRACT.types).table["Cabin"].type == STRING


# Files that are not what they seem


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        (b"", "in.csv", "is empty: not even a header."),
        (b"", "in.parquet", "is empty: not even a header."),
        (b"\n\r\n", "in.csv", "is empty: not even a header."),
        (gzip.compress(b"", mtime=0), "in.csv.gz", "is empty: not even a header."),
        (b"", "in.csv.zst", "is empty: not even a header."),
        (gzip.compress(CSV, mtime=0), "in.csv", "is csv.gz, not csv: say --input-format csv.gz."),
        (zstd(CSV), "in.csv", "is csv.zst, not csv: say --input-format csv.zst."),
        (PARQUET, "in.csv", "is parquet, not csv: say --input-format parquet."),
        (CSV, "in.parquet", "is not Parquet, or is cut short: write it again."),
        (PARQUET[:-1], "in.parquet", "is not Parquet, or is cut short: write it again."),
        (PARQUET[:-100], "in.parquet", "is not Parquet, or is cut short: write it again."),
        (CSV, "in.csv.gz", "is not compressed, as csv.gz is: say --input-format csv."),
        (CSV, "in.csv.zst", "is not compressed, as csv.zst is: say --input-format csv."),
        (CSV.decode().encode("utf-16"), "in.csv", "is not UTF-8 (UTF-16, or no text at all): save it as UTF-8."),
        (CSV.decode().encode("utf-16-be"), "in.csv", "is not UTF-8 (UTF-16, or no text at all): save it as UTF-8."),
        (b"PK\x03\x04\x14\0\0", "in.csv", "is a zip archive: unpack it."),
        (CSV.replace(b"Cabin", b"Caf\xe9"), "in.csv", "the header is not UTF-8: save the file as UTF-8."),
        (b'"' + b"x" * 200_000 + b'"\n', "in.csv", "the header can't be read as CSV."),
    ],
)
def test_a_file_that_is_not_what_it_seems_is_reported(tmp_path: Path, data: bytes, name: str, text: str) -> None:
    assert message(DataError, data, tmp_path / name) == text


def test_a_table_that_cannot_be_opened_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name, data in (("a.csv", b""), ("b.csv", gzip.compress(CSV)), ("c.csv.gz", CSV), ("d.parquet", CSV)):
        message(DataError, data, tmp_path / name)
    with pytest.raises(DataError):
        open_table(Source("in", "parquet", io.BytesIO(CSV)))
    assert len(os.listdir("/proc/self/fd")) == before


def test_thousands_of_nameless_columns_have_short_names_that_differ() -> None:
    names = distinct_names(["id", *[""] * 20_000, " ", "id"])
    assert len(set(names)) == len(names) - 1
    assert names[:5] == ("id", "", " ", "  ", "   ")
    assert all(is_nameless(name) for name in names[1:-1])
    assert max(map(len, names)) <= 16
    assert len(set(distinct_names(names))) == len(names) - 1


def test_a_header_of_too_many_columns_is_refused() -> None:
    header = CSV.partition(b"\n")[0]
    assert len(table_of(header + b",x" * (200_000 - len(COLUMNS)) + b"\n").names) == 200_000
    with pytest.raises(DataError, match=r"has more than 200,000 columns: leave out those that aren't needed\.$"):
        table_of(header + b",x" * (200_001 - len(COLUMNS)) + b"\n")
