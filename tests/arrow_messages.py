"""Arrow streams taken apart into messages and put together again, to make streams that no writer would.

The metadata of a message is a flatbuffer, as Message.fbs and Schema.fbs of Arrow's format describe it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_CONTINUATION = b"\xff\xff\xff\xff"


class Place(NamedTuple):
    """A number in a buffer: what it is, where it is, and how many bytes it has."""

    name: str
    start: int
    size: int


@dataclass
class Message:
    """A message of a stream; ``places`` are those of the numbers in its metadata."""

    metadata: bytearray
    places: list[Place]
    body: bytearray

    def read(self, place: Place) -> int:
        return int.from_bytes(self.metadata[place.start : place.start + place.size], "little", signed=True)

    def write(self, place: Place, number: int) -> None:
        """Replace a number; of one that is too large the lowest bytes remain."""
        content = number.to_bytes(16, "little", signed=True)[: place.size]
        self.metadata[place.start : place.start + place.size] = content


def split(stream: bytes) -> list[Message]:
    """Return the messages of an intact stream."""
    messages, start = [], 0
    while start + 8 <= len(stream):
        size = int(struct.unpack_from("<i", stream, start + 4)[0])
        if size == 0:
            break
        metadata = bytearray(stream[start + 8 : start + 8 + size])
        message = Message(metadata, list(_of_message(_Table(metadata, _follow(metadata, 0)))), bytearray())
        length = next((place for place in message.places if place.name == "body length"), None)
        body = message.read(length) if length is not None else 0
        start += 8 + size
        message.body = bytearray(stream[start : start + body])
        messages.append(message)
        start += body
    return messages


def join(messages: list[Message]) -> bytes:
    """Return a stream of these messages."""
    parts = [_CONTINUATION + struct.pack("<i", len(each.metadata)) + each.metadata + each.body for each in messages]
    return b"".join([*parts, _CONTINUATION, bytes(4)])


def _follow(data: bytearray, start: int) -> int:
    return start + int(struct.unpack_from("<I", data, start)[0])


class _Table:
    """A table of a flatbuffer. Its fields have the numbers that they have in the schema, from 0 on."""

    def __init__(self, data: bytearray, start: int) -> None:
        self.data = data
        self.start = start
        self._vtable = start - int(struct.unpack_from("<i", data, start)[0])
        self.count = (int(struct.unpack_from("<H", data, self._vtable)[0]) - 4) // 2

    def place(self, number: int, name: str, size: int) -> list[Place]:
        at = self._at(number)
        return [] if at is None else [Place(name, at, size)]

    def table(self, number: int) -> _Table | None:
        at = self._at(number)
        return None if at is None else _Table(self.data, _follow(self.data, at))

    def vector(self, number: int) -> tuple[int, int]:
        """Return where a vector's elements start and how many there are."""
        at = self._at(number)
        if at is None:
            return 0, 0
        start = _follow(self.data, at)
        return start + 4, int(struct.unpack_from("<I", self.data, start)[0])

    def tables(self, number: int) -> list[_Table]:
        start, count = self.vector(number)
        return [_Table(self.data, _follow(self.data, start + 4 * index)) for index in range(count)]

    def numbers(self, number: int, *names: str) -> Iterator[Place]:
        """Yield the 64-bit numbers of a vector whose elements have a number of each name."""
        start, count = self.vector(number)
        if count:
            yield Place(f"number of {names[0]}s", start - 4, 4)
        for index in range(count * len(names)):
            yield Place(names[index % len(names)], start + 8 * index, 8)

    def _at(self, number: int) -> int | None:
        offset = (
            int(struct.unpack_from("<H", self.data, self._vtable + 4 + 2 * number)[0]) if number < self.count else 0
        )
        return self.start + offset if offset else None


def _of_message(message: _Table) -> Iterator[Place]:
    yield from message.place(0, "version", 2)
    kind = message.place(1, "kind of message", 1)
    yield from kind
    yield from message.place(3, "body length", 8)
    header = message.table(2)
    if header is None or not kind:
        return
    match message.data[kind[0].start]:
        case 1:
            yield from header.place(0, "endianness", 2)
            for field in header.tables(1):
                yield from _of_field(field)
        case 2:
            yield from header.place(0, "dictionary id", 8)
            yield from header.place(2, "is delta", 1)
            if (batch := header.table(1)) is not None:
                yield from _of_batch(batch)
        case 3:
            yield from _of_batch(header)


def _of_batch(batch: _Table) -> Iterator[Place]:
    yield from batch.place(0, "rows", 8)
    yield from batch.numbers(1, "length", "nulls")
    yield from batch.numbers(2, "offset", "size")
    yield from batch.numbers(4, "variadic buffers")
    yield from batch.place(3, "compression", 4)


def _of_field(field: _Table) -> Iterator[Place]:
    yield from field.place(1, "nullable", 1)
    yield from field.place(2, "type", 1)
    yield from field.place(0, "name", 4)
    if (parameters := field.table(3)) is not None:
        for number in range(parameters.count):
            yield from parameters.place(number, "type's parameter", 4)
    if (dictionary := field.table(4)) is not None:
        yield from dictionary.place(0, "dictionary id", 8)
        yield from dictionary.place(2, "dictionary is ordered", 1)
    for child in field.tables(5):
        yield from _of_field(child)
