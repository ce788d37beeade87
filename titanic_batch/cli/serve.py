"""``titanic serve``: answer prediction requests over HTTP."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from titanic_batch.cli.console import JsonFormatter, announce, say
from titanic_batch.cli.imports import import_checks
from titanic_batch.cli.options import LogFormat, ModelOption, model_digest, named
from titanic_batch.cli.process import end_at_once, on_signals, return_large_blocks
from titanic_batch.errors import InputError, TransferError, UsageError, reason_of
from titanic_batch.reading.limits import LIBRARIES_SIZE, require_memory, start_thread
from titanic_batch.runs.exit_codes import DONE

if TYPE_CHECKING:
    from titanic_batch.models.model import Model
    from titanic_batch.server.http_server import Server
    from titanic_batch.server.log_writer import LogWriter
    from titanic_batch.server.refitting import Refitter

_SWITCH_SECONDS = 0.001  # so that the loop, which answers probes, has its turn soon among threads that compute
_LEAVE_SECONDS = 24.0  # after a signal; the server's own time to stop is over before


def serve(
    model: ModelOption = None,
    model_sha256: Annotated[str | None, model_digest()] = None,
    host: Annotated[str, typer.Option(envvar="TITANIC_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="AIP_HTTP_PORT", help="Port to listen on.", show_envvar=False)
    ] = 8080,
    max_body_mb: Annotated[int, typer.Option(min=1, help="The largest body, in MiB, packed or not.")] = 16,
    max_rows: Annotated[int, typer.Option(min=1, help="The most rows of one body.")] = 250_000,
    accept_binary: Annotated[
        bool, typer.Option("--accept-binary", help="Read Parquet and Arrow, of clients that you trust.")
    ] = False,
    allow_fit: Annotated[
        bool, typer.Option("--allow-fit", help="Answer POST /fit, with which clients fit models.")
    ] = False,
    fit_token_file: Annotated[
        str | None,
        typer.Option(
            callback=named,
            help="Holds the token that POST /fit needs. Default: $TITANIC_FIT_TOKEN.",
            show_default=False,
        ),
    ] = None,
    fit_margin: Annotated[
        float, typer.Option(min=0, max=1, help="How much less accurate than the present model a new one may be.")
    ] = 0.02,
    keep_alive: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long a connection is kept without a request.")
    ] = 75,
    access_log: Annotated[bool, typer.Option("--access-log", help="Write a line of JSON on stderr a request.")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Answer requests: a page on /, POST /predict, and what clients of MLflow, SageMaker and Vertex AI send.

    A model file that is replaced is taken without a restart.
    """
    require_memory(LIBRARIES_SIZE)
    return_large_blocks()
    import_checks()
    from titanic_batch.server import app as web
    from titanic_batch.server.http_server import Server
    from titanic_batch.server.log_writer import LogWriter
    from titanic_batch.server.media import Limits
    from titanic_batch.server.reloading import ModelHolder

    if allow_fit and model_sha256 is not None:
        raise UsageError("--allow-fit writes another model than --model-sha256 pins: leave one of them out.")
    limits = Limits(max_body_mb * 2**20, max_rows, accept_binary)
    refitter = _refitter(_fit_token(fit_token_file), fit_margin) if allow_fit else None
    holder = ModelHolder(model, model_sha256)
    health_route, predict_route = _route("AIP_HEALTH_ROUTE"), _route("AIP_PREDICT_ROUTE")
    log = LogWriter()
    app = web.create_app(holder, limits, refitter, health_route, predict_route, log)
    server = Server(app, host, port, limits.bytes, probes=web.probes(app), idle_seconds=keep_alive)
    _write_log(log, log_format, access_log=access_log)
    on_signals(lambda _: _stop(server))

    def on_load(model: Model) -> None:
        announce(model)
        at = f"[{host}]" if ":" in host else host
        say(f"serving {model.source} on http://{at}:{server.port}")

    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        web.serve(server, holder, on_load)
    finally:
        logging.getLogger().removeHandler(log)
        log.close()
    end_at_once(DONE)  # a request that takes too long is still worked on, or a model loaded


def _write_log(log: LogWriter, log_format: str, *, access_log: bool) -> None:
    """Have what is logged written by ``log``, and requests logged, too, if ``access_log``."""
    from titanic_batch.server.telemetry import ACCESS_LOG

    if log_format == "json":
        log.setFormatter(JsonFormatter(as_they_are=ACCESS_LOG))
    if access_log:
        ACCESS_LOG.setLevel(logging.INFO)
    logging.getLogger().addHandler(log)


def _stop(server: Server) -> None:
    """Stop the server; leave if that takes too long, whatever is in its way."""

    def leave() -> None:
        time.sleep(_LEAVE_SECONDS)
        end_at_once(DONE)

    server.stop()
    with suppress(TransferError):  # then it is the server's own time that counts
        start_thread(leave)


def _refitter(token: str, margin: float) -> Refitter:
    from titanic_batch.server.refitting import Refitter  # with it comes scikit-learn, which few servers need

    return Refitter(token, margin)


def _fit_token(file: str | None) -> str:
    """Return the token that clients need to fit a model."""
    token = os.environ.get("TITANIC_FIT_TOKEN", "")
    if file is not None:
        try:
            with open(file, encoding="utf-8") as opened:
                token = opened.read()
        except (OSError, UnicodeDecodeError) as error:
            why = reason_of(error) if isinstance(error, OSError) else "it is not UTF-8"
            raise InputError(f"the token file {file} can't be read ({why}).") from None
    if not token.strip():
        raise UsageError("--allow-fit needs a token: set TITANIC_FIT_TOKEN, or name a file by --fit-token-file.")
    return token.strip()


def _route(variable: str) -> str | None:
    """Return the path in an environment variable of Vertex AI; None if it is not set."""
    route = os.environ.get(variable) or None
    if route is not None and (not route.startswith("/") or set(route) & set("<>?# ")):
        raise UsageError(f"{variable} is no path: it starts with a slash, and has no blank, <, >, ? or #.")
    return route
