"""Errors: each is a problem that says which rows or what else is wrong, and nothing about values or the server."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.passengers import csv_bytes, passengers
from tests.server.exchange import post, problem
from titanic_batch.errors import ModelError


def test_rejected_rows_are_reported_without_their_values(client: FlaskClient) -> None:
    rows = passengers(5)
    rows[1]["Sex"] = "SECRET"
    rows[1]["Fare"] = "123456789"
    rows[3]["Age"] = "SECRET"
    rows[4]["PassengerId"] = "1"
    response = post(client, csv_bytes(rows))
    found = problem(response, 422)
    assert found["detail"] == "3 of 5 rows break the contract: nothing was scored."
    assert (found["rows"], found["rejected"], found["rejects_total"]) == (5, 3, 4)
    assert sorted(found["rejects"], key=lambda reject: (reject["row"], reject["column"])) == [
        {"row": 2, "column": "Fare", "rule": "out_of_range"},
        {"row": 2, "column": "Sex", "rule": "not_allowed"},
        {"row": 4, "column": "Age", "rule": "type"},
        {"row": 5, "column": "PassengerId", "rule": "duplicate_key"},
    ]
    assert b"SECRET" not in response.data
    assert b"123456789" not in response.data


def test_a_row_with_too_many_fields_is_reported(client: FlaskClient) -> None:
    found = problem(post(client, csv_bytes(passengers(2)) + b"3,1,SECRET,,,,,,,,,\n"), 422)
    assert found["rejects"] == [{"row": 3, "column": None, "rule": "wrong_field_count"}]


def test_duplicate_keys_alone_are_a_conflict(client: FlaskClient) -> None:
    rows = passengers(2)
    rows[1]["PassengerId"] = rows[0]["PassengerId"]
    found = problem(post(client, csv_bytes(rows)), 409)
    assert found["rejects"] == [{"row": 2, "column": "PassengerId", "rule": "duplicate_key"}]


def test_the_first_of_many_rejects_are_shown_and_all_are_counted(client: FlaskClient) -> None:
    rows = [row | {"Sex": "x", "Pclass": "9"} for row in passengers(150)]
    found = problem(post(client, csv_bytes(rows)), 422)
    assert (found["rejected"], found["rejects_total"], len(found["rejects"])) == (150, 300, 100)
    assert found["rejects"][0] == {"row": 1, "column": "Pclass", "rule": "not_allowed"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("DELETE", "/predict", 405),
        ("POST", "/ping", 405),
        ("POST", "/", 405),
        ("GET", "/static/model.skops", 404),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_other_methods_and_paths_are_refused(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    problem(response, status)
    assert ("Allow" in response.headers) == (status == 405)


def test_a_fault_is_logged_without_its_message(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("SECRET inside")

    monkeypatch.setattr("titanic_batch.scoring.scorer.Scorer.score", fail)
    response = post(client, csv_bytes(passengers(100)))
    assert "SECRET" not in response.get_data(as_text=True)
    problem(response, 500)
    assert "a fault in POST /predict: RuntimeError" in caplog.text
    assert "test_problems.py" in caplog.text
    assert "SECRET" not in caplog.text


def test_why_a_model_cannot_be_used_is_logged_and_not_answered(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Any:
        raise ModelError("the model /models/model.skops is damaged: fit it again.")

    monkeypatch.setattr("titanic_batch.scoring.scorer.Scorer.score", fail)
    found = problem(post(client, csv_bytes(passengers(100))), 503)
    assert found["detail"] == "the model can't be read or written where it is: the server's log tells why."
    assert "titanic: the model /models/model.skops is damaged: fit it again." in caplog.messages
