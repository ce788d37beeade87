"""The web application: HTTP in, the batch job's own judging and scoring, HTTP out.

Routes read the request, make one call, and write the answer. Every error is ``application/problem+json``, and shows
nothing of the inside, nor of what a row holds.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus

import pyarrow as pa
from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable

from titanic_batch.errors import DataError, OutputBusyError, TitanicError
from titanic_batch.models.model import Model
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.rules import DUPLICATE_KEY
from titanic_batch.server import dialects, page
from titanic_batch.server.bodies import parse_json, read_body, require_records
from titanic_batch.server.http_server import Server
from titanic_batch.server.media import (
    CSV,
    JSON,
    JSON_LINES,
    MULTIPART,
    PARQUET,
    PROBLEM,
    TABLES,
    Limits,
    answer_type,
    body_type,
)
from titanic_batch.server.openapi import describe
from titanic_batch.server.refitting import FitIsRunningError, Refitter
from titanic_batch.server.reloading import ModelHolder
from titanic_batch.server.responses import encode_form_data, encode_json, encode_table
from titanic_batch.server.served_model import Outcome, ServedModel
from titanic_batch.server.telemetry import Telemetry, log_fault
from titanic_batch.version import __version__

SHOWN_REJECTS = 100

_NOTHING_ELSE = "default-src 'none'; frame-ancestors 'none'"


class _RejectedError(Exception):
    """Rows break the contract, and the client wants all or nothing."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def create_app(
    model: Model | ModelHolder,
    limits: Limits | None = None,
    refitter: Refitter | None = None,
    health_route: str | None = None,
    predict_route: str | None = None,
) -> Flask:
    """Return the application that serves a fitted model.

    Parameters
    ----------
    model
        What to serve; or what holds it, and holds another later.
    limits
        How large bodies may be.
    refitter
        Without it there is no ``POST /fit``.
    health_route, predict_route
        Further routes for what ``/health/ready`` and ``/invocations`` do.
    """
    holder = model if isinstance(model, ModelHolder) else ModelHolder()
    if isinstance(model, Model):
        holder.hold(model)
    bounds = limits or Limits()
    telemetry = Telemetry(holder)
    app = Flask(__name__, static_folder="page_files", static_url_path="/page")
    app.config["MAX_CONTENT_LENGTH"] = bounds.bytes
    app.url_map.merge_slashes = False  # it would redirect, in HTML
    app.json.sort_keys = False  # type: ignore[attr-defined]  # its provider has it

    def served() -> ServedModel:
        if holder.current is None:
            raise ServiceUnavailable("no model is loaded yet: try again.", retry_after=1)
        return holder.current

    def scored(outcome: Outcome, *, with_rejects: bool = False) -> Outcome:
        telemetry.count_rows(0 if outcome.rejected and not with_rejects else len(outcome.predictions), outcome.rejected)
        if outcome.rejected and not with_rejects:
            raise _RejectedError(outcome)
        return outcome

    @app.get("/health/live")
    def live() -> Response:
        return Response("live", mimetype="text/plain")

    def ready() -> Response:
        served()
        return Response("ready", mimetype="text/plain")

    app.add_url_rule("/health/ready", view_func=ready)

    @app.get("/ping")
    def ping() -> Response:
        served()
        return Response("pong", mimetype="text/plain")

    @app.get("/version")
    def version() -> Response:
        return Response(__version__, mimetype="text/plain")

    @app.post("/predict")
    def predict() -> Response:
        current, kind = served(), body_type(request, TABLES)
        with_rejects = _allows_rejects(request.args)
        body = read_body(request, bounds)
        value = parse_json(body) if kind == JSON else None
        if dialects.is_envelope(value):
            return invoked(current, JSON, body)
        asked = answer_type(request.accept_mimetypes, TABLES, JSON if with_rejects else kind)
        if kind == JSON:
            records = require_records([value] if isinstance(value, dict) else value)
            outcome = scored(current.score_records(records, bounds), with_rejects=with_rejects)
        else:
            outcome = scored(current.score_body(kind, body, bounds), with_rejects=with_rejects)
        if with_rejects:
            return _with_rejects(outcome, asked)
        if asked == JSON and isinstance(value, dict):
            return Response(encode_json(outcome.predictions.records()[0]), mimetype=JSON)
        return Response(outcome.predictions.encode(asked), mimetype=asked)

    def invocations() -> Response:
        kind = body_type(request, dialects.BODIES)
        return invoked(served(), kind, read_body(request, bounds))

    def invoked(current: ServedModel, kind: str, body: bytes) -> Response:
        columns = list(CONTRACT.types)
        headed = kind != CSV or dialects.has_header(body, columns)
        default = CSV if not headed else JSON if kind == CSV else kind
        asked = answer_type(request.accept_mimetypes, dialects.BODIES, default)
        if kind == CSV:
            outcome = current.score_body(kind, body if headed else dialects.with_header(body, columns), bounds)
        else:
            lines = kind == JSON_LINES
            records = (dialects.records_from_json_lines if lines else dialects.records_from_json)(body, columns)
            outcome = current.score_records(records, bounds)
        return Response(dialects.encode_predictions(scored(outcome).predictions, asked, header=headed), mimetype=asked)

    app.add_url_rule("/invocations", view_func=invocations, methods=["POST"])

    @app.get("/model")
    def model_card() -> dict[str, object]:
        return page.card(served().model)

    @app.get("/metrics")
    def metrics() -> Response:
        content, content_type = telemetry.exposition(request.headers.get("Accept", ""))
        return Response(content, content_type=content_type)

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(encode_json(describe(app.url_map, bounds)), mimetype=JSON)

    @app.get("/")
    def home() -> Response:
        current = holder.current
        answer = Response(page.html(CONTRACT, current.model if current else None), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = page.POLICY
        return answer

    if refitter is not None:

        @app.post("/fit")
        def fit() -> Response:
            shown = request.headers.get("Authorization", "")
            if not refitter.is_authorized(shown):
                wrong = ", and the one that was given is not it" if shown.strip() else ""
                answer = _problem(401, f"a bearer token is needed{wrong}.")
                answer.headers["WWW-Authenticate"] = "Bearer"
                return answer
            kind = body_type(request, (CSV, PARQUET))
            refit = refitter.fit(holder, kind, read_body(request, bounds), bounds)
            telemetry.count_fit(taken=refit.taken)
            if refit.rejected:
                return _rejected("no model was fitted", refit.rows, refit.rejected, refit.rejects)
            found = {"rows": refit.rows, "accuracy": refit.accuracy, "present_accuracy": refit.present_accuracy}
            if not refit.taken:
                return _problem(422, "the new model is worse than the present one, which serves on.", **found)
            return Response(encode_json({**found, "model": served().model.identity}), mimetype=JSON)

    for route, view, method in ((health_route, ready, "GET"), (predict_route, invocations, "POST")):
        if route is not None and all(rule.rule != route for rule in app.url_map.iter_rules()):
            app.add_url_rule(route, view_func=view, methods=[method])

    @app.before_request
    def start_clock() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def finish(answer: Response) -> Response:
        headers = answer.headers
        headers.setdefault("Content-Security-Policy", _NOTHING_ELSE)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Cache-Control", "no-store")
        telemetry.count_request(
            request.method if request.url_rule else "-",
            request.url_rule.rule if request.url_rule else "-",
            answer.status_code,
            time.perf_counter() - g.started,
            request.content_length or 0,
            answer.content_length or 0,
        )
        return answer

    @app.errorhandler(_RejectedError)
    def rows_rejected(error: _RejectedError) -> Response:
        outcome = error.outcome
        return _rejected("nothing was scored", outcome.rows, outcome.rejected, outcome.rejects)

    @app.errorhandler(DataError)
    def bad_data(error: DataError) -> Response:
        return _problem(400, str(error))

    @app.errorhandler(FitIsRunningError)
    @app.errorhandler(OutputBusyError)
    def busy(_: Exception) -> Response:
        return _problem(409, "another fit is running, or another program writes the model: try again later.")

    @app.errorhandler(TitanicError)
    def failed(error: TitanicError) -> Response:  # its words hold a path
        log_fault(_route(), error)
        return _problem(503, "the model can't be read or written where it is: the server's log tells why.")

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        is_off = refitter is None and error.code == 404 and request.path == "/fit"
        detail = "fitting is off: titanic serve --allow-fit turns it on." if is_off else error.description
        answer = _problem(error.code or 500, detail or "")
        answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return answer

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        log_fault(_route(), error)
        return _problem(500, "a fault of the server, which its log tells of.")

    return app


def serve(server: Server, holder: ModelHolder, on_load: Callable[[Model], None]) -> None:
    """Load the model while the server answers already, and answer until the server is stopped.

    ``on_load`` is told the model.

    Raises
    ------
    ModelError
        There is no model to serve.
    """
    failures: list[TitanicError] = []

    def load_and_watch() -> None:
        try:
            on_load(holder.load())
        except TitanicError as error:
            failures.append(error)
            server.stop()
        else:
            holder.watch()

    thread = threading.Thread(target=load_and_watch, daemon=True)
    thread.start()
    server.run()
    holder.close()
    if failures:
        raise failures[0]


def _allows_rejects(query: Mapping[str, str]) -> bool:
    """Read the query, which can say whether rows may be rejected, and nothing else."""
    if query.keys() - {"rejects"} or query.get("rejects", "refuse") not in ("allow", "refuse"):
        raise BadRequest("the query can be rejects=allow or rejects=refuse.")
    return query.get("rejects") == "allow"


def _with_rejects(outcome: Outcome, kind: str) -> Response:
    """Return predictions and rejects apart: in one JSON object, or as two parts of a form, each of the media type."""
    if kind == JSON:
        rejects = outcome.rejects.to_pylist()
        return Response(encode_json({"predictions": outcome.predictions.records(), "rejects": rejects}), mimetype=JSON)
    parts = [("predictions", outcome.predictions.encode(kind)), ("rejects", encode_table(outcome.rejects, kind))]
    boundary = uuid.uuid4().hex
    content = encode_form_data(parts, kind, boundary)
    return Response(content, content_type=f"{MULTIPART}; boundary={boundary}")


def _rejected(consequence: str, rows: int, rejected: int, rejects: pa.Table) -> Response:
    # Rows that are good by themselves are at odds with each other: JSON Schema has no word for it, but HTTP has.
    status = 409 if set(rejects["rule"].unique().to_pylist()) == {DUPLICATE_KEY} else 422
    return _problem(
        status,
        f"{rejected} of {rows} rows break the contract: {consequence}.",
        rows=rows,
        rejected=rejected,
        rejects_total=rejects.num_rows,
        rejects=rejects.slice(0, SHOWN_REJECTS).to_pylist(),
    )


def _problem(status: int, detail: str, **more: object) -> Response:
    """Return an error as RFC 9457 has it."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(encode_json(content), status, mimetype=PROBLEM)


def _route() -> str:
    return f"{request.method} {request.url_rule.rule}" if request.url_rule else "no route"
