"""Arrow streams in request bodies: checked against the limits as they are read, and converted to Parquet.

How large a stream is can't be told before its buffers are decompressed, so compressed buffers are refused. pyarrow
doesn't say whether a message has any; `_is_compressed` reads that from the message's metadata.
"""

from __future__ import annotations

import io
import struct
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
from werkzeug.exceptions import UnsupportedMediaType

from titanic_batch.errors import DataError
from titanic_batch.server.media import Limits


def parquet_from_arrow(body: bytes, limits: Limits) -> bytes:
    """Return the table of an Arrow stream as an uncompressed Parquet file.

    Raises
    ------
    DataError
        The body is not an intact Arrow stream, or its columns can't be used.
    RequestEntityTooLarge
        It has more rows or bytes than the limits allow.
    UnsupportedMediaType
        Its buffers are compressed.
    """
    table = _read(body, limits)
    names = Counter(table.column_names)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise DataError(f"the body: column {', '.join(twice)} is there more than once.")
    buffer = io.BytesIO()
    try:
        pq.write_table(table, buffer, compression="none")
    except (pa.ArrowException, UnicodeDecodeError):
        raise DataError("the body has columns of types that can't be used.") from None
    return buffer.getvalue()


def _read(body: bytes, limits: Limits) -> pa.Table:
    batches, size, rows = [], 0, 0
    try:
        if any(_is_compressed(message) for message in pa.ipc.MessageReader.open_stream(body)):
            raise UnsupportedMediaType(
                "the buffers of an Arrow stream are not to be compressed; the body may be, by gzip."
            )
        with pa.ipc.open_stream(body) as stream:
            for batch in stream:
                size, rows = size + batch.nbytes, rows + batch.num_rows
                limits.check_rows(rows)
                limits.check_bytes(size)
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, stream.schema)
            _ = table.column_names  # damaged names are found only when they are read
    except (OSError, pa.ArrowException, UnicodeDecodeError, struct.error):
        raise DataError("the body is no Arrow stream, or a damaged one.") from None
    return table


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
