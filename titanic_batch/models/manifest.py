"""What is known of a model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import platform
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import sklearn
import sklearn.utils
from sklearn.pipeline import Pipeline

from titanic_batch.errors import ModelError
from titanic_batch.models.artifact import (
    FORMAT,
    FORMAT_VERSION,
    source_date,
)
from titanic_batch.passenger.pipeline import (
    CATEGORIES,
    PARAMETERS,
)
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import DESCRIPTION, LABEL
from titanic_batch.scoring.drift import Reference
from titanic_batch.version import __version__

_LIBRARIES = ("scikit-learn", "numpy", "pandas", "skops")


def caution(name: str, manifest: dict[str, Any]) -> str | None:
    """Say that another minor version of scikit-learn fitted the model, if so."""
    fitted_by = manifest["libraries"]["scikit-learn"]
    if fitted_by.split(".")[:2] == sklearn.__version__.split(".")[:2]:
        return None
    return (
        f"the model {name} was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: "
        "its predictions may differ."
    )


def check_schema(name: str, manifest: dict[str, Any]) -> None:
    """Check that a model was fitted for the contract as it is."""
    schema = manifest["schema"]
    if schema["version"] != CONTRACT.version:
        theirs, ours = f"version {schema['version']}", f"version {CONTRACT.version}"
    elif schema["digest"] != CONTRACT.digest:
        theirs, ours = f"digest {schema['digest'][:12]}", f"digest {CONTRACT.digest[:12]}"
    else:
        return
    raise ModelError(f"the model {name} was fitted for another schema ({theirs}, and this is {ours}): fit it again.")


def manifest_of(pipeline: Pipeline, features: pd.DataFrame | None = None, label: Any = None) -> dict[str, Any]:
    """Return what is known of a fitted pipeline, and of the rows that it was fitted on, if they are given."""
    classifier = pipeline[-1]
    names = [str(name) for name in pipeline[:-1].get_feature_names_out()]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "description": DESCRIPTION,
        "package_version": __version__,
        "python_version": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "schema": {"version": CONTRACT.version, "digest": CONTRACT.digest},
        "features": names,
        "categories": CATEGORIES,
        "classifier": type(classifier).__name__,
        "parameters": {name: value for name, value in classifier.get_params().items() if name in PARAMETERS},
        "seed": classifier.get_params().get("random_state"),
    }
    if features is not None:
        hashes = pd.util.hash_pandas_object(features.assign(**{LABEL: label}), index=False)
        missing = {str(name): float(share) for name, share in features.isna().mean().items()}
        manifest["fitted_at"] = (source_date() or datetime.now(UTC)).isoformat(timespec="seconds")
        manifest["training"] = {
            "rows": len(features),
            "columns": [*features.columns, LABEL],
            "labels": {str(value): int(count) for value, count in label.value_counts().sort_index().items()},
            "digest": hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest(),
        }
        manifest["metrics"] = {}
        manifest["reference"] = Reference.of(names, pipeline[:-1].transform(features), missing).to_json()
    return manifest
