"""Response bodies, in pieces: JSON, tables in each media type, and multipart/form-data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
from flask import Response

from titanic_batch.reading.formats import Format
from titanic_batch.server.media import ARROW, CSV, JSON
from titanic_batch.writing.tables import TableWriter

PIECE_ROWS = 2**13
_BEGUN_BYTES = 2**22


def encode_json(value: Any) -> bytes:
    """Return a value as compact JSON; a float is written as the shortest text that parses to the same bits."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def encode_records(pieces: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Yield the pieces of one list as the pieces of a JSON array."""
    separator = b"["
    for piece in pieces:
        if piece:
            yield separator + encode_json(piece)[1:-1]
            separator = b","
    yield b"[]" if separator == b"[" else b"]"


def encode_table(table: pa.Table, media_type: str) -> Iterator[bytes]:
    """Yield a table in one of the media types of `media.TABLES`, piece by piece, with dictionaries as plain values."""
    plain = pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ],
        table.schema.metadata,
    )
    # Each piece is cast by itself: as plain values, the whole table may take much memory.
    pieces = (table.slice(start, PIECE_ROWS).cast(plain) for start in range(0, len(table), PIECE_ROWS))
    if media_type == JSON:
        yield from encode_records(piece.to_pylist() for piece in pieces)
        return
    buffer = io.BytesIO()
    if media_type == ARROW:
        with pa.ipc.new_stream(buffer, plain) as stream:
            for piece in pieces:
                stream.write_table(piece)
                yield _taken(buffer)
    else:
        file_format: Format = "csv" if media_type == CSV else "parquet"
        with TableWriter(buffer, file_format, plain) as writer:
            for piece in pieces:
                writer.write(piece)
                if media_type == CSV:  # Parquet has the positions of what was written before
                    yield _taken(buffer)
            writer.close()
    yield buffer.getvalue()


def response_of(pieces: Iterable[bytes], content_type: str) -> Response:
    """Return a response with a body in pieces. If it is large, it is made while it is sent, and its length not told."""
    begun, size, rest = [], 0, iter(pieces)
    for piece in rest:
        begun.append(piece)
        size += len(piece)
        if size > _BEGUN_BYTES:
            return Response(chain(begun, rest), content_type=content_type)
    response = Response(begun, content_type=content_type)
    response.content_length = size
    return response


def _taken(buffer: io.BytesIO) -> bytes:
    """Return what was written to a buffer, and empty it."""
    content = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return content


def encode_form_data(parts: Iterable[tuple[str, Iterable[bytes]]], media_type: str, boundary: str) -> Iterator[bytes]:
    """Yield named files, all of one media type and given in pieces, as ``multipart/form-data`` (RFC 7578).

    Names are written as they are, so they must need no escaping, and no file may contain the boundary. Nothing comes
    before the first boundary: a line end there is a valid preamble, but not every browser's ``formData()`` takes it.
    """
    # Werkzeug's encoder is private and, by its own docstring, not for use in applications.
    for name, pieces in parts:
        header = f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\nContent-Type: {media_type}'
        yield f"--{boundary}\r\n{header}\r\n\r\n".encode()
        yield from pieces
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
