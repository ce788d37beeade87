"""The routes, and the handlers that answer them: each reads a request, makes one call, and writes the answer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Response, current_app, request
from werkzeug.exceptions import BadRequest, ServiceUnavailable

from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.server import dialects, page
from titanic_batch.server.bodies import read_body
from titanic_batch.server.json_rows import ENVELOPES, JsonRows, json_line_rows, json_rows
from titanic_batch.server.media import (
    BINARY,
    CSV,
    HTML,
    JSON,
    JSON_LINES,
    MULTIPART,
    PARQUET,
    TABLES,
    TEXT,
    Limits,
    answer_type,
    body_type,
)
from titanic_batch.server.openapi import describe
from titanic_batch.server.problems import RejectedRowsError, problem
from titanic_batch.server.reloading import ModelHolder
from titanic_batch.server.responses import encode_form_data, encode_json, encode_table, response_of
from titanic_batch.server.served_model import Outcome, ServedModel
from titanic_batch.server.telemetry import Telemetry
from titanic_batch.server.turns import Turn
from titanic_batch.version import __version__

if TYPE_CHECKING:
    from titanic_batch.server.refitting import Refitter

_COLUMNS = tuple(CONTRACT.types)


class Route(NamedTuple):
    """A route. Its endpoint, in Flask and in the OpenAPI description, is the name of its handler."""

    method: str
    path: str
    handler: Callable[[], Response | dict[str, Any]]


class Handlers:
    """Answers requests: a public method answers one route.

    Parameters
    ----------
    holder
        Holds the model that serves.
    limits
        How large bodies may be.
    refitter
        Fits models. Without one there is no ``POST /fit``.
    telemetry
        Counts rows and fits.
    """

    def __init__(self, holder: ModelHolder, limits: Limits, refitter: Refitter | None, telemetry: Telemetry) -> None:
        self._holder = holder
        self._limits = limits
        self._refitter = refitter
        self._telemetry = telemetry

    def routes(self, health_route: str | None = None, predict_route: str | None = None) -> list[Route]:
        """Return all routes. Further paths for ``ready`` and ``invocations`` are added unless they are taken."""
        routes = [
            Route("GET", "/", self.home),
            Route("GET", "/health", self.health),
            Route("GET", "/health/live", self.live),
            Route("GET", "/health/ready", self.ready),
            Route("GET", "/ping", self.ping),
            Route("GET", "/version", self.version),
            Route("GET", "/model", self.model_card),
            Route("GET", "/metrics", self.metrics),
            Route("GET", "/openapi.json", self.openapi),
            Route("POST", "/predict", self.predict),
            Route("POST", "/invocations", self.invocations),
        ]
        if self._refitter is not None:
            routes.append(Route("POST", "/fit", self.fit))
        for method, path, handler in (("GET", health_route, self.ready), ("POST", predict_route, self.invocations)):
            if path is not None and all(route.path != path for route in routes):
                routes.append(Route(method, path, handler))
        return routes

    def home(self) -> Response:
        """Answer with the page for people."""
        current = self._holder.current
        answer = Response(page.html(CONTRACT, current.model if current else None), mimetype=HTML)
        answer.headers["Content-Security-Policy"] = page.POLICY
        return answer

    def health(self) -> Response:
        """Answer once a model is loaded, as MLflow asks."""
        self._served()
        return Response("ok", mimetype=TEXT)

    def live(self) -> Response:
        """Answer as long as the process runs."""
        return Response("live", mimetype=TEXT)

    def ready(self) -> Response:
        """Answer once a model is loaded."""
        self._served()
        return Response("ready", mimetype=TEXT)

    def ping(self) -> Response:
        """Answer once a model is loaded, as MLflow and SageMaker ask."""
        self._served()
        return Response("pong", mimetype=TEXT)

    def version(self) -> Response:
        """Answer with the version of the package."""
        return Response(__version__, mimetype=TEXT)

    def model_card(self) -> dict[str, Any]:
        """Answer with the model's identity and manifest."""
        return page.card(self._served().model)

    def metrics(self) -> Response:
        """Answer with metrics for Prometheus."""
        content, content_type = self._telemetry.exposition(request.headers.get("Accept", ""))
        return Response(content, content_type=content_type)

    def openapi(self) -> Response:
        """Answer with the OpenAPI description."""
        return Response(encode_json(describe(current_app.url_map, self._limits)), mimetype=JSON)

    def predict(self) -> Response:
        """Score a body in any format; answer in the same format, or as ``Accept`` asks."""
        media_type, allow_rejects = body_type(request, TABLES, self._limits), _allow_rejects(request.args)
        return self._in_turn(media_type, partial(self._predict, self._served(), media_type, allow_rejects))

    def invocations(self) -> Response:
        """Score a body as clients of MLflow, SageMaker and Vertex AI send it."""
        media_type = body_type(request, dialects.BODIES, self._limits)
        return self._in_turn(media_type, partial(self._invoke, self._served(), media_type))

    def fit(self) -> Response:
        """Fit a model on labelled rows, and serve it unless it is worse than the present one."""
        assert self._refitter is not None  # noqa: S101  # or there would be no such route
        authorization = request.headers.get("Authorization", "")
        if not self._refitter.is_authorized(authorization):
            wrong = ", and the one that was given is not it" if authorization.strip() else ""
            answer = problem(401, f"a bearer token is needed{wrong}.")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        media_type = body_type(request, (CSV, PARQUET), self._limits)
        with Turn() as turn:
            body = self._read_body(media_type, turn)
            refit = self._refitter.fit(self._holder, media_type, body, self._limits, turn)
        self._telemetry.count_fit(taken=refit.taken)
        if refit.rejected:
            raise RejectedRowsError("no model was fitted", refit.rows, refit.rejected, refit.rejects)
        result = {"rows": refit.rows, "accuracy": refit.accuracy, "present_accuracy": refit.present_accuracy}
        if not refit.taken:
            return problem(422, "the new model is worse than the present one, which serves on.", **result)
        return Response(encode_json({**result, "model": self._served().model.identity}), mimetype=JSON)

    def _in_turn(self, media_type: str, answer: Callable[[bytes], Response]) -> Response:
        """Return what the body is answered with, when it is its turn, which lasts until the answer is made.

        A large answer is made while it is sent.
        """
        with ExitStack() as working:
            response = answer(self._read_body(media_type, working.enter_context(Turn())))
            if response.is_streamed:
                until_sent = working.pop_all()
                response.response = _within(until_sent, response.iter_encoded())
                response.call_on_close(until_sent.close)  # if it isn't even begun
        return response

    def _read_body(self, media_type: str, turn: Turn) -> bytes:
        if media_type in BINARY:  # whose size says nothing
            turn.take()
        return read_body(request, self._limits, turn)

    def _predict(self, current: ServedModel, media_type: str, allow_rejects: bool, body: bytes) -> Response:
        rows = json_rows(body, _COLUMNS, self._limits, lists=False) if media_type == JSON else None
        if rows is not None and rows.kind == "envelope":
            return self._invoke_rows(current, JSON, rows)
        wanted = answer_type(request.accept_mimetypes, TABLES, JSON if allow_rejects else media_type)
        if rows is None:
            outcome = current.score_body(media_type, body, self._limits)
        else:
            outcome = current.score_json(rows, self._limits)
        self._settle(outcome, allow_rejects=allow_rejects)
        if allow_rejects:
            return _with_rejects(outcome, wanted)
        if wanted == JSON and rows is not None and rows.kind == "row":
            ((row,),) = outcome.predictions.records()
            return Response(encode_json(row), mimetype=JSON)
        return response_of(outcome.predictions.encode(wanted), wanted)

    def _invoke(self, current: ServedModel, media_type: str, body: bytes) -> Response:
        if media_type == JSON_LINES:
            return self._invoke_rows(current, media_type, json_line_rows(body, _COLUMNS, self._limits))
        if media_type == JSON:
            return self._invoke_rows(current, media_type, json_rows(body, _COLUMNS, self._limits, lists=True))
        header = dialects.has_header(body, _COLUMNS)
        wanted = answer_type(request.accept_mimetypes, dialects.BODIES, JSON if header else CSV)
        outcome = current.score_body(CSV, body if header else dialects.with_header(body, _COLUMNS), self._limits)
        self._settle(outcome)
        return response_of(dialects.encode_predictions(outcome.predictions, wanted, header=header), wanted)

    def _invoke_rows(self, current: ServedModel, media_type: str, rows: JsonRows) -> Response:
        if rows.kind == "row":
            raise BadRequest(f"the body must be a list of rows, or an object with exactly one of {ENVELOPES}.")
        wanted = answer_type(request.accept_mimetypes, dialects.BODIES, media_type)
        outcome = current.score_json(rows, self._limits)
        self._settle(outcome)
        return response_of(dialects.encode_predictions(outcome.predictions, wanted, header=True), wanted)

    def _served(self) -> ServedModel:
        if self._holder.current is None:
            raise ServiceUnavailable("no model is loaded yet: try again.", retry_after=1)
        return self._holder.current

    def _settle(self, outcome: Outcome, *, allow_rejects: bool = False) -> None:
        """Count the rows of a body; raise RejectedRowsError if any was rejected and that is not allowed."""
        refused = outcome.rejected > 0 and not allow_rejects
        self._telemetry.count_rows(0 if refused else len(outcome.predictions), outcome.rejected)
        if refused:
            raise RejectedRowsError("nothing was scored", outcome.rows, outcome.rejected, outcome.rejects)


def _allow_rejects(query: Mapping[str, str]) -> bool:
    """Return what the query says about rejects; anything else in it is refused."""
    if query.keys() - {"rejects"} or query.get("rejects", "refuse") not in ("allow", "refuse"):
        raise BadRequest("the query can be rejects=allow or rejects=refuse.")
    return query.get("rejects") == "allow"


def _within(context: AbstractContextManager[object], pieces: Iterable[bytes]) -> Iterator[bytes]:
    with context:
        yield from pieces


def _with_rejects(outcome: Outcome, media_type: str) -> Response:
    """Return predictions and rejects apart: in one JSON object, or as two files of a form."""
    predictions, rejects = outcome.predictions.encode(media_type), encode_table(outcome.rejects, media_type)
    if media_type == JSON:
        return response_of(chain([b'{"predictions":'], predictions, [b',"rejects":'], rejects, [b"}"]), JSON)
    boundary = uuid.uuid4().hex
    parts = [("predictions", predictions), ("rejects", rejects)]
    return response_of(encode_form_data(parts, media_type, boundary), f"{MULTIPART}; boundary={boundary}")
