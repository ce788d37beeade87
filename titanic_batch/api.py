"""The public Python API: functions that score, validate and fit files. The ``titanic`` command calls them too.

File names are resolved here, once; the layers below work with sources and targets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from titanic_batch.errors import UsageError
from titanic_batch.notebook.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.notebook.words import DEFAULT_SEED, LABEL
from titanic_batch.reading.formats import Format, format_of
from titanic_batch.reading.paths import require_path
from titanic_batch.reading.sources import Inputs, PassedOver, Source, find_inputs
from titanic_batch.runs import batch, folders
from titanic_batch.runs.folders import FolderItem
from titanic_batch.runs.options import Progress, RejectLimit, RunOptions
from titanic_batch.runs.report import RunReport
from titanic_batch.runs.shards import Shard
from titanic_batch.writing.file_names import require_distinct_files
from titanic_batch.writing.predictions import PredictedColumns
from titanic_batch.writing.streams import STDOUT, is_stream

if TYPE_CHECKING:
    from titanic_batch.models.model import Model
    from titanic_batch.models.tuning import Search, Tried
    from titanic_batch.runs.fit import FitReport

Name = str | os.PathLike[str]
Names = Name | Sequence[Name] | Inputs
"""A CSV or Parquet file, a folder, a glob or ``-`` for stdin, or a sequence of these; or what `find_inputs` found."""


class ValidateKeywords(TypedDict, total=False):
    """Options that `validate_file`, `score_file` and `score_folder` share.

    Attributes
    ----------
    max_rejects
        Number of rejected rows to tolerate, or a percentage of all rows such as ``"2.5%"``. Default: 0.
    min_rows
        Fail if there are fewer rows. Default: 0.
    jobs
        Number of threads. Default: the number of cores that this process may use.
    input_format
        ``"csv"``, ``"csv.gz"``, ``"csv.zst"`` or ``"parquet"``. Default: by suffix; CSV for stdin.
    progress
        Called repeatedly with the number of rows so far, how much of the input is done, and how much there is in total
        (None if unknown). `score_folder` counts the input in files.
    also_written
        Other files that the caller writes during or after the call. None of them may be an input or an output.
    """

    max_rejects: int | str | RejectLimit
    min_rows: int
    jobs: int | None
    input_format: str | None
    progress: Progress | None
    also_written: Sequence[Name]


class ScoreKeywords(ValidateKeywords, total=False):
    """Options of `score_file` and `score_folder`.

    Attributes
    ----------
    model_sha256
        SHA-256 that the model file must have, in hex. Required for a ``.joblib`` file; not allowed if the model is a
        `Model`.
    keep
        Names of input columns to copy to the predictions. Default: none.
    keep_key_text
        Name of a column to add to the predictions: the key as it stands in the input, as text. Default: no such column.
    max_psi
        Fail if the population stability index (PSI) of a feature or of the predictions, compared with the rows that the
        model was fitted on, exceeds this limit and cannot be explained by chance. Not allowed for a ``.joblib``, which
        does not record these rows. Default: no limit.
    output_format
        Format of the predictions, one of those of ``input_format``. Default: by the suffix of the output, or, in a
        folder, the format of the input.
    wait
        Seconds to wait for another run that is writing the same output. Default: 0.
    detailed
        Whether the report contains SHA-256 digests of inputs and outputs, and the distribution of the predictions.
        Default: False; reports of `score_folder` always contain them.
    """

    model_sha256: str | None
    keep: Sequence[str]
    keep_key_text: str | None
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
    """Score the rows of the inputs, and write the predictions to one file.

    Parameters
    ----------
    inputs
        A CSV or Parquet file, a folder, a glob or ``"-"`` for stdin, or a sequence of these.
    output
        A CSV or Parquet file, or ``"-"`` for stdout. A file is published complete or, if the run fails, not at all.
    model
        A fitted model, or the path of a model file.
    rejects
        File for rejected rows. Default: ``<output>.rejects.csv``, which exists only if rows were rejected. There is no
        default if the output is a stream; ``max_rejects`` must then be 0.
    report
        Report to fill in. If the run raises, it shows how far the run got. Default: a new one.
    **options
        See `ScoreKeywords`.

    Returns
    -------
    RunReport
        What was done. Its ``failure`` says why no predictions were published, or is None.

    Raises
    ------
    TitanicError
        The run could not be completed; `titanic_batch.errors` has a subclass for each cause. Rows that break the
        contract don't raise: the report contains them, and has a ``failure`` if there are too many.
    TypeError
        There is no such option.
    """
    _require_known(options, ScoreKeywords.__optional_keys__)
    run_options, path, also_written = _run_options(options, rejects=rejects), _path(output), _also_written(options)
    found = _inputs(inputs, run_options.input_format)
    report = report or RunReport()
    report.passed_over = found.passed_over
    sources, target = sources_and_target(found, path, run_options, also_written=also_written)
    return batch.score(sources, target, _columns(model, options), run_options, report)


def score_folder(
    inputs: Names,
    folder: Name,
    model: Model | Name,
    *,
    resume: bool = False,
    shard: Shard | str | None = None,
    on_begin: Callable[[list[FolderItem]], None] = lambda items: None,
    on_done: Callable[[FolderItem], None] = lambda item: None,
    on_passed_over: Callable[[Sequence[PassedOver]], None] = lambda files: None,
    **options: Unpack[ScoreKeywords],
) -> list[FolderItem]:
    """Score each input file separately, and write its predictions to a file of its own in a folder.

    An input that fails doesn't stop the others. The limits in ``options`` apply to each input by itself.

    Parameters
    ----------
    inputs
        A CSV or Parquet file, a folder or a glob, or a sequence of these.
    folder
        Output folder, created if it doesn't exist. Outputs are named after their inputs; rejected rows are written to
        its subfolder ``_rejects``.
    model
        A fitted model, or the path of a model file.
    resume
        Skip inputs whose output is unchanged and was made from the same content with the same model, package version
        and options.
    shard
        Score only part I of N of the inputs: ``"I/N"`` with I from 0 to N-1, or ``"auto"`` in a Kubernetes Indexed Job.
        Default: all inputs.
    on_begin
        Called with all items before the first one is scored.
    on_done
        Called with each item when it is done.
    on_passed_over
        Called, before anything else, with the files in named folders that are not read, if there are any.
    **options
        See `ScoreKeywords`.

    Returns
    -------
    list of FolderItem
        One for each input, in order. Its ``failure`` says why it could not be scored, or is None.

    Raises
    ------
    TitanicError
        The run as a whole could not be completed. Errors of a single input are in its item instead.
    TypeError
        There is no such option.
    """
    _require_known(options, ScoreKeywords.__optional_keys__)
    run_options, folder_path = _run_options(options, resume=resume, shard=shard), _path(folder)
    also_written = _also_written(options)
    found = _inputs(inputs, run_options.input_format)
    if found.passed_over:
        on_passed_over(found.passed_over)
    items = folders.make_items(found.require_all(), folder_path, run_options.output_format)
    require_distinct_files(found.files, also_written)
    folders.check_places(items, folder_path, also_written)
    if run_options.shard is not None:
        items = run_options.shard.of(items, folders.input_sizes(items))
    on_begin(items)
    folders.score_each(items, folder_path, _columns(model, options), run_options, on_done)
    return items


def validate_file(
    inputs: Names,
    *,
    labelled: bool = False,
    rejects: Name | None = None,
    with_values: bool = False,
    **options: Unpack[ValidateKeywords],
) -> RunReport:
    """Check rows exactly as `score_file` does, without importing scikit-learn.

    Parameters
    ----------
    inputs
        A CSV or Parquet file, a folder, a glob or ``"-"`` for stdin, or a sequence of these.
    labelled
        Whether to check the label too, as `fit_file` does.
    rejects
        File for rejected rows. Default: they are not written.
    with_values
        Whether the report contains the values of the first rows that break each rule.
    **options
        See `ValidateKeywords`.

    Returns
    -------
    RunReport
        What was found. Its ``failure`` says why the data did not pass, or is None.

    Raises
    ------
    TitanicError, TypeError
        As `score_file`.
    """
    _require_known(options, ValidateKeywords.__optional_keys__)
    run_options, also_written = _run_options(options, rejects=rejects, with_values=with_values), _also_written(options)
    found = _inputs(inputs, run_options.input_format)
    require_distinct_files(found.files, [run_options.rejects, *also_written])
    report = batch.validate(found.require_all(), LABELLED_CONTRACT if labelled else CONTRACT, run_options)
    report.passed_over = found.passed_over
    return report


def fit_file(
    train: Name | Inputs | None,
    output: Name,
    *,
    holdout: Name | Inputs | None = None,
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
    """Fit a model on labelled rows, evaluate it by 10-fold cross-validation, and save it.

    Parameters
    ----------
    train, holdout
        Labelled rows to fit on and to evaluate on: a CSV or Parquet file, a folder or a glob. Without ``train``, the
        rows that ship with the package.
    output
        Model file, ending in ``.skops`` or ``.joblib``. Not written if the report has a ``failure``.
    seed
        Seed of the classifier and of the folds. Default: `DEFAULT_SEED` of the notebook's folder.
    parameters
        Parameters of the classifier, by name. They override the defaults and are excluded from a search.
    search
        ``"grid"`` or ``"halving"``: how to search the notebook's grid for the other parameters. Default: not.
    min_accuracy
        Fail if the accuracy, cross-validated or on the holdout, is lower than this number from 0 to 1.
    compare
        A model file to compare with, on the same folds. Default: none.
    html
        File for an HTML page about the model. Its evaluation takes longer than fitting the model. Default: none.
    max_rejects, rejects, jobs
        As for `validate_file`. ``rejects`` is for rows of ``train``; ``jobs`` also counts processes that evaluate.
    tried
        Called during a grid search with the number of candidates tried so far and the number of all candidates.

    Returns
    -------
    FitReport
        The model and its evaluation. Its ``failure`` says why the model was not saved, or is None.

    Raises
    ------
    TitanicError
        As `score_file`, and if too many rows are rejected.
    """
    from titanic_batch.runs.fit import FitOptions, fit

    options = FitOptions(
        train=None if train is None else _inputs(train),
        output=_path(output),
        holdout=None if holdout is None else _inputs(holdout),
        run=RunOptions.of(max_rejects=max_rejects, rejects=_path_if_any(rejects), jobs=jobs),
        seed=DEFAULT_SEED if seed is None else seed,
        parameters=parameters or {},
        search=cast("Search | None", search),  # FitOptions checks it
        min_accuracy=min_accuracy,
        compare=_path_if_any(compare),
        html=_path_if_any(html),
        tried=tried,
    )
    read = [name for inputs in options.inputs for name in inputs.files]
    require_distinct_files(read, [options.run.rejects, options.output, options.html])
    return fit(options)


def sources_and_target(
    inputs: Inputs, output: str, options: RunOptions, *, also_written: Sequence[str] = ()
) -> tuple[Sequence[Source], batch.Target]:
    """Return the sources, and the target that the name of an output refers to.

    ``also_written`` lists other files that the caller writes.

    Raises
    ------
    InputError, TransferError
        The inputs have an error.
    UsageError
        Two names conflict, or a name has no suffix that determines its format.
    """
    to_stream = output == STDOUT or is_stream(output)
    if to_stream and options.rejects is None and options.max_rejects != RejectLimit():
        raise UsageError("rejects have no place beside a stream: name a file with --rejects, or allow none.")
    rejects = options.rejects or (None if to_stream else f"{output}.rejects.csv")
    require_distinct_files(inputs.files, [output, rejects, *also_written])
    sources = inputs.require_all()
    file_format = options.output_format or format_of(output, "--output-format")
    return sources, batch.Target(output, file_format, rejects, rejects_if_any=options.rejects is None)


def _columns(model: Model | Name, options: ScoreKeywords) -> PredictedColumns:
    from titanic_batch.models.model import Model

    pin, keep = options.get("model_sha256"), options.get("keep", ())
    if isinstance(model, Model) and pin is not None:
        raise UsageError("model_sha256 pins the file of a model, and this one is at hand: give its file's name.")
    loaded = model if isinstance(model, Model) else Model.load(model, pin)
    scores = loaded.scores()
    if options.get("max_psi") is not None and not scores.measures_drift:
        raise UsageError(
            f"--max-psi compares the rows with those of the fit, of which {loaded.source} tells nothing: "
            "leave it out, or use a .skops model."
        )
    kept = [keep] if isinstance(keep, str) else keep
    key_text = options.get("keep_key_text")
    return PredictedColumns(CONTRACT, LABEL, scores, kept, key_text, loaded.provenance, scores.take_drift)


def _run_options(keywords: ValidateKeywords, *, rejects: Name | None = None, **more: Any) -> RunOptions:
    not_run_options = {"model_sha256", "also_written"}
    given = {name: value for name, value in keywords.items() if name not in not_run_options}
    return RunOptions.of(**given, rejects=_path_if_any(rejects), **more)


def _require_known(options: ValidateKeywords, known: frozenset[str]) -> None:
    """Raise a TypeError for an unknown option, as Python does for an unknown parameter."""
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}: there are {', '.join(sorted(known))}")


def _inputs(names: Names, input_format: Format | None = None) -> Inputs:
    return names if isinstance(names, Inputs) else find_inputs(_paths(names), input_format)


def _paths(names: Name | Sequence[Name]) -> list[str]:
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
    require_path(path)
    return path


def _path_if_any(name: Name | None) -> str | None:
    return None if name is None else _path(name)
