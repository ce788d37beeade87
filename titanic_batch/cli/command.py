"""The ``titanic`` command, assembled from one module for each subcommand.

A subcommand imports what it needs when it runs, so that help, usage errors and completion are fast.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from titanic_batch.cli import fit, inspect, process, score, serve, validate
from titanic_batch.cli.console import Log
from titanic_batch.cli.endings import Commands
from titanic_batch.cli.imports import import_no_hypothesis
from titanic_batch.notebook.words import TASK
from titanic_batch.runs.options import require_joblib_variables
from titanic_batch.version import __version__
from titanic_batch.writing import stopping
from titanic_batch.writing.publishing import discard_all

app = typer.Typer(
    cls=Commands,
    help=f"{TASK}: fit a model, check data, score files, serve requests.",
    epilog="Example: titanic score input.csv -o preds.parquet",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command(help=score.HELP, epilog="Example: titanic score input.csv -o preds.parquet")(score.score)
app.command(epilog="Example: titanic validate input.csv")(validate.validate)
app.command(epilog="Example: titanic fit data/train.csv --holdout data/holdout.csv -o model.skops")(fit.fit)
app.command(epilog="Example: titanic serve --model model.skops --port 8080")(serve.serve)
app.command(epilog="Example: titanic inspect model.skops")(inspect.inspect)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"titanic {__version__}", flush=True)
        raise typer.Exit


@app.callback()
def _prepare(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    Log.reset()
    # pandera reads these variables when it is imported; one of them would turn validation off.
    for name in [name for name in os.environ if name.startswith("PANDERA_")]:
        del os.environ[name]
    require_joblib_variables()
    # NumPy reads this variable when it is imported, and fails if it is not a time.
    if "SOURCE_DATE_EPOCH" in os.environ:
        from titanic_batch.models.artifact import source_date

        if source_date() is None:
            del os.environ["SOURCE_DATE_EPOCH"]


def main() -> None:
    """Run the command, and exit with its exit code."""
    process.occupy_closed_streams()
    process.allocate_sparingly()
    process.collect_rarely()
    process.expect_no_semaphores()
    import_no_hypothesis()
    if not os.environ.get("COLUMNS", "80").strip("0"):
        del os.environ["COLUMNS"]  # rich would wrap all output to a width of 0, and print nothing
    stopping.release()
    process.on_signals(stopping.ask)
    try:
        process.leave_if_stopping_takes_long()
        app(prog_name="titanic")
    except BaseException as error:
        discard_all()  # files that a signal between two steps left behind
        process.end_despite_threads(error)
        raise
