"""What pages say of themselves: their sizes and encodings, and what is said in two ways at once."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from titanic_batch.errors import DataError
from titanic_batch.reading import parquet_pages
from titanic_batch.reading.compact_protocol import CompactReader
from titanic_batch.reading.parquet_pages import pages_of

TEXTS = [f"C{number % 50}" for number in range(10_000)]
UNPACKED = 2  # the number of a field
I32, I64 = 5, 6


def parquet(**options: Any) -> bytes:
    file = io.BytesIO()
    table = pa.table({"key": list(range(10_000)), "text": TEXTS})
    pq.write_table(table, file, compression="zstd", write_statistics=False, **options)
    return file.getvalue()


def with_field(content: bytes, kind: int, number: int, value: int) -> bytes:
    """Return a file with one more field in the header of its first page."""
    reader = CompactReader(content, 4)
    for _, each in reader.fields():
        reader.skip(each)
    field = bytes([kind, 2 * number]) + (2 * value << 1).to_bytes(1, "little")
    return content[: reader.at - 1] + field + content[reader.at - 1 :]


def test_sizes_are_those_of_the_footer_of_an_honest_file() -> None:
    content = parquet(data_page_size=1_000, row_group_size=3_000)
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group
    for leaf in (0, 1):
        stated = sum(group(number).column(leaf).total_uncompressed_size for number in range(4))
        found = pages_of(content, {leaf})
        assert 0 < stated - found.unpacked < stated / 2  # headers of pages count in the footer
        assert found.has_dictionaries
    assert pages_of(content, set()).unpacked == 0


@pytest.mark.parametrize(
    ("encoding", "has_dictionaries"),
    [("PLAIN", True), ("DELTA_BYTE_ARRAY", False), ("DELTA_LENGTH_BYTE_ARRAY", False)],
)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_encodings_tell_whether_text_can_be_read_as_dictionaries(
    encoding: str, has_dictionaries: bool, version: str
) -> None:
    content = parquet(use_dictionary=False, column_encoding={"text": encoding}, data_page_version=version)
    found = pages_of(content, {1})
    assert found.has_dictionaries is has_dictionaries
    assert found.largest == found.unpacked


def test_pages_of_codes_hold_no_values() -> None:
    found = pages_of(parquet(), {1})
    assert 50 * 5 < found.largest < 50 * 8 < found.unpacked


def test_a_size_that_is_said_twice_is_refused_and_one_of_another_kind_passed_over() -> None:
    content = parquet()
    with pytest.raises(DataError, match="can't be read as Parquet"):
        pages_of(with_field(content, I32, UNPACKED, 1), {0})
    with pytest.raises(DataError, match="can't be read as Parquet"):
        pages_of(with_field(content, I64, UNPACKED, 1), {0})
    assert pages_of(with_field(content, I64, 60, 1), {0}).unpacked > 0


def test_pages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet(data_page_size=100, write_batch_size=10)
    for name in ("MAX_PAGES", "MAX_HEADER_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(parquet_pages, name, 90)
            with pytest.raises(DataError, match="too many pages"):
                pages_of(content, {0})
    assert pages_of(content, {0}).unpacked > 80_000
