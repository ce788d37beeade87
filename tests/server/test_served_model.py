"""What a server scores: the bits of the command, in every format, and an answer of one model whatever happens."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner, Result
from werkzeug.test import TestResponse

from tests.passengers import csv_bytes, many, parquet_bytes, passengers, typed
from titanic_batch.cli.command import app as command
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, CSV, JSON, PARQUET

COUNTS = [1, 3, 100]


@pytest.fixture(scope="module")
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model).test_client()


def arrow_bytes(table: pa.Table, compression: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table, max_chunksize=40)
    return buffer.getvalue()


def json_bytes(table: pa.Table) -> bytes:
    return json.dumps(table.to_pylist()).encode()


def body_of(count: int, kind: str) -> bytes:
    table = typed(passengers(count))
    writers: dict[str, Callable[[], bytes]] = {
        CSV: lambda: csv_bytes(passengers(count)),
        JSON: lambda: json_bytes(table),
        PARQUET: lambda: parquet_bytes(table),
        ARROW: lambda: arrow_bytes(table),
    }
    return writers[kind]()


def table_of(body: bytes, kind: str) -> pa.Table:
    """Return an answer as a table of the types that predictions have."""
    schema = pa.schema([("PassengerId", pa.int64()), ("Survived", pa.int8()), ("Probability", pa.float64())])
    if kind == PARQUET:
        return pq.read_table(io.BytesIO(body)).replace_schema_metadata(None)
    if kind == ARROW:
        return pa.ipc.open_stream(body).read_all().replace_schema_metadata(None)
    if kind == JSON:
        return pa.Table.from_pylist(json.loads(body), schema)
    types = pyarrow.csv.ConvertOptions(column_types=schema)
    return pyarrow.csv.read_csv(io.BytesIO(body), convert_options=types)


@pytest.fixture(scope="module")
def scored(small_model: Model, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], pa.Table]:
    """What the command makes of the same rows."""
    folder = tmp_path_factory.mktemp("scored")

    @cache
    def score(count: int) -> pa.Table:
        source, target = folder / f"{count}.csv", folder / f"{count}.parquet"
        source.write_bytes(csv_bytes(passengers(count)))
        done: Result = CliRunner().invoke(command, ["score", str(source), "-o", str(target), "-m", str(model_file)])
        assert done.exit_code == 0
        return pq.read_table(target).replace_schema_metadata(None)

    return score


@pytest.mark.parametrize("asked", [CSV, JSON, PARQUET, ARROW])
@pytest.mark.parametrize("kind", [CSV, JSON, PARQUET, ARROW])
@pytest.mark.parametrize("count", COUNTS)
def test_all_formats_give_the_commands_bits(
    client: FlaskClient, scored: Callable[[int], pa.Table], count: int, kind: str, asked: str
) -> None:
    answer = client.post("/predict", data=body_of(count, kind), content_type=kind, headers={"Accept": asked})
    assert (answer.status_code, answer.mimetype) == (200, asked)
    assert table_of(answer.data, asked).equals(scored(count))


@pytest.mark.parametrize("kind", [CSV, JSON, PARQUET, ARROW])
def test_without_a_wish_the_answer_is_as_the_body(client: FlaskClient, kind: str) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "text/html, */*;q=0.5"}):
        answer = client.post("/predict", data=body_of(2, kind), content_type=kind, headers=headers)
        assert (answer.status_code, answer.mimetype) == (200, kind)


def test_a_wish_that_cannot_be_had_is_refused(client: FlaskClient) -> None:
    answer = client.post("/predict", data=body_of(2, CSV), content_type=CSV, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.mimetype) == (406, "application/problem+json")


def test_one_passenger_gets_one_prediction(client: FlaskClient) -> None:
    (row,) = typed(passengers(1)).to_pylist()
    alone = client.post("/predict", json=row).get_json()
    listed = client.post("/predict", json=[row]).get_json()
    assert listed == [alone]
    assert alone.keys() == {"PassengerId", "Survived", "Probability"}


def test_no_rows_get_no_predictions(client: FlaskClient) -> None:
    assert client.post("/predict", json=[]).get_json() == []
    assert table_of(client.post("/predict", data=csv_bytes([]), content_type=CSV).data, CSV).num_rows == 0


def test_parquet_and_arrow_tell_where_predictions_come_from(client: FlaskClient) -> None:
    for asked in (PARQUET, ARROW):
        for count in (1, 100):
            answer = client.post("/predict", data=body_of(count, CSV), content_type=CSV, headers={"Accept": asked})
            read = pq.read_table if asked == PARQUET else lambda file: pa.ipc.open_stream(file).read_all()
            assert read(io.BytesIO(answer.data)).schema.metadata[b"titanic_batch.model"] == b"fitted"


def spoiled() -> bytes:
    rows = passengers(5)
    rows[1]["Sex"] = "SECRET"
    rows[1]["Fare"] = "123456789"
    rows[3]["Age"] = "SECRET"
    rows[4]["PassengerId"] = "1"
    return csv_bytes(rows)


REJECTS = [
    {"row": 2, "column": "Fare", "rule": "out_of_range"},
    {"row": 2, "column": "Sex", "rule": "not_allowed"},
    {"row": 4, "column": "Age", "rule": "type"},
    {"row": 5, "column": "PassengerId", "rule": "duplicate_key"},
]


def test_rejects_come_apart_where_they_are_allowed(client: FlaskClient) -> None:
    answer = client.post("/predict?rejects=allow", data=spoiled(), content_type=CSV)
    found = answer.get_json()
    assert answer.status_code == 200
    assert found["rejects"] == REJECTS
    rows = passengers(5)
    good = client.post("/predict", data=csv_bytes([rows[0], rows[2]]), content_type=CSV, headers={"Accept": JSON})
    assert found["predictions"] == good.get_json()


@pytest.mark.parametrize("asked", [CSV, PARQUET, ARROW])
def test_rejects_come_as_a_part_of_a_form(client: FlaskClient, asked: str) -> None:
    answer = client.post("/predict?rejects=allow", data=spoiled(), content_type=CSV, headers={"Accept": asked})
    predictions, rejects = parts_of(answer, asked)
    assert table_of(predictions, asked)["PassengerId"].to_pylist() == [1, 3]
    if asked == CSV:
        assert pyarrow.csv.read_csv(io.BytesIO(rejects)).to_pylist() == REJECTS
    else:
        assert table_of(rejects, asked).to_pylist() == REJECTS


def parts_of(answer: TestResponse, kind: str) -> Sequence[bytes]:
    boundary = answer.mimetype_params["boundary"]
    nothing, *parts, end = answer.data.split(f"--{boundary}".encode())
    assert (nothing, end) == (b"", b"--\r\n")
    found = [part.removeprefix(b"\r\n").removesuffix(b"\r\n").split(b"\r\n\r\n", 1) for part in parts]
    for name, (head, _) in zip(("predictions", "rejects"), found, strict=True):
        assert head.decode().splitlines() == [
            f'Content-Disposition: form-data; name="{name}"; filename="{name}"',
            f"Content-Type: {kind}",
        ]
    return [content for _, content in found]


def test_good_rows_with_rejects_allowed_are_all_scored(client: FlaskClient) -> None:
    found = client.post("/predict?rejects=allow", data=csv_bytes(passengers(3)), content_type=CSV).get_json()
    assert (len(found["predictions"]), found["rejects"]) == (3, [])


@pytest.mark.parametrize("query", ["rejects=perhaps", "reject=allow", "x=1"])
def test_a_query_that_is_not_known_is_refused(client: FlaskClient, query: str) -> None:
    assert client.post(f"/predict?{query}", data=csv_bytes(passengers(1)), content_type=CSV).status_code == 400


def test_keys_that_come_twice_are_a_conflict(client: FlaskClient) -> None:
    rows = passengers(2)
    rows[1]["PassengerId"] = rows[0]["PassengerId"]
    answer = client.post("/predict", data=csv_bytes(rows), content_type=CSV)
    assert answer.status_code == 409
    assert answer.get_json()["rejects"] == [{"row": 2, "column": "PassengerId", "rule": "duplicate_key"}]


def test_many_rejects_are_counted_and_the_first_shown(client: FlaskClient) -> None:
    rows = [row | {"Sex": "x", "Pclass": "9"} for row in passengers(150)]
    found = client.post("/predict", data=csv_bytes(rows), content_type=CSV).get_json()
    assert (found["rejected"], found["rejects_total"], len(found["rejects"])) == (150, 300, 100)
    assert found["rejects"][0] == {"row": 1, "column": "Pclass", "rule": "not_allowed"}


def test_a_body_may_be_compressed(client: FlaskClient) -> None:
    body = csv_bytes(passengers(50))
    plain = client.post("/predict", data=body, content_type=CSV)
    half = len(body) // 2
    for packed in (gzip.compress(body), gzip.compress(body[:half]) + gzip.compress(body[half:])):
        answer = client.post("/predict", data=packed, content_type=CSV, headers={"Content-Encoding": "gzip"})
        assert answer.data == plain.data


@pytest.mark.parametrize("rows", [10, 200])
def test_a_large_answer_has_no_byte_of_another(client: FlaskClient, rows: int) -> None:
    """A block of which every row is rejected leaves an empty table of predictions."""
    bad = [row | {"Sex": "x"} for row in passengers(rows)]
    answer = client.post("/predict?rejects=allow", data=csv_bytes(bad), content_type=CSV, headers={"Accept": CSV})
    assert parts_of(answer, CSV)[0] == b"PassengerId,Survived,Probability\n"


def test_a_large_body_is_scored_in_order(client: FlaskClient) -> None:
    table = many(20_000)
    answer = client.post("/predict", data=parquet_bytes(table), content_type=PARQUET)
    assert table_of(answer.data, PARQUET)["PassengerId"].equals(table["PassengerId"])
