"""Inputs: what names stand for, what is read from them, and what is said where that can't be done."""

from __future__ import annotations

import gzip
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.passengers import COLUMNS, csv_bytes, parquet_bytes, passenger, passengers, typed
from titanic_batch.errors import DataError, InputError, TitanicError, TransferError, UsageError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.formats import Format, format_of
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.sources import Source, find_sources

CSV = csv_bytes(passengers(20))
PARQUET = parquet_bytes(typed(passengers(20)))
KEYS = [str(key) for key in range(1, 21)]


def zstd(data: bytes) -> bytes:
    compressed: bytes = pa.compress(data, "zstd", asbytes=True)
    return compressed


def opened(path: Path | str, kind: Format | None = None, block_bytes: int = 2**20) -> InputTable:
    return InputTable(Source(str(path), kind or format_of(str(path))), block_bytes)


def rows_of(table: InputTable) -> list[dict[str, str]]:
    """Return the rows as they stood; blank fields are left out."""
    rows = []
    with table:
        for block in table.blocks(None):
            count = block.read(dict.fromkeys(table.names)).table.num_rows
            fields = block.fields(np.arange(count)).table.to_pylist()
            rows += [{name: value for name, value in row.items() if value} for row in fields]
    return rows


def keys_of(table: InputTable) -> list[str]:
    return [row["PassengerId"] for row in rows_of(table)]


def message(error: type[TitanicError], data: bytes, path: Path, kind: Format | None = None) -> str:
    """Return what is said of a file, without its name: on opening it, asking for its columns, or reading it."""
    path.write_bytes(data)

    def use() -> None:
        with opened(path, kind) as table:
            table.require(CONTRACT.types)
            rows_of(table)

    with pytest.raises(error) as caught:
        use()
    text = str(caught.value)
    assert text.startswith((f"{path}: ", f"{path} ", f"reading {path} "))
    assert "\n" not in text
    return text.replace(f"{path}: ", "").replace(f"{path} ", "")


# Formats


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a/b.CSV", "csv"),
        ("a.csv.gz", "csv.gz"),
        ("a.Csv.Zst", "csv.zst"),
        ("a.b.parquet", "parquet"),
        ("x.parquet.csv", "csv"),
        ("-", "csv"),
    ],
)
def test_format_follows_the_suffix(name: str, expected: str) -> None:
    assert format_of(name) == expected


@pytest.mark.parametrize("name", ["a", "a.txt", "csv", "a.gz", "a.csv.bz2", "a.parquet.gz", "a.csv/b", "acsv"])
def test_other_suffixes_are_a_usage_error_that_names_the_option(name: str) -> None:
    with pytest.raises(UsageError, match=rf"{name} can't be told .*\.csv, \.csv\.gz, .*, or --output-format\.$"):
        format_of(name, "--output-format")


# Names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    day = tmp_path / "day"
    for name in (
        "b.csv", "a.parquet", "c.CSV.gz", "notes.txt", ".hidden.csv", "_tmp.csv", "b.rejects.csv", "deeper/d.csv",
    ):  # fmt: skip
        path = day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (day / "folder.csv").mkdir()
    return tmp_path


def found(*names: str, **options: Any) -> list[tuple[str, str]]:
    return [(source.name, source.format) for source in find_sources(names, **options)]


def test_folder_stands_for_its_files_by_name(folder: Path) -> None:
    expected = [("day/a.parquet", "parquet"), ("day/b.csv", "csv"), ("day/c.CSV.gz", "csv.gz")]
    assert found("day") == expected
    assert found(str(folder / "day")) == [(str(folder / name), kind) for name, kind in expected]


def test_glob_stands_for_its_matches_by_name(folder: Path) -> None:
    assert found("day/*.csv") == [("day/_tmp.csv", "csv"), ("day/b.csv", "csv"), ("day/b.rejects.csv", "csv")]
    assert found("day/**/d.csv") == [("day/deeper/d.csv", "csv")]


def test_names_stay_in_the_order_given(folder: Path) -> None:
    assert found("day/c.CSV.gz", "day/deeper", "day/b.csv", "day/[a]*") == [
        ("day/c.CSV.gz", "csv.gz"),
        ("day/deeper/d.csv", "csv"),
        ("day/b.csv", "csv"),
        ("day/a.parquet", "parquet"),
    ]


def test_name_that_looks_like_a_glob_but_is_a_file_is_that_file(folder: Path) -> None:
    (folder / "x[1].csv").touch()
    (folder / "x1.csv").touch()
    assert found("x[1].csv") == [("x[1].csv", "csv")]


def test_given_format_overrules_the_suffix(folder: Path) -> None:
    assert found("day/notes.txt", "day/b.csv", input_format="csv.zst") == [
        ("day/notes.txt", "csv.zst"),
        ("day/b.csv", "csv.zst"),
    ]
    assert ("day/notes.txt", "parquet") in found("day", input_format="parquet")


def test_stdin_is_csv_unless_it_is_said_to_be_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for data, kind in ((CSV, None), (PARQUET, "parquet"), (gzip.compress(CSV), "csv.gz")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        (source,) = find_sources(["-"], kind)  # type: ignore[arg-type]
        assert (source.name, source.format) == ("stdin", kind or "csv")
        assert keys_of(InputTable(source)) == KEYS
    with pytest.raises(UsageError, match=r"- \(stdin\) can be read only once"):
        find_sources(["-", "-"])


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("gone.csv", InputError, "gone.csv does not exist: check the path."),
        ("gone/*.csv", InputError, "no file matches gone/*.csv."),
        ("empty", InputError, "empty holds no file to read (.csv, .csv.gz, .csv.zst, .parquet)."),
        ("day/notes.txt", UsageError, "the format of day/notes.txt can't be told from its name: "),
    ],
)
def test_what_is_not_there_is_told(folder: Path, name: str, error: type[TitanicError], text: str) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    with pytest.raises(error) as caught:
        find_sources(["day", name])
    assert str(caught.value).startswith(text)


def test_input_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    kinds: list[Format] = ["csv", "csv.gz", "parquet"]
    for kind in kinds:
        with pytest.raises(InputError, match=r"gone can't be opened \(No such file or directory\)"):
            InputTable(Source("gone", kind))
        with pytest.raises(InputError, match=r"can't be opened \(Is a directory\)"):
            InputTable(Source(str(tmp_path), kind))


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
    from_stream = InputTable(Source(name, format_of(name), io.BytesIO(SAME[name])), block_bytes)
    assert keys_of(from_stream) == KEYS


def test_named_pipe_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[CSV])
    writer.start()
    (source,) = find_sources([str(tmp_path / "pipe")], "csv")
    table = InputTable(source)
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
def test_our_own_columns_of_a_rejects_file_are_passed_over(tmp_path: Path, name: str) -> None:
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


def test_type_of_a_column_as_it_stands(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int8()), "b": pa.array(["x"])}), tmp_path / "in.parquet")
    with opened(tmp_path / "in.parquet") as table:
        assert [table.type_of(name) for name in table.names] == [pa.int8(), pa.string()]
    (tmp_path / "in.csv").write_bytes(CSV)
    with opened(tmp_path / "in.csv") as table:
        assert table.type_of("PassengerId") == pa.string()


# Columns


def test_missing_columns_are_named_with_the_nearest_name(tmp_path: Path) -> None:
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


def test_data_without_a_header_is_told_and_shows_no_value(tmp_path: Path) -> None:
    text = message(DataError, CSV.partition(b"\n")[2], tmp_path / "in.csv")
    names = ", ".join(COLUMNS)
    assert text == f"the first line names none of the columns {names}: is the header missing?"
    near = message(DataError, b"1,3,male,22,1,0,7.25,,Gabin\n", tmp_path / "in.csv")
    assert near == text
    repeated = message(DataError, b"8675309,8675309,8675309\n", tmp_path / "in.csv")
    assert repeated == text


@pytest.mark.parametrize(("delimiter", "name"), [(b";", "a semicolon"), (b"\t", "a tab"), (b"|", "a bar")])
def test_other_delimiters_are_named(tmp_path: Path, delimiter: bytes, name: str) -> None:
    text = message(DataError, CSV.replace(b",", delimiter), tmp_path / "in.csv")
    assert text == f"its fields are separated by {name}: separate them by commas."


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_column_that_stands_there_twice_is_told(tmp_path: Path, name: str) -> None:
    if name == "in.csv":
        data = CSV.replace(b"Parch", b"Age")
        data = b"\n".join(line + b",0" for line in data.splitlines()).replace(b"Cabin,0", b"Cabin,Parch")
    else:
        table = typed(passengers(2))
        data = parquet_bytes(table.append_column("Age", table["Age"]))
    assert message(DataError, data, tmp_path / name) == "column Age stands in the header more than once."


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
def test_types_that_cannot_be_used_are_named(tmp_path: Path, column: str, array: pa.Array, text: str) -> None:
    table = typed(passengers(1))
    table = table.set_column(COLUMNS.index(column), column, array)
    assert message(DataError, parquet_bytes(table), tmp_path / "in.parquet") == text


def test_types_that_can_be_converted_are_fine(tmp_path: Path) -> None:
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
        (CSV, "in.csv.gz", "is damaged: it cannot be read to its end. Write it again."),
        (CSV, "in.csv.zst", "is damaged: it cannot be read to its end. Write it again."),
        (CSV.decode().encode("utf-16"), "in.csv", "is not UTF-8 (UTF-16, or no text at all): save it as UTF-8."),
        (CSV.decode().encode("utf-16-be"), "in.csv", "is not UTF-8 (UTF-16, or no text at all): save it as UTF-8."),
        (b"PK\x03\x04\x14\0\0", "in.csv", "is not UTF-8 (UTF-16, or no text at all): save it as UTF-8."),
        (CSV.replace(b"Cabin", b"Caf\xe9"), "in.csv", "the header is not UTF-8: save the file as UTF-8."),
        (b'"' + b"x" * 200_000 + b'"\n', "in.csv", "the header can't be read as CSV."),
    ],
)
def test_what_a_file_is_not_is_told(tmp_path: Path, data: bytes, name: str, text: str) -> None:
    assert message(DataError, data, tmp_path / name) == text


def outcome(data: bytes, kind: Format) -> list[str] | str:
    """Return the keys that are read, or what is said."""
    try:
        with InputTable(Source("in", kind, io.BytesIO(data)), 50) as table:
            table.require(CONTRACT.types)
            return keys_of(table)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("kind", ["csv.gz", "csv.zst"])
def test_compressed_file_that_is_cut_anywhere_is_never_taken_for_whole(kind: Format) -> None:
    compress = gzip.compress if kind == "csv.gz" else zstd
    rows = csv_bytes(passengers(5))
    data = compress(rows)
    assert outcome(data, kind) == KEYS[:5]
    for end in range(1, len(data)):
        assert outcome(data[:end], kind) == "in is damaged: it cannot be read to its end. Write it again."
    two = compress(rows[:100]) + compress(rows[100:])
    assert outcome(two, kind) == KEYS[:5]
    for end in range(len(compress(rows[:100])) + 1, len(two)):
        assert outcome(two[:end], kind) == "in is damaged: it cannot be read to its end. Write it again."


def test_gzip_with_any_byte_changed_gives_the_rows_or_is_damaged() -> None:
    data = bytearray(gzip.compress(CSV, mtime=0))
    for place in range(len(data)):
        data[place] ^= 0x10
        assert outcome(bytes(data), "csv.gz") in (
            KEYS,
            "in is damaged: it cannot be read to its end. Write it again.",
        )
        data[place] ^= 0x10


@pytest.mark.slow
def test_parquet_with_any_byte_changed_ends_in_rows_or_in_words() -> None:
    data = bytearray(PARQUET)
    for place in range(0, len(data), 3):
        data[place] ^= 0xFF
        said = outcome(bytes(data), "parquet")
        assert isinstance(said, list) or said.startswith(("in is ", "in: column"))
        data[place] ^= 0xFF


# Faults on the way


def test_file_that_shrinks_while_it_is_read_is_worth_another_try(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    data = csv_bytes(passengers(20_000))
    path.write_bytes(data)
    with opened(path, block_bytes=10_000) as table:
        blocks = table.blocks(COLUMNS)
        next(blocks)
        os.truncate(path, data.index(b"\n", len(data) // 2) + 1)  # at a row's end: nothing else would tell
        with pytest.raises(TransferError, match=r"reading .*in\.csv failed midway \(the file shrank .*\): try again"):
            list(blocks)


class Breaking(io.BytesIO):
    """A stream that fails after its data, as a network file may."""

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(buffer) or self._fail()

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) or bytes(self._fail())

    def _fail(self) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.zst", "parquet"])
def test_stream_that_fails_midway_is_worth_another_try(kind: Format) -> None:
    data = {"csv": CSV, "csv.gz": gzip.compress(CSV), "csv.zst": zstd(CSV), "parquet": PARQUET}[kind]
    cut = len(data) // 2

    def read() -> Iterator[object]:
        with InputTable(Source("in", kind, Breaking(data[:cut])), 100) as table:
            yield from table.blocks(COLUMNS)

    with pytest.raises(TransferError, match=r"reading in failed midway \(Input/output error\): try again"):
        list(read())


def test_table_that_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name, data in (("a.csv", b""), ("b.csv", gzip.compress(CSV)), ("c.csv.gz", CSV), ("d.parquet", CSV)):
        message(DataError, data, tmp_path / name)
    with pytest.raises(DataError):
        InputTable(Source("in", "parquet", io.BytesIO(CSV)))
    assert len(os.listdir("/proc/self/fd")) == before
