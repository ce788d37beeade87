"""Footers of Parquet files taken apart and put together again, to make files that no writer would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BOOL, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 3, 4, 5, 6, 7, 8, 9, 10, 12
INTEGERS = (I16, I32, I64)
MAGIC = b"PAR1"


@dataclass
class Field:
    """A field of a struct: its number, its kind and its value."""

    number: int
    kind: int
    value: Any


@dataclass
class Struct:
    """A struct, whose fields are read and set by their number."""

    fields: list[Field] = field(default_factory=list)

    def __getitem__(self, number: int) -> Any:
        return next(each.value for each in self.fields if each.number == number)

    def __setitem__(self, number: int, value: Any) -> None:
        next(each for each in self.fields if each.number == number).value = value

    def __delitem__(self, number: int) -> None:
        self.fields = [each for each in self.fields if each.number != number]

    def add(self, number: int, kind: int, value: Any) -> None:
        """Add a field, in the order of the numbers."""
        self.fields = sorted([*self.fields, Field(number, kind, value)], key=lambda each: each.number)


@dataclass
class ListOf:
    """The elements of a list, and their kind."""

    kind: int
    elements: list[Any]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def raw(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def unsigned(self) -> int:
        number = shift = 0
        while (byte := self.byte()) >= 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
        return number | byte << shift

    def integer(self) -> int:
        number = self.unsigned()
        return number >> 1 ^ -(number & 1)

    def struct(self) -> Struct:
        fields: list[Field] = []
        while header := self.byte():
            kind = header & 0xF
            last = fields[-1].number if fields else 0
            number = last + (header >> 4) if header >> 4 else self.integer()
            value = kind == BOOL if kind in (1, 2) else self.value(kind)
            fields.append(Field(number, BOOL if kind == 2 else kind, value))
        return Struct(fields)

    def value(self, kind: int) -> Any:
        if kind in INTEGERS:
            return self.integer()
        if kind == BINARY:
            return self.raw(self.unsigned())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            header = self.byte()
            count = self.unsigned() if header >> 4 == 0xF else header >> 4
            return ListOf(header & 0xF, [self.value(header & 0xF) for _ in range(count)])
        return self.raw({1: 1, 2: 1, BYTE: 1, DOUBLE: 8}[kind])


def _unsigned(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _integer(number: int) -> bytes:
    return _unsigned(2 * number if number >= 0 else -2 * number - 1)


def _value(kind: int, value: Any) -> bytes:
    if kind in INTEGERS:
        return _integer(value)
    if kind == BINARY:
        return _unsigned(len(value)) + bytes(value)
    if kind == STRUCT:
        return encode(value)
    if kind in (LIST, SET):
        count = len(value.elements)
        header = bytes([count << 4 | value.kind]) if count < 15 else bytes([0xF0 | value.kind]) + _unsigned(count)
        return header + b"".join(_value(value.kind, element) for element in value.elements)
    return bytes(value)


def decode(data: bytes) -> Struct:
    """Return the struct that bytes in Thrift's compact protocol stand for."""
    return _Reader(data).struct()


def encode(struct: Struct) -> bytes:
    """Return a struct in Thrift's compact protocol."""
    parts, last = [], 0
    for each in struct.fields:
        kind = (1 if each.value else 2) if each.kind == BOOL else each.kind
        step = each.number - last
        parts.append(bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + _integer(each.number))
        parts.append(b"" if each.kind == BOOL else _value(each.kind, each.value))
        last = each.number
    return b"".join([*parts, b"\0"])


def split(file: bytes) -> tuple[bytes, bytes]:
    """Return what stands before the footer of a Parquet file, and the footer."""
    end = len(file) - 8
    start = end - int.from_bytes(file[end : end + 4], "little")
    return file[:start], file[start:end]


def join(pages: bytes, footer: bytes) -> bytes:
    """Return a Parquet file of what `split` returns."""
    return pages + footer + len(footer).to_bytes(4, "little") + MAGIC


class Footer:
    """The footer of a Parquet file, with names for what tests change."""

    def __init__(self, content: bytes) -> None:
        self.struct = decode(content)

    @property
    def schema(self) -> list[Struct]:
        elements: list[Struct] = self.struct[2].elements
        return elements

    def element(self, name: str) -> Struct:
        return next(each for each in self.schema if each[4] == name.encode())

    @property
    def groups(self) -> list[Struct]:
        groups: list[Struct] = self.struct[4].elements
        return groups

    def chunks(self, group: int = 0) -> list[Struct]:
        chunks: list[Struct] = self.groups[group][1].elements
        return chunks

    def chunk(self, name: str, group: int = 0) -> Struct:
        return next(each for each in self.chunks(group) if name.encode() in each[3][3].elements)

    def description(self, name: str, group: int = 0) -> Struct:
        found: Struct = self.chunk(name, group)[3]
        return found

    def set_rows(self, *rows: int, total: int | None = None) -> None:
        """Let the row groups and, unless ``total`` is given, the whole file state other numbers of rows."""
        for group, count in zip(self.groups, rows, strict=True):
            group[3] = count
        self.struct[3] = sum(rows) if total is None else total


def edited(file: bytes, edit: Callable[[Footer], object]) -> bytes:
    """Return a Parquet file whose footer was changed."""
    pages, content = split(file)
    footer = Footer(content)
    edit(footer)
    return join(pages, encode(footer.struct))


def copy_of(struct: Struct) -> Struct:
    """Return a copy that can be changed by itself."""
    return copy.deepcopy(struct)
