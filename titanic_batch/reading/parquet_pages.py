"""What the pages of a Parquet file unpack to, as they say themselves.

A footer may say anything about that. What Arrow allocates for a page is what the page's header says.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from titanic_batch.errors import DataError
from titanic_batch.reading.compact_protocol import I32, I64, LISTS, STRUCT, CompactReader

MAX_PAGES = 50_000
MAX_HEADER_BYTES = 2**22  # of all pages

# Numbers of fields in parquet.thrift.
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_COMPRESSED_SIZE, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11
_PAGE_TYPE, _UNPACKED, _PACKED, _DATA_PAGE, _DATA_PAGE_V2 = 1, 2, 3, 5, 8
_ENCODING = {_DATA_PAGE: 2, _DATA_PAGE_V2: 4}
_DICTIONARY_PAGE = 2  # a page type
_PLAIN, _DICTIONARIES = 0, (2, 8)  # encodings
_TAIL_BYTES = 8
_PADDED, _PADDING = b"parquet-mr", 100  # by which Arrow reads further in files of its old versions


@dataclass(slots=True)
class Pages:
    """The pages of some columns.

    Attributes
    ----------
    unpacked : int
        The bytes of all pages, unpacked.
    largest : int
        The bytes of the largest page that holds values, and not only their places in a dictionary. No value is longer.
    has_dictionaries : bool
        Whether all values are plain or in dictionaries, so that text can be read as dictionaries.
    """

    unpacked: int = 0
    largest: int = 0
    has_dictionaries: bool = True


def pages_of(content: bytes, leaves: Container[int]) -> Pages:
    """Return what is known of the pages of columns in a file, whose footer Arrow can read.

    ``leaves`` are the indices of the columns among those without parts.

    Raises
    ------
    DataError
        There are more pages than `MAX_PAGES`, or more of their headers than `MAX_HEADER_BYTES`; or footer or headers
        are written as no writer does.
    """
    found, count, header_bytes = Pages(), 0, 0
    try:
        for start, end in _chunks(content, leaves):
            for header in _page_headers(content, start, end):
                count += 1
                header_bytes += header.length
                if count > MAX_PAGES or header_bytes > MAX_HEADER_BYTES:
                    raise DataError("the body has too many pages: write it with larger ones.")
                found.unpacked += header.unpacked
                is_dictionary = header.type == _DICTIONARY_PAGE
                if is_dictionary or header.encoding not in _DICTIONARIES:
                    found.largest = max(found.largest, header.unpacked)
                found.has_dictionaries &= is_dictionary or header.encoding in (_PLAIN, *_DICTIONARIES)
    except (IndexError, ValueError):
        raise DataError("the body is damaged: it can't be read as Parquet. Write it again.") from None
    return found


def _chunks(content: bytes, leaves: Container[int]) -> Iterator[tuple[int, int]]:
    """Yield where the pages of each column begin and end, in each row group."""
    length = int.from_bytes(content[-_TAIL_BYTES:-4], "little")
    reader = CompactReader(content[-_TAIL_BYTES - length : -_TAIL_BYTES])
    padding = _PADDING if _PADDED in reader.data else 0
    for number, kind in reader.fields():
        if number != _ROW_GROUPS or kind not in LISTS:
            reader.skip(kind)
            continue
        for _ in range(reader.list_header()[0]):
            for start, size in _chunks_of_group(reader, leaves):
                yield start, start + size + padding


def _chunks_of_group(reader: CompactReader, leaves: Container[int]) -> Iterator[tuple[int, int]]:
    """Yield where the pages of each column begin, and how many bytes they have."""
    for number, kind in reader.fields():
        if number != _COLUMNS or kind not in LISTS:
            reader.skip(kind)
            continue
        for leaf in range(reader.list_header()[0]):
            fields: dict[int, int] = {}
            for part, part_kind in reader.fields():
                if part == _META_DATA and part_kind == STRUCT:
                    fields = _integers(reader, I64)
                else:
                    reader.skip(part_kind)
            if leaf in leaves:
                start = fields.get(_DATA_OFFSET, 0)
                if 0 < (dictionary := fields.get(_DICTIONARY_OFFSET, 0)) < start:
                    start = dictionary
                yield start, fields.get(_COMPRESSED_SIZE, 0)


class _PageHeader(NamedTuple):
    type: int
    unpacked: int
    encoding: int
    length: int


def _page_headers(content: bytes, start: int, end: int) -> Iterator[_PageHeader]:
    """Yield the headers of pages, up to one that is cut off. Arrow does not read beyond that one either."""
    while 0 <= start < min(end, len(content)):
        reader, encoding = CompactReader(content, start), -1
        fields: dict[int, int] = {}
        try:
            for number, kind in reader.fields():
                if number in _ENCODING and kind == STRUCT:
                    encoding = _integers(reader, I32).get(_ENCODING[number], -1)
                elif kind == I32:
                    fields[number] = reader.integer()
                else:
                    reader.skip(kind)
        except IndexError:
            return
        unpacked, packed = fields.get(_UNPACKED, -1), fields.get(_PACKED, -1)
        if unpacked < 0 or packed < 0:
            return
        yield _PageHeader(fields.get(_PAGE_TYPE, -1), unpacked, encoding, reader.at - start)
        start = reader.at + packed


def _integers(reader: CompactReader, wanted: int) -> dict[int, int]:
    """Read a struct, and return its integers of one kind by the numbers of their fields. Arrow skips other kinds."""
    found: dict[int, int] = {}
    for number, kind in reader.fields():
        if kind == wanted:
            found[number] = reader.integer()
        else:
            reader.skip(kind)
    return found
