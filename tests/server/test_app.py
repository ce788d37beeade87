"""The application as a whole, and ``titanic serve`` around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from typer.testing import Result

from tests.server.exchange import problem
from titanic_batch.errors import ModelError, TransferError
from titanic_batch.models.model import Model
from titanic_batch.server.app import create_app, probes, serve
from titanic_batch.server.http_server import Server
from titanic_batch.server.media import Limits
from titanic_batch.server.reloading import ModelHolder


@pytest.mark.parametrize("path", ["/health//live", "/ping/", "/page//page.js", "/page/"])
def test_paths_are_not_normalized(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path), 404)["detail"]


@pytest.mark.parametrize("path", ["/ping", "/nothing", "/page/page.css", "/openapi.json"])
def test_every_answer_has_security_headers(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] in ("no-store", "no-cache")


def test_serving_ends_with_the_error_of_a_model_that_cannot_be_loaded(tmp_path: Path, small_model: Model) -> None:
    path = tmp_path / "model.skops"
    small_model.save(path)
    holder = ModelHolder(str(path))
    server = Server(create_app(holder), "127.0.0.1", 0, Limits().bytes)
    path.unlink()
    loaded: list[Model] = []
    with pytest.raises(ModelError, match="can't be read"):
        serve(server, holder, loaded.append)
    assert loaded == []


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (AssertionError("a fault"), AssertionError, "a fault"),
        (RuntimeError("a fault"), RuntimeError, "a fault"),
        (MemoryError(), TransferError, "not enough memory to load the model"),
    ],
)
def test_serving_ends_with_what_keeps_the_first_model_from_being_loaded(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], words: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("titanic_batch.scoring.scorer.Scorer.score", fail)
    holder = ModelHolder(str(model_file))
    server = Server(create_app(holder), "127.0.0.1", 0, Limits().bytes)
    with pytest.raises(raised, match=words):
        serve(server, holder, lambda model: None)
    assert holder.current is None


def test_probes_are_the_paths_that_platforms_ask_for(small_model: Model) -> None:
    usual = {"/health", "/health/live", "/health/ready", "/ping"}
    assert probes(create_app(small_model)) == usual
    assert probes(create_app(small_model, health_route="/v1/health")) == usual | {"/v1/health"}


# The command


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
        (["--keep-alive", "0"], 2, ""),
    ],
)
def test_options_that_cannot_be_served_are_reported(
    titanic: Callable[..., Result], tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").touch()
    result = titanic("serve", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.parametrize("variable", ["AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"])
@pytest.mark.parametrize("route", ["predict", " ", "/<name>", "/<", "/a?b", "http://x/predict"])
def test_a_platform_route_must_be_a_path(
    titanic: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, variable: str, route: str
) -> None:
    monkeypatch.setenv(variable, route)
    result = titanic("serve", "--port", "0")
    told = f"titanic: {variable} is no path: it starts with a slash, and has no blank, <, >, ? or #.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)


def test_an_empty_platform_route_is_ignored(titanic: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"):
        monkeypatch.setenv(variable, "")
    result = titanic("serve", "--port", "0", "-m", "gone.skops")
    assert result.exit_code not in (1, 2)
    assert "gone.skops" in result.stderr
