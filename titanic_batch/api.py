"""The jobs as functions of file names: what a program calls, and what the command is made of.

Names are resolved here, once: below there are sources and targets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from titanic_batch.errors import UsageError
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.reading.formats import format_of
from titanic_batch.reading.sources import Source, find_sources
from titanic_batch.runs import batch, folders
from titanic_batch.runs.folders import FolderItem
from titanic_batch.runs.options import Progress, RejectLimit, RunOptions, one_of
from titanic_batch.runs.report import RunReport
from titanic_batch.runs.shards import Shard
from titanic_batch.writing.file_names import require_distinct_files
from titanic_batch.writing.predictions import PredictedColumns
from titanic_batch.writing.publishing import STDOUT, is_stream

if TYPE_CHECKING:
    from titanic_batch.models.model import Model
    from titanic_batch.models.tuning import Tried
    from titanic_batch.runs.fit import FitReport, LabelledInput

Name = str | os.PathLike[str]
Names = Name | Sequence[Name]
"""A file, a folder or a glob of CSV or Parquet, or several."""


class ValidateKeywords(TypedDict, total=False):
    """What each job takes that reads rows.

    Attributes
    ----------
    max_rejects
        Rejected rows to tolerate: a number, or a share such as ``"2.5%"``. Without it, none.
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


class ScoreKeywords(ValidateKeywords, total=False):
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
    **options: Unpack[ScoreKeywords],
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
        See `ScoreKeywords`.

    Raises
    ------
    TitanicError
        What kept the run from its end, as one of the classes in `titanic_batch.errors`. Rows that break the contract
        raise nothing: they are in the report.
    TypeError
        There is no such option.
    """
    _require_known(options, ScoreKeywords.__optional_keys__)
    given, columns, name = _options(options, rejects=rejects), _columns(model, options), _path(output)
    sources, target = sources_and_target(_paths(inputs), name, given, also_written=_also_written(options))
    return batch.score(sources, target, columns, given, report)


def score_folder(
    inputs: Names,
    folder: Name,
    model: Model | Name,
    *,
    resume: bool = False,
    shard: Shard | str | None = None,
    on_begin: Callable[[list[FolderItem]], None] = lambda items: None,
    on_done: Callable[[FolderItem], None] = lambda item: None,
    **options: Unpack[ScoreKeywords],
) -> list[FolderItem]:
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
        See `ScoreKeywords`.

    Raises
    ------
    TitanicError
        What keeps all from being scored.
    TypeError
        There is no such option.
    """
    _require_known(options, ScoreKeywords.__optional_keys__)
    given, name = _options(options, resume=resume, shard=shard), _path(folder)
    names, also_written = _paths(inputs), _also_written(options)
    sources = find_sources(names, given.input_format)
    items = folders.items_of(sources, name, given.output_format)
    require_distinct_files(names, also_written)
    folders.require_places(items, name, also_written)
    if given.shard is not None:
        items = given.shard.of(items, folders.sizes_of(items))
    on_begin(items)
    folders.score_each(items, name, _columns(model, options), given, on_done)
    return items


def validate_file(
    inputs: Names,
    *,
    labelled: bool = False,
    rejects: Name | None = None,
    with_values: bool = False,
    **options: Unpack[ValidateKeywords],
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
        See `ValidateKeywords`.

    Raises
    ------
    TitanicError, TypeError
        As `score_file` does.
    """
    _require_known(options, ValidateKeywords.__optional_keys__)
    given, names = _options(options, rejects=rejects, with_values=with_values), _paths(inputs)
    require_distinct_files(names, [given.rejects, *_also_written(options)])
    sources = find_sources(names, given.input_format)
    return batch.validate(sources, LABELLED_CONTRACT if labelled else CONTRACT, given)


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
    from titanic_batch.runs import fit

    tuning.check_names(parameters or ())
    if not 0 <= min_accuracy <= 1:
        raise UsageError(f"an accuracy of at least {min_accuracy}: it is a number from 0 to 1.")
    name, page = _path(output), _path_if_any(html)
    plan = fit.Plan(
        seed=DEFAULT_SEED if seed is None else seed,
        parameters=parameters or {},
        search=None if search is None else one_of(tuning.SEARCHES, search, "--search"),
        min_accuracy=min_accuracy,
        compare=_path_if_any(compare),
        html=page,
    )
    options = RunOptions.of(max_rejects=max_rejects, rejects=_path_if_any(rejects), jobs=jobs)
    labelled = _labelled(train, [options.rejects, name, page])
    return fit.fit(labelled, name, options, plan, holdout=_labelled(holdout, [name, page]), tried=tried)


def sources_and_target(
    names: Sequence[str], output: str, options: RunOptions, *, also_written: Sequence[str] = ()
) -> tuple[list[Source], batch.Target]:
    """Return what the names of inputs and of an output stand for.

    ``also_written`` names files that are written besides.

    Raises
    ------
    InputError
        An input is not there.
    UsageError
        The names contradict each other, or tell no format.
    """
    to_stream = output == STDOUT or is_stream(output)
    if to_stream and options.rejects is None and options.max_rejects != RejectLimit():
        raise UsageError("rejects have no place beside a stream: name a file with --rejects, or allow none.")
    rejects = options.rejects or (None if to_stream else f"{output}.rejects.csv")
    require_distinct_files(names, [output, rejects, *also_written])
    sources = find_sources(names, options.input_format)
    file_format = options.output_format or format_of(output, "--output-format")
    return sources, batch.Target(output, file_format, rejects, rejects_if_any=options.rejects is None)


def _labelled(name: Name | None, written: Sequence[str | None]) -> LabelledInput | None:
    """Return what a name stands for, none of which is ``written``."""
    from titanic_batch.runs.fit import LabelledInput

    path = _path_if_any(name)
    if path is None:
        return None
    require_distinct_files([path], written)
    return LabelledInput(path, find_sources([path]))


def _columns(model: Model | Name, options: ScoreKeywords) -> PredictedColumns:
    from titanic_batch.models.model import Model

    pin, keep = options.get("model_sha256"), options.get("keep", ())
    if isinstance(model, Model) and pin is not None:
        raise UsageError("model_sha256 pins the file of a model, and this one is at hand: give its file's name.")
    loaded = model if isinstance(model, Model) else Model.load(model, pin)
    scores = loaded.scores()
    kept = [keep] if isinstance(keep, str) else keep
    return PredictedColumns(CONTRACT, LABEL, scores, kept, loaded.provenance, scores.take_drift)


def _options(keywords: ValidateKeywords, *, rejects: Name | None = None, **more: Any) -> RunOptions:
    names = {"model_sha256", "also_written"}
    given = {name: value for name, value in keywords.items() if name not in names}
    return RunOptions.of(**given, rejects=_path_if_any(rejects), **more)


def _require_known(options: ValidateKeywords, known: frozenset[str]) -> None:
    """Refuse what Python would, had a mistyped option been a plain parameter."""
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}: there are {', '.join(sorted(known))}")


def _paths(names: Names) -> list[str]:
    paths = [_path(name) for name in ([names] if isinstance(names, str | os.PathLike) else names)]
    if not paths:
        raise UsageError("nothing to read: name a file, a folder or a glob.")
    return paths


def _also_written(options: ValidateKeywords) -> list[str]:
    names = options.get("also_written", ())
    return _paths(names) if names else []


def _path(name: Name) -> str:
    path = os.fspath(name)
    if not path:
        raise UsageError("the name of a file is empty.")
    return path


def _path_if_any(name: Name | None) -> str | None:
    return None if name is None else _path(name)
