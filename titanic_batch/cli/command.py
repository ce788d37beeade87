"""The ``titanic`` command: parse, make one call, print, choose the exit code.

What a command needs is imported when it runs, so that help, usage errors and completion are answered at once.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import gc
import io
import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from titanic_batch import errors
from titanic_batch.runs.exit_codes import (
    DATA_BROKE_THE_CONTRACT,
    DONE,
    FAULT_OF_OURS,
    INTERRUPTED,
    READER_WENT_AWAY,
    TERMINATED,
    TRANSFER_FAILED,
    WRONG_USAGE,
    code_of,
    gravest,
)
from titanic_batch.runs.options import one_of
from titanic_batch.version import __version__
from titanic_batch.writing import stopping
from titanic_batch.writing.publishing import discard_all

if TYPE_CHECKING:
    from titanic_batch.api import ScoreOptions
    from titanic_batch.models.model import Model
    from titanic_batch.reading.formats import Format
    from titanic_batch.runs.folders import Unit
    from titanic_batch.runs.options import Progress
    from titanic_batch.runs.record import RunRecord
    from titanic_batch.runs.report import RunReport


_STOPPED_BY = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
_GRACE_SECONDS = 1.0
_LAST_SECONDS = 0.8
_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_M_ARENA_MAX = -8  # glibc's malloc.h
# What pandera and pyarrow import where they find it, and never use for checking rows.
_NOT_FOR_CHECKS = ("hypothesis", "pandas", "polars")
_MAX_JOBS = 512  # more threads than these only cost memory, and many more can't be started


class _Run:
    """What there is once in a process: how it speaks, and what it is about to record."""

    command: str | None = None
    is_process = False  # rather than a call within a program
    log_format = "text"
    record: RunRecord | None = None
    told_to_stop = False


class _LeftOut:
    """A finder by which some libraries count as not installed, as they may be for those that import them.

    A third of the time of a small check would go into importing them. They are left out for the whole process, so this
    is for one that does nothing else.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in _NOT_FOR_CHECKS:
            raise ModuleNotFoundError(f"No module named {name!r} (titanic validate leaves it out)", name=name)


class _Ended(Exception):  # noqa: N818  # as SystemExit
    """The run ends with this exit code, and this to say."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Commands(typer.core.TyperGroup):
    """Turns what is no bug of ours into a line on stderr and an exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run; help and the version, which the parser prints, fail as what a command prints does."""
        try:
            return super().main(*args, **options)
        except (OSError, SystemExit) as error:
            # On a broken pipe rich and typer exit with 1.
            cause = error.__context__ if isinstance(error, SystemExit) else error
            code, message = _ending(cause) if isinstance(cause, OSError) else (FAULT_OF_OURS, None)
            if code == FAULT_OF_OURS:
                raise
            if message is not None:
                _say(message, "error", exit_code=code)
            _give_up_stdout()
            raise SystemExit(code) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (errors.TitanicError, _Ended, stopping.Stopped, BrokenPipeError, MemoryError) as error:
            code, message = _ending(error)
            if message is not None:
                _say(message, "error", exit_code=code)
            _Run.told_to_stop = isinstance(error, stopping.Stopped)
            if isinstance(error, errors.TransferError | BrokenPipeError):
                _give_up_stdout()
            raise typer.Exit(code) from None
        except typer.Exit:
            raise
        except Exception as error:
            if _Run.log_format != "json" or _ending(error)[0] != FAULT_OF_OURS:
                raise
            if (message_of := getattr(error, "format_message", None)) is not None:  # the parser's own
                _say(message_of(), "error", exit_code=WRONG_USAGE)
                raise typer.Exit(WRONG_USAGE) from None
            # Not the exception's own text: a library's can quote what a field holds.
            frames = traceback.extract_tb(error.__traceback__)
            places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
            _say(_ending(error)[1] or "", "critical", exit_code=FAULT_OF_OURS, traceback=places)
            raise typer.Exit(FAULT_OF_OURS) from None


def _ending(error: BaseException) -> tuple[int, str | None]:
    """Return the exit code that an exception leads to, and what there is to say."""
    match error:
        case errors.TitanicError():
            return code_of(error), str(error)
        case _Ended():
            return error.code, str(error)
        case stopping.Stopped():
            return error.code, _stopped(error.code)
        case BrokenPipeError():
            return READER_WENT_AWAY, None
        case OSError(errno=errno.ENOSPC):
            return TRANSFER_FAILED, f"writing failed ({error.strerror}): free some space and try again."
        case OSError(errno=errno.EBADF):
            return code_of(errors.OutputError()), "stdout is not open for writing: lead it somewhere."
        case MemoryError():
            return TRANSFER_FAILED, "there is not enough memory: give more, or use fewer --jobs, and try again."
        case _:
            return FAULT_OF_OURS, f"a fault of the program ({type(error).__name__})."


def _stopped(code: int) -> str:
    name = next(number.name for number, known in _STOPPED_BY.items() if known == code)
    units = _Run.record.units if _Run.record is not None else None
    if units is None:
        return f"stopped by {name}: nothing was published, so run it again."
    done = sum(unit.skipped or unit.report.output is not None for unit in units)
    return f"stopped by {name}: {done} of {len(units)} inputs are done, so run it again with --resume."


app = typer.Typer(
    cls=_Commands,
    help="Predict who survived the Titanic: fit a model, check data, score files, serve requests.",
    epilog="Example: titanic score input.csv -o preds.parquet",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _finite(param: typer.CallbackParam, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise errors.UsageError(f"{param.opts[0]} {value}: it must be a finite number.")
    return value


def _named(param: typer.CallbackParam, value: str | None) -> str | None:
    if value == "":
        raise errors.UsageError(f"{param.opts[0]} is followed by an empty name: give one, or leave the option out.")
    return value


# Panels of --help, beside the options of every day.
_DATA = "What the data must be"
_MANY = "Many files, many runs"
_REPORTS = "Reports for people and machines"

# Options that several commands share.
InputsArgument = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders (the files directly in them) or globs of CSV or Parquet; - is stdin.", show_default=False
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(help="csv, csv.gz, csv.zst or parquet, whatever the inputs are called.", show_default=False),
]
MaxRejects = Annotated[str, typer.Option(help="How many rejected rows to tolerate: a number, or a share such as 2.5%.")]
MinRows = Annotated[int, typer.Option(min=0, help="Fail if there are fewer rows.")]
Rejects = Annotated[
    str | None,
    typer.Option(
        callback=_named,
        help="Write rejected rows here, with reasons. Default for score: OUTPUT.rejects.csv.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        *("--jobs", "-j"),
        min=1,
        max=_MAX_JOBS,
        help="Threads. Default: the cores this process may use.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="TITANIC_MODEL",
        callback=_named,
        help="Model file. Default: ./model.skops if it is there, else the reference model.",
        show_default=False,
    ),
]
ModelDigest = Annotated[
    str | None,
    typer.Option(
        envvar="TITANIC_MODEL_SHA256", help="The SHA-256 that the model file must have, in hex.", show_default=False
    ),
]


def _set_log_format(ctx: typer.Context, value: str) -> str:
    _Run.log_format, _Run.command = one_of(("text", "json"), value, "--log-format"), ctx.info_name
    return value


LogFormat = Annotated[
    str,
    typer.Option(
        callback=_set_log_format,
        is_eager=True,
        help="What is said on stderr: text, or json, one object a line.",
        rich_help_panel=_REPORTS,
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"titanic {__version__}", flush=True)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    _Run.log_format, _Run.command, _Run.record = "text", None, None
    # pandera reads these when it is imported; one of them would turn validation off.
    for name in [name for name in os.environ if name.startswith("PANDERA_")]:
        del os.environ[name]
    # NumPy reads this one when it is imported, and fails on what is no time.
    if "SOURCE_DATE_EPOCH" in os.environ:
        from titanic_batch.models.artifact import source_date

        if source_date() is None:
            del os.environ["SOURCE_DATE_EPOCH"]


@app.command(epilog="Example: titanic score input.csv -o preds.parquet")
def score(
    inputs: InputsArgument,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            callback=_named,
            help="Predictions: a CSV or Parquet file; a folder, for a file for each input; - is stdout.",
        ),
    ],
    model: ModelOption = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A column to carry over. Repeatable.", show_default=False)
    ] = None,
    max_rejects: MaxRejects = "0",
    rejects: Rejects = None,
    jobs: Jobs = None,
    min_rows: Annotated[int, typer.Option(min=0, help="Fail if there are fewer rows.", rich_help_panel=_DATA)] = 0,
    max_psi: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=_finite,
            help="Fail if the rows moved further from those of the fit.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    input_format: Annotated[
        str | None,
        typer.Option(
            help="csv, csv.gz, csv.zst or parquet, whatever the inputs are called.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            help="csv, csv.gz, csv.zst or parquet, whatever OUTPUT is called.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    model_sha256: Annotated[
        str | None,
        typer.Option(
            envvar="TITANIC_MODEL_SHA256",
            help="The SHA-256 that the model file must have, in hex.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Skip inputs whose predictions in the output folder are made and up to date.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Take part I of N of the input files, I from 0: I/N, or auto in a Kubernetes Indexed Job.",
            show_default=False,
            rich_help_panel=_MANY,
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0, callback=_finite, help="Seconds to wait for another run of the same output.", rich_help_panel=_MANY
        ),
    ] = 0,
    report: Annotated[
        str | None,
        typer.Option(
            callback=_named,
            help="Write a report of the run to this file, as JSON.",
            show_default=False,
            rich_help_panel=_REPORTS,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            callback=_named,
            help="Write metrics of the run to this file, for Prometheus' textfile collector.",
            show_default=False,
            rich_help_panel=_REPORTS,
        ),
    ] = None,
    log_format: LogFormat = "text",
) -> None:
    """Write a prediction for every row: its key, Survived (0 or 1) and the probability.

    Rows that break the contract are set aside with their reasons, in OUTPUT.rejects.csv. Where there are more of them
    than --max-rejects, no predictions are written and the exit code is 65.
    """
    began = time.perf_counter()
    from titanic_batch.models.artifact import DEFAULT_MODEL
    from titanic_batch.runs.record import RunRecord
    from titanic_batch.writing.file_names import check_names, is_folder

    written = [name for name in (report, metrics) if name is not None]
    others = [name for name in (output, rejects) if name is not None and not is_folder(name)]
    check_names([*inputs, model or DEFAULT_MODEL], [*written, *others])
    record = RunRecord(output, report=report, metrics=metrics, began=began)
    with _recorded(record):
        from titanic_batch import api
        from titanic_batch.passenger.schema import CONTRACT
        from titanic_batch.runs.options import RejectLimit
        from titanic_batch.runs.record import ModelUsed
        from titanic_batch.runs.report import RunReport
        from titanic_batch.runs.shards import Shard
        from titanic_batch.writing import publishing

        options: ScoreOptions = {
            "keep": keep or (),
            "max_rejects": RejectLimit.parse(max_rejects),
            "min_rows": min_rows,
            "max_psi": max_psi,
            "jobs": _jobs(jobs),
            "input_format": _format(input_format, "--input-format"),
            "output_format": _format(output_format, "--output-format"),
            "wait": wait,
            "detailed": report is not None,
            "also_written": written,
        }
        to_folder = is_folder(output)
        if not to_folder and (resume or shard is not None):
            raise errors.UsageError("--resume and --shard need a folder as the output: end its name with /.")
        part = None if shard is None else Shard.parse(shard)
        record.contract = CONTRACT
        record.options = {
            "keep": list(keep or ()),
            "max_rejects": max_rejects,
            "min_rows": min_rows,
            "max_psi": max_psi,
            "jobs": options["jobs"],
            "resume": resume,
            "shard": None if part is None else str(part),
        }
        if to_folder:
            if rejects is not None:
                raise errors.UsageError("with a folder as the output, rejects go to its _rejects: leave --rejects out.")
            publishing.make_folder(output)
        record.check_creatable()
        loaded = _model(model, model_sha256)
        record.loaded(ModelUsed(loaded.source, loaded.sha256))
        with _progress() as progress:
            options["progress"] = progress
            if to_folder:
                units = api.score_folder(
                    inputs,
                    output,
                    loaded,
                    resume=resume,
                    shard=part,
                    on_begin=record.begin,
                    on_done=_say_outcome_of,
                    **options,
                )
            else:
                record.single = RunReport()
                api.score_file(inputs, output, loaded, rejects=rejects, report=record.single, **options)
        if record.single is None:
            _say_outcome_of_all(units, output)
        else:
            _say_outcome(record.single)


def _say_outcome_of(unit: Unit) -> None:
    """Say what there is to say of one input of several."""
    if unit.error is not None:
        _say(str(unit.error), "error")
        return
    try:
        _say_outcome(unit.report, f"{unit.source.name}: ")
    except errors.DataError as error:  # it fails this input, and not the others
        _say(str(error), "error")


def _say_outcome_of_all(units: Sequence[Unit], output: str) -> None:
    """Say how many were scored; end with the gravest exit code where any failed."""
    from titanic_batch.runs.record import exit_code_of

    code = gravest(exit_code_of(unit) or DONE for unit in units)
    if code != DONE:
        failed = sum(unit.failure is not None for unit in units)
        raise _Ended(code, f"{failed} of {len(units)} inputs failed: see above.")
    if sys.stderr.isatty():
        skipped = sum(unit.skipped for unit in units)
        _say(f"{len(units) - skipped} inputs scored, {skipped} skipped: see {output}.")


def _say_outcome(report: RunReport, of: str = "") -> None:
    """Say what there is to say of a run that came to its end; raise a `DataError` where the data failed it."""
    if report.failure:
        where = f"; the rejected rows are in {report.rejects}" if report.rejects else ""
        raise errors.DataError(f"{of}{report.failure}: no predictions written{where}.")
    if report.drift and (moved := report.drift.describe()):
        _say(f"{of}{moved}.", "warning")
    if report.rejects and report.rejected:
        _say(f"{of}{report.rejected} of {report.rows} rows rejected: see {report.rejects}.", "warning")
    if not of and sys.stderr.isatty():
        _say(f"{report.accepted} rows scored: see {report.output}.")


@app.command(epilog="Example: titanic validate input.csv")
def validate(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders (the files directly in them) or globs of CSV or Parquet; - is stdin.",
            show_default=False,
        ),
    ] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Check the label too, as fit does.")] = False,
    report_format: Annotated[
        str, typer.Option("--format", help="Format of the report: text, json, junit or github.")
    ] = "text",
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", callback=_named, help="Write the report here, not to stdout.", show_default=False
        ),
    ] = None,
    show_values: Annotated[bool, typer.Option("--show-values", help="Show what the first bad rows hold.")] = False,
    max_rejects: MaxRejects = "0",
    min_rows: MinRows = 0,
    rejects: Rejects = None,
    jobs: Jobs = None,
    input_format: InputFormat = None,
    print_schema: Annotated[
        bool, typer.Option("--print-schema", help="Print the contract of a row as JSON Schema, and check nothing.")
    ] = False,
    log_format: LogFormat = "text",
) -> None:
    """Check rows against the contract, exactly as score does, and say which rules are broken how often.

    The exit code is 65 where more rows are rejected than --max-rejects.
    """
    if _Run.is_process:
        sys.meta_path.insert(0, _LeftOut())
    from titanic_batch import api
    from titanic_batch.cli import validation_report
    from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT

    contract = LABELLED_CONTRACT if labelled else CONTRACT
    if print_schema:
        _write_text(f"{json.dumps(contract.describe(), indent=2)}\n", None)
        return
    one_of(validation_report.FORMATS, report_format, "--format")
    if not inputs:
        raise errors.UsageError("nothing to validate: name a file, a folder, or - for stdin.")
    with _progress() as progress:
        report = api.validate_file(
            inputs,
            labelled=labelled,
            rejects=rejects,
            with_values=show_values,
            max_rejects=max_rejects,
            min_rows=min_rows,
            jobs=_jobs(jobs),
            input_format=_format(input_format, "--input-format"),
            progress=progress,
            also_written=() if output is None else (output,),
        )
    if report_format == "text" and output is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(validation_report.table(report))
    else:
        _write_text(validation_report.FORMATS[report_format](report, contract), output)
    if report_format == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        from titanic_batch.writing.publishing import writing

        with writing(summary), open(summary, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(validation_report.github_summary(report))
    if report.failure:
        raise typer.Exit(DATA_BROKE_THE_CONTRACT)


@app.command(epilog="Example: titanic fit data/train.csv --holdout data/holdout.csv -o model.skops")
def fit(
    train: Annotated[
        str | None,
        typer.Argument(help="Labelled passengers. Default: those that the package carries.", show_default=False),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", callback=_named, help="The model: a .skops or .joblib file.")
    ] = "model.skops",
    holdout: Annotated[
        str | None,
        typer.Option(
            callback=_named, help="Labelled passengers to evaluate on that are not fitted on.", show_default=False
        ),
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Search the notebook's grid for the best parameters.")] = False,
    search: Annotated[
        str | None,
        typer.Option(help="With --tune: grid (default) tries all on all rows, halving is faster.", show_default=False),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="Set a parameter of the forest: name=value. Repeatable.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**32 - 1, help="Seed of the forest. Default: 23.", show_default=False)
    ] = None,
    min_accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="Save nothing if the accuracy is less, 0 to 1.")
    ] = 0,
    compare: Annotated[
        str | None, typer.Option(callback=_named, help="Say whether it is better than this model.", show_default=False)
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(callback=_named, help="Write a page about the model here: an HTML file.", show_default=False),
    ] = None,
    max_rejects: MaxRejects = "0",
    rejects: Rejects = None,
    jobs: Jobs = None,
    log_format: LogFormat = "text",
) -> None:
    """Fit the model, evaluate it by 10-fold cross-validation and on --holdout, and save it."""
    from titanic_batch import api
    from titanic_batch.cli import reports
    from titanic_batch.models import tuning

    if search is not None and not tune:
        raise errors.UsageError(f"--search {search} says how to search: add --tune.")
    with _bar("{done} of {total} candidates") as tried:
        done = api.fit_file(
            train,
            output,
            holdout=holdout,
            seed=seed,
            parameters=tuning.parse_parameters(param or ()),
            search=(search or "grid") if tune else None,
            min_accuracy=min_accuracy,
            compare=compare,
            html=report,
            max_rejects=max_rejects,
            rejects=rejects,
            jobs=_jobs(jobs),
            tried=tried,
        )
    _write_text(f"{reports.fit_text(done)}\n", None)
    if done.failure:
        raise errors.DataError(f"{done.failure}: no model saved.")


@app.command(epilog="Example: titanic serve --model model.skops --port 8080")
def serve(
    model: ModelOption = None,
    model_sha256: ModelDigest = None,
    host: Annotated[str, typer.Option(envvar="TITANIC_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="AIP_HTTP_PORT", help="Port to listen on.", show_envvar=False)
    ] = 8080,
    max_body_mb: Annotated[int, typer.Option(min=1, help="The largest body, in MiB, packed or not.")] = 16,
    max_rows: Annotated[int, typer.Option(min=1, help="The most rows of one body.")] = 250_000,
    allow_fit: Annotated[
        bool, typer.Option("--allow-fit", help="Answer POST /fit, with which clients fit models.")
    ] = False,
    fit_token_file: Annotated[
        str | None,
        typer.Option(
            callback=_named,
            help="Holds the token that POST /fit needs. Default: $TITANIC_FIT_TOKEN.",
            show_default=False,
        ),
    ] = None,
    fit_margin: Annotated[
        float, typer.Option(min=0, max=1, help="How much less accurate than the present model a new one may be.")
    ] = 0.02,
    access_log: Annotated[bool, typer.Option("--access-log", help="Write a line of JSON on stderr a request.")] = False,
    log_format: LogFormat = "text",
) -> None:
    """Answer requests: a page on /, POST /predict, and what clients of MLflow, SageMaker and Vertex AI send.

    A model file that is replaced is taken without a restart.
    """
    from titanic_batch.server import app as web
    from titanic_batch.server.http_server import Server
    from titanic_batch.server.media import Limits
    from titanic_batch.server.refitting import Refitter
    from titanic_batch.server.reloading import ModelHolder

    if allow_fit and model_sha256 is not None:
        raise errors.UsageError("--allow-fit writes another model than --model-sha256 pins: leave one of them out.")
    limits = Limits(max_body_mb * 2**20, max_rows)
    refitter = Refitter(_fit_token(fit_token_file), fit_margin) if allow_fit else None
    holder = ModelHolder(model, model_sha256)
    routes = (_route(f"AIP_{name}_ROUTE") for name in ("HEALTH", "PREDICT"))
    server = Server(web.create_app(holder, limits, refitter, *routes), host, port, limits.bytes)
    if access_log:
        _log_access()
    _on_signals(lambda _: server.stop())

    def announce(model: Model) -> None:
        _announce(model)
        at = f"[{host}]" if ":" in host else host
        _say(f"serving {model.source} on http://{at}:{server.port}")

    web.serve(server, holder, announce)


@app.command(epilog="Example: titanic inspect model.skops")
def inspect(
    model: Annotated[str, typer.Argument(help="A model file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole manifest as JSON.")] = False,
    diff: Annotated[
        str | None,
        typer.Option(callback=_named, help="Print what is otherwise in this other model.", show_default=False),
    ] = None,
) -> None:
    """Print what a model is, what it needs and how good it is, without building it."""
    from titanic_batch.cli import reports
    from titanic_batch.models.artifact import read_artifact

    if as_json and diff is not None:
        raise errors.UsageError("--json and --diff don't go together: --diff compares by name.")
    artifact = read_artifact(model)
    if diff is not None:
        text = reports.difference_text(artifact, read_artifact(diff))
    else:
        text = (reports.artifact_json if as_json else reports.artifact_text)(artifact)
    _write_text(f"{text}\n", None)


def main() -> None:
    """Run the command; the exit code is the process's."""
    _occupy_closed_streams()
    _allocate_sparingly()
    _collect_rarely()
    if not os.environ.get("COLUMNS", "80").strip("0"):
        del os.environ["COLUMNS"]  # rich would wrap all that is said to no width, and so say nothing
    _Run.is_process = True
    stopping.release()
    _on_signals(stopping.ask)
    _watch_over_stopping()
    try:
        app(prog_name="titanic")
    finally:
        discard_all()  # what a signal left that came between two steps


def _on_signals(stop: Callable[[int], object]) -> None:
    """Have SIGINT and SIGTERM call ``stop`` with the exit code that tells of them."""
    for number, code in _STOPPED_BY.items():
        signal.signal(number, lambda *_, code=code: stop(code))


def _watch_over_stopping() -> None:
    """Leave shortly after a signal, if the main thread does not: a call that takes long, or a thread, keeps it.

    That is so as long as the handlers stay that there are.
    """
    handlers = {number: signal.getsignal(number) for number in _STOPPED_BY}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            number = os.read(reader, 1)[0]
            if number in handlers and signal.getsignal(number) is handlers[signal.Signals(number)]:
                time.sleep(_GRACE_SECONDS)
                _leave(_STOPPED_BY[signal.Signals(number)])

    threading.Thread(target=watch, daemon=True).start()


def _leave(code: int) -> None:
    """Discard what was not published, record how the run ended, if there is time, and end the process."""
    record = _Run.record

    def end() -> None:
        if record is None or record.exit_code is None:
            discard_all()
        if not _Run.told_to_stop:
            _say(_stopped(code), "error", exit_code=code)
        if record is not None:
            record.end(code, _stopped(code))

    last = threading.Thread(target=end, daemon=True)
    last.start()
    last.join(_LAST_SECONDS)
    discard_all(for_good=True)  # a record that takes too long
    os._exit(code if record is None or record.exit_code is None else record.exit_code)


def _occupy_closed_streams() -> None:
    """Put something where stdin, stdout or stderr is closed, or a file we open would take its place."""
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # stdin and stdout fail where they are used
    # Both stay open as long as the process.
    if sys.stdout is None:
        sys.stdout = open(1, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _allocate_sparingly() -> None:
    """Let all threads, and Arrow too, share one heap, and start no threads but ours.

    A heap for each thread, and Arrow's own beside them, each keep room for what they held at their fullest: a third
    more memory in all, for no time gained. NumPy's and SciPy's own threads, one for each core, would wait for work
    that never comes, spinning at first.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _collect_rarely() -> None:
    """Look for cycles now and then only.

    Importing makes some hundred thousand objects that stay; going through them again and again takes a sixth of the
    time of a small run, and once more when they all end with the process.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)


def _give_up_stdout() -> None:
    """Lead stdout nowhere: whatever is still to be flushed at exit would only fail again."""
    with suppress(io.UnsupportedOperation):  # no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str, level: str = "info", **more: object) -> None:
    if _Run.log_format == "json":
        time_of_day = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {"time": time_of_day, "level": level, "command": _Run.command, "message": message, **more}
        line = json.dumps(told)
    else:
        line = f"titanic: {message}"
    try:
        print(errors.one_line(line), file=sys.stderr, flush=True)
    except OSError:  # nobody can be told, and what was done stays done
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextmanager
def _recorded(record: RunRecord) -> Iterator[None]:
    """Record how a run ends, however it ends."""
    _Run.record = record
    try:
        yield
    except BaseException as error:
        code, message = _ending(error)
        # What contradicts itself may name an input for the record.
        for failed in record.end(code, message) if code != WRONG_USAGE else ():
            if str(failed) != message:
                _say(str(failed), "error")
        raise
    for failed in record.end(DONE):
        raise failed


def _write_text(text: str, output: str | None) -> None:
    """Write a report to a file, whole or not at all, or to stdout."""
    from titanic_batch.writing.publishing import STDOUT, Publication, writing

    with Publication() as publication:
        file = publication.add(output or STDOUT)
        with writing(file.name):
            file.file.write(text.encode(errors="backslashreplace"))  # a file's name need not be UTF-8
        publication.publish()


def _format(given: str | None, option: str) -> Format | None:
    from titanic_batch.reading.formats import FORMATS

    return None if given is None else one_of(FORMATS, given, option)


def _jobs(given: int | None) -> int:
    from joblib import cpu_count

    return given or int(cpu_count())


def _model(name: str | None, sha256: str | None) -> Model:
    from titanic_batch.models.model import resolve_model

    model = resolve_model(name, sha256)
    _announce(model)
    return model


def _announce(model: Model) -> None:
    if model.is_reference:
        _say("no model is named, so the reference model is used, fitted on the packaged passengers.", "warning")
    if model.caution:
        _say(model.caution, "warning")


def _fit_token(file: str | None) -> str:
    """Return the token that a client must show to fit a model."""
    token = os.environ.get("TITANIC_FIT_TOKEN", "")
    if file is not None:
        try:
            with open(file, encoding="utf-8") as opened:
                token = opened.read()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise errors.InputError(f"the token file {file} can't be read ({why}).") from None
    if not token.strip():
        raise errors.UsageError("--allow-fit needs a token: set TITANIC_FIT_TOKEN, or name a file by --fit-token-file.")
    return token.strip()


def _route(variable: str) -> str | None:
    """Return the path that a variable of Vertex AI's names; None where it names none."""
    route = os.environ.get(variable) or None
    if route is not None and (not route.startswith("/") or set(route) & set("<>?# ")):
        raise errors.UsageError(f"{variable} is no path: it starts with a slash, and has no blank, <, >, ? or #.")
    return route


def _log_access() -> None:
    import logging

    log = logging.getLogger("titanic_batch.access")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Give what shows progress on stderr, if that is a terminal."""
    if not sys.stderr.isatty() or _Run.log_format == "json":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("0 rows", total=None)

        def show(rows: int, done: int, total: int | None) -> None:
            rate = rows / max(time.monotonic() - started, 1e-9)
            bar.update(task, description=f"{rows:,} rows, {rate:,.0f} rows/s", completed=done, total=total)

        yield show


@contextmanager
def _bar(description: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give what shows on stderr how many of all are done, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)
        yield lambda done, total: bar.update(
            task, description=description.format(done=done, total=total), completed=done, total=total, visible=True
        )
