"""Request bodies in each media type, and what is read from responses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from flask.testing import FlaskClient
from werkzeug.formparser import parse_form_data
from werkzeug.test import EnvironBuilder, TestResponse

from tests.passengers import csv_bytes, parquet_bytes, passengers, typed
from titanic_batch.server.media import ARROW, CSV, JSON, PARQUET

GZIP = {"Content-Encoding": "gzip"}


def arrow_bytes(table: pa.Table, compression: str | None = None, batch_rows: int | None = None) -> bytes:
    """Return a table as an Arrow stream."""
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table, max_chunksize=batch_rows)
    return buffer.getvalue()


def body_of(count: int, media_type: str) -> bytes:
    """Return some valid rows as a request body."""
    table = typed(passengers(count))
    writers: dict[str, Callable[[], bytes]] = {
        CSV: lambda: csv_bytes(passengers(count)),
        JSON: lambda: json.dumps(table.to_pylist()).encode(),
        PARQUET: lambda: parquet_bytes(table),
        ARROW: lambda: arrow_bytes(table, batch_rows=40),
    }
    return writers[media_type]()


def predictions_of(body: bytes, media_type: str) -> pa.Table:
    """Return the predictions in a response body as a table of the types that predictions have."""
    schema = pa.schema([("PassengerId", pa.int64()), ("Survived", pa.int8()), ("Probability", pa.float64())])
    if media_type == JSON:
        return pa.Table.from_pylist(json.loads(body), schema)
    if media_type == CSV:
        types = pyarrow.csv.ConvertOptions(column_types=schema)
        return pyarrow.csv.read_csv(io.BytesIO(body), convert_options=types)
    return table_of(body, media_type).replace_schema_metadata(None)


def table_of(body: bytes, media_type: str) -> pa.Table:
    """Return a response body of CSV, Parquet or an Arrow stream as a table."""
    if media_type == CSV:
        return pyarrow.csv.read_csv(io.BytesIO(body))
    return pq.read_table(io.BytesIO(body)) if media_type == PARQUET else pa.ipc.open_stream(body).read_all()


def files_of(content: bytes, content_type: str) -> dict[str, tuple[str | None, str, bytes]]:
    """Return the files of a form, each with its file name and media type, as Werkzeug parses them."""
    environ = EnvironBuilder(method="POST", data=content, content_type=content_type).get_environ()
    _, fields, files = parse_form_data(environ, stream_factory=lambda *_, **__: io.BytesIO(), silent=False)
    assert not fields
    return {name: (file.filename, file.mimetype, file.read()) for name, file in files.items(multi=True)}


def post(
    client: FlaskClient, body: bytes, media_type: str = CSV, path: str = "/predict", **headers: str
) -> TestResponse:
    """Return what a body is answered with; an underscore in the name of a header stands for a hyphen."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=body, content_type=media_type, headers=given)


def status(client: FlaskClient, body: bytes, media_type: str, **headers: str) -> int:
    """Return the status that a body is answered with; any error must be a problem."""
    answer = post(client, body, media_type, **headers)
    assert answer.status_code == 200 or answer.mimetype == "application/problem+json"
    return answer.status_code


def problem(response: TestResponse, status: int) -> dict[str, Any]:
    """Return the members of a problem, which must be complete and reveal nothing of the server's inside."""
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    text = response.get_data(as_text=True)
    for inside in ("Traceback", "titanic_batch", ".py", str(Path.home()), str(Path(__file__).parents[2])):
        assert inside not in text
    found: dict[str, Any] = json.loads(text)
    assert found["status"] == status
    assert found["title"].upper() == response.status.partition(" ")[2]
    assert isinstance(found["detail"], str)
    return found
