"""The OpenAPI 3.1 description of the routes: what each takes and answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from werkzeug.routing import Map

from titanic_batch.checking.contract import Contract
from titanic_batch.notebook.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.notebook.words import LABEL, LABELS, PROBABILITY
from titanic_batch.server.media import ARROW, CSV, HTML, JSON, JSON_LINES, MULTIPART, PARQUET, PROBLEM, TEXT, Limits
from titanic_batch.version import __version__

Schema = dict[str, Any]

_DETAILS = {
    400: "The body or the query can't be read",
    401: "The bearer token is missing, or is another",
    406: "The answer can't be had in a media type that Accept names",
    409: "Two rows have the same key, and nothing else is wrong; or another fit is running",
    413: "The body has too many bytes, packed or not, or too many rows",
    415: "The body is of a media type or an encoding that is not read here",
    422: "Rows break the contract: which, and how",
    503: "No model is loaded yet, or it can't be saved",
}
_OF_A_BODY = (400, 406, 409, 413, 415, 422, 503)


def describe(url_map: Map, limits: Limits) -> Schema:
    """Return the description of all routes, except those of the page's own files."""
    routes = {rule.rule: rule.endpoint for rule in url_map.iter_rules() if rule.endpoint != "static"}
    operations = _operations(limits)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "titanic serve",
            "version": __version__,
            "description": f"Bodies have at most {limits.bytes} bytes, packed or not, and {limits.rows} rows.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {route: operations[endpoint] for route, endpoint in sorted(routes.items())},
        "components": {
            "schemas": {
                "Row": _row(CONTRACT),
                "Prediction": _PREDICTION,
                "Rejects": _REJECTS,
                "Problem": _PROBLEM,
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema, **more: Any) -> Schema:
    """Return the schema of an object, all of whose properties are required."""
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _row(contract: Contract) -> Schema:
    """Return the JSON Schema of a row."""
    described = contract.describe()
    return {name: described[name] for name in ("type", "title", "properties")} | {
        "required": contract.required,
        "examples": [contract.example()],
    }


_ROWS = _array(_ref("Row")) | {"uniqueItems": True}
_PREDICTION = _object(
    {
        CONTRACT.key: {"type": "integer", "format": "int64"},
        LABEL: {"enum": list(LABELS)},
        PROBABILITY: {"type": "number", "minimum": 0, "maximum": 1},
    },
    additionalProperties=False,
)
_REJECTS: Schema = {
    "type": "array",
    "description": "Each rule that a row breaks. Row 1 is the first; column null is the whole row.",
    "items": _object(
        {
            "row": {"type": "integer", "minimum": 1},
            "column": {"type": ["string", "null"]},
            "rule": {"type": "string"},
        },
        additionalProperties=False,
    ),
}
_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. `rejects` has the first 100 of `rejects_total`.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "rows": {"type": "integer"},
        "rejected": {"type": "integer"},
        "rejects_total": {"type": "integer"},
        "rejects": _ref("Rejects"),
        "accuracy": {"type": "number"},
        "present_accuracy": {"type": "number"},
    },
    "required": ["type", "title", "status"],
}


def _problems(codes: Iterable[int]) -> Schema:
    return {
        str(code): {"description": _DETAILS[code], "content": {PROBLEM: {"schema": _ref("Problem")}}} for code in codes
    }


def _get(summary: str, media_type: str, schema: Schema, *codes: int) -> Schema:
    answer = {"description": summary, "content": {media_type: {"schema": schema}}}
    return {"get": {"summary": summary, "responses": {"200": answer} | _problems(codes)}}


def _csv(contract: Contract) -> Schema:
    """Return the schema of a CSV: a pattern for a header and, at most, one row that is accepted."""
    example, described = contract.example(), contract.describe()["properties"]
    fields = []
    for name in contract.types:
        values = described[name].get("enum", [example[name]])
        texts = ["" if value is None else re.escape(str(value)) for value in values]
        fields.append("-?[0-9]{1,18}" if name == contract.key else f"({'|'.join(texts)})")
    row = ",".join(fields)
    return {
        "schema": {
            "type": "string",
            "contentMediaType": CSV,
            "description": "The pattern is of one row. There may be many, more columns, and another order of them.",
            "pattern": f"^{','.join(contract.types)}(\\n{row})?\\n$",
        }
    }


def _values() -> Schema:
    """Return the schema of rows as lists of values, without the names of columns."""
    columns = list(_row(CONTRACT)["properties"].values())
    row = {"type": "array", "prefixItems": columns, "minItems": len(columns), "maxItems": len(columns)}
    return _array(row) | {"uniqueItems": True}


def _predict(limits: Limits) -> Schema:
    bodies = {JSON: {"schema": {"oneOf": [_ref("Row"), _ROWS]}}, CSV: _csv(CONTRACT)}
    bodies |= {PARQUET: {}, ARROW: {}} if limits.binary else {}
    predictions = _array(_ref("Prediction"))
    apart = _object({"predictions": predictions, "rejects": _ref("Rejects")})
    answers = {JSON: {"schema": {"anyOf": [_ref("Prediction"), predictions, apart]}}}
    return {
        "post": {
            "summary": "Score rows, in their order",
            "description": "The answer is of the body's media type, or what `Accept` asks for. A body may be "
            "compressed (`Content-Encoding: gzip`). With `?rejects=allow` rows that break the contract don't keep the "
            "others from being scored, and both are answered apart: in one JSON object, or as two parts of a form. "
            "A JSON body as for `/invocations` is answered as there.",
            "requestBody": {"required": True, "content": bodies},
            "responses": {
                "200": {
                    "description": "Predictions",
                    "content": answers | {media_type: {} for media_type in (CSV, PARQUET, ARROW, MULTIPART)},
                }
            }
            | _problems(_OF_A_BODY),
        }
    }


def _invocations() -> Schema:
    values = _values()
    split = _object({"columns": {"const": list(CONTRACT.types)}, "data": values})
    either = {"anyOf": [_ROWS, values]}
    envelopes = {"dataframe_records": _ROWS, "dataframe_split": split, "instances": either, "inputs": either}
    envelope = {
        "type": "object",
        "properties": envelopes,
        "oneOf": [{"required": [name]} for name in envelopes],
    }
    body = {"oneOf": [envelope, either]}
    answer = _object({"predictions": _array(_ref("Prediction"))})
    return {
        "post": {
            "summary": "Score rows as clients of MLflow, SageMaker and Vertex AI send them",
            "description": "CSV may be without a header: then it has the contract's columns in order, and so has the "
            "answer none. Lists of values are in that order too, and those of `dataframe_split` may be in another."
            " `inputs` may also be an object of columns, each a list of values.",
            "requestBody": {
                "required": True,
                "content": {JSON: {"schema": body}, CSV: _csv(CONTRACT), JSON_LINES: {}},
            },
            "responses": {
                "200": {"description": "Predictions", "content": {JSON: {"schema": answer}, CSV: {}, JSON_LINES: {}}}
            }
            | _problems(_OF_A_BODY),
        }
    }


def _fit(limits: Limits) -> Schema:
    answer = _object(
        {
            "rows": {"type": "integer"},
            "accuracy": {"type": "number"},
            "present_accuracy": {"type": "number"},
            "model": {"type": "string"},
        }
    )
    return {
        "post": {
            "summary": "Fit a model on labelled rows, and serve it if it is no worse than the present one",
            "security": [{"token": []}],
            "requestBody": {
                "required": True,
                "content": {CSV: _csv(LABELLED_CONTRACT)} | ({PARQUET: {}} if limits.binary else {}),
            },
            "responses": {"200": {"description": "The new model serves", "content": {JSON: {"schema": answer}}}}
            | _problems((400, 401, 409, 413, 415, 422, 503)),
        }
    }


def _operations(limits: Limits) -> dict[str, Schema]:
    """Return the operation of each endpoint, by the name of its handler."""
    text, anything = {"type": "string"}, {"type": "object"}
    return {
        "home": _get("The page for people", HTML, text),
        "ping": _get("Whether requests can be answered, as MLflow and SageMaker ask", TEXT, {"const": "pong"}, 503),
        "health": _get("Whether a model is loaded and scores, as MLflow asks", TEXT, {"const": "ok"}, 503),
        "live": _get("Whether the process answers", TEXT, {"const": "live"}),
        "ready": _get("Whether a model is loaded and scores", TEXT, {"const": "ready"}, 503),
        "version": _get("The version of the server", TEXT, text),
        "model_card": _get("What is known of the model", JSON, anything, 503),
        "metrics": _get("Metrics for Prometheus", TEXT, text),
        "openapi": _get("This description", JSON, anything),
        "predict": _predict(limits),
        "invocations": _invocations(),
        "fit": _fit(limits),
    }
