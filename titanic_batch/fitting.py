"""The job that makes a model: read labelled rows, fit, evaluate, save."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa

from titanic_batch.artifact import model_format
from titanic_batch.batch import Inputs, validate
from titanic_batch.errors import DataError
from titanic_batch.evaluation import cross_validate, tuned_parameters
from titanic_batch.model import Evaluation, Model, packaged_passengers
from titanic_batch.pipeline import DEFAULT_SEED
from titanic_batch.schema import LABELLED_CONTRACT


@dataclass(frozen=True, slots=True)
class FitReport:
    """What was fitted, how good it is, and where it was saved."""

    model: Model
    output: str
    cross_validation: Evaluation
    holdout: Evaluation | None


def fit(
    train: str | None,
    output: str,
    limits: Inputs,
    *,
    holdout: str | None = None,
    tune: bool = False,
    seed: int | None = None,
) -> FitReport:
    """Fit a model on the labelled rows of a file, evaluate it, save it, and say how good it is.

    Parameters
    ----------
    train
        Without one, the packaged passengers.
    output
        The model file.
    limits
        How `batch.validate` is to read the files; its names are set here. Its rejects file is that of ``train``.
    holdout
        Labelled rows to evaluate on, never fitted on.
    tune
        Take the parameters that win the notebook's grid search.
    seed
        Of the forest and of the folds.

    Raises
    ------
    DataError
        Too many rows were rejected, or there are too few to fit on.
    InputError, OutputBusyError, OutputError, TransferError, UsageError
        As `batch.validate` does.
    """
    model_format(output)
    seed = DEFAULT_SEED if seed is None else seed
    passengers = packaged_passengers() if train is None else labelled_frame(train, limits)
    held_out = None if holdout is None else labelled_frame(holdout, replace(limits, rejects=None))
    parameters = tuned_parameters(passengers, seed, limits.jobs) if tune else {}
    model = Model(seed, **parameters)
    cross_validation = cross_validate(model, passengers)
    model.fit(passengers)
    evaluation = None if held_out is None else model.evaluate(held_out)
    model.manifest["metrics"] = {"cross_validation_accuracy": cross_validation.accuracy} | (
        {} if evaluation is None else {"holdout_accuracy": evaluation.accuracy, "holdout_rows": evaluation.rows}
    )
    model.save(output)
    return FitReport(model, output, cross_validation, evaluation)


def labelled_frame(name: str, limits: Inputs) -> pd.DataFrame:
    """Return the accepted rows of a file of labelled passengers.

    Raises
    ------
    DataError
        More rows were rejected than ``limits`` allows.
    InputError, OutputBusyError, OutputError, TransferError, UsageError
        As `batch.validate` does.
    """
    accepted: list[pa.Table] = []
    report = validate(replace(limits, names=[name]), LABELLED_CONTRACT, accepted.append)
    if report.failure:
        where = f"; the rejected rows are in {report.rejects}" if report.rejects else ""
        raise DataError(f"{name}: {report.failure}: no model fitted{where}.")
    schema = pa.schema(list(LABELLED_CONTRACT.types.items()))
    frame: pd.DataFrame = pa.concat_tables([schema.empty_table(), *accepted]).unify_dictionaries().to_pandas()
    return frame
