"""The jobs as functions of file names: what a program calls, and what the command is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from titanic_batch.errors import UsageError
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.reading.formats import FORMATS, Format
from titanic_batch.runs import batch, folders
from titanic_batch.runs.folders import Unit
from titanic_batch.runs.options import Inputs, Progress, RejectLimit, one_of
from titanic_batch.runs.report import RunReport
from titanic_batch.runs.shards import Shard
from titanic_batch.writing.predictions import PredictedColumns

if TYPE_CHECKING:
    from titanic_batch.models.model import Model
    from titanic_batch.models.tuning import Tried
    from titanic_batch.runs.fit import FitReport


Name = str | os.PathLike[str]
Names = Name | Sequence[Name]
"""A file, a folder or a glob of CSV or Parquet, or several."""


class RunOptions(TypedDict, total=False):
    """What each job takes that reads rows.

    Attributes
    ----------
    max_rejects
        Rejected rows to bear: a number, or a share such as ``"2.5%"``. Without it, none.
    min_rows
        Fail if there are fewer rows.
    jobs
        Threads. Without it, the cores that this process may use.
    input_format
        ``"csv"``, ``"csv.gz"``, ``"csv.zst"`` or ``"parquet"``, whatever the inputs are called.
    progress
        Called now and then with the rows so far, how much of the inputs is done, and how much there is, if known.
    also_written
        Files that the caller writes meanwhile or afterwards; none that is read or written may be one of them.
    """

    max_rejects: int | str | RejectLimit
    min_rows: int
    jobs: int | None
    input_format: str | None
    progress: Progress | None
    also_written: Sequence[Name]


class ScoreOptions(RunOptions, total=False):
    """What scoring takes besides.

    Attributes
    ----------
    model_sha256
        What the model's file must have, in hex; only where the model is a file.
    keep
        Columns to carry over.
    max_psi
        Fail if the rows moved further from those that the model was fitted on.
    output_format
        As ``input_format``, for the predictions.
    wait
        Seconds to wait for another run that writes the same.
    detailed
        Whether reports are to have digests of inputs and outputs, and how the predictions are distributed.
    """

    model_sha256: str | None
    keep: Sequence[str]
    max_psi: float | None
    output_format: str | None
    wait: float
    detailed: bool


def score_file(
    inputs: Names,
    output: Name,
    model: Model | Name,
    *,
    rejects: Name | None = None,
    report: RunReport | None = None,
    **options: Unpack[ScoreOptions],
) -> RunReport:
    """Write a prediction for every row into one file, and return what was done.

    Parameters
    ----------
    output
        A CSV or Parquet file. It appears whole, or, where the report has a ``failure``, not at all.
    model
        A fitted model, or the file of one.
    rejects
        Where rejected rows are written; otherwise beside the output, as ``<output>.rejects.csv``.
    report
        What to report in; of a run that raises it tells how far it came.
    **options
        See `ScoreOptions`.

    Raises
    ------
    TitanicError
        What kept the run from its end, as one of the classes in `titanic_batch.errors`. Rows that break the contract
        raise nothing: they are in the report.
    TypeError
        There is no such option.
    """
    given, name, kind = _scoring(inputs, rejects, options), _path(output), _output_format(options)
    return batch.score(given, CONTRACT, _columns(model, options), name, kind, report)


def score_folder(
    inputs: Names,
    folder: Name,
    model: Model | Name,
    *,
    resume: bool = False,
    shard: Shard | str | None = None,
    on_begin: Callable[[list[Unit]], None] = lambda units: None,
    on_done: Callable[[Unit], None] = lambda unit: None,
    **options: Unpack[ScoreOptions],
) -> list[Unit]:
    """Write a file of predictions for each input, each a job of its own, and return what became of each.

    One that fails doesn't stop the others: it has a ``failure``. The limits of the options hold for each.

    Parameters
    ----------
    folder
        Made if it isn't there. Predictions are called as their inputs; rejects go to its ``_rejects``.
    model
        A fitted model, or the file of one.
    resume
        Skip inputs whose predictions are there, unchanged, and were made from the same in the same way.
    shard
        Score only this part of the inputs, ``"I/N"``, I from 0.
    on_begin, on_done
        Called with all of them before the first is scored, and with each when it is done.
    **options
        See `ScoreOptions`.

    Raises
    ------
    TitanicError
        What keeps all from being scored.
    TypeError
        There is no such option.
    """
    given = _scoring(inputs, None, options)
    name = _path(folder)
    shard = Shard.parse(shard) if isinstance(shard, str) else shard
    units = folders.units_of(given, name, _output_format(options))
    if shard is not None:
        units = shard.of(units, folders.sizes_of(units))
    on_begin(units)
    folders.score_each(units, given, CONTRACT, _columns(model, options), name, resume=resume, on_done=on_done)
    return units


def validate_file(
    inputs: Names,
    *,
    labelled: bool = False,
    rejects: Name | None = None,
    with_values: bool = False,
    **options: Unpack[RunOptions],
) -> RunReport:
    """Check rows exactly as `score_file` does, and return what was found. This imports no scikit-learn.

    Parameters
    ----------
    labelled
        Whether to check the label too, as `fit_file` does.
    rejects
        Where rejected rows are written; otherwise nowhere.
    with_values
        Whether the report is to have what the first bad rows hold.
    **options
        See `RunOptions`.

    Raises
    ------
    TitanicError, TypeError
        As `score_file` does.
    """
    _check_options(options, RunOptions.__optional_keys__)
    given = _inputs(inputs, rejects, options, with_values=with_values)
    return batch.validate(given, LABELLED_CONTRACT if labelled else CONTRACT)


def fit_file(
    train: Name | None,
    output: Name,
    *,
    holdout: Name | None = None,
    seed: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    search: str | None = None,
    min_accuracy: float = 0,
    compare: Name | None = None,
    html: Name | None = None,
    max_rejects: int | str | RejectLimit = 0,
    rejects: Name | None = None,
    jobs: int | None = None,
    tried: Tried | None = None,
) -> FitReport:
    """Fit a model on a file of labelled passengers, evaluate it by 10-fold cross-validation, save it, and report.

    Parameters
    ----------
    train
        None: the passengers that the package carries.
    output
        The model, a ``.skops`` or ``.joblib`` file; not written where the report has a ``failure``.
    holdout
        Labelled passengers to evaluate on that are not fitted on.
    seed
        Of the forest and the folds.
    parameters
        Of the forest; see `titanic_batch.pipeline.PARAMETERS`.
    search
        ``"grid"`` or ``"halving"``: look for the best of the other parameters in the notebook's grid.
    min_accuracy
        Fail if the accuracy is less, by cross-validation or on the holdout.
    compare
        A model file to compare with, on the same folds.
    html
        A page to write about the model. This takes longer than fitting.
    max_rejects, rejects, jobs
        As for `validate_file`.
    tried
        Called with how many candidates of a search are done, and how many there are.

    Raises
    ------
    TitanicError
        As `score_file` does, and where too many rows are rejected.
    """
    from titanic_batch.models import tuning
    from titanic_batch.passenger.pipeline import DEFAULT_SEED
    from titanic_batch.runs import fit as fitting

    tuning.require_parameters(parameters or ())
    if not 0 <= min_accuracy <= 1:
        raise UsageError(f"an accuracy of at least {min_accuracy}: it is a number from 0 to 1.")
    options = fitting.FitOptions(
        seed=DEFAULT_SEED if seed is None else seed,
        parameters=parameters or {},
        search=None if search is None else one_of(tuning.SEARCHES, search, "--search"),
        min_accuracy=min_accuracy,
        compare=_path_if_any(compare),
        html=_path_if_any(html),
        inputs=_inputs(train or "-", rejects, {"max_rejects": max_rejects, "jobs": jobs}),
        train=_path_if_any(train),
        output=_path(output),
        holdout=_path_if_any(holdout),
        tried=tried,
    )
    return fitting.fit(options)


def _columns(model: Model | Name, options: ScoreOptions) -> PredictedColumns:
    from titanic_batch.models.model import Model

    pin, max_psi, keep = options.get("model_sha256"), options.get("max_psi"), options.get("keep", ())
    if isinstance(model, Model) and pin is not None:
        raise UsageError("model_sha256 pins the file of a model, and this one is at hand: give its file's name.")
    if max_psi is not None and not max_psi >= 0:
        raise UsageError(f"max_psi {max_psi}: it is a number, 0 or more.")
    loaded = model if isinstance(model, Model) else Model.load(model, pin)
    scores = loaded.scores()
    kept = [keep] if isinstance(keep, str) else keep
    return PredictedColumns(LABEL, scores, kept, loaded.provenance, scores.take_drift, max_psi)


def _inputs(names: Names, rejects: Name | None, options: RunOptions, **more: Any) -> Inputs:
    from joblib import cpu_count

    limit, jobs, kind = options.get("max_rejects", 0), options.get("jobs"), options.get("input_format")
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs {jobs}: there is at least 1.")
    paths = _paths(names)
    if not paths:
        raise UsageError("nothing to read: name a file, a folder or a glob.")
    return Inputs(
        names=paths,
        format=None if kind is None else one_of(FORMATS, kind, "input_format"),
        max_rejects=limit if isinstance(limit, RejectLimit) else RejectLimit.parse(str(limit)),
        min_rows=options.get("min_rows", 0),
        rejects=_path_if_any(rejects),
        also_written=_paths(options.get("also_written", ())),
        jobs=int(cpu_count()) if jobs is None else jobs,
        progress=options.get("progress"),
        **more,
    )


def _scoring(names: Names, rejects: Name | None, options: ScoreOptions) -> Inputs:
    _check_options(options, ScoreOptions.__optional_keys__)
    return _inputs(names, rejects, options, wait=options.get("wait", 0), detailed=options.get("detailed", False))


def _output_format(options: ScoreOptions) -> Format | None:
    kind = options.get("output_format")
    return None if kind is None else one_of(FORMATS, kind, "output_format")


def _check_options(options: RunOptions, known: frozenset[str]) -> None:
    """Refuse what Python would, had a mistyped option been a plain parameter."""
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}: there are {', '.join(sorted(known))}")


def _paths(names: Names) -> list[str]:
    return [_path(name) for name in ([names] if isinstance(names, str | os.PathLike) else names)]


def _path(name: Name) -> str:
    path = os.fspath(name)
    if not path:
        raise UsageError("the name of a file is empty.")
    return path


def _path_if_any(name: Name | None) -> str | None:
    return None if name is None else _path(name)
