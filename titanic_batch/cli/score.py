"""``titanic score``: predict every row of the input files."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from titanic_batch.cli.console import announce, row_progress, say_passed_over
from titanic_batch.cli.endings import recorded, say_outcome, say_outcome_of_item, say_outcome_of_items
from titanic_batch.cli.imports import import_checks
from titanic_batch.cli.options import LogFormat, ModelOption, inputs_argument, model_digest, named, takes_run_options
from titanic_batch.errors import UsageError
from titanic_batch.notebook.words import LABEL, LABELS
from titanic_batch.runs.options import DATA, REPORT_FILES, RunOptions

HELP = f"""Write a prediction for every row: its key, {LABEL} ({LABELS[0]} or {LABELS[1]}) and the probability.

Rows that break the contract are set aside with their reasons, in OUTPUT.rejects.csv. Where there are more of them
than --max-rejects, no predictions are written and the exit code is 65.
"""


Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        callback=named,
        help="Predictions: a CSV or Parquet file; a folder, for a file for each input; - is stdout.",
    ),
]
Report = Annotated[
    str | None,
    typer.Option(
        callback=named,
        help="Write a report of the run to this file, as JSON.",
        show_default=False,
        rich_help_panel=REPORT_FILES,
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        callback=named,
        help="Write metrics of the run to this file, for Prometheus' textfile collector.",
        show_default=False,
        rich_help_panel=REPORT_FILES,
    ),
]


@takes_run_options(panels=True)
def score(
    inputs: Annotated[list[str], inputs_argument],
    output: Output,
    *,
    model: ModelOption = None,
    options: RunOptions,
    model_sha256: Annotated[str | None, model_digest(DATA)] = None,
    report: Report = None,
    metrics: Metrics = None,
    log_format: LogFormat = "text",
) -> None:
    """Score files. The command's help is `HELP`."""
    began = time.perf_counter()
    from titanic_batch.models.artifact import DEFAULT_MODEL
    from titanic_batch.reading.sources import find_inputs
    from titanic_batch.runs.record import RunRecord
    from titanic_batch.writing.file_names import is_folder, require_distinct_files

    to_folder = is_folder(output)
    written = [name for name in (report, metrics) if name is not None]
    others = [name for name in (None if to_folder else output, options.rejects) if name is not None]
    found = find_inputs(inputs, options.input_format)
    # Checked first, because the record is written however the run ends, and must not overwrite one of these files.
    require_distinct_files([*found.files, model or DEFAULT_MODEL], [*written, *others])
    record = RunRecord(output, report=report, metrics=metrics, began=began)
    record.passed_over = found.passed_over
    with recorded(record):
        import_checks()
        from titanic_batch import api
        from titanic_batch.models.resolution import resolve_model
        from titanic_batch.notebook.schema import CONTRACT
        from titanic_batch.runs.report import RunReport
        from titanic_batch.writing.publishing import make_folder

        record.contract, record.options = CONTRACT, options
        if to_folder:
            if options.rejects is not None:
                raise UsageError("with a folder as the output, rejects go to its _rejects: leave --rejects out.")
            make_folder(output)
        elif options.resume or options.shard is not None:
            raise UsageError("--resume and --shard need a folder as the output: end its name with /.")
        record.check_creatable()
        say_passed_over(found)
        loaded = resolve_model(model, model_sha256)
        announce(loaded)
        record.loaded(loaded.source, loaded.sha256, loaded.engine)
        given = options.given() | {"also_written": written, "detailed": report is not None}
        with row_progress() as given["progress"]:
            if to_folder:
                items = api.score_folder(
                    found, output, loaded, on_begin=record.begin, on_done=say_outcome_of_item, **given
                )
            else:
                record.single = RunReport()
                api.score_file(found, output, loaded, report=record.single, **given)
        if record.single is None:
            say_outcome_of_items(items, output)
        else:
            say_outcome(record.single)
