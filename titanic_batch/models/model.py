"""The model: the fitted pipeline with all that is known about it."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import joblib
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from titanic_batch.errors import DataError, ModelError, UsageError
from titanic_batch.models.artifact import DEFAULT_MODEL, ModelFormat, model_format, read_artifact, with_manifest
from titanic_batch.models.cross_validation import without_few_rows_warning
from titanic_batch.models.evaluation import Evaluation, evaluate
from titanic_batch.models.loading import built, caution, loading, unpickled
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.provenance import fit_record_of, manifest_of
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import DEFAULT_SEED, LABEL, ROWS
from titanic_batch.scoring.drift import Drift, Reference
from titanic_batch.scoring.scorer import Scorer
from titanic_batch.version import __version__
from titanic_batch.writing.publishing import Publication

REFERENCE = "reference"


class Model:
    """Predicts the label of rows, and how probable it is.

    Parameters
    ----------
    seed
        Makes fits reproducible: the same data, seed and versions give the same predictions, bit by bit.
    **parameters
        Parameters of the classifier that overrule the pipeline's defaults: those that ``titanic fit --param`` takes.

    Attributes
    ----------
    pipeline : Pipeline
        The features and the classifier.
    source : str
        The file that the model was loaded from, ``reference``, or ``fitted``.
    sha256 : str or None
        SHA-256 of that file.
    caution : str or None
        A warning where another version of scikit-learn fitted it.

    Examples
    --------
    >>> model = Model().fit(train)                      # doctest: +SKIP
    >>> model.evaluate(holdout).accuracy                # doctest: +SKIP
    """

    def __init__(self, seed: int = DEFAULT_SEED, **parameters: Any) -> None:
        self.pipeline: Pipeline = build_pipeline(seed, **parameters)
        self.source = "fitted"
        self.sha256: str | None = None
        self.caution: str | None = None
        self._info: Manifest | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        """What is known of the model, as JSON data; empty until it is fitted.

        It is a copy. Members may be missing from the manifest of a pickle, which does not tell how it was fitted.
        """
        return {} if self._info is None else copy.deepcopy(self._info.to_json())

    @property
    def info(self) -> Manifest:
        """The manifest as typed data.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        if self._info is None:
            raise _not_fitted()
        return self._info

    def fit(self, frame: pd.DataFrame) -> Self:
        """Fit on valid rows with their label, and return the model itself.

        Parameters
        ----------
        frame
            Of shape (n_samples, n_columns), with the columns of the labelled contract; others are ignored. It is
            neither changed nor kept.

        Raises
        ------
        DataError
            There are no rows, or all have the same label.
        UsageError
            The parameters can't be combined, or not with so few rows.
        """
        X, y = features_of(frame), frame[LABEL]
        if y.nunique() < 2:
            raise DataError(f"a model needs rows of both kinds, with {LABEL} 0 and with 1: add some.")
        try:
            with without_few_rows_warning():
                self.pipeline.fit(X, y)
        except ValueError as error:
            # The rows are valid, so it is about the parameters.
            raise UsageError(f"these parameters can't be fitted: {' '.join(str(error).split())}") from None
        self._info = replace(manifest_of(self.pipeline), fit=fit_record_of(self.pipeline, X, y))
        return self

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the likelier label of each row, 0 or 1, of shape (n_samples,).

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        labels: NDArray[Any] = self.pipeline.predict(frame)
        return labels

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the probabilities of labels 0 and 1, ``float64`` of shape (n_samples, 2).

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
        """Add an evaluation to the manifest.

        Parameters
        ----------
        name
            Its name among the metrics.
        evaluation
            How good the model is.
        predictions
            How many of the held-out probabilities lie in each tenth: the reference for the drift of predictions.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        info = self.info.with_evaluation(name, evaluation.to_json())
        self._info = info if predictions is None else info.with_predictions(predictions)

    def to_bytes(self, file_format: ModelFormat = "skops") -> bytes:
        """Return the content of a model file. Equal models fitted at the same time give equal bytes.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        if file_format == "skops":
            import skops.io  # imports all of scikit-learn, and is not needed to load a model

            return with_manifest(skops.io.dumps(self.pipeline), self.manifest)
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
            Its suffix is another.
        """
        name = os.fspath(path)
        content = self.to_bytes(model_format(name))
        with Publication() as publication:
            publication.add(name).file.write(content)
            publication.publish()

    @classmethod
    def load(cls, path: str | os.PathLike[str], sha256: str | None = None) -> Self:
        """Load a model that `save` wrote.

        Parameters
        ----------
        path
            The file.
        sha256
            Pins the file: the digest that it must have, in hex. Required for a ``.joblib`` file, which is a pickle and
            can run any code.

        Raises
        ------
        ModelError
            The file is missing, damaged, no model, made for another schema or by an incompatible version, not the
            pinned one, or contains anything that our pipelines don't.
        TransferError
            Reading the file failed midway, or there is not enough memory.
        UsageError
            Its suffix is neither ``.skops`` nor ``.joblib``.
        """
        with loading(os.fspath(path)):
            artifact = read_artifact(os.fspath(path), sha256)
            if artifact.manifest is None and sha256 is None:
                raise ModelError(
                    f"{artifact.name} is a pickle, which can run any code: name its digest with --model-sha256 if you "
                    "trust it, or use a .skops model."
                )
            model = cls()
            if artifact.manifest is None:
                model.pipeline, fitted_by = unpickled(artifact)
                model._info = manifest_of(model.pipeline, fitted_by)
            else:
                model.pipeline = built(artifact, artifact.manifest)
                model._info = artifact.manifest
        model.caution = caution(artifact.name, model._info.libraries["scikit-learn"])
        model.source = artifact.name
        model.sha256 = artifact.sha256
        return model

    @classmethod
    def reference(cls) -> Self:
        """Return the reference model: fitted on the packaged rows with the default seed and parameters."""
        model = cls().fit(packaged_rows())
        model.source = REFERENCE
        return model

    @property
    def is_reference(self) -> bool:
        """Whether this is the `reference` model."""
        return self.source == REFERENCE

    @property
    def identity(self) -> str:
        """What identifies the model in all that is written with it: the digest of its file, else its source."""
        return self.sha256 or self.source

    @property
    def provenance(self) -> dict[str, str]:
        """Metadata to write with predictions, which tells where they come from."""
        return {
            "titanic_batch.model": self.identity,
            "titanic_batch.version": __version__,
            "titanic_batch.schema_version": str(CONTRACT.version),
        }

    def scores(self) -> ModelScores:
        """Return a function that scores tables of accepted rows, and counts them to measure drift.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        fit = None if self._info is None else self._info.fit
        return ModelScores(Scorer(self.pipeline, None if fit is None else Reference.from_json(fit.reference)))

    @property
    def seed(self) -> int:
        """The seed of the classifier."""
        return int(self.pipeline[-1].random_state)

    def _check_fitted(self) -> None:
        if not hasattr(self.pipeline, "feature_names_in_"):
            raise _not_fitted()


class ModelScores:
    """Scores tables of accepted rows, and counts what they are like."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
        """Return the labels (int8) and probabilities (float64) of ``rows``, in their order."""
        scored = self._scorer.score(rows)
        return pa.array(scored.label), pa.array(scored.probability)

    @property
    def measures_drift(self) -> bool:
        """Whether the model records the rows of its fit, so that others can be compared with them."""
        return self._scorer.measures_drift

    def take_drift(self) -> Drift | None:
        """Return how the rows since the last call compare with those of the fit; None if unknown, or without rows."""
        return self._scorer.take_drift()


def resolve_model(name: str | None, sha256: str | None = None) -> Model:
    """Return the named model; without a name ``./model.skops`` if it exists, else the reference model.

    Raises
    ------
    ModelError
        The model that is named, or exists, can't be loaded; or a digest is pinned and there is no file.
    """
    if name is None:
        try:
            os.lstat(DEFAULT_MODEL)
        except FileNotFoundError:
            pass
        except OSError:  # reading it says what is wrong
            name = DEFAULT_MODEL
        else:
            name = DEFAULT_MODEL
    if name is not None:
        return Model.load(name, sha256)
    if sha256 is not None:
        raise ModelError("a model is pinned by its SHA-256 and none is named: name it with --model.")
    return Model.reference()


def _not_fitted() -> ModelError:
    return ModelError(f"this model is not fitted yet: call fit with labelled {ROWS}, or load a model.")
