"""CSV bytes into blocks of whole rows: any quoting, any line end, any block size, the same rows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.passengers import COLUMNS, csv_block, passenger, passengers
from titanic_batch.errors import DataError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading import csv_splitter
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.csv_blocks import CsvBlock, ParseHint
from titanic_batch.reading.csv_splitter import CsvSplitter
from titanic_batch.reading.escapes import unescape
from titanic_batch.reading.rules import ENCODING, OUT_OF_RANGE, TYPE, UNCLOSED_QUOTE, WRONG_FIELD_COUNT

NAMES = ("a", "b")
AS_IT_STANDS: dict[str, pa.DataType | None] = dict.fromkeys(NAMES)

QUOTE, COMMA, LF, CR = b'",\n\r'


class Parsed(NamedTuple):
    """Rows that are not blank: the fields of each, and its bytes; ``unclosed``: the last one's quote never closes."""

    rows: list[list[bytes]]
    lines: list[bytes]
    unclosed: bool


def parsed(data: bytes) -> Parsed:
    """Parse a CSV byte by byte: slow, and plain enough to be seen to be right."""
    rows: list[list[bytes]] = []
    lines: list[bytes] = []
    at, unclosed = 0, False
    while at < len(data):
        start, fields, field = at, [], bytearray()
        field_start, in_quotes = True, False
        while at < len(data):
            byte = data[at]
            at += 1
            if in_quotes:
                if byte != QUOTE:
                    field.append(byte)
                elif data[at : at + 1] == b'"':
                    field.append(byte)
                    at += 1
                else:
                    in_quotes = False
            elif byte == QUOTE and field_start:
                in_quotes = True
            elif byte == COMMA:
                fields.append(bytes(field))
                field = bytearray()
            elif byte in (LF, CR):
                break
            else:
                field.append(byte)
            field_start = byte == COMMA and not in_quotes
        end = at - 1 if not in_quotes and data[at - 1] in (LF, CR) else at
        if data[at - 1 : at + 1] == b"\r\n" and not in_quotes:
            at += 1
        if end > start:
            fields.append(bytes(field))
            rows.append(fields)
            lines.append(data[start:end])
            unclosed = in_quotes
    return Parsed(rows, lines, unclosed)


def blocks_of(data: bytes, block_bytes: int = csv_splitter.BLOCK_BYTES) -> list[CsvBlock]:
    splitter = CsvSplitter(io.BytesIO(data), block_bytes)
    assert splitter.header == b"a,b"
    return list(splitter.blocks(NAMES))


def problems_of(block: CsvBlock, types: Any = AS_IT_STANDS) -> list[tuple[str, str | None, list[int]]]:
    return [(problem.rule, problem.column, problem.rows.tolist()) for problem in block.read(types).problems]


def all_rows(block: CsvBlock) -> list[tuple[list[bytes | None], bytes | None]]:
    """Return the fields and the line of each row as they stood in the file, byte by byte."""
    count = block.read(AS_IT_STANDS).table.num_rows
    fields = block.fields(np.arange(count))
    assert fields.table.column_names == list(NAMES)

    def original(text: str | None) -> bytes | None:
        return None if text is None else unescape(text.encode())

    rows = [[original(value) for value in row.values()] for row in fields.table.to_pylist()]
    return list(zip(rows, map(original, fields.lines), strict=True))


class Dribble(io.BytesIO):
    """A stream that gives a byte or three at a time, as a pipe may."""

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(memoryview(buffer)[: 1 if len(buffer) % 2 else 3])


QUOTES = [b'"', b'""', b'5" gun', b'"q"', b'"a,b"', b'"\n"']
pieces = st.sampled_from([*QUOTES, b",", b"\n", b"\r\n", b"\r", b"x", b"1", b"1,2\n", b"\xff", b"NA"])
csvs = st.lists(pieces, max_size=40).map(b"".join)
well_quoted_rows = st.lists(
    st.tuples(*[st.sampled_from([b"", b"1", b"x y", b'"q"', b'"a,b"', b'"\r\n"', b'"""', b'5"', b'"x"y"'])] * 2)
).map(lambda rows: b"".join(b",".join(row).replace(b'"""', b'""""') + b"\n" for row in rows))


# Cutting


@pytest.mark.slow
@given(csvs | well_quoted_rows, st.integers(1, 60))
@example(b'1,2\n3,4\r5,"6', 100)
@example(b'1,2\r3,4\r5,"6\r', 3)
@example(b'1,"2\r\n\r\n3,4', 1)
@example(b"1,2\r\n3,4", 7)
@example(b'1,"""', 2)
@example(b'1,"2"3"\n4,5\n', 4)
@example(b"\n\r\n", 1)
def test_blocks_hold_the_rows_that_a_plain_parser_finds(rest: bytes, block_bytes: int) -> None:
    expected = parsed(rest)
    blocks = blocks_of(b"a,b\n" + rest, block_bytes)
    found = [row for block in blocks for row in all_rows(block)]
    assert len(found) == len(expected.rows)
    whole = expected.rows[:-1] if expected.unclosed else expected.rows
    for (fields, line), row, row_line in zip(found, whole, expected.lines, strict=False):
        assert line == (None if len(row) == len(NAMES) else row_line)
        assert fields == [*row, None, None][: len(NAMES)]
    if expected.unclosed:
        assert found[-1][1] == expected.lines[-1]
    first = 0
    for block in blocks:
        count = len(all_rows(block))
        rows = expected.rows[first : first + count]
        unclosed = expected.unclosed and block is blocks[-1]
        wrong = [place for place, row in enumerate(rows) if len(row) != len(NAMES)]
        found_problems = [problem for problem in problems_of(block) if problem[0] != ENCODING]
        if unclosed:
            assert (count, found_problems) == (1, [(UNCLOSED_QUOTE, None, [0])])
        else:
            assert found_problems == ([(WRONG_FIELD_COUNT, None, wrong)] if wrong else [])
        first += count


@given(well_quoted_rows)
def test_the_plain_parser_is_the_real_one(rest: bytes) -> None:
    """What the other tests compare with agrees with pyarrow's parser."""
    rows = parsed(rest).rows
    options = pyarrow.csv.ReadOptions(column_names=NAMES)
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(NAMES, pa.string()))
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    if rows:
        table = pyarrow.csv.read_csv(io.BytesIO(rest), options, parse, convert)
        assert [[value.encode() for value in row.values()] for row in table.to_pylist()] == rows


@given(csvs, st.integers(1, 60))
def test_every_byte_is_in_one_block_or_is_a_blank_line(rest: bytes, block_bytes: int) -> None:
    at = 0
    for block in blocks_of(b"a,b\n" + rest, block_bytes):
        while not rest.startswith(block.data, at):
            assert rest[at : at + 1] in (b"\r", b"\n")
            at += 1
        at += len(block.data)
        assert block.size == len(block.data)
    assert not rest[at:].strip(b"\r\n")


@given(csvs, st.integers(1, 60))
@settings(max_examples=50)
def test_a_stream_that_gives_little_at_a_time_gives_the_same_rows(rest: bytes, block_bytes: int) -> None:
    data = b"a,b\n" + rest
    dribbled = list(CsvSplitter(Dribble(data), block_bytes).blocks(NAMES))
    assert [row for block in dribbled for row in all_rows(block)] == [
        row for block in blocks_of(data) for row in all_rows(block)
    ]


def test_blocks_are_about_as_large_as_asked_for() -> None:
    rows = b"".join(b'%d,"x\n%d"\n' % (number, number) for number in range(2_000))
    blocks = blocks_of(b"a,b\n" + rows, 1_000)
    assert b"".join(block.data for block in blocks) == rows
    assert all(900 < block.size <= 1_000 for block in blocks[:-1])


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_and_a_missing_last_one(line_end: bytes, last: bool) -> None:
    data = line_end.join([b"", b"a,b", b"1,2", b"", b'3,"4' + line_end + b'5"', b"6,7"]) + line_end * last
    for block_bytes in (1, 5, 100):
        rows = [row for block in blocks_of(data, block_bytes) for row in all_rows(block)]
        assert [row for row, _ in rows] == [[b"1", b"2"], [b"3", b"4" + line_end + b"5"], [b"6", b"7"]]


# The header


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize(
    ("data", "header", "rest"),
    [
        (b"a,b\n1,2\n", b"a,b", b"1,2\n"),
        (b"a,b\r\n1,2\r\n", b"a,b", b"1,2\r\n"),
        (b"a,b\r1,2\r", b"a,b", b"1,2\r"),
        (b"\n\r\n\ra,b\n1,2", b"a,b", b"1,2"),
        (b"\xef\xbb\xbfa,b\n1,2", b"a,b", b"1,2"),
        (b'"a\n""",b\n1,2', b'"a\n""",b', b"1,2"),
        (b"a,b", b"a,b", b""),
        (b"a,b\n", b"a,b", b""),
        (b"a,b\r", b"a,b", b""),
        (b"", b"", b""),
        (b"\r\n\n", b"", b""),
        (b"\xef\xbb\xbf", b"", b""),
        (b'a,"b\n1,2\n', b'a,"b\n1,2', b""),
    ],
)
def test_header_is_the_first_row_that_is_not_blank(data: bytes, header: bytes, rest: bytes, block_bytes: int) -> None:
    splitter = CsvSplitter(io.BytesIO(data), block_bytes)
    assert splitter.header == header
    assert b"".join(block.data for block in splitter.blocks(NAMES)).lstrip(b"\n") == rest


# Values


def test_typed_columns_come_in_the_order_asked_for() -> None:
    rows = passengers(3)
    types = dict(reversed(CONTRACT.types.items()))
    found = csv_block(rows).read(types)
    assert not found.problems
    assert found.table.schema == pa.schema(list(types.items()))
    assert found.table["PassengerId"].to_pylist() == [1, 2, 3]
    assert found.table["Age"].to_pylist() == [None, 0.75, 38.0]
    assert found.table["Cabin"].to_pylist() == ["C85", "B57 B59", "T"]


ODD_FIELDS = ["3.0", "+3", " 3", "1e3", "0x10", "3.5", "99999999999999999999", "inf", "NAN", "nan", "", "x", "NA", '"']
# A lone \r ends a row, but the writer doesn't quote it.
FIELDS = st.sampled_from([*ODD_FIELDS, "male", "0", "-0.0", "\U0010ff80"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\r"), max_size=3
)


@pytest.mark.slow
@given(st.lists(st.fixed_dictionaries({"Pclass": FIELDS, "Sex": FIELDS, "Age": FIELDS, "Name": FIELDS}), max_size=5))
@settings(max_examples=60)
def test_row_is_the_same_alone_and_beside_any_other(changes: list[dict[str, str]]) -> None:
    columns = (*COLUMNS, "Name")
    types = CONTRACT.types | {"Name": None}
    rows = [passenger(key) | change for key, change in enumerate(changes)]

    def judged(*given: dict[str, str], more: bytes = b"") -> list[tuple[dict[str, Any], set[tuple[str, str | None]]]]:
        block = csv_block(given, columns)
        found = CsvBlock(block.names, bytes(block.data) + more).read(types)
        table = found.table.to_pylist()
        broken: list[set[tuple[str, str | None]]] = [set() for _ in table]
        for problem in found.problems:
            for row in problem.rows:
                broken[row].add((problem.rule, problem.column))
        return list(zip(table, broken, strict=True))[: len(given)]

    alone = [judged(row)[0] for row in rows]
    for more in (b"", b"too few fields\n", b"\xff,,,,,,,,\n", b"9,3,male,4 years,0,0,7,,\n"):
        assert repr(judged(*rows, more=more)) == repr(alone)  # repr: NaN equals itself, -0.0 is not 0.0


def test_odd_rows_among_ten_thousand_good_ones() -> None:
    rows = passengers(10_000)
    expected = csv_block(rows).read(CONTRACT.types).table.to_pylist()
    rows[1_234] |= {"Age": "old", "SibSp": "1.0"}
    rows[9_999] |= {"PassengerId": "9" * 30}
    block = csv_block(rows)
    found = block.read(CONTRACT.types)
    table = found.table.to_pylist()
    assert table[1_234] == expected[1_234] | {"Age": None, "SibSp": 1}
    assert table[9_999] == expected[9_999] | {"PassengerId": None}
    assert table[:1_234] == expected[:1_234]
    assert table[1_235:-1] == expected[1_235:-1]
    assert problems_of(block, CONTRACT.types) == [
        (OUT_OF_RANGE, "PassengerId", [9_999]),
        (TYPE, "Age", [1_234]),
    ]


def test_column_that_is_kept_stands_as_it_stood_whatever_its_neighbours() -> None:
    types: dict[str, pa.DataType | None] = {"a": pa.int64(), "b": None}
    data = b'1,NA\n2,\n3,nan\n4,""\n5, x \n6,007\n'
    expected = ["NA", "", "nan", "", " x ", "007"]
    assert CsvBlock(NAMES, data).read(types).table["b"].to_pylist() == expected
    assert CsvBlock(NAMES, data + b"odd,y\n").read(types).table["b"].to_pylist() == [*expected, "y"]


def test_only_some_spellings_of_nan_are_missing() -> None:
    types: dict[str, pa.DataType | None] = {"a": pa.int64(), "b": pa.float64()}
    data = b'1,nan\n2,NAN\n3,-nan\n4, nan\n5,nan(7)\n6,NaN\n7,"NA"\n8,null\n9,NULL\n'
    for more in (b"", b"odd,1\n"):
        block = CsvBlock(NAMES, data + more)
        assert block.read(types).table["b"].null_count == 9
        assert problems_of(block, types)[-1] == (TYPE, "b", [1, 2, 3, 4, 8])


@pytest.mark.parametrize(("column", "name"), [("a", b"%b,1\n"), ("b", b'1,"%b"\n')])
@pytest.mark.parametrize("text", [b"0x10", b"0XfF", b"0xffffffffffffffff", b" 0x1", b"0x1\t"])
def test_hexadecimal_is_no_integer(column: str, name: bytes, text: bytes) -> None:
    """It is the only thing that can be wrong: the parser itself reads it without complaint."""
    types: dict[str, pa.DataType | None] = {"a": pa.int64(), "b": pa.int64()}
    for before in (b"", b"1,2\n" * 1_000):
        block = CsvBlock(NAMES, before + name % text + b"3,4\n")
        found = block.read(types)
        assert problems_of(block, types) == [(TYPE, column, [before.count(b"\n")])]
        assert found.table.to_pylist()[-1] == {"a": 3, "b": 4}


def test_columns_are_read_as_well_beside_text_that_looks_hexadecimal() -> None:
    types: dict[str, pa.DataType | None] = {"a": pa.int64(), "b": STRING}
    found = CsvBlock(NAMES, b"1,0x10\n-2,0X\n,x\n3,\n").read(types)
    assert found.table.to_pydict() == {"a": [1, -2, None, 3], "b": ["0x10", "0X", "x", None]}
    assert found.problems == []


SPELLINGS = ["%d", "%d.0", "+%d", " %d\t", "00%d", '"%d"', '"%d.00"', "%de0", "0x%d", "%d.5", "x%d", "9" * 19 + "%d"]


@given(st.lists(st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=3), min_size=2, max_size=5), st.booleans())
def test_blocks_are_read_as_without_the_others(blocks: list[list[str]], ragged: bool) -> None:
    """What one block teaches the next about the file makes it no different."""
    types: dict[str, pa.DataType | None] = {"a": pa.int64(), "b": pa.float64()}
    hint = ParseHint()
    for number, spellings in enumerate(blocks):
        data = "".join(f"{spelling % row},{row}\n" for row, spelling in enumerate(spellings)).encode()
        data += b"1,2,3\n" if ragged and number % 2 else b""
        taught, alone = CsvBlock(NAMES, data, hint=hint), CsvBlock(NAMES, data)
        assert taught.read(types).table.equals(alone.read(types).table)
        assert problems_of(taught, types) == problems_of(alone, types)


def test_foreign_bytes_spoil_only_their_own_field() -> None:
    types: dict[str, pa.DataType | None] = {"a": pa.int64(), "b": None}
    block = CsvBlock(NAMES, b"1,x\n2,Zo\xeb\n\xff,y\n4,\xc3\xa9\n")
    found = block.read(types)
    assert found.table.to_pydict() == {"a": [1, 2, None, 4], "b": ["x", None, "y", "é"]}
    assert problems_of(block, types) == [(ENCODING, "a", [2]), (ENCODING, "b", [1])]
    assert problems_of(block, {"a": None}) == [(ENCODING, "a", [2])]
    assert all_rows(block)[1] == ([b"2", b"Zo\xeb"], None)


# Rows whose fields don't fit


def test_wrong_field_counts_are_found_at_their_rows() -> None:
    block = CsvBlock(NAMES, b'\n1,2\n\n\n3\n4,5,6\n"7,8"\n,\n"9","1\n0","1""1"\n,,\n12,13\n')
    assert problems_of(block) == [(WRONG_FIELD_COUNT, None, [1, 2, 3, 5, 6])]
    assert all_rows(block) == [
        ([b"1", b"2"], None),
        ([b"3", None], b"3"),
        ([b"4", b"5"], b"4,5,6"),
        ([b"7,8", None], b'"7,8"'),
        ([b"", b""], None),
        ([b"9", b"1\n0"], b'"9","1\n0","1""1"'),
        ([b"", b""], b",,"),
        ([b"12", b"13"], None),
    ]
    assert block.read(AS_IT_STANDS).table.to_pylist()[1] == {"a": None, "b": None}


def test_block_of_nothing_but_wrong_rows() -> None:
    block = CsvBlock(NAMES, b"1\n2\n")
    found = block.read({"a": pa.int64()})
    assert found.table.to_pydict() == {"a": [None, None]}
    assert problems_of(block) == [(WRONG_FIELD_COUNT, None, [0, 1])]
    assert [line for _, line in all_rows(block)] == [b"1", b"2"]


def test_rows_are_given_back_in_the_order_asked_for() -> None:
    block = CsvBlock(NAMES, b"0,x\n1\n2,y\n")
    fields = block.fields(np.array([2, 1]))
    assert fields.table.to_pydict() == {"a": ["2", "1"], "b": ["y", None]}
    assert fields.lines == [None, "1"]
    assert block.fields(np.array([], dtype=np.int64)).table.num_rows == 0


@pytest.mark.parametrize("length", [10, 200_000])
def test_fields_of_any_length_are_given_back(length: int) -> None:
    long = b"x" * length
    block = CsvBlock(NAMES, b'1,2\n3,"%b",4\n' % long)
    assert all_rows(block)[1] == ([b"3", long], b'3,"%b",4' % long)
    (unclosed,) = blocks_of(b'a,b\n1,"%b\n2,3\n' % long)
    assert all_rows(unclosed) == [([b"1", long + b"\n2,3\n"], b'1,"%b\n2,3\n' % long)]


# Quotes that are never closed


@pytest.mark.parametrize("block_bytes", [1, 10, 1_000])
def test_row_swallowed_by_an_open_quote_is_one_problem(block_bytes: int) -> None:
    data = b'a,b\n1,2\n5" gun,3\n4,"never\n5,6\n7,8\n'
    blocks = blocks_of(data, block_bytes)
    rows = [row for block in blocks for row in all_rows(block)]
    assert rows == [
        ([b"1", b"2"], None),
        ([b'5" gun', b"3"], None),
        ([b"4", b"never\n5,6\n7,8\n"], b'4,"never\n5,6\n7,8\n'),
    ]
    problems = [problems_of(block, {"a": pa.string(), "b": pa.string()}) for block in blocks]
    assert [problem for found in problems for problem in found] == [(UNCLOSED_QUOTE, None, [0])]


def test_row_longer_than_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_splitter, "MAX_ROW_BYTES", 2**20)
    read = 0

    class Endless(io.RawIOBase):
        def readinto(self, buffer: Any, /) -> int:
            nonlocal read
            start = b"" if read else b'a,b\n1,"'
            buffer[:] = start.ljust(len(buffer), b"x")
            read += len(buffer)
            return len(buffer)

    def rows() -> Iterator[CsvBlock]:
        yield from CsvSplitter(Endless(), 2**16).blocks(NAMES)

    with pytest.raises(DataError, match=r"a row is longer than 1 MiB: .* quote"):
        list(rows())
    assert read < 2**21

    with pytest.raises(DataError, match="a row is longer"):
        CsvSplitter(io.BytesIO(b'"a' * 2**20), 2**16)
