"""Parquet and Arrow bodies: what is refused because of its size, its compression or its damage."""

from __future__ import annotations

import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passengers import COLUMNS, csv_bytes, many, parquet_bytes, passengers, typed
from tests.server.exchange import GZIP, arrow_bytes, post, problem, status, table_of
from titanic_batch.models.model import Model
from titanic_batch.server import binary_bodies
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, CSV, PARQUET, Limits
from titanic_batch.server.refitting import Refitter

FILES = Path(__file__).parents[1] / "files"
LIMITS = Limits(bytes=100_000, rows=1_000, binary=True)


@pytest.fixture(scope="module")
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model, LIMITS).test_client()


def test_a_stream_of_rows_without_bytes_is_refused(client: FlaskClient) -> None:
    table = pa.table([pa.nulls(10**9)] * len(COLUMNS), names=COLUMNS)
    assert status(client, arrow_bytes(table), ARROW) == 413


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_buffers_are_refused(client: FlaskClient, compression: str) -> None:
    assert status(client, arrow_bytes(typed(passengers(100)), compression), ARROW) == 415
    plain = typed(passengers(100))
    assert status(client, arrow_bytes(without_dictionaries(plain), compression), ARROW) == 415
    assert status(client, gzip.compress(arrow_bytes(plain)), ARROW, **GZIP) == 200


@pytest.mark.parametrize(
    "name", ["sizes-that-lie.parquet", "bad-offsets.arrows", "empty-union.arrows", "width-0.arrows"]
)
def test_bodies_that_end_a_careless_process_are_answered(small_model: Model, name: str) -> None:
    client = create_app(small_model, Limits(binary=True)).test_client()
    body = (FILES / name).read_bytes()
    assert status(client, body, PARQUET if "parquet" in name else ARROW) == (413 if "parquet" in name else 200)


def test_values_count_as_often_as_they_occur(small_model: Model) -> None:
    """A dictionary has them once, views overlap, and differences repeat what precedes them."""
    client = create_app(small_model, Limits(bytes=4_000_000, binary=True)).test_client()
    rows = 20_000
    codes = pa.array(np.arange(rows) % 10)
    for length, expected in ((20, 200), (1_000, 413)):
        texts = pa.array(["C" + str(number).rjust(length, "1") for number in range(10)])
        table = with_cabins(pa.DictionaryArray.from_arrays(codes, texts))
        assert status(client, arrow_bytes(table), ARROW) == expected
        assert status(client, packed_parquet(table), PARQUET) == expected
        for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"):
            body = packed_parquet(with_cabins(texts.take(codes)), encoding)
            assert status(client, body, PARQUET) == expected
        views = with_cabins(overlapping_views("C" + "1" * (length + 100), length, rows))
        assert status(client, arrow_bytes(views), ARROW) == expected


def test_decimals_stored_as_bytes_are_read_as_the_others(client: FlaskClient) -> None:
    table = many(900)
    ages = pa.array([Decimal(key % 80) for key in range(900)], pa.decimal128(30, 0))
    table = table.set_column(table.column_names.index("Age"), "Age", ages)
    from_parquet = table_of(post(client, parquet_bytes(table), PARQUET).data, PARQUET)
    from_arrow = table_of(post(client, arrow_bytes(table), ARROW).data, ARROW)
    assert from_parquet.num_rows == 900
    assert from_parquet.replace_schema_metadata().equals(from_arrow.replace_schema_metadata())


def test_parts_of_a_body_are_read_as_one(client: FlaskClient) -> None:
    table = many(1_000)
    whole = post(client, arrow_bytes(table), ARROW).data
    assert post(client, arrow_bytes(without_dictionaries(table), batch_rows=200), ARROW).data == whole
    grouped = table_of(post(client, parquet_bytes(table, row_group_size=100), PARQUET).data, PARQUET)
    assert grouped.equals(table_of(post(client, parquet_bytes(table), PARQUET).data, PARQUET))
    twice = pa.concat_tables([table.slice(0, 400), table.slice(0, 400)])
    assert status(client, arrow_bytes(twice), ARROW) == 409


def test_a_schema_that_denies_nulls_does_not_count(client: FlaskClient) -> None:
    table = many(100)
    assert table["Age"].null_count
    body = arrow_bytes(pa.table(table.columns, schema=pa.schema([each.with_nullable(False) for each in table.schema])))
    assert post(client, body, ARROW).data == post(client, arrow_bytes(table), ARROW).data


def test_batches_are_bounded(small_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    client = create_app(small_model, Limits(binary=True)).test_client()
    body = arrow_bytes(many(40), batch_rows=1)
    assert status(client, body, ARROW) == 200
    for name in ("MAX_BATCHES", "_DICTIONARY_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(binary_bodies, name, 39)
            assert "in fewer" in problem(post(client, body, ARROW), 413)["detail"]


def test_a_description_of_columns_that_is_too_long_is_refused(small_model: Model) -> None:
    client = create_app(small_model, Limits(binary=True)).test_client()
    long = many(1).replace_schema_metadata({"x": "y" * 2**21})
    for body, media_type in ((packed_parquet(long), PARQUET), (arrow_bytes(long), ARROW)):
        assert "describe its columns" in problem(post(client, body, media_type), 413)["detail"]


@pytest.mark.parametrize("media_type", [PARQUET, ARROW])
def test_binary_bodies_are_refused_where_they_are_not_accepted(small_model: Model, media_type: str) -> None:
    client = create_app(small_model, refitter=Refitter("token")).test_client()
    assert "--accept-binary" in problem(post(client, b"", media_type), 415)["detail"]
    if media_type == PARQUET:
        found = problem(post(client, b"", PARQUET, "/fit", Authorization="Bearer token"), 415)
        assert "--accept-binary" in found["detail"]
    answer = post(client, csv_bytes(passengers(3)), CSV, Accept=media_type)
    assert (answer.status_code, answer.mimetype) == (200, media_type)
    paths = client.get("/openapi.json").get_json()["paths"]
    assert media_type not in json.dumps([paths[path]["post"]["requestBody"] for path in ("/predict", "/fit")])


def with_cabins(cabins: pa.Array) -> pa.Table:
    table = many(len(cabins))
    return table.set_column(table.column_names.index("Cabin"), "Cabin", cabins)


def packed_parquet(table: pa.Table, encoding: str | None = None) -> bytes:
    """Return a table as a Parquet file that is as small as it can be; ``encoding``: of the cabins."""
    file = io.BytesIO()
    plain: dict[str, Any] = {"use_dictionary": False, "column_encoding": {"Cabin": encoding}} if encoding else {}
    pq.write_table(table, file, compression="zstd", write_statistics=False, **plain)
    return file.getvalue()


def overlapping_views(text: str, length: int, count: int) -> pa.Array:
    """Return texts of one length that all share the same bytes."""
    views = np.zeros(count, [("length", "<i4"), ("prefix", "S4"), ("buffer", "<i4"), ("offset", "<i4")])
    views["length"], views["prefix"] = length, text[:4].encode()
    buffers = [None, pa.py_buffer(views.tobytes()), pa.py_buffer(text.encode())]
    return pa.Array.from_buffers(pa.string_view(), count, buffers)


def without_dictionaries(table: pa.Table) -> pa.Table:
    for name in ("Sex", "Cabin"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
    return table


@pytest.mark.parametrize("name", ["PassengerId", "Nothing"])
def test_a_duplicate_column_is_refused(client: FlaskClient, name: str) -> None:
    table = typed(passengers(3))
    doubled = table.append_column(name, table["Age"]).append_column(name, table["Age"])
    assert status(client, arrow_bytes(doubled), ARROW) == 400


def test_very_many_columns_are_accepted(small_model: Model) -> None:
    client = create_app(small_model, Limits(binary=True)).test_client()
    table = typed(passengers(1))
    names = [f"c{place}" for place in range(10_000)]
    nothing = [pa.nulls(1, pa.int8())] * len(names)
    wide = pa.table([*table.columns, *nothing], names=[*table.column_names, *names])
    assert status(client, arrow_bytes(wide), ARROW) == 200
    doubled = pa.table([*wide.columns, *nothing[:2]], names=[*wide.column_names, "c7", "Age"])
    answer = client.post("/predict", data=arrow_bytes(doubled), content_type=ARROW)
    assert answer.get_json()["detail"] == "the body: column Age, c7 stands in the header more than once."


@given(st.integers(0, 700), st.binary(min_size=1, max_size=4))
@settings(max_examples=80)
def test_a_damaged_stream_is_no_fault_of_the_server(client: FlaskClient, place: int, damage: bytes) -> None:
    body = bytearray(arrow_bytes(typed(passengers(3))))
    body[place : place + len(damage)] = damage
    assert status(client, bytes(body), ARROW) in {200, 400, 413, 415, 422, 409}
