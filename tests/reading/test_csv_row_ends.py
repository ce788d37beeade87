"""The fast way to find row ends agrees with a scan that reads quotes as the parser does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from titanic_batch.reading import csv_row_ends
from titanic_batch.reading.csv_row_ends import ROW, exact_row_end, last_row_end

ANYTHING = st.lists(st.sampled_from([b'"', b'""', b'",', b',"', b"\n", b"\r", b"\r\n", b",", b"a", b" "])).map(b"".join)
FIELD = st.sampled_from(
    [b"", b"1", b"abc", b'""', b'"a"', b'"x,y"', b'"a\nb"', b'"a\r\nb"', b'"q""q"', b'"\n"', b'""""']
)
ROWS = st.lists(
    st.tuples(st.lists(FIELD, min_size=1, max_size=5).map(b",".join), st.sampled_from([b"\n", b"\r\n"])).map(b"".join)
).map(b"".join)


@pytest.fixture(params=[64, 2**18], ids="scanning {} bytes at a time".format, autouse=True, scope="module")
def scan_bytes(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_row_ends, "_SCAN_BYTES", request.param)
        yield


def row_ends(data: bytes) -> list[int]:
    """Return where the complete rows end, read one by one."""
    ends = [0]
    while match := ROW.match(data, ends[-1]):
        ends.append(match.end())
    return ends


@given(ANYTHING, st.sampled_from([1, 2, 40]))
@example(b'5" gun\n"a', 1)
@example(b'a,"b\n', 60)
def test_any_quotes_are_read_as_the_parser_does(data: bytes, repeated: int) -> None:
    text = data * repeated
    ends, found = row_ends(text), last_row_end(bytearray(text))
    assert found in ends
    assert found or not any(text[:end].endswith(b"\n") for end in ends)


@given(ROWS, st.binary(max_size=3).filter(lambda piece: not set(piece) & set(b'"\r\n')), st.sampled_from([1, 50]))
def test_complete_rows_end_where_the_last_of_them_does(rows: bytes, rest: bytes, repeated: int) -> None:
    for unfinished in (rest, rest + b',"quoted\n', rest + b',"quoted\n""\n'):
        assert last_row_end(bytearray(rows * repeated + unfinished)) == len(rows * repeated)


@pytest.mark.parametrize("length", [61, 62, 63, 64, 65, 127, 128, 129, 2**18 - 1, 2**18, 2**18 + 1])
@pytest.mark.parametrize(
    ("field", "complete"), [(b'"a\n"', True), (b'"a""\n"', True), (b'"', False), (b'"a\n""', False), (b'x"y"', True)]
)
def test_quotes_are_counted_across_words_and_scans(length: int, field: bytes, complete: bool) -> None:
    data = bytearray(b"1\n" + b"x" * (length - 3) + b"," + field + b"\n2")
    assert last_row_end(data) == exact_row_end(data) == (len(data) - 1 if complete else 2)


def test_a_quoted_newline_is_passed_over_however_many_there_are() -> None:
    row = b'a,"' + b"\n" * 300_000 + b'"\n'
    assert last_row_end(bytearray(b"1\n" + row + b'2,"' + b"\n" * 300_000)) == 2 + len(row)
