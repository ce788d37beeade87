"""Request bodies that cost a server much, or that it must read with care, each with how it is to be answered.

None is larger than 16 MiB as it is sent, which is what a server takes by default.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.passengers import COLUMNS, csv_bytes, passenger, passengers, typed
from titanic_batch.server.media import ARROW, CSV, JSON, JSON_LINES, PARQUET

FILES = Path(__file__).parent / "files"
LIMIT = 16 * 2**20
_MILLION = 10**6
_HEADER = ",".join(COLUMNS) + "\n"
_RECORD = '{"PassengerId":%d,"Pclass":3,"Sex":"male","Age":22,"SibSp":1,"Parch":0,"Fare":7.25,"Cabin":null%s}'
_DAMAGED = frozenset({400})
_TOO_MUCH = frozenset({413})
_READ = frozenset({200})
_REJECTED = frozenset({422})
_REFUSED = frozenset({400, 413})
_REFUSED_OR_REJECTED = frozenset({400, 413, 422})
_READ_OR_REFUSED = frozenset({200, 400, 413})  # what nobody needs may be passed over or refused


@dataclass(frozen=True)
class HostileBody:
    """A body, how it is sent, and the statuses of which it may be answered with one."""

    name: str
    media_type: str
    build: Callable[[], bytes]
    statuses: frozenset[int]
    path: str = "/predict"
    headers: Mapping[str, str] = field(default_factory=dict)


def arrow_stream(table: pa.Table, batch_rows: int | None = None) -> bytes:
    """Return a table as an Arrow stream."""
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table, max_chunksize=batch_rows)
    return buffer.getvalue()


def parquet_file(table: pa.Table, compression: str = "zstd") -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, write_statistics=False)
    return buffer.getvalue()


def packed(build: Callable[[], bytes]) -> bytes:
    """Return a body compressed with gzip, the same each time."""
    return gzip.compress(build(), 6, mtime=0)


def _rows(count: int, **columns: pa.Array) -> pa.Table:
    """Return as many valid passengers, with columns replaced or added."""
    table = typed(passengers(1)).take(pa.array(np.zeros(count, np.int64)))
    table = table.set_column(0, COLUMNS[0], pa.array(np.arange(1, count + 1)))
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.append_column(name, column) if place < 0 else table.set_column(place, name, column)
    return table


def _repeated(start: bytes, part: bytes, end: bytes, size: int = LIMIT - 2**10) -> bytes:
    """Return a body of about ``size`` bytes."""
    return start + part * ((size - len(start) - len(end)) // len(part)) + end


def _csv(line: bytes) -> bytes:
    return _repeated(_HEADER.encode(), line, b"")


def _csv_lines(count: int, line: str) -> bytes:
    """Return a CSV with the number of the row wherever ``line`` has an N."""
    return (_HEADER + "".join(line.replace("N", str(number)) for number in range(1, count + 1))).encode()


def _wide_csv(columns: int) -> bytes:
    names = ",".join(f"c{number}" for number in range(columns))
    row = ",".join(passenger(1).values())
    return f"{_HEADER.strip()},{names}\n{row}{',' * columns}\n".encode()


def _record(value: str, column: str = "Cabin", key: int = 1) -> bytes:
    """Return a row as JSON with a value replaced by a text; an empty text leaves the column out."""
    row = {"PassengerId": str(key), "Pclass": "3", "Sex": '"male"', "Age": "22", "SibSp": "1", "Parch": "0"}
    row |= {"Fare": "7.25", "Cabin": "null", column: value}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in row.items() if text) + "}").encode()


def _records(count: int) -> bytes:
    return ("[" + ",".join(_RECORD % (number, "") for number in range(1, count + 1)) + "]").encode()


def _object_of(count: int, value: str = "1", start: str = "") -> bytes:
    """Return a JSON object with that many names."""
    return ("{" + start + ",".join(f'"k{number}":{value}' for number in range(count)) + "}").encode()


def _inputs(values: bytes) -> bytes:
    return b'{"inputs":' + values + b"}"


def _split(columns: int) -> bytes:
    return json.dumps({"dataframe_split": {"columns": [f"c{n}" for n in range(columns)], "data": []}}).encode()


def _overlapping_views(rows: int, size: int = 2**20) -> pa.Array:
    """Return strings of ``size`` bytes each that share one buffer."""
    spare = 4096
    text = b"C" + np.random.default_rng(1).integers(65, 90, size + spare, dtype=np.uint8).tobytes()
    views = np.zeros(rows, dtype=[("size", "<i4"), ("start", "S4"), ("buffer", "<i4"), ("offset", "<i4")])
    views["offset"] = np.arange(rows) % spare
    views["size"] = size
    views["start"] = [text[offset : offset + 4] for offset in views["offset"]]
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(views.tobytes()), pa.py_buffer(text)])


def _views_in_extra_column() -> bytes:
    return arrow_stream(_rows(1000, x=_overlapping_views(1000)))


def _views_as_cabins() -> bytes:
    return arrow_stream(_rows(1000, Cabin=_overlapping_views(1000)))


def _list_view_of_nulls() -> bytes:
    rows, size = 1000, _MILLION
    lists = pa.ListViewArray.from_arrays(
        pa.array([0] * rows, pa.int32()), pa.array([size] * rows, pa.int32()), pa.nulls(size)
    )
    return arrow_stream(_rows(rows, x=lists))


def _fixed_lists_of_nulls() -> bytes:
    rows, size = 1000, 100_000
    return arrow_stream(_rows(rows, x=pa.FixedSizeListArray.from_arrays(pa.nulls(rows * size), size)))


def _long_dictionary(name: str) -> bytes:
    """Return a column that has 1 GB once its dictionary is applied."""
    rows, words, size = 10_000, 100, 100_000
    dictionary = pa.array([f"C{number}".ljust(size, "1") for number in range(words)])
    column = pa.DictionaryArray.from_arrays(pa.array(np.arange(rows) % words, pa.int8()), dictionary)
    return arrow_stream(_rows(rows, **{name: column}))


def _one_run() -> bytes:
    rows = 200_000
    return arrow_stream(
        _rows(rows, x=pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array(["C" * _MILLION])))
    )


def _null_columns() -> bytes:
    return arrow_stream(_rows(100_000, **{f"n{number}": pa.nulls(100_000) for number in range(400)}))


def _wide_arrow() -> bytes:
    one = pa.array([1], pa.int8())
    return arrow_stream(
        pa.table({**{name: _rows(1)[name] for name in COLUMNS}, **{f"c{n}": one for n in range(20_000)}})
    )


def _long_value() -> bytes:
    return parquet_file(_rows(10, Cabin=pa.array(["C" + "1" * (64 * 2**20)] + ["C85"] * 9)))


@functools.cache
def _packed_zeros() -> bytes:
    return packed(lambda: bytes(500 * _MILLION))


def _file(name: str) -> Callable[[], bytes]:
    return (FILES / name).read_bytes


def _json_bodies() -> list[HostileBody]:
    def body(name: str, build: Callable[[], bytes], statuses: frozenset[int], path: str = "/predict") -> HostileBody:
        return HostileBody(name, JSON, build, statuses, path)

    empty_rows = partial(_repeated, b"[", b"{},", b"{}]")
    inputs = partial(_repeated, b'{"inputs":{"a":[', b"1,", b"1]}}")
    gzip_header = {"Content-Encoding": "gzip"}
    return [
        body("JSON: millions of empty rows", empty_rows, _TOO_MUCH),
        HostileBody(
            "JSON: millions of empty rows, packed", JSON, partial(packed, empty_rows), _TOO_MUCH, headers=gzip_header
        ),
        body("JSON: millions of numbers for rows", partial(_repeated, b"[", b"1,", b"1]"), _REFUSED),
        body("JSON: a list within a list, and so on", partial(_repeated, b"", b"[", b""), _DAMAGED),
        body("JSON: an object within an object, and so on", partial(_repeated, b"", b'{"a":', b""), _DAMAGED),
        body("JSON: an age of 900 lists", partial(_record, "[" * 900 + "]" * 900, "Age"), _REFUSED_OR_REJECTED),
        body("JSON: a cabin of 930 lists", partial(_record, "[" * 930 + "]" * 930), _REFUSED_OR_REJECTED),
        body("JSON: a cabin of 100,000 lists", partial(_record, "[" * 10**5 + "]" * 10**5), _REFUSED_OR_REJECTED),
        body("JSON: 150,000 good rows", partial(_records, 150_000), _READ),
        body("JSON: rows with names of their own", partial(_rows_of_own_names, 900_000), _REFUSED),
        body("JSON: a row of a million other names", partial(_object_of, 1_200_000), _REFUSED_OR_REJECTED),
        body("JSON: a good row and a million names", _good_row_among_names, _READ_OR_REFUSED),
        body("JSON: an id of 4,000 digits", partial(_record, "9" * 4000, "PassengerId"), _REFUSED_OR_REJECTED),
        body(
            "JSON: an id of millions of digits",
            partial(_repeated, b'{"PassengerId":', b"9", b"}"),
            _REFUSED_OR_REJECTED,
        ),
        body("JSON: an id with a long exponent", partial(_record, "1e999999999999999999", "PassengerId"), _REJECTED),
        body("JSON: an age that rounds to infinity", partial(_record, "-1e400", "Age"), _REJECTED),
        HostileBody("JSON Lines: blanks", JSON_LINES, lambda: b" " * LIMIT, _READ, "/invocations"),
        body("JSON: a long name", partial(_repeated, b'[{"', b"a", b'":1}]'), _REFUSED_OR_REJECTED),
        body("JSON: a long cabin", partial(_repeated, _record('"')[:-1], b"C", b'"}'), _REJECTED),
        body("JSON: a split of a million columns", partial(_split, _MILLION), _READ_OR_REFUSED, "/invocations"),
        body(
            "JSON: inputs of many columns",
            lambda: _inputs(_object_of(800_000, "[1]")),
            _REFUSED_OR_REJECTED,
            "/invocations",
        ),
        body("JSON: inputs of millions of rows", inputs, _TOO_MUCH, "/invocations"),
        body("JSON: inputs of millions of rows at /predict", inputs, _TOO_MUCH),
        body(
            "JSON: instances of millions of empty lists",
            partial(_repeated, b'{"instances":[', b"[],", b"[]]}"),
            _REFUSED,
            "/invocations",
        ),
        HostileBody(
            "JSON Lines: millions of empty rows",
            JSON_LINES,
            partial(_repeated, b"", b"{}\n", b""),
            _TOO_MUCH,
            "/invocations",
        ),
        HostileBody(
            "JSON Lines: millions of empty rows, packed",
            JSON_LINES,
            partial(packed, partial(_repeated, b"", b"{}\n", b"")),
            _TOO_MUCH,
            "/invocations",
            gzip_header,
        ),
        HostileBody(
            "JSON Lines: one row again and again",
            JSON_LINES,
            partial(_repeated, b"", (_RECORD % (1, "") + "\n").encode(), b""),
            frozenset({409}),
            "/invocations",
        ),
        HostileBody(
            "JSON Lines: empty envelopes",
            JSON_LINES,
            partial(_repeated, b"", b'{"instances":[]}\n', b""),
            _READ_OR_REFUSED,
            "/invocations",
        ),
        body("JSON: a name twice", partial(_record, '"C1","Sex":"female"'), _DAMAGED),
        body("JSON: no cabin", partial(_record, ""), _READ),
        body(
            "JSON: a row without a cabin beside one with it",
            lambda: b"[" + _record("") + b"," + _record('"C1"', key=2) + b"]",
            _READ,
        ),
        body("JSON: a byte-order mark", lambda: b"\xef\xbb\xbf" + _record("null"), _READ),
        body("JSON: a list at /invocations", lambda: b"[" + _record("null") + b"]", _READ, "/invocations"),
        body("JSON: packed and not said so", partial(packed, partial(_record, "null")), _DAMAGED),
    ]


def _rows_of_own_names(count: int) -> bytes:
    return ("[" + ",".join(f'{{"k{number}":1}}' for number in range(count)) + "]").encode()


def _good_row_among_names() -> bytes:
    return _object_of(1_200_000, start=_record("null").decode()[1:-1] + ",")


def _csv_bodies() -> list[HostileBody]:
    def body(name: str, build: Callable[[], bytes], statuses: frozenset[int], path: str = "/predict") -> HostileBody:
        return HostileBody(name, CSV, build, statuses, path)

    bad = partial(_csv_lines, 250_000, "a,b,c,d,e,f,g,h\n")
    gzip_header = {"Content-Encoding": "gzip"}
    return [
        body("CSV: 100,000 more columns", partial(_wide_csv, 100_000), _READ_OR_REFUSED),
        body("CSV: a million more columns", partial(_wide_csv, _MILLION), _READ_OR_REFUSED),
        body("CSV: millions of empty names", partial(_repeated, b"", b",", b"\n"), _REFUSED),
        body("CSV: nothing but quotes", partial(_repeated, b"", b'"', b""), _REFUSED),
        body("CSV: long names", partial(_repeated, b"", b"x" * 100 + b",", b"\n"), _REFUSED),
        body("CSV: a quote in each row that is never closed", partial(_csv, b'"a\n'), _REFUSED_OR_REJECTED),
        body("CSV: odd quotes in too many rows", partial(_csv, b'1,3,male"",22,1,0,7.25,"x"y\n'), _TOO_MUCH),
        body("CSV: 250,000 bad rows", bad, _REJECTED),
        body("CSV: 250,000 bad rows, which are allowed", bad, _READ, "/predict?rejects=allow"),
        body(
            "CSV: 16 MiB of bad rows, which are allowed",
            partial(_csv_lines, 250_000, "xNxNxN,b,c,d,e,f,gggggggggggg,hhhhhhhhhhhhhhhhhhhhh\n"),
            _READ,
            "/predict?rejects=allow",
        ),
        body("CSV: millions of short rows", partial(_csv, b"1,,,,\n"), _TOO_MUCH),
        body("CSV: millions of line feeds", partial(_csv, b"\n"), _READ_OR_REFUSED | _REJECTED),
        body(
            "CSV: millions of carriage returns",
            partial(_repeated, _HEADER.strip().encode() + b"\r", b"\r", b""),
            _READ_OR_REFUSED | _REJECTED,
        ),
        body(
            "CSV: 250,000 good rows, every one different",
            partial(_csv_lines, 250_000, "N,3,male,33.N,1,0,100.N,CN\n"),
            _READ,
        ),
        body("CSV: 200,000 odd numbers", partial(_csv_lines, 200_000, "N,3,male,0xN,1,0,1eN,CN\n"), _REJECTED),
        body(
            "CSV: too many rows without a header",
            partial(_repeated, b"", b"1,3,male,22,1,0,7.25,\n", b""),
            _TOO_MUCH,
            "/invocations",
        ),
        body(
            "CSV: long exponents",
            lambda: (_HEADER + "1e999999999,3,male,22,1e-999999999,0,7.25,\n").encode(),
            _REJECTED,
        ),
        body(
            "CSV: one row of 16 MiB",
            partial(_repeated, _HEADER.encode() + b"1,3,male,22,1,0,7.25,C", b"1", b"\n"),
            _READ | _REFUSED_OR_REJECTED,
        ),
        body(
            "CSV: one bad row of 16 MiB",
            partial(_repeated, _HEADER.encode() + b"1,3,male,22,1,0,7.25,", b"x", b"\n"),
            _REFUSED_OR_REJECTED,
        ),
        HostileBody("CSV: 500 MB of zeros, packed", CSV, _packed_zeros, _TOO_MUCH, headers=gzip_header),
        HostileBody(
            "CSV: packed twice",
            CSV,
            partial(packed, partial(packed, partial(_wide_csv, 1))),
            _DAMAGED,
            headers=gzip_header,
        ),
        HostileBody(
            "CSV: many empty gzip members",
            CSV,
            partial(_repeated, b"", gzip.compress(b"", mtime=0), b""),
            _DAMAGED,
            headers=gzip_header,
        ),
        body("CSV: packed and not said so", partial(packed, partial(csv_bytes, passengers(3))), _DAMAGED),
        body(
            "CSV: a byte-order mark and no header",
            lambda: b"\xef\xbb\xbf892,3,male,34.5,0,0,7.8292,\n",
            _READ,
            "/invocations",
        ),
    ]


def _binary_bodies() -> list[HostileBody]:
    def arrow(name: str, build: Callable[[], bytes], statuses: frozenset[int] = _READ_OR_REFUSED) -> HostileBody:
        return HostileBody(f"Arrow: {name}", ARROW, build, statuses)

    return [
        HostileBody("Parquet: sizes that lie", PARQUET, _file("sizes-that-lie.parquet"), _REFUSED),
        HostileBody("Parquet: a value of 64 MiB", PARQUET, _long_value, _TOO_MUCH),
        HostileBody(
            "Parquet: another column is encrypted",
            PARQUET,
            _file("encrypted-extra-column.parquet"),
            frozenset({200, 400}),
        ),
        arrow("a list view of nulls", _list_view_of_nulls),
        arrow("fixed-size lists of nulls", _fixed_lists_of_nulls),
        arrow("string views that overlap", _views_in_extra_column),
        arrow("cabins that overlap", _views_as_cabins, _REFUSED_OR_REJECTED),
        arrow("a dictionary of long strings", partial(_long_dictionary, "x")),
        arrow("a dictionary of long cabins", partial(_long_dictionary, "Cabin"), _READ | _REFUSED_OR_REJECTED),
        arrow("one run of a long string", _one_run),
        arrow("400 columns of nulls", _null_columns),
        arrow("20,000 columns", _wide_arrow),
        arrow("offsets beyond the data", _file("bad-offsets.arrows")),
        arrow("a union of no rows", _file("empty-union.arrows")),
        arrow("binary values of no width", _file("width-0.arrows")),
    ]


HOSTILE_BODIES: list[HostileBody] = [*_json_bodies(), *_csv_bodies(), *_binary_bodies()]
