"""The model: the fitted pipeline with all that is known about it.

A model file of the known form is scored without its pipeline, and so without scikit-learn, whose import takes longer
than a small job. So nothing here imports scikit-learn or pandas before a method needs it.
"""

from __future__ import annotations

import copy
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from titanic_batch.errors import DataError, ModelError, UsageError
from titanic_batch.models.artifact import (
    PROOF,
    SCHEMA,
    Artifact,
    ModelFormat,
    artifact_of,
    loading,
    model_format,
    read_artifact,
    sealed,
)
from titanic_batch.models.loading import audited, caution, proven_predictor
from titanic_batch.models.manifest import Manifest
from titanic_batch.models.proof import Proof
from titanic_batch.models.scores import ModelScores
from titanic_batch.notebook.folder import REFERENCE_FILE, TRAINING_ROWS, file_in_folder
from titanic_batch.notebook.labels import EVENT_PLACE, codes_of
from titanic_batch.notebook.schema import CONTRACT
from titanic_batch.notebook.words import DEFAULT_SEED, LABEL, LABELS, ROWS
from titanic_batch.scoring.drift import Reference
from titanic_batch.scoring.predictor import Predictor
from titanic_batch.scoring.scorer import Scorer
from titanic_batch.version import __version__
from titanic_batch.writing.publishing import Publication

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from titanic_batch.models.evaluation import Evaluation

REFERENCE = "reference"

Engine = Literal["plain", "scikit-learn"]
"""What computes predictions: the arrays of a proven model file, or the pipeline itself."""


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
    source : str
        The file that the model was loaded from, ``reference``, or ``fitted``.
    sha256 : str or None
        SHA-256 of that file.
    caution : str or None
        A warning where another version of scikit-learn fitted the `pipeline`, once that is built.
    """

    def __init__(self, seed: int = DEFAULT_SEED, **parameters: Any) -> None:
        from titanic_batch.notebook.pipeline import build_pipeline

        # As JSON writes them, and as the form of a file that is scored without scikit-learn has them.
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()}
        self._begin(build_pipeline(seed, **plain), seed)

    def _begin(self, pipeline: Pipeline | None, seed: int | None = None) -> None:
        """Set what a model has before it is fitted or loaded."""
        self.source = "fitted"
        self.sha256: str | None = None
        self.caution: str | None = None
        self._info: Manifest | None = None
        self._pipeline, self._seed = pipeline, seed
        self._file: Artifact | None = None
        self._plain: Predictor | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The features and the classifier, not to be changed once they are fitted.

        That of a model file is built when it is first asked for, and that of the `reference` model is fitted then: any
        version of scikit-learn can do so, but not build what another has fitted.

        Raises
        ------
        ModelError
            It can't be built.
        TransferError
            There is not enough memory.
        """
        if self._pipeline is None:
            with loading(self.source):
                self._pipeline = self._built() if self._file is not None else _fitted_reference()
        return self._pipeline

    def _built(self) -> Pipeline:
        """Return the pipeline in the file, and note whether another scikit-learn has fitted it."""
        from titanic_batch.models.pipelines import built

        assert self._file is not None  # noqa: S101  # asked before
        pipeline = built(self._file, audited(self._file, self.info), self.info)
        self.caution = caution(self._file.name, self.info.libraries["scikit-learn"])
        return pipeline

    @property
    def engine(self) -> Engine:
        """What computes the predictions of `scores`; both give the same bits."""
        return "scikit-learn" if self._plain is None else "plain"

    def predictor(self) -> Predictor:
        """Return what computes the predictions of `scores`.

        Raises
        ------
        ModelError
            The model is not fitted.
        """
        self._check_fitted()
        if self._plain is not None:
            return self._plain
        from titanic_batch.scoring.pipelines import PipelinePredictor

        return PipelinePredictor(self.pipeline, LABELS[1], CONTRACT.without_key)

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
            raise ModelError(f"this model is not fitted yet: call fit with labelled {ROWS}, or load a model.")
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
            There are no rows, all have the same label, or one has another than the two.
        UsageError
            The parameters can't be combined, or not with so few rows.
        """
        from titanic_batch.models.cross_validation import without_few_rows_warning
        from titanic_batch.models.provenance import fit_record_of, manifest_of
        from titanic_batch.models.training_data import split_label
        from titanic_batch.scoring.shortcuts import require_same_features

        X, y = split_label(frame)
        if len(set(y.tolist())) < 2:
            raise DataError(
                f"a model needs rows of both kinds, with {LABEL} {LABELS[0]} and with {LABELS[1]}: add some."
            )
        pipeline = self.pipeline
        # Nothing is left of a file that it was loaded from.
        self.source, self.sha256, self.caution, self._plain, self._file = "fitted", None, None, None, None
        try:
            with without_few_rows_warning():
                pipeline.fit(X, y)
        except ValueError as error:
            # The rows are valid, so it is about the parameters.
            raise UsageError(f"these parameters can't be fitted: {' '.join(str(error).split())}") from None
        if len(pipeline) > 1:
            require_same_features(pipeline[:-1], X)
        self._info = replace(manifest_of(pipeline, seed=self._seed), fit=fit_record_of(pipeline, X, y))
        return self

    def predict(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the likelier label of each row, as in the column that was fitted on, of shape (n_samples,).

        Raises
        ------
        ModelError
            The model is not fitted, or its `pipeline` can't be built.
        """
        self._check_fitted()
        labels: NDArray[Any] = self.pipeline.predict(frame)
        return labels

    def predict_proba(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the probabilities of both labels, ``float64`` of shape (n_samples, 2); those of the event come last.

        Raises
        ------
        ModelError
            The model is not fitted, or its `pipeline` can't be built.
        """
        self._check_fitted()
        probabilities: NDArray[Any] = self.pipeline.predict_proba(frame)
        return probabilities if EVENT_PLACE == 1 else probabilities[:, ::-1]

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
        from titanic_batch.models.evaluation import evaluate

        return evaluate(codes_of(frame[LABEL]), self.predict_proba(frame)[:, 1])

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
        """Return the content of a model file, which can be loaded.

        Equal models fitted at the same time give equal bytes.

        Raises
        ------
        ModelError
            The model is not fitted, or holds what can't be saved in this format; then the message names it.
        """
        self._check_fitted()
        from titanic_batch.models.reading_back import archived, require_loadable

        if file_format == "skops":
            members = archived(self.pipeline)
            content = sealed(members | self._proof(members[SCHEMA]), self.manifest)
        else:
            import joblib

            buffer = io.BytesIO()
            joblib.dump(self.pipeline, buffer)
            content = buffer.getvalue()
        require_loadable(artifact_of(f"fitted.{file_format}", file_format, content), self.pipeline)
        return content

    def _proof(self, schema: bytes) -> dict[str, bytes]:
        """Return the member that proves an archive of this schema; none for a classifier whose form is not known."""
        from sklearn.ensemble import RandomForestClassifier

        classifier = self.pipeline[-1]
        if type(classifier) is not RandomForestClassifier:
            return {}
        structure = hashlib.sha256(schema).hexdigest()
        proof = Proof.of(structure, classifier.n_features_in_, lambda X: classifier.predict_proba(X)[:, EVENT_PLACE])
        return {PROOF: proof.to_bytes()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a ``.skops`` or ``.joblib`` file, which appears whole or not at all.

        Raises
        ------
        ModelError
            The model is not fitted, or can't be saved in this format.
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
            model = cls.__new__(cls)
            model._begin(None)
            model.source, model.sha256 = artifact.name, artifact.sha256
            model._take(artifact)
        return model

    def _take(self, artifact: Artifact) -> None:
        """Become the model in a file."""
        if artifact.manifest is None:
            from titanic_batch.models.pipelines import unpickled
            from titanic_batch.models.provenance import manifest_of

            self._pipeline, fitted_by = unpickled(artifact)
            self._info = manifest_of(self._pipeline, fitted_by)
        else:
            self._info, self._file, self._seed = artifact.manifest, artifact, artifact.manifest.seed
            self._plain = proven_predictor(artifact, audited(artifact, self._info), self._info)
            if self._plain is None:
                _ = self.pipeline  # what can't be built is refused now
                self._file = None
            return
        self.caution = caution(artifact.name, self._info.libraries["scikit-learn"])

    @classmethod
    def reference(cls) -> Self:
        """Return the reference model: fitted on the packaged rows with the default seed and parameters.

        It comes as a file in the notebook's folder; where there is none, it is fitted now.

        Raises
        ------
        ModelError
            There are no packaged rows.
        """
        if (file := file_in_folder(REFERENCE_FILE)) is not None:
            model = cls.load(file)
            model.sha256 = model._file = None  # it is known by no other name, and can be fitted anywhere
        elif file_in_folder(TRAINING_ROWS) is not None:
            from titanic_batch.models.training_data import packaged_rows

            model = cls().fit(packaged_rows())
        else:
            raise ModelError("there is no reference model: name a model with --model, or make one with titanic fit.")
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
        fit = self.info.fit
        return ModelScores(Scorer(self.predictor(), None if fit is None else Reference.from_json(fit.reference)))

    @property
    def seed(self) -> int:
        """The seed that the pipeline was built with; the default one if a pickle does not tell it."""
        known = self._seed if self._info is None else self._info.seed
        return DEFAULT_SEED if known is None else known

    def _check_fitted(self) -> None:
        _ = self.info


def _fitted_reference() -> Pipeline:
    from titanic_batch.models.training_data import packaged_rows

    return Model().fit(packaged_rows()).pipeline
