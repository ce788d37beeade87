"""Arrow streams: what is refused because of its size, its compression or its damage."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passengers import passengers, typed
from tests.server.exchange import GZIP, arrow_bytes, status
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, Limits

LIMITS = Limits(bytes=100_000, rows=1_000)


@pytest.fixture(scope="module")
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model, LIMITS).test_client()


def test_a_stream_of_rows_without_bytes_is_refused(client: FlaskClient) -> None:
    table = pa.table({"nothing": pa.nulls(10**9)})
    assert status(client, arrow_bytes(table), ARROW) == 413


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_buffers_are_refused(client: FlaskClient, compression: str) -> None:
    assert status(client, arrow_bytes(typed(passengers(100)), compression), ARROW) == 415
    plain = typed(passengers(100))
    assert status(client, arrow_bytes(plain.select(["Age"]), compression), ARROW) == 415  # no dictionaries
    assert status(client, gzip.compress(arrow_bytes(plain)), ARROW, **GZIP) == 200


@pytest.mark.parametrize("name", ["PassengerId", "Nothing"])
def test_a_duplicate_column_is_refused(client: FlaskClient, name: str) -> None:
    table = typed(passengers(3))
    doubled = table.append_column(name, table["Age"]).append_column(name, table["Age"])
    assert status(client, arrow_bytes(doubled), ARROW) == 400


def test_very_many_columns_are_accepted(small_model: Model) -> None:
    client = create_app(small_model).test_client()
    table = typed(passengers(1))
    names = [f"c{place}" for place in range(10_000)]
    nothing = [pa.nulls(1, pa.int8())] * len(names)
    wide = pa.table([*table.columns, *nothing], names=[*table.column_names, *names])
    assert status(client, arrow_bytes(wide), ARROW) == 200
    doubled = pa.table([*wide.columns, *nothing[:2]], names=[*wide.column_names, "c7", "Age"])
    answer = client.post("/predict", data=arrow_bytes(doubled), content_type=ARROW)
    assert answer.get_json()["detail"] == "the body: column Age, c7 is there more than once."


@given(st.integers(0, 700), st.binary(min_size=1, max_size=4))
@settings(max_examples=80)
def test_a_damaged_stream_is_no_fault_of_the_server(client: FlaskClient, place: int, damage: bytes) -> None:
    body = bytearray(arrow_bytes(typed(passengers(3))))
    body[place : place + len(damage)] = damage
    assert status(client, bytes(body), ARROW) in {200, 400, 413, 415, 422, 409}
