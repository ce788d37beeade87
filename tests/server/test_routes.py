"""What each route answers: the command's predictions, with or without rejects, and what probes ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.passengers import csv_bytes, passengers, typed
from tests.server.exchange import files_of, post, predictions_of, problem, table_of
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.media import ARROW, CSV, JSON, PARQUET
from titanic_batch.server.reloading import ModelHolder

ROWS = typed(passengers(3)).to_pylist()


@pytest.mark.parametrize(("route", "content"), [("/ping", b"pong"), ("/health", b"ok"), ("/health/ready", b"ready")])
def test_probes_are_answered_once_a_model_serves(client: FlaskClient, route: str, content: bytes) -> None:
    response = client.get(route)
    assert (response.status_code, response.data) == (200, content)


def test_the_model_card_contains_the_manifest(client: FlaskClient, small_model: Model) -> None:
    assert client.get("/model").get_json()["manifest"] == json.loads(json.dumps(small_model.manifest))


def test_only_liveness_answers_before_a_model_is_loaded(model_file: Path) -> None:
    holder = ModelHolder(str(model_file))
    client = create_app(holder).test_client()
    for route in ("/ping", "/health", "/health/ready", "/model"):
        answer = client.get(route)
        assert problem(answer, 503)["detail"] == "no model is loaded yet: try again."
        assert answer.headers["Retry-After"] == "1"
    assert post(client, csv_bytes(passengers(1))).status_code == 503
    assert client.get("/health/live").data == b"live"
    assert client.get("/").status_code == 200
    assert b"titanic_ready 0.0" in client.get("/metrics").data
    holder.load()
    assert client.get("/health/ready").data == b"ready"
    assert b"titanic_ready 1.0" in client.get("/metrics").data


# Predictions


def test_predictions_equal_the_commands_byte_for_byte(client: FlaskClient, test_csv: Path, expected_csv: bytes) -> None:
    response = post(client, test_csv.read_bytes())
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    assert response.data == expected_csv
    assert len(response.data.splitlines()) == 419
    assert response.data.startswith(b"PassengerId,Survived,Probability\n")


def test_a_header_without_rows_gets_a_header(client: FlaskClient) -> None:
    response = post(client, csv_bytes([]))
    assert response.status_code == 200
    assert len(response.data.splitlines()) == 1


def test_no_rows_get_no_predictions(client: FlaskClient) -> None:
    assert client.post("/predict", json=[]).get_json() == []
    assert predictions_of(post(client, csv_bytes([])).data, CSV).num_rows == 0


def test_one_object_gets_one_prediction(client: FlaskClient) -> None:
    alone = client.post("/predict", json=ROWS[0]).get_json()
    listed = client.post("/predict", json=ROWS[:1]).get_json()
    assert listed == [alone]
    assert alone.keys() == {"PassengerId", "Survived", "Probability"}


# Rejects


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


def test_rejects_are_separate_when_allowed(client: FlaskClient) -> None:
    answer = post(client, spoiled(), path="/predict?rejects=allow")
    found = answer.get_json()
    assert answer.status_code == 200
    assert found["rejects"] == REJECTS
    rows = passengers(5)
    good = post(client, csv_bytes([rows[0], rows[2]]), Accept=JSON)
    assert found["predictions"] == good.get_json()


@pytest.mark.parametrize("accept", [CSV, PARQUET, ARROW])
def test_rejects_are_a_file_of_a_form(client: FlaskClient, accept: str) -> None:
    answer = post(client, spoiled(), path="/predict?rejects=allow", Accept=accept)
    assert answer.mimetype == "multipart/form-data"
    files = files_of(answer.data, answer.content_type)
    assert [(name, *file[:2]) for name, file in files.items()] == [
        ("predictions", "predictions", accept),
        ("rejects", "rejects", accept),
    ]
    assert predictions_of(files["predictions"][2], accept)["PassengerId"].to_pylist() == [1, 3]
    assert table_of(files["rejects"][2], accept).to_pylist() == REJECTS


def test_valid_rows_are_all_scored_when_rejects_are_allowed(client: FlaskClient) -> None:
    found = post(client, csv_bytes(passengers(3)), path="/predict?rejects=allow").get_json()
    assert (len(found["predictions"]), found["rejects"]) == (3, [])


@pytest.mark.parametrize("rows", [10, 200])
def test_predictions_are_empty_when_every_row_is_rejected(client: FlaskClient, rows: int) -> None:
    """Arrow's writer would begin with what its buffer contained before."""
    bad = [row | {"Sex": "x"} for row in passengers(rows)]
    answer = post(client, csv_bytes(bad), path="/predict?rejects=allow", Accept=CSV)
    predictions = files_of(answer.data, answer.content_type)["predictions"][2]
    assert predictions == b"PassengerId,Survived,Probability\n"


@pytest.mark.parametrize("query", ["rejects=perhaps", "reject=allow", "x=1"])
def test_unknown_queries_are_refused(client: FlaskClient, query: str) -> None:
    assert post(client, csv_bytes(passengers(1)), path=f"/predict?{query}").status_code == 400


# Platforms


def test_platforms_may_add_a_health_route(small_model: Model) -> None:
    client = create_app(small_model, health_route="/healthz").test_client()
    assert client.get("/healthz").data == b"ready"


def test_platforms_may_name_existing_routes(small_model: Model) -> None:
    client = create_app(small_model, None, None, "/ping", "/predict").test_client()
    predictions = client.post("/predict", json=ROWS).get_json()
    assert client.get("/ping").data == b"pong"
    assert client.post("/predict", json={"instances": ROWS}).get_json() == {"predictions": predictions}
