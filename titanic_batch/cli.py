"""The ``titanic`` command: parse, make one call, print, choose the exit code.

What a command needs is imported when it runs, so that help, usage errors and completion are answered at once.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from titanic_batch import __version__, errors

if TYPE_CHECKING:
    from titanic_batch.batch import Inputs, Progress
    from titanic_batch.model import Model
    from titanic_batch.sources import Format

EXIT_CODES: dict[type[errors.TitanicError], int] = {
    errors.UsageError: 2,
    errors.DataError: 65,
    errors.InputError: 66,
    errors.OutputError: 73,
    errors.TransferError: 74,
    errors.OutputBusyError: 75,
    errors.ModelError: 78,
}
DATA_BROKE_THE_CONTRACT = EXIT_CODES[errors.DataError]
READER_WENT_AWAY = 141
_GRACE_SECONDS = 1.0
_M_ARENA_MAX = -8  # glibc's malloc.h


class _Commands(typer.core.TyperGroup):
    """Turns our errors, and no others, into a line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except errors.TitanicError as error:
            _say(str(error))
            if isinstance(error, errors.TransferError):
                _give_up_stdout()
            code = next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
            raise typer.Exit(code) from None
        except BrokenPipeError:
            _give_up_stdout()
            raise typer.Exit(READER_WENT_AWAY) from None


app = typer.Typer(
    cls=_Commands,
    help="Predict who survived the Titanic: fit a model, check data, score files, serve requests.",
    epilog="Example: titanic score input.csv -o preds.parquet",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

# Options that several commands share.
InputsArgument = Annotated[
    list[str], typer.Argument(help="Files, folders or globs of CSV or Parquet; - is stdin.", show_default=False)
]
InputFormat = Annotated[
    str | None,
    typer.Option(help="csv, csv.gz, csv.zst or parquet, whatever the inputs are called.", show_default=False),
]
MaxRejects = Annotated[str, typer.Option(help="Rejected rows to bear: a number, or a share such as 2.5%.")]
MinRows = Annotated[int, typer.Option(min=0, help="Fail if there are fewer rows.")]
Rejects = Annotated[str | None, typer.Option(help="Write rejected rows here, with reasons.", show_default=False)]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Threads. Default: the cores this process may use.", show_default=False),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="TITANIC_MODEL",
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


def _version(wanted: bool) -> None:
    if wanted:
        print(f"titanic {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    # pandera reads these when it is imported; one of them would turn validation off.
    for name in [name for name in os.environ if name.startswith("PANDERA_")]:
        del os.environ[name]


@app.command(epilog="Example: titanic score input.csv -o preds.parquet")
def score(
    inputs: InputsArgument,
    output: Annotated[str, typer.Option("--output", "-o", help="Predictions: a CSV or Parquet file; - is stdout.")],
    model: ModelOption = None,
    model_sha256: ModelDigest = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A column to carry over. Repeatable.", show_default=False)
    ] = None,
    max_rejects: MaxRejects = "0",
    min_rows: MinRows = 0,
    rejects: Rejects = None,
    jobs: Jobs = None,
    input_format: InputFormat = None,
    output_format: Annotated[
        str | None, typer.Option(help="csv, csv.gz, csv.zst or parquet, whatever OUTPUT is called.", show_default=False)
    ] = None,
) -> None:
    """Write a prediction for every row: its key, Survived (0 or 1) and the probability.

    Rows that break the contract are set aside with their reasons, in OUTPUT.rejects.csv. Where there are more of them
    than --max-rejects, no predictions are written and the exit code is 65.
    """
    from titanic_batch import batch
    from titanic_batch.schema import CONTRACT, LABEL

    output_as = _format(output_format, "--output-format")
    with _progress() as progress:
        given = _inputs(inputs, max_rejects, min_rows, rejects, jobs, input_format, progress)
        loaded = _model(model, model_sha256)
        columns = batch.PredictedColumns(LABEL, loaded.scores(), keep or (), loaded.provenance)
        report = batch.score(given, CONTRACT, columns, output, output_as)
    if report.failure:
        where = f"; the rejected rows are in {report.rejects}" if report.rejects else ""
        _say(f"{report.failure}: no predictions written{where}.")
        raise typer.Exit(DATA_BROKE_THE_CONTRACT)
    if report.rejects and report.rejected:
        _say(f"{report.rejected} of {report.rows} rows rejected: see {report.rejects}.")
    if sys.stderr.isatty():
        _say(f"{report.accepted} rows scored: see {report.output}.")


@app.command(epilog="Example: titanic validate input.csv")
def validate(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs of CSV or Parquet; - is stdin.", show_default=False),
    ] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Check the label too, as fit does.")] = False,
    report_format: Annotated[
        str, typer.Option("--format", help="Of the report: text, json, junit or github.")
    ] = "text",
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write the report here, not to stdout.", show_default=False)
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
) -> None:
    """Check rows against the contract, exactly as score does, and say which rules are broken how often.

    The exit code is 65 where more rows are rejected than --max-rejects.
    """
    from titanic_batch import batch, validation_report
    from titanic_batch.schema import CONTRACT, LABELLED_CONTRACT

    contract = LABELLED_CONTRACT if labelled else CONTRACT
    if print_schema:
        _write_text(f"{json.dumps(contract.describe(), indent=2)}\n", None)
        return
    if report_format not in validation_report.FORMATS:
        raise errors.UsageError(f"--format {report_format}: it is one of {', '.join(validation_report.FORMATS)}.")
    if not inputs:
        raise errors.UsageError("nothing to validate: name a file, a folder, or - for stdin.")
    with _progress() as progress:
        given = _inputs(inputs, max_rejects, min_rows, rejects, jobs, input_format, progress, output, show_values)
        report = batch.validate(given, contract)
    if report_format == "text" and output is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(validation_report.table(report))
    else:
        _write_text(validation_report.FORMATS[report_format](report, contract), output)
    if report_format == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        from titanic_batch.publishing import writing

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
    output: Annotated[str, typer.Option("--output", "-o", help="The model: a .skops or .joblib file.")] = "model.skops",
    holdout: Annotated[
        str | None, typer.Option(help="Labelled passengers to evaluate on that are not fitted on.", show_default=False)
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Search the notebook's grid for the best parameters.")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the forest.", show_default=False)] = None,
    max_rejects: MaxRejects = "0",
    rejects: Rejects = None,
    jobs: Jobs = None,
) -> None:
    """Fit the model, evaluate it by 10-fold cross-validation and on --holdout, and save it."""
    from titanic_batch import batch, fitting, reports

    limits = batch.Inputs([], max_rejects=batch.RejectLimit.parse(max_rejects), rejects=rejects, jobs=_jobs(jobs))
    report = fitting.fit(train, output, limits, holdout=holdout, tune=tune, seed=seed)
    _write_text(f"{reports.fit_text(report)}\n", None)


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
        typer.Option(help="Holds the token that POST /fit needs. Default: $TITANIC_FIT_TOKEN.", show_default=False),
    ] = None,
    fit_margin: Annotated[
        float, typer.Option(min=0, max=1, help="How much less accurate than the present model a new one may be.")
    ] = 0.02,
    access_log: Annotated[bool, typer.Option("--access-log", help="Write a line of JSON on stderr a request.")] = False,
) -> None:
    """Answer requests: a page on /, POST /predict, and what clients of MLflow, SageMaker and Vertex AI send.

    A model file that is replaced is taken without a restart.
    """
    from titanic_batch import app as web
    from titanic_batch.media import Limits
    from titanic_batch.refitting import Refitter
    from titanic_batch.reloading import ModelHolder
    from titanic_batch.server import Server

    if allow_fit and model_sha256 is not None:
        raise errors.UsageError("--allow-fit writes another model than --model-sha256 pins: leave one of them out.")
    limits = Limits(max_body_mb * 2**20, max_rows)
    refitter = Refitter(_fit_token(fit_token_file), fit_margin) if allow_fit else None
    holder = ModelHolder(model, model_sha256)
    routes = (os.environ.get(f"AIP_{name}_ROUTE") for name in ("HEALTH", "PREDICT"))
    server = Server(web.create_app(holder, limits, refitter, *routes), host, port, limits.bytes)
    if access_log:
        _log_access()
    _on_signals(lambda _: server.stop())
    web.serve(server, holder, _announce)


@app.command(epilog="Example: titanic inspect model.skops")
def inspect(model: Annotated[str, typer.Argument(help="A model file.", show_default=False)]) -> None:
    """Print what a model is, what it needs and how good it is, without building it."""
    from titanic_batch import reports
    from titanic_batch.artifact import read_artifact

    _write_text(f"{reports.artifact_text(read_artifact(model))}\n", None)


def main() -> None:
    """Run the command; the exit code is the process's."""
    _allocate_sparingly()
    _on_signals(_stop)
    app(prog_name="titanic")


def _on_signals(stop: Callable[[int], object]) -> None:
    """Have SIGINT and SIGTERM call ``stop`` with the exit code that tells of them."""
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        signal.signal(number, lambda *_, code=code: stop(code))


def _stop(code: int) -> None:
    """Leave as at the end of a run; or, where a thread is stuck in reading an input that stalls, shortly after."""
    timer = threading.Timer(_GRACE_SECONDS, _leave, (code,))
    timer.daemon = True
    timer.start()
    sys.exit(code)


def _leave(code: int) -> None:
    from titanic_batch.publishing import discard_all

    discard_all()
    os._exit(code)


def _allocate_sparingly() -> None:
    """Let all threads, and Arrow too, share one heap.

    A heap for each thread, and Arrow's own beside them, each keep room for what they held at their fullest: a third
    more memory in all, for no time gained.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _give_up_stdout() -> None:
    """Lead stdout nowhere: whatever is still to be flushed at exit would only fail again."""
    with suppress(io.UnsupportedOperation):  # no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(line: str) -> None:
    print(f"titanic: {line}", file=sys.stderr)


def _inputs(
    names: Sequence[str],
    max_rejects: str,
    min_rows: int,
    rejects: str | None,
    jobs: int | None,
    input_format: str | None,
    progress: Progress | None,
    report: str | None = None,
    with_values: bool = False,
) -> Inputs:
    from titanic_batch.batch import Inputs, RejectLimit

    return Inputs(
        names=names,
        format=_format(input_format, "--input-format"),
        max_rejects=RejectLimit.parse(max_rejects),
        min_rows=min_rows,
        rejects=rejects,
        report=report,
        jobs=_jobs(jobs),
        progress=progress,
        with_values=with_values,
    )


def _write_text(text: str, output: str | None) -> None:
    """Write a report to a file, whole or not at all, or to stdout."""
    from titanic_batch.publishing import STDOUT, Publication, writing

    with Publication() as publication:
        file = publication.add(output or STDOUT)
        with writing(file.name):
            file.file.write(text.encode(errors="backslashreplace"))  # a file's name need not be UTF-8
        publication.publish()


def _format(given: str | None, option: str) -> Format | None:
    from titanic_batch.sources import FORMATS

    for known in FORMATS:
        if given == known:
            return known
    if given is not None:
        raise errors.UsageError(f"{option} {given}: it is one of {', '.join(FORMATS)}.")
    return None


def _jobs(given: int | None) -> int:
    from joblib import cpu_count

    return given or int(cpu_count())


def _model(name: str | None, sha256: str | None) -> Model:
    from titanic_batch.model import resolve_model

    model = resolve_model(name, sha256)
    _announce(model)
    return model


def _announce(model: Model) -> None:
    if model.is_reference:
        _say("no model is named, so the reference model is used, fitted on the packaged passengers.")


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


def _log_access() -> None:
    import logging

    log = logging.getLogger("titanic_batch.access")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    log.propagate = False


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Give what shows progress on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
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
