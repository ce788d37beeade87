"""Parquet and Arrow bodies: tables of the contract's columns, whose rows are read some at a time and within limits.

What a body takes in memory can't be told from its size, nor from what it says itself: a value is stored once and
repeated by its number, or as a difference; views overlap; a page of kilobytes unpacks to gigabytes. So the columns that
are needed, and no others, are checked by their types before any data is looked at, then by their pages or buffers, and
then by what they unpack to, some rows at a time.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from titanic_batch.errors import DataError
from titanic_batch.reading.arrow_blocks import ArrowBlock
from titanic_batch.reading.arrow_views import table_without_views
from titanic_batch.reading.columns import is_text
from titanic_batch.reading.files import reading_from
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.parquet_footer import Footer, read_footer
from titanic_batch.reading.parquet_groups import RowGroups
from titanic_batch.reading.parquet_pages import pages_of
from titanic_batch.reading.sources import Source
from titanic_batch.server.media import Limits

BLOCK_ROWS = 2**16
MAX_BATCHES = 10_000
_DICTIONARY_BYTES = 2**29
_PLAIN_BYTES = 2**26  # of values that are read at once without dictionaries
_MAX_FOOTER_BYTES = 2**19  # which take up to two hundred times as much when Arrow has read them
_MAX_SCHEMA_BYTES = 2**21
_NAME = "the body"
_LONG_SCHEMA = "the body takes more than {} bytes to describe its columns: leave out those that aren't needed."
_NO_STREAM = "the body is no Arrow stream, or a damaged one."


class BinaryBody(InputTable):
    """A body whose columns are known, and whose rows can be read once.

    Parameters
    ----------
    names, types
        Its columns, and their types.
    parts
        Function that yields the rows, some at a time, in the given columns.
    limits
        How many rows and bytes it may have once it is unpacked.
    unreadable
        Columns of a type that can't be read.
    """

    ordinary_block_size = BLOCK_ROWS

    def __init__(
        self,
        names: Sequence[str],
        types: Sequence[pa.DataType],
        parts: Callable[[Sequence[str]], Iterator[pa.Table]],
        limits: Limits,
        unreadable: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(Source(_NAME, "parquet", io.BytesIO()))
        self._all_names, self._types = tuple(names), dict(zip(names, types, strict=True))
        self._unreadable = unreadable
        self._parts = parts
        self._limits = limits

    def blocks(self, wanted: Sequence[str], *, fields: bool = False) -> Generator[ArrowBlock, None, None]:
        """Yield the blocks of the table; see `InputTable.blocks`.

        Raises
        ------
        RequestEntityTooLarge
            It exceeds the limits, or has too many batches.
        UnsupportedMediaType
            It is an Arrow stream whose buffers are compressed.
        """
        pending, rows, size, pending_rows = [], 0, 0, 0
        with reading_from(_NAME):
            for part in self._parts(wanted):
                rows += part.num_rows
                self._limits.check_rows(rows)
                size += sum(map(_unpacked_size, part.columns))
                self._limits.check_bytes(size)
                pending.append(table_without_views(part))
                pending_rows += part.num_rows
                if pending_rows >= BLOCK_ROWS:
                    yield ArrowBlock(pa.concat_tables(pending))
                    pending, pending_rows = [], 0
        if pending:
            yield ArrowBlock(pa.concat_tables(pending))


def parquet_body(body: bytes, limits: Limits) -> BinaryBody:
    """Open a Parquet body.

    Raises
    ------
    DataError
        It is not an intact Parquet file.
    RequestEntityTooLarge
        It has more rows than the limits allow, or an unreasonable number of columns or row groups.
    """
    if int.from_bytes(body[-8:-4], "little") > _MAX_FOOTER_BYTES and body.endswith(b"PAR1"):
        raise RequestEntityTooLarge(_LONG_SCHEMA.format(_MAX_FOOTER_BYTES))
    footer = read_footer(io.BytesIO(body), _NAME)
    limits.check_rows(footer.metadata.num_rows)
    types = [footer.types.get(name, pa.null()) for name in footer.names]
    return BinaryBody(
        footer.names, types, lambda wanted: _parquet_parts(body, footer, wanted, limits), limits, footer.unreadable
    )


def arrow_body(body: bytes, limits: Limits) -> BinaryBody:
    """Open an Arrow stream.

    Raises
    ------
    DataError
        It is not an Arrow stream, or a damaged one.
    RequestEntityTooLarge
        It has an unreasonable number of columns.
    """
    if int.from_bytes(body[4:8], "little") > _MAX_SCHEMA_BYTES and body.startswith(b"\xff\xff\xff\xff"):
        raise RequestEntityTooLarge(_LONG_SCHEMA.format(_MAX_SCHEMA_BYTES))
    try:
        with pa.ipc.open_stream(body) as stream:
            names, types = stream.schema.names, stream.schema.types
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        raise DataError(_NO_STREAM) from None
    return BinaryBody(names, types, lambda wanted: _arrow_parts(body, names, wanted), limits)


def _parquet_parts(body: bytes, footer: Footer, wanted: Sequence[str], limits: Limits) -> Iterator[pa.Table]:
    leaves = {name: footer.leaves[name][0] for name in wanted}
    pages = pages_of(body, {leaf.index for leaf in leaves.values()})
    limits.check_bytes(pages.unpacked)
    # Where values are not read as dictionaries, so many rows that they fit, however long the values are.
    is_plain = not pages.has_dictionaries or any(
        leaf.physical_type == "BYTE_ARRAY" and not is_text(footer.types[name]) for name, leaf in leaves.items()
    )
    size = max(1, min(BLOCK_ROWS, _PLAIN_BYTES // max(1, pages.largest))) if is_plain else BLOCK_ROWS
    groups = RowGroups(pa.py_buffer(body), footer, _NAME, "dictionaries" if pages.has_dictionaries else "plain")
    for group in range(footer.metadata.num_row_groups):
        yield from groups.slices(group, wanted, [], size)


def _arrow_parts(body: bytes, names: Sequence[str], wanted: Sequence[str]) -> Iterator[pa.Table]:
    try:
        for message in pa.ipc.MessageReader.open_stream(body):
            if _is_compressed(message):
                raise UnsupportedMediaType(
                    "the buffers of an Arrow stream are not to be compressed; the body may be, by gzip."
                )
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in wanted])
        dictionary_bytes = 0
        with pa.ipc.open_stream(body, options=options) as stream:
            for number, batch in enumerate(stream):
                # Each batch has its dictionaries looked at anew.
                dictionary_bytes += sum(map(_dictionary_size, batch.columns))
                if number == MAX_BATCHES or dictionary_bytes > _DICTIONARY_BYTES:
                    raise RequestEntityTooLarge("the body has too many batches: send it in fewer.")
                batch.validate(full=True)
                # Without its schema, which may say that there are no nulls where there are.
                yield pa.table([batch.column(name) for name in wanted], names=list(wanted))
    except (OSError, pa.ArrowException, UnicodeDecodeError, struct.error):
        raise DataError(_NO_STREAM) from None


def _dictionary_size(values: pa.Array) -> int:
    """Return how many bytes a column's dictionary takes, from buffers that were not looked at."""
    if not pa.types.is_dictionary(values.type):
        return 0
    return sum(buffer.size for buffer in values.dictionary.buffers() if buffer is not None)


def _unpacked_size(column: pa.ChunkedArray) -> int:
    """Return how many bytes a column of a compatible type takes once each row has a value of its own."""
    return sum(_chunk_size(chunk) for chunk in column.chunks)


def _chunk_size(values: pa.Array) -> int:
    if pa.types.is_dictionary(values.type):
        if not is_text(values.type):
            return len(values) * _width(values.type.value_type)
        lengths = pc.fill_null(_lengths(values.dictionary), 0).to_numpy()
        taken = values.indices.drop_null().to_numpy()
        return int(lengths[taken].sum()) if len(lengths) else 0
    if is_text(values.type):
        return int(pc.sum(_lengths(values)).as_py() or 0)
    return len(values) * _width(values.type)


def _width(fixed: pa.DataType) -> int:
    return 0 if pa.types.is_null(fixed) else fixed.bit_width // 8


def _lengths(text: pa.Array) -> pa.Array:
    """Return how many bytes each text has, as int64."""
    if pa.types.is_string_view(text.type):  # a view begins with its length, and has 16 bytes
        views = np.frombuffer(text.buffers()[1], np.int32)[4 * text.offset : 4 * (text.offset + len(text)) : 4]
        return pa.array(views.astype(np.int64), mask=text.is_null().to_numpy(zero_copy_only=False))
    return pc.binary_length(text).cast(pa.int64())


def _is_compressed(message: pa.ipc.Message) -> bool:
    """Tell whether the buffers of a message are compressed, from its metadata (a flatbuffer: see Message.fbs)."""
    if message.type not in ("record batch", "dictionary"):
        return False
    data = message.metadata.to_pybytes()

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", data, place)[0])

    def field(table: int, slot: int) -> int | None:
        """Return the position of a field of a flatbuffers table, or None if the table doesn't contain it."""
        vtable = table - struct.unpack_from("<i", data, table)[0]
        at = 4 + 2 * slot
        size = struct.unpack_from("<H", data, vtable)[0]
        offset = struct.unpack_from("<H", data, vtable + at)[0] if at < size else 0
        return table + offset if offset else None

    header = field(follow(0), 2)  # Message.header
    if header is not None and message.type == "dictionary":
        header = field(follow(header), 1)  # DictionaryBatch.data
    return header is not None and field(follow(header), 3) is not None  # RecordBatch.compression
