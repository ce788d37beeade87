"""The job that makes a model: read labelled rows, choose parameters, fit, evaluate, save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pandas as pd
import pyarrow as pa

from titanic_batch.errors import DataError, UsageError
from titanic_batch.models.artifact import model_format
from titanic_batch.models.evaluation import (
    QUICK_METRICS,
    REPEATS,
    Comparison,
    CrossValidation,
    Evaluation,
    FullEvaluation,
    check_count,
    compare,
    cross_validate,
    notebook_protocol,
)
from titanic_batch.models.fitting import fit_and_evaluate
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import features_of, packaged_rows
from titanic_batch.models.tuning import Search, Tried, search_parameters
from titanic_batch.passenger.pipeline import GROUPS, NOTEBOOK_PARAMETERS, build_pipeline
from titanic_batch.passenger.schema import LABELLED_CONTRACT
from titanic_batch.passenger.words import DEFAULT_SEED, LABEL
from titanic_batch.reading.sources import Source
from titanic_batch.runs.batch import validate
from titanic_batch.runs.options import RunOptions
from titanic_batch.writing.publishing import Publication


@dataclass(slots=True)
class FitReport:
    """What was fitted, how good it is, and where it was saved.

    ``found`` are the parameters that a search chose. ``comparisons`` are with another model, one a metric. ``failure``
    tells why nothing was saved; None: it was.
    """

    model: Model
    output: str
    cross_validation: Evaluation
    found: Mapping[str, Any] = field(default_factory=dict)
    holdout: Evaluation | None = None
    comparisons: Sequence[Comparison] = ()
    full: FullEvaluation | None = None
    html: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledInput:
    """Labelled rows: what a user called them, and the sources that this stands for."""

    name: str
    sources: Sequence[Source]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to fit, and what to find out about the model.

    Attributes
    ----------
    seed
        Of the forest and of the folds.
    parameters
        Of the forest.
    search
        Look for the best of the others in the notebook's grid.
    min_accuracy
        Save nothing if the cross-validated accuracy is less, or that on the holdout.
    compare
        The name of a model file to compare with: its pipeline is fitted on the same folds.
    html
        The name of a page to write about the model. This takes longer than fitting.
    """

    seed: int = DEFAULT_SEED
    parameters: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None
    min_accuracy: float = 0
    compare: str | None = None
    html: str | None = None


def fit(
    train: LabelledInput | None,
    output: str,
    options: RunOptions,
    plan: Plan = Plan(),  # it is frozen
    *,
    holdout: LabelledInput | None = None,
    tried: Tried | None = None,
) -> FitReport:
    """Fit a model on the labelled rows of a file, evaluate it, save it, and say how good it is.

    Parameters
    ----------
    train
        Without one, the packaged passengers.
    output
        The model file, locked until the model is saved.
    options
        How `batch.validate` is to read the rows. Their rejects file is that of ``train``.
    plan
        How to fit.
    holdout
        Labelled rows to evaluate on, never fitted on.
    tried
        Is told how far a search has come.

    Raises
    ------
    DataError
        Too many rows were rejected, or there are too few to fit on.
    InputError, OutputBusyError, OutputError, TransferError, UsageError
        As `batch.validate` does.
    ModelError
        The model to compare with can't be loaded.
    """
    kind = model_format(output)
    if plan.html is not None and not plan.html.lower().endswith((".html", ".htm")):
        raise UsageError(f"the report is an HTML page, and {plan.html} is called otherwise: name it .html.")
    old = None if plan.compare is None else Model.load(plan.compare)
    with Publication() as publication:
        saved = publication.add(output)
        page = None if plan.html is None else publication.add(plan.html)
        passengers = packaged_rows() if train is None else labelled_frame(train, options)
        held_out = None if holdout is None else labelled_frame(holdout, replace(options, rejects=None))
        report = _fitted(passengers, held_out, output, plan, options.threads, old, tried)
        if report.failure is None:
            content = report.model.to_bytes(kind)
            saved.file.write(content)
            if page is not None and report.full is not None:
                from titanic_batch.models.page import page_of  # most fits write none

                report.html = page.name
                text = page_of(report.model, report.full, sha256(content).hexdigest())
                page.file.write(text.encode(errors="backslashreplace"))
            publication.publish()
    return report


def _fitted(
    passengers: pd.DataFrame,
    held_out: pd.DataFrame | None,
    output: str,
    plan: Plan,
    jobs: int,
    old: Model | None,
    tried: Tried | None,
) -> FitReport:
    X, y = features_of(passengers), passengers[LABEL].to_numpy()
    parameters = dict(plan.parameters)
    found: Mapping[str, Any] = {}
    if plan.search is not None:
        check_count(y)
        found = search_parameters(X, y, plan.seed, jobs, search=plan.search, fixed=parameters, tried=tried)
        parameters = {**found, **parameters}
    model, evaluation = fit_and_evaluate(passengers, plan.seed, parameters)
    report = FitReport(model, output, evaluation, found)
    metrics = model.manifest["metrics"]
    if held_out is not None:
        report.holdout = model.evaluate(held_out)
        metrics["holdout"] = report.holdout.to_json()
    report.failure = _failure(report, plan.min_accuracy)
    if report.failure is None and (plan.html is not None or old is not None):
        repeated = cross_validate(
            model.pipeline, X, y, plan.seed, jobs, repeats=REPEATS, importance=plan.html is not None
        )
        if old is not None:
            folds = cross_validate(old.pipeline, X, y, plan.seed, jobs, repeats=REPEATS)
            report.comparisons = [compare(folds, repeated, metric) for metric in QUICK_METRICS]
        if plan.html is not None:
            report.full = _full_evaluation(model, repeated, X, plan.seed, jobs)
            metrics["repeated_cross_validation"] = repeated.evaluation().to_json()
    return report


def _full_evaluation(model: Model, repeated: CrossValidation, X: pd.DataFrame, seed: int, jobs: int) -> FullEvaluation:
    notebook = build_pipeline(seed, **NOTEBOOK_PARAMETERS)
    return FullEvaluation(
        repeated,
        cross_validate(notebook, X, repeated.y, seed, jobs, repeats=REPEATS),
        notebook_protocol(model.pipeline, X, repeated.y),
        notebook_protocol(notebook, X, repeated.y),
        list(X.columns),
        {
            column: {str(value): repeated.on((X[column] == value).to_numpy()) for value in sorted(X[column].unique())}
            for column in GROUPS
        },
    )


def _failure(report: FitReport, least: float) -> str | None:
    for name, evaluation in (("cross-validated", report.cross_validation), ("holdout", report.holdout)):
        if evaluation is not None and evaluation.accuracy < least:
            return f"the {name} accuracy is {evaluation.accuracy:.4f}, less than {least:g}"
    return None


def labelled_frame(labelled: LabelledInput, options: RunOptions) -> pd.DataFrame:
    """Return the accepted rows of an input of labelled rows.

    Raises
    ------
    DataError
        More rows were rejected than ``options`` allows.
    InputError, OutputBusyError, OutputError, TransferError
        As `batch.validate` does.
    """
    accepted: list[pa.Table] = []
    report = validate(labelled.sources, LABELLED_CONTRACT, options, accepted.append)
    if report.failure:
        where = f"; the rejected rows are in {report.rejects}" if report.rejects else ""
        raise DataError(f"{labelled.name}: {report.failure}: no model fitted{where}.")
    schema = pa.schema(list(LABELLED_CONTRACT.types.items()))
    frame: pd.DataFrame = pa.concat_tables([schema.empty_table(), *accepted]).unify_dictionaries().to_pandas()
    return frame
