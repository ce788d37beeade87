"""Bodies of clients of MLflow, SageMaker and Vertex AI are scored as any other, and answered as they expect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.passengers import COLUMNS, csv_bytes, passengers, typed
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app

ROWS = typed(passengers(3)).to_pylist()
LISTS = [list(row.values()) for row in ROWS]
ENVELOPES: dict[str, Any] = {
    "dataframe_records": ROWS,
    "dataframe_split": {"columns": list(COLUMNS), "index": [0, 1, 2], "data": LISTS},
    "instances": ROWS,
    "inputs": {name: [row[name] for row in ROWS] for name in COLUMNS},
}


@pytest.fixture(scope="module")
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model, predict_route="/v1/predict").test_client()


@pytest.fixture(scope="module")
def expected(client: FlaskClient) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = client.post("/predict", json=ROWS).get_json()
    assert [row["PassengerId"] for row in predictions] == [1, 2, 3]
    return predictions


@pytest.mark.parametrize("path", ["/invocations", "/v1/predict", "/predict"])
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_each_envelope_is_scored(client: FlaskClient, expected: list[dict[str, Any]], envelope: str, path: str) -> None:
    answer = client.post(path, json={envelope: ENVELOPES[envelope], "params": {}})
    assert (answer.status_code, answer.get_json()) == (200, {"predictions": expected})


@pytest.mark.parametrize("envelope", ["instances", "inputs"])
@pytest.mark.parametrize("rows", [LISTS, ROWS], ids=["lists", "objects"])
def test_rows_may_be_lists_in_the_contracts_order(
    client: FlaskClient, expected: list[dict[str, Any]], envelope: str, rows: list[Any]
) -> None:
    assert client.post("/invocations", json={envelope: rows}).get_json() == {"predictions": expected}


def test_columns_of_dataframe_split_may_be_in_any_order(client: FlaskClient, expected: list[dict[str, Any]]) -> None:
    split = {"columns": [*reversed(COLUMNS), "Name"], "data": [[*reversed(row), "Zoë"] for row in LISTS]}
    assert client.post("/invocations", json={"dataframe_split": split}).get_json() == {"predictions": expected}


@pytest.mark.parametrize("rows", [ROWS, LISTS], ids=["objects", "lists"])
def test_a_bare_list_is_scored(client: FlaskClient, expected: list[dict[str, Any]], rows: list[Any]) -> None:
    assert client.post("/invocations", json=rows).get_json() == {"predictions": expected}


def test_no_rows_have_no_predictions(client: FlaskClient) -> None:
    bodies: list[Any] = [[], {"instances": []}, {"inputs": {}}, {"dataframe_split": {"columns": ["Age"], "data": []}}]
    for body in bodies:
        assert client.post("/invocations", json=body).get_json() == {"predictions": []}


@pytest.mark.parametrize("rows", [ROWS, LISTS, [{"instances": ROWS}]], ids=["objects", "lists", "wrapped"])
def test_lines_of_json_get_lines_of_json(client: FlaskClient, expected: list[dict[str, Any]], rows: list[Any]) -> None:
    body = "\n".join(json.dumps(row) for row in rows) + "\n"
    for media_type in ("application/jsonlines", "application/x-ndjson"):
        answer = client.post("/invocations", data=body, content_type=media_type)
        assert (answer.status_code, answer.mimetype) == (200, "application/jsonlines")
        assert [json.loads(line) for line in answer.data.splitlines()] == expected


def test_a_csv_with_a_header_gets_json(client: FlaskClient, expected: list[dict[str, Any]]) -> None:
    answer = client.post("/invocations", data=csv_bytes(passengers(3)), content_type="text/csv")
    assert answer.get_json() == {"predictions": expected}


@pytest.mark.parametrize("count", [1, 3, 100])
def test_a_csv_without_a_header_gets_none(client: FlaskClient, count: int) -> None:
    body = csv_bytes(passengers(count))
    headless = body.split(b"\n", 1)[1]
    scored = client.post("/predict", data=body, content_type="text/csv").data.split(b"\n", 1)[1]
    for headers in ({}, {"Accept": "text/csv"}, {"Accept": "*/*"}):
        answer = client.post("/invocations", data=headless, content_type="text/csv", headers=headers)
        assert (answer.status_code, answer.mimetype, answer.data) == (200, "text/csv", scored)


def test_a_csv_with_a_header_gets_a_header(client: FlaskClient) -> None:
    body = csv_bytes(passengers(2))
    answer = client.post("/invocations", data=body, content_type="text/csv", headers={"Accept": "text/csv"})
    assert answer.data == client.post("/predict", data=body, content_type="text/csv").data


@pytest.mark.parametrize(
    "value",
    [
        {},
        ROWS[0],
        "x",
        1,
        {"instances": ROWS, "inputs": ROWS},
        {"instances": {"a": 1}},
        {"instances": [1, 2]},
        {"instances": [[1, 2]]},
        {"instances": [ROWS[0], LISTS[0]]},
        {"inputs": {"Age": [1, 2], "Sex": ["male"]}},
        {"dataframe_split": LISTS},
        {"dataframe_split": {"columns": ["Age", "Age"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": [1], "data": [[1]]}},
        {"dataframe_split": {"columns": ["Age"], "data": [[1, 2]]}},
        {"dataframe_records": [{"Age": 1}]},
    ],
)
def test_malformed_envelopes_are_refused(client: FlaskClient, value: Any) -> None:
    answer = client.post("/invocations", json=value)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")


def test_rejected_rows_are_reported(client: FlaskClient) -> None:
    answer = client.post("/invocations", json={"instances": [ROWS[0], ROWS[1] | {"Sex": "SECRET"}]})
    assert answer.status_code == 422
    assert answer.get_json()["rejects"] == [{"row": 2, "column": "Sex", "rule": "not_allowed"}]
    assert b"SECRET" not in answer.data


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("header", [True, False])
def test_any_line_ending_is_accepted(
    client: FlaskClient, expected: list[dict[str, Any]], end: bytes, header: bool
) -> None:
    lines = csv_bytes(passengers(3)).splitlines()[0 if header else 1 :]
    answer = client.post("/invocations", data=end.join(lines), content_type="text/csv", headers={"Accept": "text/csv"})
    assert answer.status_code == 200
    rows = [line.split(",")[:2] for line in answer.text.splitlines()[int(header) :]]
    assert rows == [[str(row["PassengerId"]), str(row["Survived"])] for row in expected]


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_first_field_that_is_too_long_is_refused(client: FlaskClient, quote: bytes) -> None:
    body = quote + b"x" * 200_000 + quote + b",1\n"
    answer = client.post("/invocations", data=body, content_type="text/csv")
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert answer.get_json()["detail"] == "the first line of the body can't be read as CSV."
