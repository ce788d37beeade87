"""Response bodies: JSON, tables in each media type, and multipart/form-data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from titanic_batch.reading.formats import Format
from titanic_batch.server.media import ARROW, CSV, JSON
from titanic_batch.writing.tables import TableWriter


def encode_json(value: Any) -> bytes:
    """Return a value as compact JSON; a float is written as the shortest text that parses to the same bits."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def encode_table(table: pa.Table, media_type: str) -> bytes:
    """Return a table in one of the media types of `media.TABLES`."""
    if media_type == JSON:
        return encode_json(table.to_pylist())
    buffer = io.BytesIO()
    if media_type == ARROW:
        with pa.ipc.new_stream(buffer, table.schema) as stream:
            stream.write_table(table)
    else:
        file_format: Format = "csv" if media_type == CSV else "parquet"
        with TableWriter(buffer, file_format, table.schema) as writer:
            writer.write(table)
            writer.close()
    return buffer.getvalue()


def encode_form_data(parts: Iterable[tuple[str, bytes]], media_type: str, boundary: str) -> bytes:
    """Return named files, all of one media type, as ``multipart/form-data`` (RFC 7578).

    Names are written as they are, so they must need no escaping, and no file may contain the boundary. Nothing comes
    before the first boundary: a line end there is a valid preamble, but not every browser's ``formData()`` takes it.
    """
    # Werkzeug's encoder is private and, by its own docstring, not for use in applications.
    pieces: list[bytes] = []
    for name, content in parts:
        header = f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\nContent-Type: {media_type}'
        pieces += [f"--{boundary}\r\n{header}\r\n\r\n".encode(), content, b"\r\n"]
    return b"".join([*pieces, f"--{boundary}--\r\n".encode()])
