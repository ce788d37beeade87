"""The manifest of a model: what its file says about it, and can be read without building anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

FORMAT = "titanic-batch model"
FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class SchemaId:
    """Identifies the contract that the rows of a model must keep."""

    version: int
    digest: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return what `to_json` wrote; raises as `Manifest.from_json` does."""
        schema = cls(_member(data, "version", int), _member(data, "digest", str))
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
        """Return what `to_json` wrote; raises as `Manifest.from_json` does."""
        training = cls(
            _member(data, "rows", int),
            _member(data, "columns", list),
            _member(data, "labels", dict),
            _member(data, "digest", str),
        )
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
        """Return what `to_json` wrote; raises as `Manifest.from_json` does."""
        return cls(
            _member(data, "fitted_at", str),
            Training.from_json(_member(data, "training", dict)),
            _member(data, "metrics", dict),
            _member(data, "reference", dict),
        )

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
        KeyError, TypeError, ValueError
            It is something else, or of another version of the format.
        """
        if version_of(data) != FORMAT_VERSION:
            raise ValueError("the manifest is of another version")
        libraries = _member(data, "libraries", dict)
        _member(libraries, "scikit-learn", str)
        manifest = cls(
            description=_member(data, "description", str),
            package_version=_member(data, "package_version", str),
            python_version=_member(data, "python_version", str),
            libraries=libraries,
            schema=SchemaId.from_json(_member(data, "schema", dict)),
            features=_member(data, "features", list),
            categories=_member(data, "categories", dict),
            classifier=_member(data, "classifier", str),
            parameters=_member(data, "parameters", dict),
            seed=_member(data, "seed", int),
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
    KeyError, TypeError, ValueError
        It is no manifest of ours.
    """
    version = data["format_version"]
    if data["format"] != FORMAT or not isinstance(version, int):
        raise ValueError("this is no manifest of a model")
    return version


def _member(data: Any, name: str, expected: type) -> Any:
    value = data[name]
    if not isinstance(value, expected):
        raise TypeError(f"{name} is a {type(value).__name__}")
    return value


def _unknown(data: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in known}
