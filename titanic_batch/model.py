"""The model: the one pipeline, fitted, with all that must be known about it."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import lzma
import os
import pickle
import platform
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Self

import joblib
import pandas as pd
import pyarrow as pa
import sklearn
import sklearn.utils
from numpy.typing import NDArray
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from titanic_batch import __version__
from titanic_batch.artifact import DEFAULT_MODEL, FORMAT, FORMAT_VERSION, model_format, read_artifact, with_manifest
from titanic_batch.errors import DataError, ModelError
from titanic_batch.pipeline import CATEGORIES, DEFAULT_SEED, build_pipeline
from titanic_batch.publishing import Publication, writing
from titanic_batch.schema import CONTRACT, KEY, LABEL
from titanic_batch.scoring import Scorer

REFERENCE = "reference"

# All that our pipeline is built of, beyond NumPy and what Python itself has.
_TRUSTED = (
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._tree.Tree",
    "titanic_batch.features.BinEncoder",
    "titanic_batch.features.CategoryEncoder",
)

# What unpacking, unpickling and building raise where the bytes are no model.
_CANNOT_BE_BUILT = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    pickle.PickleError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How often a model is right about ``rows`` passengers whose fate is known."""

    rows: int
    accuracy: float


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

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit on valid passengers with their label, and return this model.

        ``frame`` has the columns of `schema.LABELLED_PASSENGER`, any others are left aside; it is neither changed nor
        kept.

        Raises
        ------
        DataError
            There are no rows, or all have the same label.
        """
        features, label = features_of(frame), frame[LABEL]
        if label.nunique() < 2:
            raise DataError(f"a model needs rows of both kinds, with {LABEL} 0 and with 1: add some.")
        self.pipeline.fit(features, label)
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
        self._check_fitted()
        if not len(frame):
            raise DataError("there are no rows to evaluate the model on: add some.")
        return Evaluation(len(frame), float((self.predict(frame) == frame[LABEL].to_numpy()).mean()))

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
        self._check_fitted()
        name = os.fspath(path)
        if model_format(name) == "skops":
            content = with_manifest(_skops_io().dumps(self.pipeline, compression=zipfile.ZIP_DEFLATED), self.manifest)
        else:
            buffer = io.BytesIO()
            joblib.dump(self.pipeline, buffer)
            content = buffer.getvalue()
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
            The file is missing, damaged, no model, made for another schema or by an incompatible version, or not the
            pinned one.
        UsageError
            It is called neither ``.skops`` nor ``.joblib``.
        """
        artifact = read_artifact(os.fspath(path), sha256)
        if artifact.manifest is None and sha256 is None:
            raise ModelError(
                f"{artifact.name} is a pickle, which can run any code: name its digest with --model-sha256 if you "
                "trust it, or use a .skops model."
            )
        if artifact.manifest is not None:
            _check_schema(artifact.name, artifact.manifest)
        model = cls.__new__(cls)
        model.pipeline = _built(artifact.name, artifact.content, pickled=artifact.manifest is None)
        model.manifest = artifact.manifest or _manifest(model.pipeline)
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

    def scores(self) -> Callable[[pa.Table], tuple[pa.Array, pa.Array]]:
        """Return what makes labels (int8) and probabilities (float64) of accepted rows, table after table."""
        scorer = Scorer(self.pipeline)

        def scores(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
            scored = scorer.score(rows)
            return pa.array(scored.label), pa.array(scored.probability)

        return scores

    @property
    def seed(self) -> int:
        """Seed of the forest."""
        return int(self.pipeline[-1].random_state)

    def _check_fitted(self) -> None:
        if not hasattr(self.pipeline, "feature_names_in_"):
            raise ModelError("this model is not fitted yet: call fit with labelled passengers, or load a model.")


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


def _built(name: str, content: bytes, *, pickled: bool) -> Pipeline:
    """Build the pipeline of a model file."""
    skops_io = _skops_io()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        try:
            pipeline = joblib.load(io.BytesIO(content)) if pickled else skops_io.loads(content, trusted=_TRUSTED)
        except skops_io.exceptions.UntrustedTypesFoundException:
            raise ModelError(f"the model {name} holds types that are not ours to trust: fit it again.") from None
        except _CANNOT_BE_BUILT as error:
            raise ModelError(
                f"the model {name} can't be built with scikit-learn {sklearn.__version__} "
                f"({type(error).__name__}): fit it again with the versions that are installed."
            ) from None
    if not isinstance(pipeline, Pipeline) or not hasattr(pipeline, "feature_names_in_"):
        raise ModelError(f"{name} holds no fitted pipeline: make one with titanic fit.")
    return pipeline


def _check_schema(name: str, manifest: dict[str, Any]) -> None:
    schema = manifest.get("schema")
    if not isinstance(schema, dict):
        schema = {}
    if (schema.get("version"), schema.get("digest")) != (CONTRACT.version, CONTRACT.digest):
        raise ModelError(
            f"the model {name} was fitted for version {schema.get('version')} of the schema, and this is version "
            f"{CONTRACT.version}: fit it again."
        )


def _manifest(pipeline: Pipeline, features: pd.DataFrame | None = None, label: Any = None) -> dict[str, Any]:
    classifier = pipeline[-1]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "python_version": platform.python_version(),
        "libraries": {"scikit-learn": sklearn.__version__, "pandas": pd.__version__},
        "schema": {"version": CONTRACT.version, "digest": CONTRACT.digest},
        "features": list(pipeline[:-1].get_feature_names_out()),
        "categories": CATEGORIES,
        "classifier": type(classifier).__name__,
        "parameters": classifier.get_params(),
    }
    if features is not None:
        hashes = pd.util.hash_pandas_object(features.assign(**{LABEL: label}), index=False)
        manifest["fitted_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        manifest["training"] = {
            "rows": len(features),
            "digest": hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest(),
        }
        manifest["metrics"] = {}
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
