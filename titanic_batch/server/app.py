"""The web application, and serving it while its model is still being loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING

from flask import Flask, Request, Response, g, request
from werkzeug.utils import cached_property

from titanic_batch.models.model import Model
from titanic_batch.reading.limits import start_thread
from titanic_batch.server.buffers import Body
from titanic_batch.server.http_server import Server
from titanic_batch.server.log_writer import LogWriter
from titanic_batch.server.media import Limits
from titanic_batch.server.problems import handle_errors
from titanic_batch.server.reloading import ModelHolder
from titanic_batch.server.routes import Handlers
from titanic_batch.server.telemetry import Telemetry

if TYPE_CHECKING:
    from titanic_batch.server.refitting import Refitter

_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PROBES = frozenset({"health", "live", "ready", "ping"})
_FITTING_IS_OFF = "fitting is off: titanic serve --allow-fit turns it on."


def create_app(
    model: Model | ModelHolder,
    limits: Limits | None = None,
    refitter: Refitter | None = None,
    health_route: str | None = None,
    predict_route: str | None = None,
    log: LogWriter | None = None,
) -> Flask:
    """Return the WSGI application that serves a model.

    Parameters
    ----------
    model
        A fitted model; or a holder, which may get its first model later, and others after that.
    limits
        How large bodies may be.
    refitter
        Fits models for ``POST /fit``; without one there is no such route.
    health_route, predict_route
        Further paths for ``/health/ready`` and ``/invocations``.
    log
        Its dropped lines are counted.
    """
    holder = model if isinstance(model, ModelHolder) else ModelHolder()
    if isinstance(model, Model):
        holder.hold(model)
    limits = limits or Limits()
    telemetry = Telemetry(holder, log)
    app = Flask(__name__, static_folder="page_files", static_url_path="/page")
    app.request_class = _Request
    app.config["MAX_CONTENT_LENGTH"] = limits.bytes
    app.url_map.merge_slashes = False  # the redirect would be HTML
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    for method, path, handler in Handlers(holder, limits, refitter, telemetry).routes(health_route, predict_route):
        app.add_url_rule(path, view_func=handler, methods=[method])
    handle_errors(app, {} if refitter is not None else {"/fit": _FITTING_IS_OFF})
    app.before_request(_start_clock)
    app.after_request(partial(_finish, telemetry))
    return app


def probes(app: Flask) -> frozenset[str]:
    """Return the paths of an application that tell whether it is alive and ready."""
    return frozenset(rule.rule for rule in app.url_map.iter_rules() if rule.endpoint in _PROBES)


def serve(server: Server, holder: ModelHolder, on_load: Callable[[Model], None]) -> None:
    """Answer requests until the server is stopped, and load the model meanwhile.

    ``on_load`` is called with the model.

    Raises
    ------
    ModelError, TransferError
        The model can't be loaded, or there can't be enough threads.
    """
    failures: list[Exception] = []

    def load_and_watch() -> None:
        try:
            on_load(holder.load())
        except Exception as error:  # whatever it is: without a model there is nothing to serve
            failures.append(error)
            server.stop()
        else:
            holder.watch()

    start_thread(load_and_watch)
    try:
        server.run()
    finally:
        holder.close()
    if failures:
        raise failures[0]


class _Request(Request):
    """A request whose body is taken from the server as it is: it has counted the bytes, and copies would add up."""

    @cached_property
    def stream(self) -> IO[bytes]:
        body = self.environ["wsgi.input"]
        return body if isinstance(body, Body) else super().stream


def _start_clock() -> None:
    g.started = time.perf_counter()


def _finish(telemetry: Telemetry, answer: Response) -> Response:
    """Add the headers that every answer has, and count the request."""
    answer.headers.setdefault("Content-Security-Policy", _POLICY)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Cache-Control", "no-store")
    method, route = (request.method, request.url_rule.rule) if request.url_rule else ("-", "-")
    status, started, received = answer.status_code, g.started, request.content_length or 0

    def count(sent: int) -> None:
        telemetry.count_request(method, route, status, time.perf_counter() - started, received, sent)

    if answer.is_streamed and not answer.direct_passthrough:
        _count_when_sent(answer, count)
    else:
        count(answer.content_length or 0)
    return answer


def _count_when_sent(answer: Response, count: Callable[[int], None]) -> None:
    """Call ``count`` with the number of bytes of an answer that is made while it is sent, once it is or fails."""
    sent = 0
    pieces = answer.iter_encoded()

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for piece in pieces:
            sent += len(piece)
            yield piece

    answer.response = counted()
    answer.call_on_close(lambda: count(sent))
