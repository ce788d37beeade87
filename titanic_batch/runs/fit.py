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
from titanic_batch.models.cross_validation import Comparison, RepeatedFolds, compare
from titanic_batch.models.evaluation import QUICK_METRICS, Evaluation
from titanic_batch.models.fitting import fit_and_evaluate
from titanic_batch.models.full_evaluation import FullEvaluation, full_evaluation
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import frame_of_rows, packaged_rows, split_label
from titanic_batch.models.tuning import SEARCHES, Search, Tried, require_parameters, search_parameters
from titanic_batch.notebook.schema import LABELLED_CONTRACT
from titanic_batch.notebook.words import DEFAULT_SEED
from titanic_batch.reading.sources import Inputs, PassedOver
from titanic_batch.runs.batch import validate
from titanic_batch.runs.options import RunOptions, one_of
from titanic_batch.writing.publishing import Publication


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What to fit on, how to fit, and what to find out about the model.

    Attributes
    ----------
    train
        The labelled rows to fit on, or None for the packaged rows.
    output
        The model file, locked until the model is saved.
    run
        How `batch.validate` reads rows. Its rejects file is for the rows of ``train``.
    holdout
        Labelled rows to evaluate on, which are never fitted on.
    seed
        Seed of the classifier and of the folds.
    parameters
        Parameters of the classifier.
    search
        Search the notebook's grid for the best values of all other parameters.
    min_accuracy
        Save nothing where the cross-validated accuracy, or that on the holdout, is less.
    compare
        A model file to compare with: its pipeline is fitted on the same folds.
    html
        A page to write about the model. This takes longer than the fit.
    tried
        Called as a search progresses.

    Raises
    ------
    UsageError
        A parameter or a search is unknown, or the accuracy is no share.
    """

    train: Inputs | None
    output: str
    run: RunOptions
    holdout: Inputs | None = None
    seed: int = DEFAULT_SEED
    parameters: Mapping[str, Any] = field(default_factory=dict)
    search: Search | None = None
    min_accuracy: float = 0
    compare: str | None = None
    html: str | None = None
    tried: Tried | None = None

    def __post_init__(self) -> None:
        require_parameters(self.parameters)
        if not 0 <= self.min_accuracy <= 1:
            raise UsageError(f"an accuracy of at least {self.min_accuracy}: it is a number from 0 to 1.")
        if self.search is not None:
            one_of(SEARCHES, self.search, "--search")

    @property
    def inputs(self) -> list[Inputs]:
        """What is read, other than packaged rows."""
        return [inputs for inputs in (self.train, self.holdout) if inputs is not None]


@dataclass(slots=True)
class FitReport:
    """What was fitted, how good it is, and where it was saved.

    Attributes
    ----------
    model, output
        The model and its file.
    cross_validation, holdout
        How good it is, on the holdout if there was one.
    found
        The parameters that a search found.
    comparisons
        How it compares with another model, by metric.
    full, html
        What a page shows, and its file, if one was asked for.
    failure
        Why nothing was saved; None: it was.
    passed_over
        Files in named folders that were not read.
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
    passed_over: Sequence[PassedOver] = ()


def fit(options: FitOptions) -> FitReport:
    """Fit a model on the labelled rows of a file, evaluate it, save it, and return how good it is.

    Raises
    ------
    DataError
        Too many rows were rejected, or there are too few to fit on.
    InputError, OutputBusyError, OutputError, TransferError, UsageError
        As `batch.validate` does.
    ModelError
        The model to compare with can't be loaded.
    """
    output, html = options.output, options.html
    file_format = model_format(output)
    if html is not None and not html.lower().endswith((".html", ".htm")):
        raise UsageError(f"the report is an HTML page, and {html} is called otherwise: name it .html.")
    for inputs in options.inputs:
        inputs.require_all()
    old = None if options.compare is None else Model.load(options.compare)
    with Publication() as publication:
        saved = publication.add(output)
        page = None if html is None else publication.add(html)
        rows = packaged_rows() if options.train is None else labelled_frame(options.train, options.run)
        without_rejects = replace(options.run, rejects=None)
        held_out = None if options.holdout is None else labelled_frame(options.holdout, without_rejects)
        report = _fitted(rows, held_out, old, options)
        report.passed_over = [file for inputs in options.inputs for file in inputs.passed_over]
        if report.failure is None:
            content = report.model.to_bytes(file_format)
            saved.file.write(content)
            if page is not None and report.full is not None:
                from titanic_batch.models.page import page_of  # most fits write none

                report.html = page.name
                written = page_of(report.model, report.full, sha256(content).hexdigest())
                page.file.write(written.encode(errors="backslashreplace"))
            publication.publish()
    return report


def labelled_frame(labelled: Inputs, options: RunOptions) -> pd.DataFrame:
    """Return the accepted rows of labelled rows.

    Raises
    ------
    DataError
        More rows were rejected than ``options`` allows.
    InputError, OutputBusyError, OutputError, TransferError
        As `batch.validate` does.
    """
    accepted: list[pa.Table] = []
    report = validate(labelled.require_all(), LABELLED_CONTRACT, options, accepted.append)
    if report.failure:
        where = f"; the rejected rows are in {report.rejects}" if report.rejects else ""
        remarks = "".join(f" ({remark.removesuffix('.')})" for remark in report.remarks())
        raise DataError(f"{', '.join(labelled.names)}: {report.failure}: no model fitted{where}{remarks}.")
    return frame_of_rows(accepted, LABELLED_CONTRACT)


def _fitted(rows: pd.DataFrame, held_out: pd.DataFrame | None, old: Model | None, options: FitOptions) -> FitReport:
    """Fit a model, and evaluate it in all the ways that were asked for."""
    found = _found(rows, options)
    model, evaluation = fit_and_evaluate(rows, options.seed, {**found, **options.parameters})
    report = FitReport(model, options.output, evaluation, found)
    if held_out is not None:
        report.holdout = model.evaluate(held_out)
        model.record("holdout", report.holdout)
    report.failure = _failure(report, options.min_accuracy)
    if report.failure is None and (options.html is not None or old is not None):
        folds = RepeatedFolds(*split_label(rows), options.seed, options.run.threads)
        repeated = folds.cross_validate(model.pipeline, importance=options.html is not None)
        if old is not None:
            of_old = folds.cross_validate(old.pipeline)
            report.comparisons = [compare(of_old, repeated, metric) for metric in QUICK_METRICS]
        if options.html is not None:
            report.full = full_evaluation(model.pipeline, repeated, folds)
            model.record("repeated_cross_validation", repeated.evaluation())
    return report


def _found(rows: pd.DataFrame, options: FitOptions) -> dict[str, Any]:
    """Return the parameters that a search finds; none without one."""
    if options.search is None:
        return {}
    return search_parameters(
        *split_label(rows),
        options.seed,
        options.run.threads,
        search=options.search,
        fixed=options.parameters,
        tried=options.tried,
    )


def _failure(report: FitReport, least: float) -> str | None:
    """Return why a model is not good enough; None: it is."""
    for name, evaluation in (("cross-validated", report.cross_validation), ("holdout", report.holdout)):
        if evaluation is not None and evaluation.accuracy < least:
            return f"the {name} accuracy is {evaluation.accuracy:.4f}, less than {least:g}"
    return None
