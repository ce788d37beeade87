"""Response bodies as their readers see them."""

from __future__ import annotations

import email
import email.policy
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.exchange import files_of
from titanic_batch.server.media import ARROW, CSV, JSON, PARQUET
from titanic_batch.server.responses import encode_form_data, encode_json, encode_table

BOUNDARY = "0123456789abcdef"
FILES = [("predictions", b"id,label\n1,0\n"), ("rejects", b"\r\n--\x00\xff\r\n\r\n")]
TABLE = pa.table({"row": [1, 2], "column": ["a", None]})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_json(value: float) -> None:
    assert repr(json.loads(encode_json({"x": value}))["x"]) == repr(value)


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json(float("nan"))


def test_tables_are_encoded_in_every_media_type() -> None:
    assert json.loads(b"".join(encode_table(TABLE, JSON))) == TABLE.to_pylist()
    assert b"".join(encode_table(TABLE, CSV)) == b'row,column\n1,"a"\n2,\n'
    assert pq.read_table(io.BytesIO(b"".join(encode_table(TABLE, PARQUET)))).equals(TABLE)
    assert pa.ipc.open_stream(b"".join(encode_table(TABLE, ARROW))).read_all().equals(TABLE)


def form_data(media_type: str) -> bytes:
    return b"".join(encode_form_data([(name, [file[:3], file[3:]]) for name, file in FILES], media_type, BOUNDARY))


def test_a_form_is_read_by_werkzeug() -> None:
    content = form_data(CSV)
    assert files_of(content, f"multipart/form-data; boundary={BOUNDARY}") == {
        name: (name, CSV, file) for name, file in FILES
    }


def test_a_form_is_read_as_a_message() -> None:
    head = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    message = email.message_from_bytes(head + form_data(PARQUET), policy=email.policy.HTTP)
    parts = list(message.iter_parts())
    assert message.defects == []
    assert [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in parts
    ] == [(name, name, PARQUET, file) for name, file in FILES]


def test_a_form_starts_with_its_boundary() -> None:
    """As the algorithm for browsers' ``formData()`` demands."""
    assert form_data(CSV).startswith(f"--{BOUNDARY}\r\n".encode())
