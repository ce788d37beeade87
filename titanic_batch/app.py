"""The web application: HTTP in, the batch job's own judging and scoring, HTTP out."""

from __future__ import annotations

import io

import waitress
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from titanic_batch.batch import PredictedColumns
from titanic_batch.errors import DataError, OutputError
from titanic_batch.judging import Judge, JudgedBlock
from titanic_batch.model import Model
from titanic_batch.schema import CONTRACT, LABEL
from titanic_batch.sources import InputTable, Source
from titanic_batch.tables import TableWriter

MAX_BODY_BYTES = 16 * 2**20
_CSV_TYPES = ("text/csv", "application/csv")


def create_app(model: Model) -> Flask:
    """Return the application that serves a fitted model.

    ``GET /ping`` answers ``pong``. ``POST /predict`` takes passengers as CSV with a header and answers predictions as
    CSV, in their order; where a row breaks the contract nothing is scored, and the answer is 422 and names row, column
    and rule. All errors are ``application/problem+json``.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    columns = PredictedColumns(LABEL, model.scores(), provenance=model.provenance)

    @app.get("/ping")
    def ping() -> str:
        return "pong"

    @app.post("/predict")
    def predict() -> Response:
        if request.mimetype not in _CSV_TYPES:
            return _problem(415, "the body is to be text/csv.")
        return _predictions(columns, request.get_data())

    @app.errorhandler(DataError)
    def bad_data(error: DataError) -> Response:
        return _problem(400, str(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        answer = _problem(error.code or 500, error.name)
        answer.headers.extend((name, value) for name, value in error.get_headers() if name != "Content-Type")
        return answer

    return app


def serve(app: Flask, host: str, port: int) -> None:
    """Serve until the process is told to stop.

    Raises
    ------
    OutputError
        The address can't be listened on.
    """
    try:
        server = waitress.create_server(
            app, host=host, port=port, threads=4, ident=None, clear_untrusted_proxy_headers=True
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such address"
        raise OutputError(f"{host}:{port} can't be listened on ({why}): choose another --host or --port.") from None
    server.run()


def _predictions(columns: PredictedColumns, body: bytes) -> Response:
    with InputTable(Source("the body", "csv", io.BytesIO(body))) as table:
        schema = columns.schema(CONTRACT, [table])
        judge = Judge(CONTRACT, lambda rows: columns.of(rows, schema))
        judge.require_columns(table)
        blocks = list(judge.judged([table]))
    if rejects := [reject for block in blocks for reject in _rejects(block)]:
        return _problem(422, f"{len({row['row'] for row in rejects})} rows break the contract.", rejects=rejects)
    answer = io.BytesIO()
    writer = TableWriter(answer, "csv", schema)
    for block in blocks:
        writer.write(block.output)
    writer.close()
    return Response(answer.getvalue(), mimetype="text/csv")


def _rejects(block: JudgedBlock) -> list[dict[str, int | str | None]]:
    return [
        {"row": int(row) + block.first_row, "column": problem.column, "rule": problem.rule}
        for problem in block.problems
        for row in problem.rows
    ]


def _problem(status: int, detail: str, **more: object) -> Response:
    answer = jsonify(status=status, title=detail, **more)
    answer.status_code = status
    answer.mimetype = "application/problem+json"
    return answer
