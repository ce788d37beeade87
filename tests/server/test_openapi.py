"""The OpenAPI description: every route, and schemas that hold for what is really sent."""

from __future__ import annotations

import jsonschema
import pytest
from flask.testing import FlaskClient

from tests.passengers import csv_bytes, passengers
from tests.server.exchange import post
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.refitting import Refitter

PATHS = {
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/invocations",
    "/metrics",
    "/model",
    "/openapi.json",
    "/ping",
    "/predict",
    "/version",
}


def test_every_route_is_described_and_no_other(client: FlaskClient) -> None:
    described = client.get("/openapi.json").get_json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == PATHS


def test_routes_that_are_turned_on_are_described(small_model: Model) -> None:
    client = create_app(small_model, None, Refitter("token"), "/healthz", "/v1/predict").test_client()
    paths = client.get("/openapi.json").get_json()["paths"]
    assert set(paths) == PATHS | {"/fit", "/healthz", "/v1/predict"}
    assert paths["/healthz"] == paths["/health/ready"]
    assert paths["/v1/predict"] == paths["/invocations"]


@pytest.mark.parametrize("route", ["/predict", "/predict?rejects=allow"])
def test_answers_match_their_schema(client: FlaskClient, route: str) -> None:
    described = client.get("/openapi.json").get_json()
    response = described["paths"]["/predict"]["post"]["responses"]["200"]
    schema = response["content"]["application/json"]["schema"] | {"components": described["components"]}
    answer = post(client, csv_bytes(passengers(3)), path=route, Accept="application/json")
    assert answer.status_code == 200
    jsonschema.Draft202012Validator(schema).validate(answer.get_json())


def test_problems_match_their_schema(client: FlaskClient) -> None:
    schemas = client.get("/openapi.json").get_json()["components"]["schemas"]
    schema = schemas["Problem"] | {"components": {"schemas": schemas}}
    for body in (b"", csv_bytes([row | {"Sex": "x"} for row in passengers(2)])):
        answer = post(client, body)
        assert answer.mimetype == "application/problem+json"
        jsonschema.Draft202012Validator(schema).validate(answer.get_json())


def test_the_example_of_a_row_is_scored(client: FlaskClient) -> None:
    row = client.get("/openapi.json").get_json()["components"]["schemas"]["Row"]
    assert client.post("/predict", json=row["examples"][0]).status_code == 200
