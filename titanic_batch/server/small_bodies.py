"""A few rows as plain Python values, where they are plainly good; all else is left to the path of large files.

A table of Arrow's and a look of pandera's cost milliseconds, however few the rows. Here a row is read only if it is
written so simply that it can mean but one thing, and is accepted only by the schema's own checks. Where there is any
doubt the answer is None: then the long way finds out what is wrong, or that nothing is.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.reading.columns import MISSING_TEXTS, STRING
from titanic_batch.reading.formats import OWN_PREFIX

MAX_BYTES = 2**14
MAX_ROWS = 64
_MAX_HEADERS = 64  # to remember

_MISSING = frozenset(MISSING_TEXTS)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_FIELD = r'(?:"[^"]*"|[^",]*)'
_LINE = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
_INT64 = range(-(2**63), 2**63)

Row = Sequence[Any]
"""The values of a row in the order of the contract: int, float, str, or None where missing."""


class SmallBodies:
    """Reads small bodies of rows by a contract."""

    def __init__(self, contract: Contract) -> None:
        self._names = tuple(contract.types)
        self._key = self._names.index(contract.key)
        checks = contract.checks()
        self._columns = [
            (name, _text_reader(kind), _value_reader(kind), checks[name]) for name, kind in contract.types.items()
        ]
        self._headers: dict[str, tuple[list[int], int] | None] = {}

    def from_csv(self, body: bytes) -> list[Row] | None:
        """Return the rows of a CSV with a header, all of which the contract accepts; None where that is not plain."""
        if len(body) > MAX_BYTES:
            return None
        try:
            header, *lines = body.decode().replace("\r\n", "\n").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            return None
        if not 0 < len(lines) <= MAX_ROWS or (layout := self._layout(header)) is None:
            return None
        places, width = layout
        rows: list[Row] = []
        for line in lines:
            fields = _fields(line)
            if fields is None or len(fields) != width or not line:
                return None
            row = []
            for place, (_, read, _, accepts) in zip(places, self._columns, strict=True):
                value = read(fields[place])
                if value is ... or not accepts(value):
                    return None
                row.append(value)
            rows.append(row)
        return self._distinct(rows)

    def from_records(self, records: Sequence[Mapping[str, Any]]) -> list[Row] | None:
        """Return what JSON's objects hold, all of which the contract accepts; None where that is not plain."""
        if not 0 < len(records) <= MAX_ROWS:
            return None
        rows: list[Row] = []
        for record in records:
            row = []
            for name, _, read, accepts in self._columns:
                value = read(record.get(name, ...))
                if value is ... or not accepts(value):
                    return None
                row.append(value)
            rows.append(row)
        return self._distinct(rows)

    def _distinct(self, rows: list[Row]) -> list[Row] | None:
        return rows if len(rows) == 1 or len({row[self._key] for row in rows}) == len(rows) else None

    def _layout(self, header: str) -> tuple[list[int], int] | None:
        """Return where the contract's columns are, and how many columns there are."""
        if header not in self._headers:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers = {}
            names = _fields(header) or []
            is_plain = header.isprintable() and len(set(names)) == len(names) and set(names) >= set(self._names)
            is_plain = is_plain and not any(name.startswith(OWN_PREFIX) for name in names)
            places = [names.index(name) for name in self._names] if is_plain else []
            self._headers[header] = (places, len(names)) if is_plain else None
        return self._headers.get(header)


def _fields(line: str) -> list[str] | None:
    """Return the fields of a line of CSV, whose quotes, if any, are around whole fields."""
    if '"' not in line:
        return None if "\r" in line else line.split(",")
    if "\r" in line or not _LINE.fullmatch(line):
        return None
    return next(csv.reader([line]))


def _text_reader(kind: pa.DataType) -> Callable[[str], Any]:
    """Return what makes a value of a field of text; ``...`` stands for: not plain."""
    if kind == STRING:
        return lambda text: None if text in _MISSING else text
    pattern, convert = (_INTEGER, int) if pa.types.is_integer(kind) else (_NUMBER, float)

    def read(text: str) -> Any:
        if pattern.fullmatch(text):
            return convert(text)
        return None if text in _MISSING else ...

    return read


def _value_reader(kind: pa.DataType) -> Callable[[Any], Any]:
    """Return what makes a value of one of JSON's; ``...`` stands for: not plain."""
    if kind == STRING:
        return lambda value: (None if value in _MISSING else value) if type(value) is str else _none(value)
    if pa.types.is_integer(kind):
        return lambda value: value if type(value) is int and value in _INT64 else _none(value)

    def read(value: Any) -> Any:
        if type(value) is float:
            return value if math.isfinite(value) else ...
        return float(value) if type(value) is int and abs(value) < 2**53 else _none(value)

    return read


def _none(value: Any) -> Any:
    return None if value is None else ...
