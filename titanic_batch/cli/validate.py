"""``titanic validate``: check rows against the contract."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from titanic_batch.cli.console import row_progress, say_passed_over, write_text
from titanic_batch.cli.endings import end_check
from titanic_batch.cli.imports import import_checks
from titanic_batch.cli.options import LogFormat, inputs_argument, named, takes_run_options
from titanic_batch.errors import UsageError
from titanic_batch.runs.options import RunOptions, one_of


@takes_run_options()
def validate(
    *,
    inputs: Annotated[list[str] | None, inputs_argument] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Check the label too, as fit does.")] = False,
    report_format: Annotated[
        str, typer.Option("--format", help="Format of the report: text, json, junit or github.")
    ] = "text",
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", callback=named, help="Write the report here, not to stdout.", show_default=False
        ),
    ] = None,
    options: RunOptions,
    print_schema: Annotated[
        bool, typer.Option("--print-schema", help="Print the contract of a row as JSON Schema, and check nothing.")
    ] = False,
    log_format: LogFormat = "text",
) -> None:
    """Check rows against the contract, exactly as score does, and say which rules are broken how often.

    The exit code is 65 where more rows are rejected than --max-rejects.
    """
    import_checks()
    from titanic_batch import api
    from titanic_batch.cli import validation_report
    from titanic_batch.notebook.schema import CONTRACT, LABELLED_CONTRACT
    from titanic_batch.reading.sources import find_inputs
    from titanic_batch.writing.publishing import check_creatable
    from titanic_batch.writing.streams import STDOUT

    contract = LABELLED_CONTRACT if labelled else CONTRACT
    if print_schema:
        write_text(f"{json.dumps(contract.describe(), indent=2)}\n")
        return
    one_of(validation_report.FORMATS, report_format, "--format")
    if not inputs:
        raise UsageError("nothing to validate: name a file, a folder, or - for stdin.")
    check_creatable(output or STDOUT)
    found = find_inputs(inputs, options.input_format)
    say_passed_over(found)
    with row_progress() as progress:
        report = api.validate_file(
            found,
            labelled=labelled,
            progress=progress,
            also_written=() if output is None else (output,),
            **options.given(),
        )
    if report_format == "text" and output is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(validation_report.table(report))
    else:
        write_text(validation_report.FORMATS[report_format](report, contract), output)
    if report_format == "github" and (summary := os.environ.get("GITHUB_STEP_SUMMARY")):
        from titanic_batch.writing.publishing import append_text

        append_text(summary, validation_report.github_summary(report))
    end_check(report)
