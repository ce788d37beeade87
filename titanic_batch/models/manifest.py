"""The manifest of a model: what its file says about it, and can be read without building anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Self

from titanic_batch.models.json_data import (
    JsonDataError,
    every,
    listed,
    mapped,
    matching,
    members,
    moment,
    nullable,
    number,
    plain,
    text,
    whole,
)

FORMAT = "titanic-batch model"
FORMAT_VERSION = 2

_SHA256 = matching("[0-9a-f]{64}", "SHA-256 in hex")
_VERSION = matching(r"[\w.+!-]{1,64}", "version")
_SHARE = number(0, 1)
_ESTIMATE = members({"value": number(), "low": number(), "high": number()})
_OF_A_SHARE = members({"value": _SHARE, "low": number(), "high": number()})
_EVALUATION = members(
    {"rows": whole(1), "accuracy": _OF_A_SHARE},
    {"balanced_accuracy": _OF_A_SHARE, "roc_auc": _OF_A_SHARE, "log_loss": _ESTIMATE, "brier_score": _OF_A_SHARE},
)
_BY_VALUE = members({"values": listed(number(), 1), "counts": listed(whole(), 1)}, {"missing": whole()})
_BY_RANGE = members(
    {"lowest": number(), "edges": listed(number(), 1), "counts": listed(whole(), 1)}, {"missing": whole()}
)


def _counted(value: Any, where: str) -> None:
    (_BY_RANGE if isinstance(value, dict) and "edges" in value else _BY_VALUE)(value, where)


# What a model file may say of itself. Whoever reads it later, to print it, compare it or compute with it, relies on it.
_MANIFEST = members(
    {
        "description": text,
        "package_version": _VERSION,
        "python_version": _VERSION,
        "libraries": every(mapped(_VERSION), members({"scikit-learn": _VERSION})),
        "schema": members({"version": whole(), "digest": matching("[0-9a-f]{1,64}", "digest in hex")}),
        "features": listed(text, 1),
        "categories": mapped(listed(text)),
        "classifier": text,
        "parameters": members({}),
        "seed": whole(0, 2**32 - 1),
        "fitted_at": moment,
        "training": members(
            {"rows": whole(1), "columns": listed(text, 1), "labels": mapped(whole(), 1), "digest": _SHA256}
        ),
        "metrics": mapped(_EVALUATION),
        "reference": members(
            {
                "rows": whole(1),
                "features": mapped(_counted),
                "missing": mapped(_SHARE),
                "predictions": nullable(listed(whole(), 10, 10)),
            }
        ),
    }
)


@dataclass(frozen=True, slots=True)
class SchemaId:
    """Identifies the contract that the rows of a model must keep."""

    version: int
    digest: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote: data that was checked."""
        schema = cls(data["version"], data["digest"])
        return replace(schema, more=_unknown(data, schema.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"version": self.version, "digest": self.digest, **self.more}


@dataclass(frozen=True, slots=True)
class Training:
    """The rows that a model was fitted on.

    Attributes
    ----------
    rows
        How many there are.
    columns
        Their columns, the label last.
    labels
        How many rows have each label.
    digest
        SHA-256 of the rows.
    more
        Members that this version does not know.
    """

    rows: int
    columns: Sequence[str]
    labels: Mapping[str, int]
    digest: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote: data that was checked."""
        training = cls(data["rows"], data["columns"], data["labels"], data["digest"])
        return replace(training, more=_unknown(data, training.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "rows": self.rows,
            "columns": list(self.columns),
            "labels": dict(self.labels),
            "digest": self.digest,
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class FitRecord:
    """When and on what a model was fitted, and how good it is.

    Attributes
    ----------
    fitted_at
        ISO 8601.
    training
        The rows that it was fitted on.
    metrics
        By the name of an evaluation, the JSON data of its `evaluation.Evaluation`; empty where there was none.
    reference
        The JSON data of the `drift.Reference` that scored rows are compared with.
    """

    fitted_at: str
    training: Training
    metrics: Mapping[str, Any]
    reference: Mapping[str, Any]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote: data that was checked."""
        return cls(data["fitted_at"], Training.from_json(data["training"]), data["metrics"], data["reference"])

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "fitted_at": self.fitted_at,
            "training": self.training.to_json(),
            "metrics": dict(self.metrics),
            "reference": dict(self.reference),
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a fitted model.

    Attributes
    ----------
    description
        What it is for.
    package_version, python_version
        The versions that fitted it.
    libraries
        Version by library, scikit-learn at least.
    schema
        The contract of its rows.
    features
        The features of the classifier, in order.
    categories
        For each coded feature, what its codes stand for, in their order.
    classifier
        The name of the classifier's class.
    parameters, seed
        What the classifier was fitted with.
    fit
        None for a pickle, which does not tell how it was fitted.
    more
        Members that this version does not know.
    """

    description: str
    package_version: str
    python_version: str
    libraries: Mapping[str, str]
    schema: SchemaId
    features: Sequence[str]
    categories: Mapping[str, Sequence[str]]
    classifier: str
    parameters: Mapping[str, Any]
    seed: int | None
    fit: FitRecord | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote.

        Raises
        ------
        ValueError
            It is something else, or of another version of the format; a `JsonDataError` where it is a manifest of ours
            but for a member.
        """
        if version_of(data) != FORMAT_VERSION:
            raise ValueError("the manifest is of another version")
        _check(data)
        manifest = cls(
            description=data["description"],
            package_version=data["package_version"],
            python_version=data["python_version"],
            libraries=data["libraries"],
            schema=SchemaId.from_json(data["schema"]),
            features=data["features"],
            categories=data["categories"],
            classifier=data["classifier"],
            parameters=data["parameters"],
            seed=data["seed"],
            fit=FitRecord.from_json(data),
        )
        return replace(manifest, more=_unknown(data, manifest.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data: the content of ``manifest.json``."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "description": self.description,
            "package_version": self.package_version,
            "python_version": self.python_version,
            "libraries": dict(self.libraries),
            "schema": self.schema.to_json(),
            "features": list(self.features),
            "categories": dict(self.categories),
            "classifier": self.classifier,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            **({} if self.fit is None else self.fit.to_json()),
            **self.more,
        }

    def with_evaluation(self, name: str, evaluation: Mapping[str, Any]) -> Self:
        """Return the manifest with one more evaluation among its metrics."""
        fit = self.fit_record
        return replace(self, fit=replace(fit, metrics={**fit.metrics, name: evaluation}))

    def with_predictions(self, counts: Sequence[int]) -> Self:
        """Return the manifest with held-out predictions in its reference, counted by tenth of probability."""
        fit = self.fit_record
        return replace(self, fit=replace(fit, reference={**fit.reference, "predictions": counts}))

    @property
    def fit_record(self) -> FitRecord:
        """``fit`` of a model that is not a pickle's."""
        if self.fit is None:
            raise ValueError("a pickle does not tell how it was fitted")
        return self.fit


def version_of(data: Any) -> int:
    """Return the format version of a manifest as JSON data.

    Raises
    ------
    ValueError
        It is no manifest of ours.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT or type(data.get("format_version")) is not int:
        raise ValueError("this is no manifest of a model")
    version: int = data["format_version"]
    return version


def _check(data: Any) -> None:
    """Check all that is in a manifest; raises `JsonDataError`."""
    plain(data, "manifest")  # also those that this version does not know
    _MANIFEST(data, "")
    reference = data["reference"]
    for name, feature in reference["features"].items():
        points = [float(point) for point in feature["edges" if "edges" in feature else "values"]]
        if name not in data["features"]:
            raise JsonDataError("reference.features", "counts what is no feature")
        if len(points) != len(feature["counts"]) or any(one >= other for one, other in pairwise(points)):
            raise JsonDataError("reference.features", "has values or edges that don't rise, or not a count for each")
        if "edges" in feature and feature["lowest"] > points[0]:
            raise JsonDataError("reference.features", "has ranges that begin above their first edge")
        if sum(feature["counts"]) + feature.get("missing", 0) != reference["rows"]:
            raise JsonDataError("reference.features", "counts other rows than there are")
    if reference["predictions"] is not None and not sum(reference["predictions"]):
        raise JsonDataError("reference.predictions", "counts nothing")


def _unknown(data: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in known}
