"""Parquet files that pyarrow can't write as they are here, or can't read: encrypted, damaged, of unknown types."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from tests import thrift
from tests.thrift import Footer, Struct, edited

INT128 = Path(__file__).parent / "files" / "int128.parquet"
"""Passengers 1 to 3, with a column ``h`` of 128-bit integers, as polars writes it."""

_TYPE, _REPETITION, _NAME, _CHILDREN, _CONVERTED_TYPE, _LOGICAL_TYPE = 1, 3, 4, 5, 6, 10
_LZO, _UNKNOWN = 3, 99
_CODEC, _SIZE_STATISTICS, _DEFINITION_LEVELS = 4, 16, 3


class _Keys(pe.KmsClient):  # type: ignore[misc]  # of pyarrow, which has no types
    """Wraps keys in nothing."""

    def __init__(self, config: pe.KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def encrypted(table: pa.Table, *columns: str, footer: bool = False) -> bytes:
    """Return a Parquet file in which some columns are encrypted, or also its footer."""
    configuration = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": list(columns)}, plaintext_footer=not footer
    )
    properties = pe.CryptoFactory(_Keys).file_encryption_properties(pe.KmsConnectionConfig(), configuration)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def with_lzo(file: bytes, column: str, group: int = 0) -> bytes:
    """Return a file in which a column of a row group is compressed with LZO, as far as the footer says."""

    def edit(footer: Footer) -> None:
        footer.description(column, group)[_CODEC] = _LZO

    return edited(file, edit)


def with_unknown_type(file: bytes, column: str) -> bytes:
    """Return a file in which a column has a type that nobody knows yet."""

    def edit(footer: Footer) -> None:
        element = footer.element(column)
        element.fields = [field for field in element.fields if field.number not in (_CONVERTED_TYPE, _LOGICAL_TYPE)]
        element.add(_CONVERTED_TYPE, thrift.I32, _UNKNOWN)

    return edited(file, edit)


def with_damaged_description(file: bytes, column: str, group: int = 0) -> bytes:
    """Return a file in which the description of a column contradicts itself, and pyarrow aborts when asked for it."""

    def edit(footer: Footer) -> None:
        footer.description(column, group)[_SIZE_STATISTICS][_DEFINITION_LEVELS].elements.append(0)

    return edited(file, edit)


def renamed(file: bytes, **names: bytes) -> bytes:
    """Return a file in which elements of the schema are called otherwise."""

    def edit(footer: Footer) -> None:
        for old, new in names.items():
            footer.element(old)[_NAME] = new

    return edited(file, edit)


def with_empty_struct(file: bytes, column: str) -> bytes:
    """Return a file with a further column, which is nested and has no parts."""

    def edit(footer: Footer) -> None:
        footer.schema[0][_CHILDREN] += 1
        footer.schema.append(
            Struct(
                [
                    thrift.Field(_REPETITION, thrift.I32, 1),
                    thrift.Field(_NAME, thrift.BINARY, column.encode()),
                    thrift.Field(_CHILDREN, thrift.I32, 0),
                ]
            )
        )

    return edited(file, edit)


def nested_deeper(file: bytes, column: str, depth: int) -> bytes:
    """Return a file in which a column stands within structs of its name."""

    def edit(footer: Footer) -> None:
        struct = [
            thrift.Field(_REPETITION, thrift.I32, 0),
            thrift.Field(_NAME, thrift.BINARY, column.encode()),
            thrift.Field(_CHILDREN, thrift.I32, 1),
        ]
        place = footer.schema.index(footer.element(column))
        footer.schema[place:place] = [Struct(thrift.copy_of(Struct(struct)).fields) for _ in range(depth)]

    return edited(file, edit)


def without_description(file: bytes, column: str, group: int = 0) -> bytes:
    """Return a file in which a row group lacks a column."""
    return edited(file, lambda footer: footer.chunks(group).remove(footer.chunk(column, group)))
