"""Media types of bodies and of answers, and limits on the size of a body."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.passengers import csv_bytes, passenger, passengers
from tests.server.exchange import body_of, post, problem, status
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, CSV, JSON, PARQUET, Limits

MAX_BODY_BYTES = Limits().bytes


@pytest.mark.parametrize("media_type", ["text/csv; charset=utf-8", "TEXT/CSV", "application/csv"])
def test_aliases_of_a_media_type_are_accepted(client: FlaskClient, media_type: str) -> None:
    response = post(client, csv_bytes([passenger(1)]), media_type)
    assert response.status_code == 200
    assert len(response.data.splitlines()) == 2


@pytest.mark.parametrize(
    "media_type", ["application/xml", "text/plain", "application/octet-stream", "multipart/form-data", ""]
)
def test_other_media_types_are_refused(client: FlaskClient, media_type: str) -> None:
    found = problem(post(client, csv_bytes([passenger(1)]), media_type), 415)
    assert "csv" in found["detail"]


@pytest.mark.parametrize("charset", ["latin-1", "utf-16"])
def test_other_character_sets_are_refused(client: FlaskClient, charset: str) -> None:
    assert status(client, csv_bytes(passengers(1)), f"text/csv; charset={charset}") == 415


@pytest.mark.parametrize("media_type", [CSV, JSON, PARQUET, ARROW])
def test_the_answer_has_the_media_type_of_the_body_by_default(client: FlaskClient, media_type: str) -> None:
    body = body_of(2, media_type)
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "text/html, */*;q=0.5"}):
        answer = post(client, body, media_type, **headers)
        assert (answer.status_code, answer.mimetype) == (200, media_type)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("text/csv;q=0.5, application/json", JSON),
        ("application/json;q=0.1, text/csv;q=0.2", CSV),
        ("application/parquet", PARQUET),
        ("application/vnd.apache.arrow.stream, text/html", ARROW),
        ("application/json; charset=utf-8", JSON),
        ("application/json;q=0.9; charset=utf-8", JSON),
        ("APPLICATION/JSON", JSON),
        ('application/json; profile="a;b, c"', JSON),
        ("application/json;version=2;q=0, application/json", JSON),
        ("text/csv; header=present", CSV),
        ("application/json;q=0.5, text/csv; header=absent; q=0.4", JSON),
        ("*/*;q=0.8", CSV),
        ("*/*; q=0.1, application/*", JSON),
        ("text/*", CSV),
    ],
)
def test_the_answer_has_the_media_type_that_the_client_prefers(
    client: FlaskClient, accept: str, media_type: str
) -> None:
    assert post(client, body_of(2, CSV), Accept=accept).mimetype == media_type


@pytest.mark.parametrize(
    "accept", ["", ",", ";", ";;q=1", "text/csv;q=x", "application/json;q=2", "\xff;q=\xff", "json", "*"]
)
def test_an_accept_that_says_nothing_is_ignored(client: FlaskClient, accept: str) -> None:
    assert post(client, body_of(2, CSV), Accept=accept).mimetype == CSV


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "application/xml; charset=utf-8"])
def test_an_answer_that_cannot_be_accepted_is_refused(client: FlaskClient, accept: str) -> None:
    assert "the answer can be text/csv" in problem(post(client, body_of(2, CSV), Accept=accept), 406)["detail"]


def test_a_body_over_the_limit_is_refused(client: FlaskClient) -> None:
    assert "exceeds the capacity limit" in problem(post(client, bytes(MAX_BODY_BYTES + 1)), 413)["detail"]


def test_a_body_at_the_limit_is_read(client: FlaskClient) -> None:
    header = csv_bytes([])
    assert post(client, header + b"\n" * (MAX_BODY_BYTES - len(header))).status_code == 200


def test_more_rows_than_allowed_are_refused(small_model: Model) -> None:
    client = create_app(small_model, Limits(rows=3)).test_client()
    assert post(client, csv_bytes(passengers(3))).status_code == 200
    assert problem(post(client, csv_bytes(passengers(4))), 413)["detail"] == "the body has more than 3 rows."
