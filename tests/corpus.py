"""Bad and odd rows and files, each with what must become of it.

Bad values hold ``SECRET`` wherever they can, so that a test can look for it in what must show no value.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from tests import odd_parquet, thrift
from titanic_batch.errors import DataError, InputError, TitanicError, UsageError

Reason: TypeAlias = tuple[str, str | None]
"""A rule and the column it speaks of."""

Fields: TypeAlias = Mapping[str, str | bytes]
"""Fields of a row, by column, as they stand in a CSV."""

COLUMNS = (
    "PassengerId",
    "Pclass",
    "Name",
    "Sex",
    "Age",
    "SibSp",
    "Parch",
    "Ticket",
    "Fare",
    "Cabin",
    "Embarked",
)
LABEL = "Survived"
HEADER = ",".join(COLUMNS).encode() + b"\n"
SECRET = "8675309"
KEY = 5_000_000  # of odd rows, beyond the keys of all others

_AGES = ("22", "", "0.75", "38", "NA", "61.5")
_FARES = ("7.25", "71.2833", "", "8.05", "nan")
_CABINS = ("", "C85", "B57 B59", "T", "NaN", "G6", "F G73")


# Rows


def passenger(key: int) -> dict[str, str]:
    """Return a valid row as text; the columns cycle with the key."""
    return {
        "PassengerId": str(key),
        "Pclass": str(key % 3 + 1),
        "Name": f"Passenger, Mr. No {key}",
        "Sex": ("male", "female")[key % 2],
        "Age": _AGES[key % 6],
        "SibSp": str(key % 4),
        "Parch": str(key % 5 % 3),
        "Ticket": f"A/5 {key}",
        "Fare": _FARES[key % 5],
        "Cabin": _CABINS[key % 7],
        "Embarked": "CQS"[key % 3],
    }


def line(key: int, given: Fields | None = None, /, *, label: str | None = None, **fields: str | bytes) -> bytes:
    """Return a line of a CSV. Given fields overrule those of the passenger, and are taken as they are, quotes too."""
    row = passenger(key)
    raw: dict[str, bytes] = {name: value.encode() for name, value in row.items()}
    raw["Name"] = b'"' + raw["Name"] + b'"'
    for name, value in {**(given or {}), **fields}.items():
        raw[name] = value if isinstance(value, bytes) else value.encode()
    assert set(raw) == set(COLUMNS)
    return b",".join([*raw.values(), *([label.encode()] if label is not None else [])]) + b"\n"


def lines(*keys: int) -> bytes:
    """Return the lines of valid rows."""
    return b"".join(map(line, keys))


def unquoted(*keys: int) -> bytes:
    """Return the lines of valid rows without a quote."""
    return b"".join(line(key, Name="Anonymous") for key in keys)


def csv_of(*parts: bytes) -> bytes:
    """Return a CSV with a header."""
    return HEADER + b"".join(parts)


@cache
def good_lines(first: int, last: int) -> bytes:
    """Return the lines of the valid rows from one key to another."""
    return lines(*range(first, last + 1))


@cache
def good_table(first: int, last: int) -> pa.Table:
    """Return the same rows typed, a missing value as null."""
    rows = [passenger(key) for key in range(first, last + 1)]

    def column(name: str) -> pa.Array:
        texts = [row[name] for row in rows]
        match name:
            case "PassengerId" | "Pclass" | "SibSp" | "Parch":
                return pa.array([int(text) for text in texts], pa.int64())
            case "Age" | "Fare":
                return pa.array([None if text in ("", "NA", "nan") else float(text) for text in texts], pa.float64())
            case _:
                return pa.array([None if text in ("", "NaN") else text for text in texts], pa.string())

    return pa.table({name: column(name) for name in COLUMNS})


def parquet_of(table: pa.Table, row_group_size: int | None = None) -> bytes:
    """Return a table as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=row_group_size)
    return file.getvalue()


def with_columns(table: pa.Table, **columns: pa.Array) -> pa.Table:
    """Return a table with some columns replaced, or appended."""
    for name, column in columns.items():
        at = table.schema.get_field_index(name)
        table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
    return table


def raw_strings(values: Sequence[bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return bytes as an Arrow array of strings that nobody has checked to be UTF-8."""
    binary = pa.array(values, pa.binary())
    strings = pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())
    return strings if kind is None else strings.cast(kind)


# Odd rows


@dataclass(frozen=True)
class OddRow:
    """A row, as it stands in a CSV and, where Parquet can hold the like, with typed values.

    Attributes
    ----------
    reasons
        Why it is rejected; none: it is accepted.
    plain
        The accepted row as anybody would write it.
    values
        Arrays of one value that take the place of columns in a Parquet file; none: it can't exist there.
    """

    name: str
    line: bytes
    reasons: frozenset[Reason]
    plain: bytes
    values: Mapping[str, pa.Array] = field(default_factory=dict)

    def csv(self, before: bytes = b"", after: bytes = b"") -> bytes:
        """Return a CSV of the row between others."""
        return csv_of(before, self.line, after)

    def parquet(self, before: pa.Table | None = None, after: pa.Table | None = None) -> bytes:
        """Return a Parquet file of the row between others, which take on the types of its values."""
        row = with_columns(good_table(KEY, KEY), **self.values)
        others = [None if table is None else _as_typed(table, row.schema) for table in (before, after)]
        tables = [table for table in (others[0], row, others[1]) if table is not None]
        return parquet_of(pa.concat_tables(tables))


def _as_typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table in other types; a number that one of them can't hold is rounded."""
    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        values = table[name].to_pylist()
        if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            values = [None if value is None else round(value) for value in values]
        # Dictionaries of other types than ours can't be reached by a cast of the whole table.
        columns.append(pa.array(values, kind, from_pandas=True))
    return pa.table(columns, schema=schema)


def _reason(text: str) -> Reason:
    rule, _, column = text.partition(" ")
    return rule, column or None


def _odd(
    name: str,
    fields: Fields | bytes,
    *reasons: str,
    values: Mapping[str, pa.Array] | None = None,
    plain: Fields | None = None,
) -> OddRow:
    return OddRow(
        name,
        fields if isinstance(fields, bytes) else line(KEY, fields),
        frozenset(map(_reason, reasons)),
        line(KEY, plain),
        values or {},
    )


def _text(column: str, text: str, *reasons: str, quoted: str | None = None) -> OddRow:
    """Return a row with a text that can stand in a CSV and in Parquet alike."""
    shown = text if len(text) < 20 else f"{text[:8]}... of {len(text)}"
    return _odd(
        f"{column} is {shown!r}",
        {column: quoted or text},
        *reasons,
        values={column: pa.array([text])},
        plain=None if reasons else {column: quoted or text},
    )


def _number(column: str, text: str, value: pa.Array | None, *reasons: str, plain: str | None = None) -> OddRow:
    """Return a row with a number, as text and as a value of some Arrow type."""
    return _odd(
        f"{column} is {text!r}",
        {column: text},
        *reasons,
        values=None if value is None else {column: value},
        plain={column: plain} if plain is not None else None,
    )


def _f64(value: float | None) -> pa.Array:
    return pa.array([value], pa.float64())


def _i64(value: int | None) -> pa.Array:
    return pa.array([value], pa.int64())


def _range_edges() -> list[OddRow]:
    """Return rows at each edge of each range, inside and outside."""
    rows = [_number("Pclass", str(inside), _i64(inside), plain=str(inside)) for inside in (1, 3)]
    rows += [_number("Pclass", str(outside), _i64(outside), "not_allowed Pclass") for outside in (0, 4, -1)]
    for column in ("SibSp", "Parch"):
        rows += [_number(column, str(inside), _i64(inside), plain=str(inside)) for inside in (0, 20)]
        rows += [_number(column, str(outside), _i64(outside), f"out_of_range {column}") for outside in (-1, 21)]
    for column, top, above in (("Age", "120", "120.00000000000003"), ("Fare", "1000", "1000.0000000000001")):
        rows += [_number(column, inside, _f64(float(inside)), plain=inside) for inside in ("0", "-0.0", top)]
        rows += [
            _number(column, outside, _f64(float(outside)), f"out_of_range {column}")
            for outside in ("-5e-324", above, f"{SECRET}.25")
        ]
    return rows


def _missing() -> list[OddRow]:
    """Return rows without a value, in every spelling, in each kind of column."""
    rows = []
    for spelling in ("", "NA", "NaN", "nan", "null", '""', '"NA"'):
        for column in ("PassengerId", "Pclass", "Sex", "SibSp", "Parch"):
            rows.append(_odd(f"{column} is missing as {spelling!r}", {column: spelling}, f"missing {column}"))
        for column in ("Age", "Fare", "Cabin"):
            rows.append(_odd(f"{column} may be missing as {spelling!r}", {column: spelling}, plain={column: ""}))
    for column, kind in (("PassengerId", pa.int64()), ("Pclass", pa.int8()), ("Sex", pa.string())):
        null = {column: pa.array([None], kind)}
        rows.append(_odd(f"{column} is null", {column: ""}, f"missing {column}", values=null))
    for column in ("PassengerId", "SibSp"):
        nan = {column: _f64(float("nan"))}
        rows.append(_odd(f"{column} is a float NaN", {column: "nan"}, f"missing {column}", values=nan))
    for column in ("Age", "Fare"):
        nan = {column: _f64(float("nan"))}
        rows.append(_odd(f"{column} is a float NaN", {column: "nan"}, values=nan, plain={column: ""}))
    rows.append(_odd("Sex is the text NA", {"Sex": "NA"}, "missing Sex", values={"Sex": pa.array(["NA"])}))
    rows.append(
        _odd("Cabin is the text nan", {"Cabin": "nan"}, values={"Cabin": pa.array(["nan"])}, plain={"Cabin": ""})
    )
    return rows


_INT64_MAX, _INT64_MIN = 2**63 - 1, -(2**63)

ODD_ROWS: list[OddRow] = [
    # Numbers that are spelt oddly and are numbers all the same
    *(
        _number("Pclass", text, value, plain="3")
        for text, value in (
            ("3.0", _f64(3.0)),
            ("+3", pa.array([3], pa.int8())),
            (" 3", pa.array([3], pa.uint16())),
            ("3 ", pa.array([3.0], pa.float32())),
            ("\t3", pa.array([Decimal("3.00")], pa.decimal128(10, 2))),
            ("003", pa.array([3], pa.uint64())),
            ("3.", pa.array([Decimal(3)], pa.decimal256(60, 0))),
            ("+0003.000 ", pa.array([3]).dictionary_encode()),
            ('"3"', pa.array([Decimal("3.0")], pa.decimal32(5, 1))),
        )
    ),
    _number("Age", "+3", _i64(3), plain="3"),
    _number("Age", " 3", pa.array([3], pa.uint8()), plain="3"),
    _number("Age", "3e0", pa.array([3.0], pa.float16()), plain="3"),
    _number("Age", ".5", pa.array([0.5], pa.float32()), plain="0.5"),
    _number("Fare", "1E2", pa.array([Decimal("100.00")], pa.decimal64(10, 2)), plain="100"),
    _number("PassengerId", f"{KEY}.0", _f64(float(KEY)), plain=str(KEY)),
    _number("PassengerId", f"000{KEY}", pa.array([KEY], pa.float32()), plain=str(KEY)),
    _number("PassengerId", f'" +{KEY}.000\t"', pa.array([Decimal(f"{KEY}.000")]), plain=str(KEY)),
    _number("PassengerId", str(_INT64_MAX), pa.array([_INT64_MAX], pa.uint64()), plain=str(_INT64_MAX)),
    _number("PassengerId", f"{_INT64_MAX}.0", pa.array([Decimal(_INT64_MAX)]), plain=str(_INT64_MAX)),
    _number("PassengerId", str(_INT64_MIN), _f64(float(_INT64_MIN)), plain=str(_INT64_MIN)),
    # Text in a number column
    *(
        _number(column, text, None, f"type {column}")
        for column, text in (
            ("PassengerId", f"No {SECRET}"),
            ("Pclass", f"third{SECRET}"),
            ("Age", f"about {SECRET}"),
            ("SibSp", "one"),
            ("Parch", "N/A"),
            ("Fare", f"£{SECRET}"),
            ("Fare", f'"{SECRET},00"'),
            ("Age", "3_0"),
            ("Age", "\N{FULLWIDTH DIGIT THREE}"),
            ("Age", "--3"),
            ("Age", "1 000"),
            *(("Age", text) for text in ("NULL", "Null", "None", "n/a", "NAN", "Nan", "-nan", "+nan", "-NaN", " nan")),
            *(
                ("Fare", text)
                for text in ("nan(7)", "NaN()", '"-nan(ind)"', "#N/A", "\\N", "?", "-", ".", "infi", "0x10")
            ),
            *(("PassengerId", text) for text in ("0xffffffffffffffff", f"0x{SECRET}", "0XFF", "-0x1", '" 0x1"', "NAN")),
            *(("PassengerId", text) for text in ("1.23457E+17", f"{SECRET}e0", "5e6", "1e300", "1_000", "+", "7.0.0")),
            *((column, text) for column in ("Pclass", "SibSp", "Parch") for text in ("0x1", "0X02", "1e0", "-nan")),
            ("Age", "''"),
            ("Age", f'"{SECRET}\n"'),
            ("Pclass", "3\N{NO-BREAK SPACE}"),
            ("Pclass", "true"),
            ("Pclass", " "),
        )
    ),
    # Numbers that are no integers
    _number("Pclass", "3.5", _f64(3.5), "type Pclass"),
    _number("SibSp", "0.0000001", pa.array([0.1], pa.float32()), "type SibSp"),
    _number("PassengerId", f"{SECRET}.5", pa.array([Decimal(f"{SECRET}.5")], pa.decimal128(20, 1)), "type PassengerId"),
    _number("Parch", "1e-5", pa.array([Decimal("0.00001")], pa.decimal256(60, 5)), "type Parch"),
    # Numbers that no column can hold
    _number("PassengerId", str(2**63), pa.array([2**63], pa.uint64()), "out_of_range PassengerId"),
    _number("PassengerId", str(_INT64_MIN - 1), pa.array([Decimal(_INT64_MIN - 1)]), "out_of_range PassengerId"),
    _number("PassengerId", f"1{'0' * 300}", _f64(1e300), "out_of_range PassengerId"),
    _number("PassengerId", f"{SECRET}{'0' * 30}", pa.array([Decimal(SECRET) * 10**30]), "out_of_range PassengerId"),
    _number("PassengerId", f"{'9' * 20}.0", pa.array([Decimal(f"{'9' * 20}.0")]), "out_of_range PassengerId"),
    _number("Pclass", "9" * 30, pa.array([Decimal("9" * 30)]), "out_of_range Pclass"),
    _number("SibSp", f"1{'0' * 19}", _f64(1e19), "out_of_range SibSp"),
    *(
        _number(column, text, _f64(float(text)), f"not_finite {column}")
        for column in ("PassengerId", "Pclass", "Age", "Fare")
        for text in ("inf", "-inf", "Infinity")
    ),
    _number("Age", f"1e{SECRET}", _f64(float("inf")), "not_finite Age"),
    # Categories and cabins: exact
    _text("Sex", "Male", "not_allowed Sex"),
    _text("Sex", " male", "not_allowed Sex"),
    _text("Sex", "male ", "not_allowed Sex"),
    _text("Sex", "m", "not_allowed Sex"),
    _text("Sex", f"x{SECRET}", "not_allowed Sex"),
    _text("Sex", "male\0", "not_allowed Sex"),
    _text("Sex", "ma\nle", "not_allowed Sex", quoted='"ma\nle"'),
    _text("Sex", "malé", "not_allowed Sex"),
    _text("Sex", f"male{SECRET}" * 20_000, "not_allowed Sex"),
    _text("Sex", "na", "not_allowed Sex"),
    _text("Sex", "\U0010ff80", "not_allowed Sex"),
    _text("Cabin", f"H{SECRET}", "not_allowed Cabin"),
    _text("Cabin", "c85", "not_allowed Cabin"),
    _text("Cabin", " C85", "not_allowed Cabin"),
    _text("Cabin", "\nC85", "not_allowed Cabin", quoted='"\nC85"'),
    _text("Cabin", f"C{SECRET}\n\0" * 20_000, "not_allowed Cabin", quoted='"' + f"C{SECRET}\n\0" * 20_000 + '"'),
    *(
        _text("Cabin", text, "not_allowed Cabin", quoted=f'"{text}"')
        for text in (
            *(
                "False",
                "True",
                "FALSE",
                "TRUE",
                "Deck unknown",
                "Cabin not known",
                "A/5 21171",
                "NAN",
                "None",
                "G6, F2",
            ),
            *(
                "C85\n",
                "C85 ",
                "C85  C87",
                "C85\tC87",
                "C 85",
                "85",
                "C85a",
                f"C{SECRET}x",
                "D\0",
                "C\N{ARABIC-INDIC DIGIT EIGHT}",
            ),
        )
    ),
    *(_text("Cabin", text) for text in ("T", "F G73", "B57 B59 B63 B66", "D D10", "C85" + " C87" * 50_000)),
    # Bytes that are not UTF-8
    *(
        _odd(
            f"{column} is not UTF-8: {text!r}",
            {column: text},
            f"encoding {column}",
            values={column: raw_strings([text])} if column in ("Sex", "Cabin") else None,
        )
        for column, text in (
            ("Sex", b"male\xff"),
            ("Sex", f"x{SECRET}\xe9".encode("latin-1")),
            ("Cabin", b"C85\xc3"),
            ("Cabin", b"\xed\xa0\x80"),
            ("Age", f"{SECRET}\xa0".encode("latin-1")),
            ("Pclass", b"\xff"),
            ("PassengerId", f"\xff{SECRET}".encode("latin-1")),
        )
    ),
    *(
        _odd(
            f"{column} is not checked and not UTF-8: {text!r}",
            {column: text},
            values={column: raw_strings([text])},
        )
        for column, text in (("Name", b"Andr\xe9"), ("Ticket", b"\xff\xfe\0"), ("Embarked", b"\x80"))
    ),
    # Columns that are not checked
    _text("Name", "", quoted=""),
    _text("Name", "a" * 140_000),
    _text("Name", 'a "quoted" name', quoted='a "quoted" name'),
    _text("Name", '5" gun', quoted='5" gun'),
    _text("Name", 'ends with "', quoted='ends with "'),
    _text("Name", 'two\nlines, and a "quote"', quoted='"two\nlines, and a ""quote"""'),
    _text("Name", "three\r\n\nlines\r", quoted='"three\r\n\nlines\r"'),
    _text("Name", "a\0b"),
    _text("Name", "closed, then more", quoted='"closed, then" more'),
    _text("Name", 'closed, then "more"', quoted='"closed, then" "more"'),
    # As many fields as the header has, or not
    *(
        _odd(name, text, "wrong_field_count")
        for name, text in (
            ("a field too few", line(KEY).replace(b",", f",{SECRET} ".encode(), 1)[:-3] + b"\n"),
            ("a field too many", line(KEY, Embarked=f"S,{SECRET}")),
            ("one field", SECRET.encode() + b"\n"),
            ("a line of blanks", b"   \n"),
            ("a comma", b",\n"),
            ("a lone quoted field", f'"{SECRET}\n,"\n'.encode()),
            ("a foreign byte in too many fields", line(KEY, Name=SECRET.encode() + b",\xff")),
            ("a long field and too many", line(KEY, Name=f"{SECRET}," * 20_000)),
            ("a long field beside one too many", line(KEY, Name="a" * 140_000 + ",")),
        )
    ),
    _odd(
        "no field holds anything",
        b"," * 10 + b"\n",
        *(f"missing {name}" for name in ("PassengerId", "Pclass", "Sex", "SibSp", "Parch")),
    ),
    # What opens a file is part of a field where it opens a row
    _odd("a byte-order mark before the key", b"\xef\xbb\xbf" + line(KEY), "type PassengerId"),
    _odd("a byte-order mark alone", b"\xef\xbb\xbf\n", "wrong_field_count"),
    # Several reasons at once
    _odd(
        "every checked column is bad",
        {
            "PassengerId": "NA",
            "Pclass": "4",
            "Sex": b"\xff",
            "Age": "inf",
            "SibSp": "1.5",
            "Parch": "21",
            "Fare": "-1",
            "Cabin": "x",
        },
        "missing PassengerId",
        "not_allowed Pclass",
        "encoding Sex",
        "not_finite Age",
        "type SibSp",
        "out_of_range Parch",
        "out_of_range Fare",
        "not_allowed Cabin",
    ),
    *_range_edges(),
    *_missing(),
]


LABELS: list[tuple[str, frozenset[Reason]]] = [
    ("0", frozenset()),
    ("1", frozenset()),
    ("1.0", frozenset()),
    ("+1", frozenset()),
    ("01", frozenset()),
    ("1e0", frozenset({("type", LABEL)})),
    ("0x1", frozenset({("type", LABEL)})),
    ("-nan", frozenset({("type", LABEL)})),
    ("2", frozenset({("not_allowed", LABEL)})),
    ("-1", frozenset({("not_allowed", LABEL)})),
    ("0.5", frozenset({("type", LABEL)})),
    ("yes", frozenset({("type", LABEL)})),
    ("True", frozenset({("type", LABEL)})),
    ("", frozenset({("missing", LABEL)})),
    ("NaN", frozenset({("missing", LABEL)})),
    ("inf", frozenset({("not_finite", LABEL)})),
    (str(2**70), frozenset({("out_of_range", LABEL)})),
]


# Files


@dataclass(frozen=True)
class OddFile:
    """One or several inputs of a run, and what must become of them.

    Attributes
    ----------
    files
        Their names and contents, in the order they are named; None: the file is not there.
    keys
        Of the accepted rows, in order.
    reasons
        For each rejected row (the number of its input from 0, its own from 1), why.
    error, says
        The error that ends the run instead, and what its message must hold.
    plain
        A CSV whose rows are those that are accepted.
    unreadable
        Columns that the rejects don't have, because they can't be read.
    """

    name: str
    files: Mapping[str, bytes | None]
    keys: tuple[int, ...] = ()
    reasons: Mapping[tuple[int, int], frozenset[Reason]] = field(default_factory=dict)
    error: type[TitanicError] | None = None
    says: tuple[str, ...] = ()
    plain: bytes | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code of a run that bears no rejects."""
        if self.error is None:
            return 65 if self.reasons else 0
        return {DataError: 65, InputError: 66, UsageError: 2}[self.error]


def _fine(name: str, content: bytes, *keys: int, file: str = "in.csv", plain: bytes | None = None) -> OddFile:
    return OddFile(name, {file: content}, keys, plain=csv_of(lines(*keys)) if plain is None else plain)


def _with_rejects(name: str, content: bytes, keys: Sequence[int], file: str = "in.csv", **reasons: str) -> OddFile:
    """Return a file with rejected rows: ``row_3="type Age, missing Sex"``."""
    rejected = {
        (0, int(row.removeprefix("row_"))): frozenset(map(_reason, given.split(", "))) for row, given in reasons.items()
    }
    return OddFile(name, {file: content}, tuple(keys), rejected)


def _broken(
    name: str, content: bytes | None, *says: str, file: str = "in.csv", error: type[TitanicError] = DataError
) -> OddFile:
    return OddFile(name, {file: content}, error=error, says=(file, *says))


def _duplicate(row: int, file: int = 0) -> dict[tuple[int, int], frozenset[Reason]]:
    return {(file, row): frozenset({("duplicate_key", "PassengerId")})}


def _typed(name: str, keys: Sequence[int], **columns: pa.Array) -> OddFile:
    """Return a Parquet file that holds the same rows in columns of other types."""
    table = with_columns(pa.concat_tables([good_table(key, key) for key in keys]), **columns)
    return _fine(name, parquet_of(table), *keys, file="in.parquet")


def _mistyped(kind: str, column: str, values: pa.Array, says: str) -> OddFile:
    table = with_columns(good_table(1, 2), **{column: values})
    name = f"{column} of the type {kind} in Parquet"
    return _broken(name, parquet_of(table), column, says, file="in.parquet")


def _renamed(table: pa.Table, **names: str) -> pa.Table:
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def _not_nullable(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([f.with_nullable(table[f.name].null_count > 0) for f in table.schema]))


def _doubled(table: pa.Table, name: str) -> pa.Table:
    return pa.Table.from_arrays([*table.columns, table[name]], names=[*table.column_names, name])


_THREE = csv_of(lines(1, 2, 3))
_GZIP = gzip.compress(_THREE, mtime=0)
_ZSTD = pa.compress(_THREE, "zstd", asbytes=True)
_PARQUET = parquet_of(good_table(1, 3))
_MAP = pa.map_(pa.string(), pa.int64())
_MARK = b"\xef\xbb\xbf"
_NOTHING = gzip.compress(b"", mtime=0)
_SKIPPABLE = b"\x50\x2a\x4d\x18\x05\0\0\0hello"


def _with_fields(content: bytes, fields: bytes) -> bytes:
    """Return a CSV with more fields at the end of each line."""
    return content.replace(b"\n", fields + b"\n")


def _other_contents() -> list[tuple[str, bytes, str]]:
    """Return content of other formats: what it is, the content, and what its message must say."""
    archive, workbook = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("in.csv", _THREE)
    with zipfile.ZipFile(workbook, "w") as file:
        file.writestr("[Content_Types].xml", "<Types/>")
        file.writestr("xl/workbook.xml", "<workbook/>")
    packed = tarfile.TarInfo("in.csv")
    packed.size = len(_THREE)
    feather, stream, orc_file = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for sink, writer in ((feather, pa.ipc.new_file), (stream, pa.ipc.new_stream)):
        with writer(sink, good_table(1, 3).schema) as batches:
            batches.write_table(good_table(1, 3))
    orc.write_table(good_table(1, 3), orc_file)
    return [
        ("bzip2", bz2.compress(_THREE), "compressed by bzip2: decompress it"),
        ("xz", lzma.compress(_THREE), "compressed by xz: decompress it"),
        ("lz4", pa.compress(_THREE, "lz4", asbytes=True), "compressed by lz4: decompress it"),
        ("gzip", _GZIP, "csv.gz, not "),
        ("zstd", _ZSTD, "csv.zst, not "),
        ("zstd after a skippable frame", _SKIPPABLE + _ZSTD, "csv.zst, not "),
        ("Parquet", _PARQUET, "parquet, not "),
        ("zip", archive.getvalue(), "a zip archive: unpack it"),
        ("an Excel workbook", workbook.getvalue(), "an Excel workbook: save it as CSV"),
        (
            "an old Excel workbook",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
            "an Excel workbook of the old format",
        ),
        ("7z", b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(24), "a 7z archive: unpack it"),
        ("tar", packed.tobuf() + _THREE.ljust(512, b"\0") + bytes(1024), "a tar archive: unpack it"),
        ("ORC", orc_file.getvalue(), "ORC: convert it to CSV or Parquet"),
        ("Avro", b"Obj\x01\x04\x14avro.codec\x08null\x16avro.schema", "Avro: convert it to CSV or Parquet"),
        ("Feather", feather.getvalue(), "an Arrow (Feather) file: convert it"),
        ("an Arrow stream", stream.getvalue(), "an Arrow stream: convert it"),
        ("SQLite", b"SQLite format 3\0" + bytes(84), "an SQLite database: convert it"),
        ("JSON", b'[\n  {"PassengerId": 1, "Pclass": 3}\n]\n', "JSON: convert it"),
        ("JSON lines", b'{"PassengerId": 1, "Pclass": 3}\n' * 3, "JSON: convert it"),
        ("XML", _MARK + b'<?xml version="1.0"?>\n<rows/>', "XML: convert it"),
        (
            "an HTML page",
            b"\r\n<!DOCTYPE html>\n<html><body>Sign in</body></html>\n",
            "an HTML page: get the file itself",
        ),
        ("an HTML page without a type", b'<HTML lang="en"><head>', "an HTML page"),
        ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("a git-annex pointer", b"/annex/objects/SHA256E-s9--0.csv\n", "git annex get"),
    ]


def _csv_files() -> list[OddFile]:
    secret = f"x{SECRET}"
    return [
        # Nothing, or nearly
        _broken("an empty file", b"", "empty"),
        _broken("blank lines and nothing else", b"\n\r\n\n", "empty"),
        _broken("a byte-order mark and nothing else", b"\xef\xbb\xbf", "empty"),
        _fine("a header and no row", HEADER),
        _fine("a header without a line end and no row", HEADER[:-1]),
        _fine("a header, blank lines and no row", HEADER + b"\n\r\n\n"),
        _broken("no such file", None, "does not exist", error=InputError),
        # Headers
        _broken("no header", line(1, Name=secret, SibSp="1", Parch="2") + lines(2), "header missing"),
        _broken(
            "no header, and a value twice in the first row", line(1, Name=SECRET, Ticket=SECRET), "header missing"
        ),
        _broken("a column twice", HEADER.replace(b"Ticket", b"Age") + lines(1), "Age", "more than once"),
        _broken("a column twice that is not checked", HEADER.replace(b"Ticket", b"Name"), "Name", "more than once"),
        _broken("a required column missing", HEADER.replace(b"Fare", b"Pay") + lines(1), "column missing: Fare."),
        _broken(
            "a column of nearly the right name",
            HEADER.replace(b"Pclass", b"P_class").replace(b"SibSp", b"sibsp") + lines(1),
            "Pclass (nearest: P_class)",
            "SibSp (nearest: sibsp)",
        ),
        _broken("names in lower case", HEADER.lower() + lines(1), "PassengerId (nearest: passengerid)"),
        _broken("blanks around a name", HEADER.replace(b"Age", b" Age ") + lines(1), "Age (nearest:  Age )"),
        _broken("a header that is not UTF-8", HEADER.replace(b"Name", b"Nom\xe9"), "header is not UTF-8"),
        _fine("a header in quotes", b'"' + HEADER.strip().replace(b",", b'","') + b'"\n' + lines(1, 2), 1, 2),
        _fine("a name over two lines", HEADER.replace(b"Name", b'"Na\nme"') + lines(1, 2), 1, 2),
        _fine("a column without a name", HEADER.replace(b"Ticket", b"") + lines(1), 1),
        _fine("blank lines before the header", b"\n\r\n" + _THREE, 1, 2, 3),
        _fine("columns in another order",
              b"Cabin,Fare,Parch,SibSp,Age,Sex,Pclass,PassengerId\nC85,,2,1,22,female,3,7\n", 7,
              plain=csv_of(line(7, Pclass="3", Sex="female", Age="22", SibSp="1", Parch="2", Fare="", Cabin="C85"))),
        # Bytes and line ends
        _fine("a byte-order mark", b"\xef\xbb\xbf" + _THREE, 1, 2, 3),
        _fine("line ends of Windows", _THREE.replace(b"\n", b"\r\n"), 1, 2, 3),
        _fine("line ends of the first Macintosh", _THREE.replace(b"\n", b"\r"), 1, 2, 3),
        _fine("line ends of all kinds", csv_of(lines(1)[:-1], b"\r\n", lines(2)[:-1], b"\r", lines(3)), 1, 2, 3),
        _fine("no line end after the last row", _THREE[:-1], 1, 2, 3),
        _fine("half a line end after the last row", _THREE[:-1] + b"\r", 1, 2, 3),
        _fine("blank lines between rows", csv_of(b"\n", lines(1), b"\n\r\n\r", lines(2), b"\n\n", lines(3)), 1, 2, 3),
        _broken("UTF-16", _THREE.decode().encode("utf-16"), "UTF-8"),
        _broken("UTF-16 without a mark", _THREE.decode().encode("utf-16-le"), "UTF-8"),
        _broken("UTF-32", _THREE.decode().encode("utf-32"), "UTF-8"),
        _broken("semicolons", _THREE.replace(b",", b";"), "semicolon"),
        _broken("tabs", _THREE.replace(b",", b"\t"), "tab"),
        _broken("bars", _THREE.replace(b",", b"|"), "bar"),
        _broken("two byte-order marks", 2 * _MARK + _THREE, "two byte-order marks: delete one"),
        _broken("two byte-order marks and semicolons", 2 * _MARK + _THREE.replace(b",", b";"), "two byte-order marks"),
        _fine("two byte-order marks before a column that is not needed",
              2 * _MARK + b"Note," + HEADER + b",".join([b"", lines(1)]), 1, plain=csv_of(lines(1))),
        _broken("Excel's line of the separator", b"sep=,\r\n" + _THREE, "sep=", "delete the first line."),
        _broken("Excel's line of another separator", _MARK + b'"SEP=;"\r\n' + _THREE.replace(b",", b";"), "sep=",
                "delete the first line, and separate the fields by commas"),
        # Columns without a name
        _fine("empty columns at the end", _with_fields(_THREE, b",,"), 1, 2, 3, plain=_THREE),
        _fine("empty columns at the end, with line ends of Windows",
              _with_fields(_THREE, b",,").replace(b"\n", b"\r\n"), 1, 2, 3, plain=_THREE),
        _fine("columns without a name in the middle and of blanks",
              HEADER.replace(b"Ticket", b"").replace(b"Name", b"  ").replace(b"Embarked", b'""') + lines(1, 2, 3),
              1, 2, 3),
        _with_rejects("columns without a name, and a bad row",
                      _with_fields(csv_of(lines(1), line(2, Sex=secret), lines(3)), b",,"), [1, 3],
                      row_2="not_allowed Sex"),
        _broken("a header of commas", b"," * 10 + b"\n" + lines(1), "header missing"),
        _broken("a header of blanks", b" , , \n" + lines(1), "header missing"),
        # Other content
        *(_broken(f"{what} called CSV", content, says) for what, content, says in _other_contents()),
        *(_broken(f"{what} called gzip", content, says, file="in.csv.gz")
          for what, content, says in _other_contents() if what not in ("gzip", "JSON lines")),
        *(_broken(f"{what} called Parquet", content, says, file="in.parquet")
          for what, content, says in _other_contents() if what != "Parquet"),
        _fine("names of columns that other formats begin with",
              csv_of(lines(1)).replace(b"Name", b"[{").replace(b"Ticket", b"<html>"), 1),
        # Compression
        _fine("gzip", _GZIP, 1, 2, 3, file="in.csv.gz"),
        _fine("several gzips in one file", gzip.compress(csv_of(lines(1))) + gzip.compress(lines(2)), 1, 2,
              file="in.csv.gz"),
        _fine("zstd", _ZSTD, 1, 2, 3, file="in.csv.zst"),
        _fine("gzip padded with zeros", _GZIP + bytes(512), 1, 2, 3, file="in.csv.gz"),
        _fine("gzip padded with many zeros", _GZIP + bytes(200_000), 1, 2, 3, file="in.csv.gz"),
        _fine("gzip padded with one zero", _GZIP + bytes(1), 1, 2, 3, file="in.csv.gz"),
        _fine("gzips of nothing around another", _NOTHING + _GZIP + _NOTHING, 1, 2, 3, file="in.csv.gz"),
        _fine("gzip with a name, a comment and an extra field",
              b"\x1f\x8b\x08\x1c" + _GZIP[4:10] + b"\x02\0XXname\0comment\0" + _GZIP[10:], 1, 2, 3, file="in.csv.gz"),
        _broken("gzip padded between its members", _GZIP + bytes(9) + _GZIP, "damaged", file="in.csv.gz"),
        _broken("gzip padded with zeros and more", _GZIP + bytes(100_000) + b"x", "damaged", file="in.csv.gz"),
        _broken("gzip and more", _GZIP + b"more", "damaged", file="in.csv.gz"),
        _broken("gzip and half another", _GZIP + _GZIP[:9], "damaged", file="in.csv.gz"),
        _broken("zeros called gzip", bytes(512), "damaged", file="in.csv.gz"),
        _broken("gzip of nothing, padded", _NOTHING + bytes(9), "empty", file="in.csv.gz"),
        _broken("nothing called gzip", b"", "empty", file="in.csv.gz"),
        _broken("nothing called zstd", b"", "empty", file="in.csv.zst"),
        _fine("several frames of zstd", pa.compress(csv_of(lines(1)), "zstd", asbytes=True)
              + pa.compress(b"", "zstd", asbytes=True) + pa.compress(lines(2), "zstd", asbytes=True), 1, 2,
              file="in.csv.zst"),
        _fine("skippable frames of zstd", _SKIPPABLE + _ZSTD + _SKIPPABLE, 1, 2, 3, file="in.csv.zst"),
        _broken("a skippable frame of zstd and nothing else", _SKIPPABLE, "empty", file="in.csv.zst"),
        _broken("zstd padded with zeros", _ZSTD + bytes(9), "damaged", file="in.csv.zst"),
        _broken("zstd with a window of 2 GiB", b"\x28\xb5\x2f\xfd\0\xa8\x19\0\0abc", "window", "--long",
                file="in.csv.zst"),
        _broken("gzip in gzip", gzip.compress(_GZIP), "compressed twice (gzip in gzip)", file="in.csv.gz"),
        _broken("gzip in gzip in gzip", gzip.compress(gzip.compress(_GZIP)), "compressed twice", file="in.csv.gz"),
        _broken("zstd in gzip", gzip.compress(_ZSTD), "compressed twice (zstd in gzip)", file="in.csv.gz"),
        _broken("gzip in zstd", pa.compress(_GZIP, "zstd", asbytes=True), "compressed twice (gzip in zstd)",
                file="in.csv.zst"),
        _broken("xz in gzip", gzip.compress(lzma.compress(_THREE)), "compressed twice (xz in gzip)", file="in.csv.gz"),
        _broken("Parquet in gzip", gzip.compress(_PARQUET), "parquet in gzip", "say --input-format parquet",
                file="in.csv.gz"),
        _broken("JSON in gzip", gzip.compress(b'[{"PassengerId": 1}]'), "JSON", file="in.csv.gz"),
        _broken("zstd called gzip", _ZSTD, "csv.zst, not csv.gz: say --input-format csv.zst", file="in.csv.gz"),
        _broken("gzip called zstd", _GZIP, "csv.gz, not csv.zst: say --input-format csv.gz", file="in.csv.zst"),
        _broken("CSV called zstd", _THREE, "not compressed", "--input-format csv.", file="in.csv.zst"),
        _broken("Latin-1 called gzip", _THREE.replace(b"Name", b"Nom\xe9"), "not compressed", file="in.csv.gz"),
        _broken("CSV called gzip", _THREE, "not compressed", "--input-format csv.", file="in.csv.gz"),
        _broken("gzip cut short", _GZIP[:-20], "damaged", file="in.csv.gz"),
        _broken("gzip without its last 8 bytes", _GZIP[:-8], "damaged", file="in.csv.gz"),
        _broken("gzip with a wrong checksum", _GZIP[:-6] + b"\0\0" + _GZIP[-4:], "damaged", file="in.csv.gz"),
        _broken("gzip of nothing", gzip.compress(b"", mtime=0), "empty", file="in.csv.gz"),
        _broken("zstd cut short", _ZSTD[:-3], "damaged", file="in.csv.zst"),
        # Names
        _broken("a suffix that tells nothing", _THREE, "--input-format", file="in.txt", error=UsageError),
        # Quotes
        _with_rejects("a quote that is never closed", csv_of(lines(1), line(2, Name=f'"{secret}'), unquoted(3, 4)), [1],
                      row_2="unclosed_quote"),
        _with_rejects("a quote that the last row never closes", csv_of(lines(1, 2), f'"{secret}'.encode()), [1, 2],
                      row_3="unclosed_quote"),
        _with_rejects("a quote before all rows", csv_of(b'"', unquoted(1, 2)), [], row_1="unclosed_quote"),
        _with_rejects("a row swallowed by a quote that another row closes",
                      csv_of(lines(1), line(2, Ticket='"a'), line(3, Ticket=f'{secret}",,,,'), lines(4)), [1, 4],
                      row_2="wrong_field_count"),
        # Row numbers
        _with_rejects("row numbers pass over blank lines", csv_of(b"\n\n", lines(1), b"\r\n\n", b"x,y\n\n", lines(2)),
                      [1, 2], row_2="wrong_field_count"),
        _with_rejects("row numbers pass over line ends in quotes",
                      csv_of(line(1, Name='"a\n\nb"'), line(2, Age=secret), line(3, Name='"\n"'), line(4, Sex="")),
                      [1, 3], row_2="type Age", row_4="missing Sex"),
        # Keys
        OddFile("a key twice", {"in.csv": csv_of(lines(1, 2, 1, 3))}, (1, 2, 3), _duplicate(3)),
        OddFile("a key three times", {"in.csv": csv_of(lines(1, 1, 2, 1))}, (1, 2), _duplicate(2) | _duplicate(4)),
        OddFile("a key twice in other spellings", {"in.csv": csv_of(lines(1), line(1, PassengerId="+1.0"),
                                                                    line(1, PassengerId=" 001"))}, (1,),
                _duplicate(2) | _duplicate(3)),
        OddFile("a key twice, the first in a row that is rejected",
                {"in.csv": csv_of(lines(2), line(int(SECRET), Sex=secret), lines(int(SECRET)))}, (2,),
                {(0, 2): frozenset({("not_allowed", "Sex")})} | _duplicate(3)),
        OddFile("a key twice, the second in a row that is rejected anyway",
                {"in.csv": csv_of(lines(1, 2), line(1, Age=secret))}, (1, 2),
                {(0, 3): frozenset({("type", "Age"), ("duplicate_key", "PassengerId")})}),
        OddFile("a key twice, far apart",
                {"in.csv": csv_of(lines(int(SECRET)), good_lines(1, 5_000), lines(int(SECRET)),
                                  good_lines(5_001, 9_000))},
                (int(SECRET), *range(1, 9_001)), _duplicate(5_002)),
        OddFile("a key in two inputs", {"a.csv": csv_of(lines(1, 2)), "b.csv": csv_of(lines(3, 2)),
                                        "c.csv": csv_of(lines(1, 4, 3))}, (1, 2, 3, 4),
                _duplicate(2, 1) | _duplicate(1, 2) | _duplicate(3, 2)),
        OddFile("a key in a CSV and in Parquet", {"a.csv": csv_of(lines(1, 2)), "b.parquet": _PARQUET}, (1, 2, 3),
                _duplicate(1, 1) | _duplicate(2, 1)),
        OddFile("the same input twice", {"a.csv": csv_of(lines(1)), "./a.csv": csv_of(lines(1))}, (1,),
                _duplicate(1, 1)),
        # Several inputs
        OddFile("one input without a row among others",
                {"a.csv": csv_of(lines(1)), "b.csv": HEADER, "c.csv.gz": gzip.compress(csv_of(lines(2)))}, (1, 2),
                plain=csv_of(lines(1, 2))),
        OddFile("one input without a column among others",
                {"a.csv": csv_of(lines(1)), "b.csv": HEADER.replace(b"Sex", b"Gender") + lines(2)}, error=DataError,
                says=("b.csv", "column missing: Sex")),
        OddFile("one input missing among others", {"a.csv": csv_of(lines(1)), "b.csv": None}, error=InputError,
                says=("b.csv",)),
        OddFile("one input damaged among others", {"a.csv": csv_of(lines(1)), "b.csv.gz": _GZIP[:-20]},
                error=DataError, says=("b.csv.gz", "damaged")),
    ]  # fmt: skip


def _parquet_files() -> list[OddFile]:
    ids = pa.array([1, 2, 3])
    classes = good_table(1, 3)["Pclass"]
    ages = good_table(1, 3)["Age"]
    sexes = good_table(1, 3)["Sex"]
    unnamed = {"Ticket": "", "Name": "", "Embarked": " "}
    files = [
        _fine("Parquet", _PARQUET, 1, 2, 3, file="in.parquet"),
        _fine("Parquet without a row", parquet_of(good_table(1, 1).slice(0, 0)), file="in.parquet"),
        _fine("Parquet whose fields are not nullable", parquet_of(_not_nullable(good_table(1, 3))), 1, 2, 3,
              file="in.parquet"),
        _broken("Parquet of no column", parquet_of(pa.table({})), "columns missing: PassengerId, Pclass",
                file="in.parquet"),
        _broken("Parquet of no byte", b"", "empty", file="in.parquet"),
        _broken("Parquet cut short", _PARQUET[:-20], "not Parquet", file="in.parquet"),
        _broken("Parquet cut in the middle", _PARQUET[: len(_PARQUET) // 2], "not Parquet", file="in.parquet"),
        _fine("a column without a name in Parquet", parquet_of(_renamed(good_table(1, 3), Ticket="")), 1, 2, 3,
              file="in.parquet"),
        _fine("columns without a name in Parquet", parquet_of(_renamed(good_table(1, 3), **unnamed)), 1, 2, 3,
              file="in.parquet"),
        OddFile("columns without a name in Parquet, and a bad row",
                {"in.parquet": parquet_of(_renamed(with_columns(good_table(1, 3), Sex=pa.array(["male", "x", "male"])),
                                                   **unnamed))}, (1, 3),
                {(0, 2): frozenset({("not_allowed", "Sex")})}, unreadable=("",)),
        _broken("CSV called Parquet", _THREE, "not Parquet", file="in.parquet"),
        _broken("zeros called Parquet", b"PAR1" + b"\0" * 64 + b"PAR1", file="in.parquet"),
        _broken("a column missing in Parquet", parquet_of(good_table(1, 2).drop_columns(["Sex", "Age"])),
                "columns missing: Sex, Age", file="in.parquet"),
        _broken("a column twice in Parquet", parquet_of(_doubled(good_table(1, 2), "Age")), "Age", "more than once",
                file="in.parquet"),
        _typed("columns beside the contract's of every type", (1, 2, 3),
               Extra=pa.array([{"a": 1}] * 3), Moment=pa.array([0, 1, None], pa.timestamp("us")),
               List=pa.array([[1], [], None]), Bytes=pa.array([b"\xff", b"", None]),
               **{"Age.more": pa.array([1, 2, 3])}),
        _mistyped("string", "Age", pa.array(["22", SECRET]), "string"),
        _mistyped("dictionary of strings", "Fare", pa.array(["22", SECRET]).dictionary_encode(), "string"),
        _mistyped("bool", "Pclass", pa.array([True, False]), "bool"),
        _mistyped("list", "SibSp", pa.array([[1], [2]]), "list"),
        _mistyped("timestamp", "PassengerId", pa.array([1, 2], pa.timestamp("us")), "timestamp"),
        _mistyped("date", "PassengerId", pa.array([1, 2], pa.date32()), "date32"),
        _mistyped("struct", "Age", pa.array([{"a": 1}, {"a": 2}]), "struct"),
        _mistyped("int64", "Sex", pa.array([0, 1]), "int64"),
        _mistyped("binary", "Cabin", pa.array([b"C85", None]), "binary"),
        _typed("Parquet with a column of the type null", (7, 14, 21), Cabin=pa.nulls(3)),
        OddFile("Parquet with a required column of the type null",
                {"in.parquet": parquet_of(with_columns(good_table(1, 2), Sex=pa.nulls(2)))}, (),
                {(0, row): frozenset({("missing", "Sex")}) for row in (1, 2)}),
        OddFile("Parquet with rows of every fate",
                {"in.parquet": parquet_of(with_columns(
                    good_table(1, 5), Sex=pa.array(["male", "Male", None, "female", "NA"]),
                    PassengerId=pa.array([1.0, 2.0, 3.5, 1.0, float("nan")])))}, (1,),
                {(0, 2): frozenset({("not_allowed", "Sex")}),
                 (0, 3): frozenset({("missing", "Sex"), ("type", "PassengerId")}),
                 (0, 5): frozenset({("missing", "Sex"), ("missing", "PassengerId")})} | _duplicate(4)),
    ]  # fmt: skip
    for kind in (
        pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.float32(),
        pa.float64(), pa.decimal128(12, 3), pa.decimal256(60, 3), pa.dictionary(pa.int8(), pa.int32()),
    ):  # fmt: skip
        as_kind = {
            name: pa.array(values.to_pylist(), kind) for name, values in (("PassengerId", ids), ("Pclass", classes))
        }
        files.append(_typed(f"whole numbers of the type {kind}", (1, 2, 3), **as_kind))
    for kind in (pa.float16(), pa.float32(), pa.decimal128(12, 3), pa.decimal256(60, 3)):
        files.append(_typed(f"numbers of the type {kind}", (1, 2, 3), Age=_cast(ages, kind)))
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        files.append(_typed(f"text of the type {kind}", (1, 2, 3), Sex=_cast(sexes, kind)))
    return files


def _with_unreadable(name: str, content: bytes, *unreadable: str) -> OddFile:
    """Return a file of two rows, the second rejected, with columns that are not needed and can't be read."""
    return OddFile(
        name,
        {"in.parquet": content},
        (1,),
        {(0, 2): frozenset({("not_allowed", "Sex")})},
        plain=csv_of(lines(1)),
        unreadable=unreadable,
    )


def _damaged_parquet_files() -> list[OddFile]:
    """Return files that can't be read, or all the same, since nothing is wrong with what is needed."""
    table = with_columns(good_table(1, 2), Sex=pa.array(["female", "x"]), Extra=pa.array([[("k", 1)], []], _MAP))
    file, many = parquet_of(table), parquet_of(good_table(1, 6), 2)
    bare = pa.BufferOutputStream()
    pq.write_table(table, bare, store_schema=False)
    parts = odd_parquet.renamed(bare.getvalue().to_pybytes(), key=b"k", value=b"v", key_value=b"entries")
    int128 = odd_parquet.INT128.read_bytes()
    undescribed = odd_parquet.with_damaged_description(file, "Name")

    def refused(name: str, content: bytes, *says: str) -> OddFile:
        return _broken(name, content, *says, file="in.parquet")

    def lying(name: str, *rows: int, total: int | None = None) -> OddFile:
        return refused(name, thrift.edited(many, lambda footer: footer.set_rows(*rows, total=total)), "damaged")

    def other(name: str, edit: Callable[[thrift.Footer], object]) -> OddFile:
        return refused(name, thrift.edited(many, edit), "damaged")

    def age(field: int, value: int) -> Callable[[thrift.Footer], object]:
        return lambda footer: footer.description("Age", 1).__setitem__(field, value)

    return [
        _with_unreadable("a column encrypted", odd_parquet.encrypted(table, "Name"), "Name"),
        _with_unreadable("two columns encrypted", odd_parquet.encrypted(table, "Name", "Embarked"), "Name", "Embarked"),
        _with_unreadable("a column compressed with LZO", odd_parquet.with_lzo(file, "Name"), "Name"),
        _with_unreadable("a column of an unknown type", odd_parquet.with_unknown_type(file, "Name"), "Name"),
        _with_unreadable("a nested column of an unknown type", odd_parquet.with_unknown_type(file, "Extra"), "Extra"),
        _with_unreadable("a column nested too deeply", odd_parquet.nested_deeper(file, "Extra", 120), "Extra"),
        _with_unreadable("a column without parts", odd_parquet.with_empty_struct(file, "Empty"), "Empty"),
        _with_unreadable("a column called by a byte", odd_parquet.renamed(file, Name=b"\xff"), "\\xff"),
        _with_unreadable("a column with a damaged description", undescribed, "Name"),
        _with_unreadable("a row group without the last column", odd_parquet.without_description(file, "key"), "Extra"),
        _with_unreadable("a map whose parts are called otherwise", parts),
        OddFile("a column of 128-bit integers", dict.fromkeys(("a.parquet", "b.parquet"), int128), (1, 2, 3),
                {(1, row): frozenset({("duplicate_key", "PassengerId")}) for row in (1, 2, 3)}, unreadable=("h",)),
        refused("a footer encrypted", odd_parquet.encrypted(table, "Name", footer=True), "is encrypted"),
        refused("a needed column encrypted", odd_parquet.encrypted(table, "Sex"), "column Sex is encrypted"),
        refused("a needed column compressed with LZO", odd_parquet.with_lzo(file, "Age"), "column Age", "compression"),
        refused("a needed column of an unknown type", odd_parquet.with_unknown_type(file, "Fare"), "column Fare"),
        refused("a needed column with a damaged description", odd_parquet.with_damaged_description(file, "Cabin"),
                "damaged", "column Cabin"),
        refused("a row group without a needed column", odd_parquet.without_description(file, "SibSp"), "SibSp"),
        lying("row groups of fewer rows than the file", 2, 2, 2, total=20),
        lying("row groups of more rows than the file", 2, 2, 2, total=5),
        lying("a row group that states fewer rows than it has", 1, 2, 2),
        lying("a row group that states no row", 0, 2, 2),
        lying("a row group that states more rows than it has", 2, 7, 2),
        lying("row groups whose rows add up only together", 1, 3, 2),
        lying("a row group that states fewer rows than none", -2, 6, 2),
        lying("a row group that states a trillion rows", 2, 2, 10**12),
        lying("a row group that states more rows than there are numbers", 2, 2, 2**63 - 5, total=2**63 - 1),
        other("no row groups", lambda footer: footer.groups.clear()),
        other("row groups that are too few", lambda footer: footer.groups.pop()),
        other("a column that states fewer values", age(5, 1)),
        other("a column that states fewer values than none", age(5, -2)),
        other("a column that lies beyond the file", age(11, 10**9)),
        other("a column larger than the file", age(7, 2**60)),
        # Read several at a time, Arrow takes the eight bytes of a number for two numbers.
        other("a column of another type in the schema", lambda footer: footer.element("SibSp").__setitem__(1, 1)),
        other("two columns swapped in a row group", lambda footer: footer.chunks(1).insert(5, footer.chunks(1).pop(6))),
    ]  # fmt: skip


def _cast(values: Any, kind: pa.DataType) -> pa.Array:
    plain = values.to_pylist()
    if pa.types.is_decimal(kind):
        plain = [None if value is None else Decimal(str(value)) for value in plain]
    return pa.array(plain, kind)


ODD_FILES: list[OddFile] = [*_csv_files(), *_parquet_files(), *_damaged_parquet_files()]
