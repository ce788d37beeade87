"""The model: the one pipeline, fitted, with all that must be known about it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, Self

import joblib
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from titanic_batch.errors import DataError, ModelError, UsageError
from titanic_batch.models.artifact import (
    DEFAULT_MODEL,
    ModelFormat,
    model_format,
    read_artifact,
    with_manifest,
)
from titanic_batch.models.building import built, skops_io, unpickled
from titanic_batch.models.cross_validation import without_few_rows_warning
from titanic_batch.models.evaluation import Evaluation, evaluate
from titanic_batch.models.manifest import caution, check_schema, manifest_of
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.passenger.pipeline import (
    DEFAULT_SEED,
    build_pipeline,
)
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.scoring.drift import Drift, Reference
from titanic_batch.scoring.scorer import Scorer
from titanic_batch.version import __version__
from titanic_batch.writing.publishing import Publication, writing

REFERENCE = "reference"


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
            with without_few_rows_warning():
                self.pipeline.fit(features, label)
        except ValueError as error:
            # The rows are valid, so this speaks of parameters.
            raise UsageError(f"these parameters can't be fitted: {' '.join(str(error).split())}") from None
        self.manifest = manifest_of(self.pipeline, features, label)
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

    def record(self, name: str, evaluation: Evaluation, predictions: Sequence[int] | None = None) -> None:
        """Add an evaluation to the manifest, and how many held-out probabilities lie in each tenth."""
        self.manifest["metrics"][name] = evaluation.to_json()
        if predictions is not None:
            self.manifest["reference"]["predictions"] = predictions

    def to_bytes(self, kind: ModelFormat = "skops") -> bytes:
        """Return the model as the content of a file; of equal models fitted at the same time, equal bytes.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        if kind == "skops":
            return with_manifest(skops_io().dumps(self.pipeline), self.manifest)
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
            model.pipeline = unpickled(artifact)
            model.manifest, model.caution = manifest_of(model.pipeline), None
        else:
            check_schema(artifact.name, artifact.manifest)
            model.pipeline = built(artifact)
            model.manifest, model.caution = artifact.manifest, caution(artifact.name, artifact.manifest)
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
        model = cls().fit(packaged_rows())
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
