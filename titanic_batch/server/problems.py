"""Errors, and the ``application/problem+json`` (RFC 9457) that each is answered with.

No answer says anything about the server's inside, such as a path or a traceback, nor about the values in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

import pyarrow as pa
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from titanic_batch.errors import DataError, OutputBusyError, TitanicError, one_line
from titanic_batch.reading.rules import DUPLICATE_KEY
from titanic_batch.server.media import PROBLEM
from titanic_batch.server.responses import encode_json
from titanic_batch.server.telemetry import LOG, log_fault

SHOWN_REJECTS = 100


class FitIsRunningError(Exception):
    """Another fit is running."""


class RejectedRowsError(Exception):
    """Rows break the contract, and so nothing was done with the others either.

    Parameters
    ----------
    consequence
        What was not done, for the client.
    rows, rejected
        How many rows there are, and how many of them were rejected.
    rejects
        Which rules they break, as in `served_model.Outcome`.
    """

    def __init__(self, consequence: str, rows: int, rejected: int, rejects: pa.Table) -> None:
        super().__init__(consequence)
        self.consequence = consequence
        self.rows = rows
        self.rejected = rejected
        self.rejects = rejects


def problem(status: int, detail: str, **members: object) -> Response:
    """Return a problem as a response; ``members`` extend its JSON object."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(encode_json(content), status, mimetype=PROBLEM)


def handle_errors(app: Flask, not_found: Mapping[str, str]) -> None:
    """Have an application answer every error with a problem.

    Parameters
    ----------
    app
        The application.
    not_found
        Why a path is not found, for paths where there is more to say than that.
    """
    app.register_error_handler(RejectedRowsError, _rejected_rows)
    app.register_error_handler(DataError, _bad_data)
    app.register_error_handler(FitIsRunningError, _busy)
    app.register_error_handler(OutputBusyError, _busy)
    app.register_error_handler(TitanicError, _unusable_model)
    app.register_error_handler(HTTPException, partial(_http_error, not_found))
    app.register_error_handler(Exception, _fault)


def _rejected_rows(error: RejectedRowsError) -> Response:
    rules = set(error.rejects["rule"].unique().to_pylist())
    return problem(
        409 if rules == {DUPLICATE_KEY} else 422,  # with valid rows whose keys collide, it is a conflict
        f"{error.rejected} of {error.rows} rows break the contract: {error.consequence}.",
        rows=error.rows,
        rejected=error.rejected,
        rejects_total=error.rejects.num_rows,
        rejects=error.rejects.slice(0, SHOWN_REJECTS).to_pylist(),
    )


def _bad_data(error: DataError) -> Response:
    return problem(400, str(error))


def _busy(_: Exception) -> Response:
    return problem(409, "another fit is running, or another program writes the model: try again later.")


def _unusable_model(error: TitanicError) -> Response:
    log_fault(_route(), error)
    LOG.error("titanic: %s", one_line(str(error)))  # not for the client: it contains a path, but nothing of rows
    return problem(503, "the model can't be read or written where it is: the server's log tells why.")


def _http_error(not_found: Mapping[str, str], error: HTTPException) -> Response:
    detail = not_found.get(request.path) if error.code == 404 else None
    answer = problem(error.code or 500, detail or error.description or "")
    answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
    return answer


def _fault(error: Exception) -> Response:
    log_fault(_route(), error)
    return problem(500, "a fault of the server, which its log tells of.")


def _route() -> str:
    return f"{request.method} {request.url_rule.rule}" if request.url_rule else "no route"
