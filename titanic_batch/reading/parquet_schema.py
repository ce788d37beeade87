"""Schemas of Parquet files in which a column has a type that Arrow can't read.

Arrow refuses a whole file if it can't convert the type of one column, whether or not that column is needed. Here the
schema in the footer is changed so that Arrow passes over such a column. The rest of the footer is left as it is.

A footer is a Thrift struct. Its second field is the list of the schema's elements: the root,
and then each column, a nested one followed by its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from titanic_batch.reading.compact_protocol import BINARY, INTEGERS, LISTS, STRUCT, CompactReader

_ARROW_SCHEMA = b"ARROW:schema"
_SCHEMA = 2
_TYPE, _NAME, _CHILDREN = 1, 4, 5


@dataclass(frozen=True, slots=True)
class _Element:
    data: bytes
    name: bytes
    children: int
    is_leaf: bool


def without_arrow_schema(footer: bytes) -> bytes:
    """Return a footer in which Arrow doesn't find the schema that its own writers add to that of the format."""
    return footer.replace(_ARROW_SCHEMA, _ARROW_SCHEMA.lower())


def without_unknown_types(footer: bytes, can_read: Callable[[bytes], bool]) -> tuple[bytes, list[str]]:
    """Return a footer in which the columns that Arrow can't read have another type, and the names of these columns.

    Parameters
    ----------
    footer
        The footer of a file.
    can_read
        Function that returns whether Arrow can read a footer.

    Raises
    ------
    ValueError
        The footer is damaged.
    """
    start, end, root, columns = _schema(footer)
    elements, unreadable = [root.data], []
    for column in columns:
        alone = [_group(b"schema", 1), *(element.data for element in column)]
        if can_read(b"\x15\x02\x19" + _list(alone) + b"\x16\x00\x19\x0c\x00"):  # no rows, no row groups
            elements += alone[1:]
        else:
            unreadable.append(column[0].name.decode("utf-8", "backslashreplace"))
            leaves = sum(element.is_leaf for element in column)  # as many as the row groups have
            elements += [_group(unreadable[-1].encode(), leaves), *(_leaf(str(number)) for number in range(leaves))]
    return footer[:start] + _list(elements) + footer[end:], unreadable


def _schema(footer: bytes) -> tuple[int, int, _Element, list[list[_Element]]]:
    """Return where the schema begins and ends in a footer, its root, and the elements of each column."""
    reader = CompactReader(footer)
    try:
        for number, kind in reader.fields():
            if number == _SCHEMA and kind in LISTS:
                start = reader.at
                count, _ = reader.list_header()
                root, *elements = [_element(reader) for _ in range(count)]
                return start, reader.at, root, list(_columns(root, elements))
            reader.skip(kind)
    except IndexError:
        pass
    raise ValueError("no footer with a schema")


def _element(reader: CompactReader) -> _Element:
    start, name, children, is_leaf = reader.at, b"", 0, False
    for number, kind in reader.fields():
        if number == _NAME and kind == BINARY:
            name = reader.binary()
        elif number == _CHILDREN and kind in INTEGERS:
            children = reader.integer()
        else:
            is_leaf |= number == _TYPE
            reader.skip(kind)
    return _Element(reader.data[start : reader.at], name, children, is_leaf)


def _columns(root: _Element, elements: Sequence[_Element]) -> Iterator[list[_Element]]:
    at = 0
    for _ in range(root.children):
        start, missing = at, 1
        while missing > 0:
            missing += elements[at].children - 1
            at += 1
        yield list(elements[start:at])
    if at != len(elements):
        raise ValueError("more elements than columns")


def _group(name: bytes, children: int) -> bytes:
    """Return an element that has parts and no annotation."""
    return b"\x35\x00\x18" + _unsigned(len(name)) + name + b"\x15" + _unsigned(2 * children) + b"\x00"


def _leaf(name: str) -> bytes:
    """Return an element without parts, of the first type there is."""
    return b"\x15\x00\x25\x00\x18" + _unsigned(len(name)) + name.encode() + b"\x00"


def _list(structs: Sequence[bytes]) -> bytes:
    count = len(structs)
    header = bytes([count << 4 | STRUCT]) if count < 15 else bytes([0xF0 | STRUCT]) + _unsigned(count)
    return header + b"".join(structs)


def _unsigned(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
