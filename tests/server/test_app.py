"""The web application: the same predictions as the command's, and errors that tell which rows, but nothing of them."""

from __future__ import annotations

import gc
import http.client
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner, Result
from werkzeug.test import TestResponse

from tests.passengers import COLUMNS, csv_bytes, passenger, passengers
from titanic_batch.cli.command import app as command
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app
from titanic_batch.server.http_server import Server
from titanic_batch.server.media import Limits

MAX_BODY_BYTES = Limits().bytes


@pytest.fixture
def client(small_model: Model) -> FlaskClient:
    return create_app(small_model).test_client()


@pytest.fixture(scope="module")
def address(small_model: Model) -> Iterator[tuple[str, int]]:
    """A real server on a port of its own."""
    server = Server(create_app(small_model), "127.0.0.1", 0, MAX_BODY_BYTES)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield "127.0.0.1", server.port
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def expected(model_file: Path, test_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The command's predictions for the committed passengers."""
    output = tmp_path_factory.mktemp("expected") / "predictions.csv"
    result = CliRunner().invoke(command, ["score", str(test_csv), "-o", str(output), "-m", str(model_file)])
    assert result.exit_code == 0
    return output.read_bytes()


def post(client: FlaskClient, body: bytes, media_type: str = "text/csv") -> TestResponse:
    return client.post("/predict", data=body, content_type=media_type)


def problem(response: TestResponse, status: int) -> dict[str, Any]:
    """Return the content of an error, which is of one kind whatever went wrong, and shows nothing of the inside."""
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    text = response.get_data(as_text=True)
    for inside in ("Traceback", "titanic_batch", ".py", str(Path.home()), str(Path(__file__).parents[2])):
        assert inside not in text
    found: dict[str, Any] = json.loads(text)
    assert found["status"] == status
    assert found["title"].upper() == response.status.partition(" ")[2]
    assert isinstance(found["detail"], str)
    return found


@pytest.mark.parametrize("path", ["/health//live", "/ping/", "/page//page.js", "/page/"])
def test_a_path_is_taken_as_it_stands(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path), 404)["detail"]


def test_ping_is_answered_by_pong(client: FlaskClient) -> None:
    response = client.get("/ping")
    assert (response.status_code, response.data) == (200, b"pong")


def test_predictions_are_the_commands_byte_by_byte(client: FlaskClient, test_csv: Path, expected: bytes) -> None:
    response = post(client, test_csv.read_bytes())
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    assert response.data == expected
    assert len(response.data.splitlines()) == 419
    assert response.data.startswith(b"PassengerId,Survived,Probability\n")


@pytest.mark.parametrize("media_type", ["text/csv; charset=utf-8", "TEXT/CSV", "application/csv"])
def test_csv_goes_by_several_names(client: FlaskClient, media_type: str) -> None:
    response = post(client, csv_bytes([passenger(1)]), media_type)
    assert response.status_code == 200
    assert len(response.data.splitlines()) == 2


def test_one_row_gets_what_it_gets_among_others(client: FlaskClient) -> None:
    rows = passengers(20)
    together = post(client, csv_bytes(rows)).data.splitlines()[1:]
    alone = [post(client, csv_bytes([row])).data.splitlines()[1] for row in rows]
    assert alone == together


def test_a_header_alone_gets_a_header_alone(client: FlaskClient) -> None:
    response = post(client, csv_bytes([]))
    assert response.status_code == 200
    assert len(response.data.splitlines()) == 1


def test_rows_that_break_the_contract_are_named_and_not_shown(client: FlaskClient) -> None:
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


def test_a_row_with_too_many_fields_is_named(client: FlaskClient) -> None:
    found = problem(post(client, csv_bytes(passengers(2)) + b"3,1,SECRET,,,,,,,,,\n"), 422)
    assert found["rejects"] == [{"row": 3, "column": None, "rule": "wrong_field_count"}]


@pytest.mark.parametrize(
    "media_type", ["application/xml", "text/plain", "application/octet-stream", "multipart/form-data", ""]
)
def test_another_media_type_is_not_read(client: FlaskClient, media_type: str) -> None:
    found = problem(post(client, csv_bytes([passenger(1)]), media_type), 415)
    assert "csv" in found["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"\x00\x01\x02",
        b"PAR1 and more",
        b"\x1f\x8b and more",
        b"\xff\xfeP\x00a\x00",
        b"\xe9,b\n1,2\n",
        b"SECRET,VALUES\n1,2\n",
        csv_bytes([passenger(1)], [*COLUMNS, "Age"]),
        csv_bytes([passenger(1)]).replace(b"Age", b"Agee"),
        csv_bytes([passenger(1)]).replace(b",", b";"),
    ],
)
def test_what_is_no_table_of_passengers_is_malformed(client: FlaskClient, body: bytes) -> None:
    assert problem(post(client, body), 400)["detail"].startswith("the body")


def test_a_missing_column_is_named(client: FlaskClient) -> None:
    found = problem(post(client, csv_bytes([passenger(1)]).replace(b"Cabin", b"Cabins")), 400)
    assert found["detail"] == "the body: column missing: Cabin (nearest: Cabins)."


def test_a_body_that_is_too_large_is_not_read(client: FlaskClient) -> None:
    assert "exceeds the capacity limit" in problem(post(client, bytes(MAX_BODY_BYTES + 1)), 413)["detail"]


def test_a_body_as_large_as_allowed_is_read(client: FlaskClient) -> None:
    header = csv_bytes([])
    assert post(client, header + b"\n" * (MAX_BODY_BYTES - len(header))).status_code == 200


def test_more_rows_than_allowed_are_not_scored(small_model: Model) -> None:
    client = create_app(small_model, Limits(rows=3)).test_client()
    assert post(client, csv_bytes(passengers(3))).status_code == 200
    assert problem(post(client, csv_bytes(passengers(4))), 413)["detail"] == "the body has more than 3 rows."


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
def test_other_requests_are_refused(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    problem(response, status)
    assert ("Allow" in response.headers) == (status == 405)


def test_a_fault_of_ours_shows_nothing_of_the_inside(
    small_model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("SECRET inside")

    client = create_app(small_model).test_client()
    monkeypatch.setattr("titanic_batch.scoring.scorer.Scorer.score", fail)
    response = post(client, csv_bytes(passengers(100)))
    assert "SECRET" not in response.get_data(as_text=True)
    problem(response, 500)
    assert "a fault in POST /predict: RuntimeError" in caplog.text
    assert "test_app.py" in caplog.text
    assert "SECRET" not in caplog.text


def test_many_requests_at_once_get_each_its_own_answer(address: tuple[str, int], small_model: Model) -> None:
    client = create_app(small_model).test_client()
    bodies = [csv_bytes(passengers(count, first_key=count)) for count in range(1, 9)]
    answers: list[bytes] = [b""] * len(bodies)

    def ask(place: int) -> None:
        with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
            for _ in range(3):
                connection.request("POST", "/predict", bodies[place], {"Content-Type": "text/csv"})
                answers[place] += connection.getresponse().read()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [post(client, body).data * 3 for body in bodies]


def test_a_body_may_come_in_chunks(address: tuple[str, int], test_csv: Path, expected: bytes) -> None:
    content = test_csv.read_bytes()
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        chunks = (content[start : start + 1000] for start in range(0, len(content), 1000))
        connection.request("POST", "/predict", chunks, {"Content-Type": "text/csv"}, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, expected)


def test_an_address_that_is_taken_is_told_in_one_line(titanic: Callable[..., Result], address: tuple[str, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        result = titanic("serve", "--port", address[1])
        code, said = result.exit_code, result.stderr
        del result
        gc.collect()  # the server that could not be leaves its sockets to the collector
    assert code == 73
    assert said == (
        f"titanic: 127.0.0.1:{address[1]} can't be listened on (Address already in use): "
        "choose another --host or --port.\n"
    )


def test_a_server_tells_nothing_of_itself(address: tuple[str, int]) -> None:
    with closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        connection.request("GET", "/ping")
        response = connection.getresponse()
        assert response.read() == b"pong"
        assert "python" not in str(response.headers).lower()


# What goes around it


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--allow-fit"], 2, "needs a token"),
        (["--allow-fit", "--fit-token-file", "gone"], 66, "the token file gone can't be read"),
        (["--allow-fit", "--fit-token-file", "empty"], 2, "needs a token"),
        (["--allow-fit", "--model-sha256", "0" * 64], 2, "leave one of them out"),
        (["--model-sha256", "0" * 64], 78, "not the pinned one"),
        (["--max-rows", "0"], 2, ""),
        (["--fit-margin", "2"], 2, ""),
    ],
)
def test_what_cannot_be_served_is_told(
    titanic: Callable[..., Result], tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").touch()
    result = titanic("serve", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.parametrize("variable", ["AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"])
@pytest.mark.parametrize("route", ["predict", " ", "/<name>", "/<", "/a?b", "http://x/predict"])
def test_a_route_of_the_platform_must_be_a_path(
    titanic: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, variable: str, route: str
) -> None:
    monkeypatch.setenv(variable, route)
    result = titanic("serve", "--port", "0")
    told = f"titanic: {variable} is no path: it starts with a slash, and has no blank, <, >, ? or #.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)


def test_a_route_that_is_empty_is_none(titanic: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"):
        monkeypatch.setenv(variable, "")
    result = titanic("serve", "--port", "0", "-m", "gone.skops")
    assert result.exit_code not in (1, 2)
    assert "gone.skops" in result.stderr


def test_the_page_names_every_field_and_nothing_of_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/")
    text = answer.get_data(as_text=True)
    assert answer.mimetype == "text/html"
    assert all(f'name="{name}"' in text for name in COLUMNS if name != "PassengerId")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "http" not in text
    assert "style=" not in text
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_every_route_is_described_and_no_other(client: FlaskClient) -> None:
    described = client.get("/openapi.json").get_json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {
        "/",
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


def test_the_card_is_the_manifest(client: FlaskClient, small_model: Model) -> None:
    assert client.get("/model").get_json()["manifest"] == json.loads(json.dumps(small_model.manifest))
