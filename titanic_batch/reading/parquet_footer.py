"""Footers of Parquet files: the columns, their types, and the row groups, checked before anything else is read."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from titanic_batch.errors import DataError
from titanic_batch.reading.arrow_views import without_views
from titanic_batch.reading.files import is_damage, reading_from
from titanic_batch.reading.parquet_schema import without_arrow_schema, without_unknown_types
from titanic_batch.reading.signatures import START_BYTES, other_content

_MAGIC, _MAGIC_ENCRYPTED = b"PAR1", b"PARE"
_TAIL_BYTES = 8  # the length of the footer, and the magic


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column without parts, with its index among all of these. One that is repeated may have any number of values.

    The path is None within nested columns: writers don't agree on what parts are called.
    """

    index: int
    path: str | None
    physical_type: str
    is_repeated: bool


@dataclass(frozen=True)
class Footer:
    """What the footer of a Parquet file states.

    Attributes
    ----------
    metadata
        The row groups. ``metadata.row_group(group).column(index)`` ends the process if the column's description is
        damaged or encrypted, so it may be called only after the column was read from this row group.
    names
        The columns, in file order.
    paths
        For each leaf, its name within those of the columns that it is nested in.
    types
        The type that each column is read as.
    unreadable
        Columns of a type that can't be read.
    """

    metadata: pq.FileMetaData
    names: tuple[str, ...]
    paths: Sequence[Sequence[str]]
    types: Mapping[str, pa.DataType]
    unreadable: frozenset[str] = frozenset()

    @cached_property
    def leaves(self) -> Mapping[str, Sequence[Leaf]]:
        """The columns that hold the values of each column, by its name: itself, or its nested parts."""
        leaves: dict[str, list[Leaf]] = {}
        schema = self.metadata.schema
        for index, (name, *parts) in enumerate(self.paths):
            column, path = schema.column(index), None if parts else name
            leaf = Leaf(index, path, column.physical_type, is_repeated=column.max_repetition_level > 0)
            leaves.setdefault(name, []).append(leaf)
        return leaves


def read_footer(file: BinaryIO, name: str) -> Footer:
    """Read the footer of a Parquet file, which is called ``name`` in messages.

    Raises
    ------
    DataError
        The file is empty, encrypted, damaged or not Parquet.
    TransferError
        Reading failed midway.
    """
    with reading_from(name):
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            raise DataError(f"{name} is empty: not even a header.")
        try:
            footer = _parse(file)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            if not is_damage(error):
                raise
            content, magic = _raw(file, size)
            if magic == _MAGIC_ENCRYPTED:
                raise DataError(f"{name} is encrypted: write it without encryption.") from None
            in_part = _parse_in_part(content) if magic == _MAGIC else None
            if in_part is None:
                if isinstance(error, pa.ArrowInvalid | UnicodeDecodeError):
                    file.seek(0)
                    if what := other_content(file.read(START_BYTES), "parquet"):
                        raise DataError(f"{name} is {what}.") from None
                    raise DataError(f"{name} is not Parquet, or is cut short: write it again.") from None
                raise
            footer = in_part
        _check_rows(footer.metadata, name)
        return footer


def _parse(file: BinaryIO) -> Footer:
    parquet = pq.ParquetFile(file)
    schema = parquet.schema_arrow
    types = dict(zip(schema.names, map(without_views, schema.types), strict=True))
    return Footer(parquet.metadata, tuple(schema.names), parquet.reader.column_paths, types)


def _raw(file: BinaryIO, size: int) -> tuple[bytes, bytes]:
    """Return the bytes of the footer, and those that end the file; empty if the file is too short for them."""
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    length = int.from_bytes(tail[:-4], "little")
    if len(tail) < _TAIL_BYTES or length > size - _TAIL_BYTES:
        return b"", tail[-4:]
    file.seek(size - _TAIL_BYTES - length)
    return file.read(length), tail[-4:]


def _parse_in_part(content: bytes) -> Footer | None:
    """Return what a footer states of which Arrow can't read every column, or None if there is no way to read it."""
    try:
        mended, unreadable = without_unknown_types(content, lambda footer: _parse_bytes(footer) is not None)
    except ValueError:
        return None
    if footer := _parse_bytes(mended):
        return replace(footer, unreadable=frozenset(unreadable))
    if footer := _parse_bytes(without_arrow_schema(mended)):
        # What bytes stand for, such as 128-bit integers, is said only in the schema that Arrow can't read.
        unknown = (name for name, arrow_type in footer.types.items() if _holds_bytes(arrow_type))
        return replace(footer, unreadable=frozenset([*unreadable, *unknown]))
    return None


def _parse_bytes(content: bytes) -> Footer | None:
    file = _MAGIC + content + len(content).to_bytes(4, "little") + _MAGIC
    try:
        return _parse(io.BytesIO(file))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return None


def _holds_bytes(arrow_type: pa.DataType) -> bool:
    if pa.types.is_nested(arrow_type):
        return any(_holds_bytes(arrow_type.field(index).type) for index in range(arrow_type.num_fields))
    return bool(pa.types.is_binary(arrow_type) or pa.types.is_fixed_size_binary(arrow_type))


def _check_rows(metadata: pq.FileMetaData, name: str) -> None:
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != metadata.num_rows:
        raise DataError(
            f"{name} is damaged: its footer states {metadata.num_rows} rows, and {sum(groups)} in its row groups. "
            "Write it again."
        )
