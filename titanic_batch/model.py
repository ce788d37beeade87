"""The model: the one pipeline, fitted, with all that must be known about it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import io
import json
import lzma
import os
import pickle
import platform
import warnings
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
import sklearn.utils
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from titanic_batch import __version__
from titanic_batch.artifact import (
    DEFAULT_MODEL,
    FORMAT,
    FORMAT_VERSION,
    Artifact,
    ModelFormat,
    model_format,
    read_artifact,
    source_date,
    with_manifest,
)
from titanic_batch.audit import AuditError, UntrustedTypeError, audit
from titanic_batch.drift import Drift, Reference
from titanic_batch.errors import DataError, ModelError, UsageError
from titanic_batch.evaluation import Evaluation, evaluate, few_rows_are_fine
from titanic_batch.pipeline import (
    CATEGORIES,
    DEFAULT_SEED,
    DESCRIPTION,
    PARAMETERS,
    TRUSTED_TYPES,
    build_pipeline,
)
from titanic_batch.publishing import Publication, writing
from titanic_batch.schema import CONTRACT, KEY, LABEL
from titanic_batch.scoring import Scorer

REFERENCE = "reference"
_LIBRARIES = ("scikit-learn", "numpy", "pandas", "skops")
_SAMPLE_ROWS = 20

# What unpacking, unpickling and building raise where the bytes are no model.
_CANNOT_BE_BUILT = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    pickle.PickleError,
    zipfile.BadZipFile,
    zlib.error,
)


class Model:
    """Predicts who survived.

    Parameters
    ----------
    seed
        Makes the forest reproducible: the same data, seed and versions give the same predictions, bit by bit.
    **parameters
        Of the ``RandomForestClassifier``; overrule ``pipeline.DEFAULT_PARAMETERS``.

    Attributes
    ----------
    pipeline : Pipeline
    manifest : dict
        What is known of the model; filled by `fit`, read by `load`.
    source : str
        The file it was loaded from, ``reference``, or ``fitted``.
    sha256 : str or None
        Digest of that file.
    caution : str or None
        What to know before its predictions are trusted: that another version of scikit-learn fitted it.

    Examples
    --------
    >>> model = Model().fit(train)                      # doctest: +SKIP
    >>> model.evaluate(holdout).accuracy                # doctest: +SKIP
    """

    def __init__(self, seed: int = DEFAULT_SEED, **parameters: Any) -> None:
        self.pipeline: Pipeline = build_pipeline(seed, **parameters)
        self.manifest: dict[str, Any] = {}
        self.source = "fitted"
        self.sha256: str | None = None
        self.caution: str | None = None

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit on valid passengers with their label, and return this model.

        ``frame`` has the columns of `schema.LABELLED_PASSENGER`, any others are left aside; it is neither changed nor
        kept.

        Raises
        ------
        DataError
            There are no rows, or all have the same label.
        UsageError
            The parameters don't go together, or not with so few rows.
        """
        features, label = features_of(frame), frame[LABEL]
        if label.nunique() < 2:
            raise DataError(f"a model needs rows of both kinds, with {LABEL} 0 and with 1: add some.")
        try:
            with few_rows_are_fine():
                self.pipeline.fit(features, label)
        except ValueError as error:
            # The rows are valid, so this speaks of parameters.
            raise UsageError(f"these parameters can't be fitted: {' '.join(str(error).split())}") from None
        self.manifest = _manifest(self.pipeline, features, label)
        return self

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return 1 for each row that is likelier to have survived than not, else 0; shape (n_samples,).

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        labels: NDArray[Any] = self.pipeline.predict(frame)
        return labels

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the probabilities of death and survival, ``float64`` of shape (n_samples, 2).

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        probabilities: NDArray[Any] = self.pipeline.predict_proba(frame)
        return probabilities

    def evaluate(self, frame: pd.DataFrame) -> Evaluation:
        """Return how good the model is on labelled rows that it has not seen.

        Raises
        ------
        DataError
            There are no rows.
        ModelError
            The model is not fitted.
        """
        if not len(frame):
            raise DataError("there are no rows to evaluate the model on: add some.")
        return evaluate(frame[LABEL].to_numpy(), self.predict_proba(frame)[:, 1])

    def to_bytes(self, kind: ModelFormat = "skops") -> bytes:
        """Return the model as the content of a file; of equal models fitted at the same time, equal bytes.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        if kind == "skops":
            return with_manifest(_skops_io().dumps(self.pipeline), self.manifest)
        buffer = io.BytesIO()
        joblib.dump(self.pipeline, buffer)
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a ``.skops`` or ``.joblib`` file, which appears whole or not at all.

        Raises
        ------
        ModelError
            The model is not fitted.
        OutputBusyError, OutputError, TransferError
            The file can't be written.
        UsageError
            It is called neither.
        """
        name = os.fspath(path)
        content = self.to_bytes(model_format(name))
        with Publication() as publication:
            output = publication.add(name)
            with writing(name):
                output.file.write(content)
            publication.publish()

    @classmethod
    def load(cls, path: str | os.PathLike[str], sha256: str | None = None) -> Self:
        """Load a model that `save` wrote.

        ``sha256``, the file's digest in hex, pins it. A ``.joblib`` file is a pickle, which can run any code: it is
        loaded only when it is pinned.

        Raises
        ------
        ModelError
            The file is missing, damaged, no model, made for another schema or by an incompatible version, not the
            pinned one, or holds anything that a pipeline of ours doesn't.
        UsageError
            It is called neither ``.skops`` nor ``.joblib``.
        """
        artifact = read_artifact(os.fspath(path), sha256)
        if artifact.manifest is None and sha256 is None:
            raise ModelError(
                f"{artifact.name} is a pickle, which can run any code: name its digest with --model-sha256 if you "
                "trust it, or use a .skops model."
            )
        model = cls.__new__(cls)
        if artifact.manifest is None:
            model.pipeline = _unpickled(artifact)
            model.manifest, model.caution = _manifest(model.pipeline), None
        else:
            _check_schema(artifact.name, artifact.manifest)
            model.pipeline = _built(artifact)
            model.manifest, model.caution = artifact.manifest, _caution(artifact.name, artifact.manifest)
            try:
                Reference.from_json(model.manifest["reference"])
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                raise ModelError(f"the model {artifact.name} is damaged in its reference: fit it again.") from None
        model.source = artifact.name
        model.sha256 = artifact.sha256
        return model

    @classmethod
    def reference(cls) -> Self:
        """Return the reference model: fitted on the packaged passengers with the default seed and parameters."""
        model = cls().fit(packaged_passengers())
        model.source = REFERENCE
        return model

    @property
    def is_reference(self) -> bool:
        """Whether this is the `reference` model."""
        return self.source == REFERENCE

    @property
    def identity(self) -> str:
        """What names the model in all that is written with it: its file's digest, else where it comes from."""
        return self.sha256 or self.source

    @property
    def provenance(self) -> dict[str, str]:
        """What is written with predictions, so that it can be told later where they come from."""
        return {
            "titanic_batch.model": self.identity,
            "titanic_batch.version": __version__,
            "titanic_batch.schema_version": str(CONTRACT.version),
        }

    def scores(self) -> ModelScores:
        """Return what makes labels (int8) and probabilities (float64) of accepted rows, table after table.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        reference = self.manifest.get("reference")
        return ModelScores(Scorer(self.pipeline, None if reference is None else Reference.from_json(reference)))

    @property
    def seed(self) -> int:
        """Seed of the forest."""
        return int(self.pipeline[-1].random_state)

    def _check_fitted(self) -> None:
        if not hasattr(self.pipeline, "feature_names_in_"):
            raise ModelError("this model is not fitted yet: call fit with labelled passengers, or load a model.")


class ModelScores:
    """Labels and probabilities as Arrow arrays, of tables of accepted rows; it keeps count of what they are like."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return labels (int8) and probabilities (float64)."""
        scored = self._scorer.score(rows)
        return pa.array(scored.label), pa.array(scored.probability)

    def take_drift(self) -> Drift | None:
        """Return how the rows since the last call compare with those of the fit; None if not known, or no rows."""
        return self._scorer.take_drift()


def packaged_passengers() -> pd.DataFrame:
    """Return the 891 labelled passengers that the package carries."""
    with importlib.resources.files("titanic_batch").joinpath("train.csv").open("rb") as file:
        return pd.read_csv(file)


def resolve_model(name: str | None, sha256: str | None = None) -> Model:
    """Return the model that ``name`` names; without one ``./model.skops`` if it is there, else the reference model.

    Raises
    ------
    ModelError
        The model that is named, or is there, can't be loaded, or a pin was given and there is no file.
    """
    if name is None and os.path.lexists(DEFAULT_MODEL):
        name = DEFAULT_MODEL
    if name is not None:
        return Model.load(name, sha256)
    if sha256 is not None:
        raise ModelError("a model is pinned by its SHA-256 and none is named: name it with --model.")
    return Model.reference()


def features_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that the pipeline is fitted on."""
    return frame[[name for name in CONTRACT.types if name != KEY]]


def _unpickled(artifact: Artifact) -> Pipeline:
    """Load a pickle, which is one that the caller trusts."""
    return _fitted(artifact, lambda: joblib.load(io.BytesIO(artifact.content)))


def _built(artifact: Artifact) -> Pipeline:
    """Build the pipeline of a ``.skops`` file, once nothing in it can do harm, and see it work."""
    skops_io = _skops_io()
    try:
        audit(artifact.content, TRUSTED_TYPES)
        pipeline = _fitted(artifact, lambda: skops_io.loads(artifact.content, trusted=TRUSTED_TYPES))
    except UntrustedTypeError:
        raise ModelError(f"the model {artifact.name} holds types that are not ours to trust: fit it again.") from None
    except AuditError as error:
        raise ModelError(f"the model {artifact.name} is not safe to build ({error}): fit it again.") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            works = _is_ours(pipeline)
        except _CANNOT_BE_BUILT:
            works = False
    if not works:
        raise ModelError(f"the model {artifact.name} is not one that titanic fit makes: fit it again.")
    return pipeline


def _fitted(artifact: Artifact, load: Callable[[], Any]) -> Pipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        try:
            pipeline = load()
        except _CANNOT_BE_BUILT as error:
            raise ModelError(
                f"the model {artifact.name} can't be built with scikit-learn {sklearn.__version__} "
                f"({type(error).__name__}): fit it again with the versions that are installed."
            ) from None
    if not isinstance(pipeline, Pipeline) or not hasattr(pipeline, "feature_names_in_"):
        raise ModelError(f"{artifact.name} holds no fitted pipeline: make one with titanic fit.")
    return pipeline


def _is_ours(pipeline: Pipeline) -> bool:
    """Tell whether a pipeline prepares rows as ours does, and its trees take what that gives."""
    features, forest = pipeline[:-1], pipeline[-1]
    sample = features_of(packaged_passengers().head(_SAMPLE_ROWS))
    X = features.transform(sample)
    probabilities = pipeline.predict_proba(sample)
    return bool(
        _plan(features) == _plan(build_pipeline()[:-1].fit(sample))
        and list(pipeline.feature_names_in_) == list(sample.columns)
        and list(pipeline.classes_) == [0, 1]
        and forest.n_jobs is None
        and forest.verbose == 0
        and all(tree.tree_.n_features == X.shape[1] and tree.tree_.max_n_classes == 2 for tree in forest.estimators_)
        and probabilities.shape == (len(sample), 2)
        and np.allclose(probabilities.sum(axis=1), 1)
        and set(pipeline.predict(sample)) <= {0, 1}
    )


def _plan(features: Pipeline) -> str:
    """Return the parameters of all transformers, those to be fitted and those that were."""

    def described(thing: Any) -> Any:
        if not isinstance(thing, BaseEstimator):
            return type(thing).__name__
        return [type(thing).__name__, thing.get_params(deep=False), getattr(thing, "transformers_", None)]

    return json.dumps(features, default=described, sort_keys=True)


def _caution(name: str, manifest: dict[str, Any]) -> str | None:
    """Say that another minor version of scikit-learn fitted the model, if so."""
    fitted_by = manifest["libraries"]["scikit-learn"]
    if fitted_by.split(".")[:2] == sklearn.__version__.split(".")[:2]:
        return None
    return (
        f"the model {name} was fitted by scikit-learn {fitted_by}, and this is {sklearn.__version__}: "
        "its predictions may differ."
    )


def _check_schema(name: str, manifest: dict[str, Any]) -> None:
    schema = manifest["schema"]
    if schema["version"] != CONTRACT.version:
        theirs, ours = f"version {schema['version']}", f"version {CONTRACT.version}"
    elif schema["digest"] != CONTRACT.digest:
        theirs, ours = f"digest {schema['digest'][:12]}", f"digest {CONTRACT.digest[:12]}"
    else:
        return
    raise ModelError(f"the model {name} was fitted for another schema ({theirs}, and this is {ours}): fit it again.")


def _manifest(pipeline: Pipeline, features: pd.DataFrame | None = None, label: Any = None) -> dict[str, Any]:
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


def _skops_io() -> ModuleType:
    """Import skops without what it does to trust all of scikit-learn.

    For its list of types to trust, skops asks scikit-learn for all estimators there are, which imports every module of
    it: a second, a third of the time that a small file takes. Nothing but `_TRUSTED` is to be trusted here anyway.
    """
    everything = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = everything
    module: ModuleType = skops.io
    return module
