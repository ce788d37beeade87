"""CSV of clients of MLflow, SageMaker and Vertex AI, and the answers that they expect.

Such clients send rows as CSV, with or without a header, or as JSON (see `json_rows`). Rows without column names have
the contract's columns, in its order. The answer has one prediction for each row, in order: as CSV without a header for
CSV without a header, as lines of JSON for lines of JSON, and as ``{"predictions": [...]}`` otherwise.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence

from werkzeug.exceptions import BadRequest

from titanic_batch.server.media import CSV, JSON, JSON_LINES
from titanic_batch.server.served_model import Predictions

BODIES = (JSON, CSV, JSON_LINES)
_FIRST_LINE = re.compile(rb"[^\r\n]*")


def has_header(body: bytes, columns: Sequence[str]) -> bool:
    """Tell whether the first line of a CSV contains the name of a column; True for an empty body.

    Raises
    ------
    BadRequest
        A field of the line is too long for the CSV reader.
    """
    first = _FIRST_LINE.match(body.lstrip(b"\r\n").removeprefix(codecs.BOM_UTF8))
    assert first is not None  # noqa: S101  # the pattern matches the empty string
    try:
        fields = next(csv.reader([first[0].decode("utf-8", "replace")]), [])
    except csv.Error:
        raise BadRequest("the first line of the body can't be read as CSV.") from None
    return not fields or not set(columns).isdisjoint(fields)


def with_header(body: bytes, columns: Sequence[str]) -> bytes:
    """Return a CSV without a header with one that contains ``columns``, and without a byte-order mark."""
    mark = len(codecs.BOM_UTF8) if body.startswith(codecs.BOM_UTF8) else 0
    return b"".join([",".join(columns).encode(), b"\n", memoryview(body)[mark:]])


def encode_predictions(predictions: Predictions, media_type: str, *, header: bool) -> Iterator[bytes]:
    """Yield predictions, piece by piece, as these clients expect them; ``header`` applies to CSV."""
    if media_type != JSON:
        yield from predictions.encode(media_type, header=header)
        return
    yield b'{"predictions":'
    yield from predictions.encode(JSON)
    yield b"}"
