"""The page for people: a form, a place for a CSV, and what is to be known of the model."""

from __future__ import annotations

from typing import Any

from flask import render_template

from titanic_batch.checking.contract import Contract
from titanic_batch.models.model import Model
from titanic_batch.version import __version__

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def html(contract: Contract, model: Model | None) -> str:
    """Return the page. Without a model it has no card."""
    facts = [] if model is None else _facts(model)
    return render_template("page.html", fields=_fields(contract), key=contract.key, facts=facts)


def card(model: Model) -> dict[str, Any]:
    """Return what is to be known of a model: what names it, and its manifest."""
    return {"model": model.identity, "server_version": __version__, "manifest": model.manifest}


def _facts(model: Model) -> list[tuple[str, str]]:
    """Return what a person wants to know of a model."""
    manifest = model.manifest
    facts = [
        ("Model", model.identity),
        ("Classifier", manifest.get("classifier")),
        ("Fitted", manifest.get("fitted_at")),
        ("Fitted on rows", manifest.get("training", {}).get("rows")),
        ("Features", ", ".join(manifest.get("features", ()))),
        ("Server", f"titanic {__version__}"),
    ]
    measured = [
        (name.replace("_", " ").capitalize(), f"{value:.4f}" if isinstance(value, float) else value)
        for name, value in manifest.get("metrics", {}).items()
        if isinstance(value, int | float)
    ]
    return [(name, str(value)) for name, value in (*facts[:4], *measured, *facts[4:]) if value]


def _fields(contract: Contract) -> list[dict[str, Any]]:
    """Return what a form needs of each column but the key."""
    described = contract.describe()["properties"]
    example = contract.example()
    fields = []
    for name, column in described.items():
        if name == contract.key:
            continue
        kinds = column["type"] if isinstance(column["type"], list) else [column["type"]]
        fields.append(
            {
                "name": name,
                "label": column.get("description", name),
                "kind": kinds[0],
                "required": "null" not in kinds,
                "options": [value for value in column.get("enum", []) if value is not None],
                "minimum": column.get("minimum"),
                "maximum": column.get("maximum"),
                "pattern": f"{column['pattern'].removeprefix('^')}.*" if "pattern" in column else None,
                "value": example[name],
            }
        )
    return fields
