"""The page for people: a form for one row, a place for a CSV, and what is known about the model."""

from __future__ import annotations

from typing import Any

from flask import render_template

from titanic_batch.checking.contract import Contract
from titanic_batch.models.model import Model
from titanic_batch.notebook import words
from titanic_batch.reading.columns import MISSING_TEXTS
from titanic_batch.version import __version__

_CHOICES = {"boolean": [False, True]}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def html(contract: Contract, model: Model | None) -> str:
    """Return the page. While there is no model, it says so instead of describing it."""
    facts = [] if model is None else _facts(model)
    key = contract.key
    return render_template(
        "page.html", words=words, fields=_fields(contract), key=key, key_value=contract.example()[key], facts=facts
    )


def card(model: Model) -> dict[str, Any]:
    """Return the model's identity and manifest, and the version of the server."""
    return {"model": model.identity, "server_version": __version__, "manifest": model.manifest}


def _facts(model: Model) -> list[tuple[str, str]]:
    """Return names and values of what people want to know about a model."""
    info = model.info
    fit = [] if info.fit is None else [("Fitted", info.fit.fitted_at), ("Fitted on rows", str(info.fit.training.rows))]
    return [
        ("Model", model.identity),
        ("Classifier", info.classifier),
        *fit,
        ("Features", ", ".join(info.features)),
        ("Server", f"titanic {__version__}"),
    ]


def _fields(contract: Contract) -> list[dict[str, Any]]:
    """Return what the form needs to know about each column except the key."""
    described = contract.describe()["properties"]
    example = contract.example()
    fields = []
    for name, column in described.items():
        if name == contract.key:
            continue
        types = column["type"] if isinstance(column["type"], list) else [column["type"]]
        fields.append(
            {
                "name": name,
                "label": column.get("description", name),
                "type": column.get("format", types[0]),
                "required": "null" not in types,
                "options": _options(column, types[0]),
                "minimum": column.get("minimum"),
                "maximum": column.get("maximum"),
                "pattern": _pattern(column),
                "value": example[name],
            }
        )
    return fields


def _options(column: dict[str, Any], json_type: str) -> list[Any]:
    """Return the values that a column may have, if they are listed; a missing one is none of them."""
    listed = next((part["enum"] for part in (column, *column.get("anyOf", ())) if "enum" in part), None)
    if listed is None or listed == list(MISSING_TEXTS):
        listed = _CHOICES.get(json_type, [])
    return [value for value in listed if value is not None]


def _pattern(column: dict[str, Any]) -> str | None:
    """Return the pattern of a column as HTML has it, which always matches the whole text."""
    found = [part["pattern"] for part in (column, *column.get("anyOf", ())) if "pattern" in part]
    if not found:
        return None
    text: str = found[0].removeprefix("^")
    return text.removesuffix("$") if text.endswith("$") else f"{text}.*"
