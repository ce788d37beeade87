"""Thrift's compact protocol, in which Parquet's footers and the headers of its pages are written."""

from __future__ import annotations

from collections.abc import Iterator

BOOLEANS, BYTE, DOUBLE, BINARY, LISTS, STRUCT = (1, 2), 3, 7, 8, (9, 10), 12
I16, I32, I64 = INTEGERS = (4, 5, 6)
_MAX_DEPTH = 16  # of structs; those of Parquet are seven deep at most
_MAX_SHIFT = 70  # of ten bytes, the most that 64 bits take


class CompactReader:
    """Reads values from a place on. Beyond the end of the data, an IndexError is raised.

    Attributes
    ----------
    data : bytes
    at : int
        Where the next value begins.
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield the number and the kind of each field of a struct, whose value is to be read or skipped.

        Raises
        ------
        ValueError
            A field occurs twice: readers differ in which of them they take.
        """
        number, seen = 0, set[int]()
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self.integer()
            if number in seen:
                raise ValueError("a field twice")
            seen.add(number)
            yield number, header & 0xF

    def integer(self) -> int:
        """Read an integer."""
        number = self._unsigned()
        return number >> 1 ^ -(number & 1)

    def binary(self) -> bytes:
        """Read bytes."""
        size = self._unsigned()
        self.at += size
        return self.data[self.at - size : self.at]

    def list_header(self) -> tuple[int, int]:
        """Read the number and the kind of a list's elements."""
        header = self._byte()
        return (self._unsigned() if header >> 4 == 0xF else header >> 4), header & 0xF

    def skip(self, kind: int, depth: int = 0) -> None:
        """Skip a value.

        Raises
        ------
        ValueError
            It is of no kind that Parquet has, or nested too deeply.
        """
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        if kind in INTEGERS:
            self._unsigned()
        elif kind == BINARY:
            self.binary()
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in LISTS:
            count, inner = self.list_header()
            if inner in (*BOOLEANS, BYTE, DOUBLE):
                self.at += count * (8 if inner == DOUBLE else 1)
            else:
                for _ in range(count):
                    self.skip(inner, depth + 1)
        elif kind in (BYTE, DOUBLE):
            self.at += 1 if kind == BYTE else 8
        elif kind not in BOOLEANS:  # their value is in the header of the field
            raise ValueError("an unknown kind of value")
        if self.at > len(self.data):
            raise IndexError

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _unsigned(self) -> int:
        number = shift = 0
        while shift < _MAX_SHIFT:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
        raise ValueError("a number that is too long")
