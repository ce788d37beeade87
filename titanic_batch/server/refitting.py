"""Fitting on request: the new model is saved and served, unless it is less accurate than the present one."""

from __future__ import annotations

import hashlib
import hmac
import threading
from dataclasses import dataclass

import pyarrow as pa

from titanic_batch.checking.judging import Judge
from titanic_batch.errors import ModelError
from titanic_batch.models.cross_validation import cross_validate
from titanic_batch.models.fitting import fit_and_evaluate
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import frame_of_rows, packaged_rows, split_label
from titanic_batch.notebook.schema import LABELLED_CONTRACT
from titanic_batch.server.bodies import table_from_body
from titanic_batch.server.media import Limits
from titanic_batch.server.problems import FitIsRunningError
from titanic_batch.server.reloading import ModelHolder
from titanic_batch.server.served_model import judged_blocks, rejects_table
from titanic_batch.server.turns import Turn
from titanic_batch.writing.publishing import check_creatable

DEFAULT_MARGIN = 0.02


@dataclass(frozen=True, slots=True)
class Refit:
    """The result of a fit: how accurate the new and the present model are, and whether the new one serves now.

    If any row was rejected, no model was fitted; ``rejects`` is as in `served_model.Outcome`.
    """

    rows: int
    rejected: int
    rejects: pa.Table
    accuracy: float = 0.0
    present_accuracy: float = 0.0
    taken: bool = False


class Refitter:
    """Fits models for a server, one at a time.

    Parameters
    ----------
    token
        The bearer token that clients must send.
    margin
        How much less accurate than the present model a new one may be. Each model's accuracy is that of its own
        cross-validation, on the rows that it was fitted on.
    """

    def __init__(self, token: str, margin: float = DEFAULT_MARGIN) -> None:
        self._token = _digest(token)
        self._margin = margin
        self._running = threading.Lock()

    def is_authorized(self, authorization: str) -> bool:
        """Tell whether an ``Authorization`` header contains the token, by a comparison in constant time."""
        scheme, _, token = authorization.partition(" ")
        return hmac.compare_digest(_digest(token.strip()), self._token) and scheme.lower() == "bearer"

    def fit(self, holder: ModelHolder, media_type: str, body: bytes, limits: Limits, turn: Turn) -> Refit:
        """Fit a model on the rows of a CSV or Parquet body, and have the holder save it unless it is worse.

        The body's turn ends when its rows have been read.

        Raises
        ------
        DataError
            The body is not a table of labelled rows, or has too few of them.
        FitIsRunningError
            Another fit is running.
        ModelError, OutputBusyError, OutputError, TransferError
            The model can't be saved. The present one stays.
        RequestEntityTooLarge
            The body exceeds the limits.
        """
        if not self._running.acquire(blocking=False):
            raise FitIsRunningError
        try:
            return self._fit(holder, media_type, body, limits, turn)
        finally:
            self._running.release()

    def _fit(self, holder: ModelHolder, media_type: str, body: bytes, limits: Limits, turn: Turn) -> Refit:
        if holder.current is None:
            raise ModelError("there is no model yet to hold a new one against: try again.")
        present = holder.current.model
        blocks = judged_blocks(Judge(LABELLED_CONTRACT), table_from_body(media_type, body, limits), limits)
        rows, rejected = sum(block.count for block in blocks), sum(len(block.rejected) for block in blocks)
        rejects = rejects_table(blocks)
        if rejected:
            return Refit(rows, rejected, rejects)
        frame = frame_of_rows((block.output for block in blocks), LABELLED_CONTRACT)
        turn.close()
        check_creatable(holder.path)
        model, evaluation = fit_and_evaluate(frame)
        present_accuracy = _accuracy_of(present)
        taken = evaluation.accuracy >= present_accuracy - self._margin
        if taken:
            holder.save(model)
        return Refit(rows, 0, rejects, evaluation.accuracy, present_accuracy, taken)


def _accuracy_of(model: Model) -> float:
    fit = model.info.fit
    if fit is not None and "cross_validation" in fit.metrics:
        return float(fit.metrics["cross_validation"]["accuracy"]["value"])
    # The reference model was fitted on the packaged rows; any other without recorded metrics is measured on them too.
    folds = cross_validate(model.pipeline, *split_label(packaged_rows()), model.seed)
    return folds.evaluation(["accuracy"]).accuracy


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
