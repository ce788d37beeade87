"""Metrics and the access log: what is counted, and nothing of what clients send."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.passengers import csv_bytes, many, parquet_bytes, passengers
from tests.server.exchange import post
from tests.serving import command
from titanic_batch.server.media import JSON, PARQUET

BODY = csv_bytes(passengers(1))


def test_requests_and_rows_are_counted(client: FlaskClient) -> None:
    post(client, csv_bytes(passengers(3)))
    post(client, csv_bytes([row | {"Sex": "x"} if row["PassengerId"] == "2" else row for row in passengers(3)]))
    client.get("/nothing/of/ours")
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    assert 'titanic_http_requests_total{method="POST",route="/predict",status="200"} 1.0' in lines
    assert 'titanic_http_requests_total{method="POST",route="/predict",status="422"} 1.0' in lines
    assert 'titanic_http_requests_total{method="-",route="-",status="404"} 1.0' in lines
    assert 'titanic_http_request_seconds_count{route="/predict"} 2.0' in lines
    assert 'titanic_rows_total{outcome="scored"} 3.0' in lines
    assert 'titanic_rows_total{outcome="rejected"} 1.0' in lines
    assert "titanic_log_lines_dropped_total 0.0" in lines


def test_accepted_rows_count_as_scored_when_rejects_are_allowed(client: FlaskClient) -> None:
    rows = [row | {"Sex": "x"} if row["PassengerId"] == "2" else row for row in passengers(3)]
    post(client, csv_bytes(rows), path="/predict?rejects=allow")
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    assert 'titanic_rows_total{outcome="scored"} 2.0' in lines
    assert 'titanic_rows_total{outcome="rejected"} 1.0' in lines


@pytest.mark.parametrize("accept", ["application/openmetrics-text", "text/plain"])
def test_metrics_are_in_the_format_that_is_accepted(client: FlaskClient, accept: str) -> None:
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.mimetype == accept
    assert answer.get_data(as_text=True).endswith("# EOF\n") == (accept == "application/openmetrics-text")


def test_an_answer_that_is_made_while_it_is_sent_is_counted_once_it_is(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "titanic_batch.access")
    answer = post(client, parquet_bytes(many(100_000)), PARQUET, Accept=JSON)
    assert answer.is_streamed
    assert caplog.messages == []
    content = answer.get_data()
    answer.close()
    (line,) = map(json.loads, caplog.messages)
    assert line["bytes_sent"] == len(content) > 2**22
    assert line["status"] == 200
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    assert 'titanic_http_request_seconds_count{route="/predict"} 1.0' in lines


@pytest.mark.slow
def test_the_access_log_reports_requests_and_none_of_their_content(tmp_path: Path, model_file: Path) -> None:
    secret = csv_bytes(passengers(1)).replace(b"C85", b"CSECRET").replace(b"\n1,", b"\n7654321,")
    with command(tmp_path, "-m", model_file, "--access-log") as address:
        assert address.ask("/predict", secret + b"SECRET").status == 422
        assert address.ask("/predict?SECRET=7654321", secret).status == 400
        assert address.ask("/SECRET/7654321").status == 404
        assert address.ask("/predict", secret, method="SECRET").status == 405
        assert address.process is not None
        address.process.terminate()
        _, logged = address.process.communicate(timeout=30)
    assert logged.count("titanic: serving ") == 1
    lines = [json.loads(line) for line in logged.splitlines() if not line.startswith("titanic: serving ")]
    told = [(line["method"], line["route"], line["status"]) for line in lines if line["route"] != "/health/ready"]
    assert told == [("POST", "/predict", 422), ("POST", "/predict", 400), ("-", "-", 404), ("-", "-", 405)]
    keys = {"time", "method", "route", "status", "seconds", "bytes_received", "bytes_sent"}
    assert all(line.keys() == keys for line in lines)
    assert "SECRET" not in logged
    assert "7654321" not in logged


@pytest.mark.slow
def test_every_line_of_a_log_of_json_is_an_object(tmp_path: Path, model_file: Path) -> None:
    model = tmp_path / "model.skops"
    model.write_bytes(model_file.read_bytes())
    with command(tmp_path, "-m", model, "--access-log", "--log-format", "json") as address:
        model.write_bytes(b"broken")
        while b"titanic_model_file_refused 1.0" not in address.ask("/metrics").body:
            time.sleep(0.1)
        assert address.process is not None
        address.process.terminate()
        _, logged = address.process.communicate(timeout=30)
    lines = [json.loads(line) for line in logged.splitlines()]
    said = [line for line in lines if "route" not in line]
    assert [line["level"] for line in said] == ["info", "warning"]
    assert all(line.keys() == {"time", "level", "command", "message"} for line in said)
    assert said[1]["message"].startswith("the model file was replaced by one that can't be used: ")
    assert f"{model} is no model" in said[1]["message"]


@pytest.mark.slow
def test_nothing_is_logged_by_default(tmp_path: Path, model_file: Path) -> None:
    with command(tmp_path, "-m", model_file) as address:
        assert address.ask("/predict", BODY).status == 200
        assert address.ask("/predict", b"SECRET").status == 400
        assert address.process is not None
        address.process.terminate()
        assert address.process.communicate(timeout=30) == ("", f"titanic: serving {model_file} on {address.url}\n")
