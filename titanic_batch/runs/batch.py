"""The jobs: read, judge, score, write, publish; and say what was done.

Nothing here prints or exits. What a run comes to is a `RunReport`, also where the data broke the contract: then its
``failure`` says how. Errors are raised for all that keeps a run from getting that far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.errors import DataError, UsageError
from titanic_batch.reading.formats import Format, format_of
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.sources import Source, find_sources
from titanic_batch.runs.options import Inputs, RejectLimit
from titanic_batch.runs.report import Distribution, RunReport
from titanic_batch.writing.file_names import check_names
from titanic_batch.writing.predictions import PROBABILITY, PredictedColumns
from titanic_batch.writing.publishing import STDOUT, Publication, is_stream, writing
from titanic_batch.writing.rejects import RejectsFile
from titanic_batch.writing.tables import TableWriter


def score(
    inputs: Inputs,
    contract: Contract,
    columns: PredictedColumns,
    output: str,
    output_format: Format | None = None,
    report: RunReport | None = None,
) -> RunReport:
    """Score the inputs into one file of predictions.

    The predictions appear only when every row was judged and not too many were rejected; the rejects appear also where
    they were. Without a name of their own the rejects go beside the output, as ``<output>.rejects.csv``, and a run
    without any removes such a file. ``report``, if given, is what is returned: it tells how far a run came that failed.

    Raises
    ------
    DataError, InputError, TransferError
        An input can't be opened, or read to its end, or its columns are not those of the contract.
    OutputBusyError, OutputError, TransferError
        An output can't be created or written.
    UsageError
        The names of inputs and outputs contradict each other.
    """
    report = report or RunReport()
    to_stream = output == STDOUT or is_stream(output)
    if to_stream and inputs.rejects is None and inputs.max_rejects != RejectLimit():
        raise UsageError("rejects have no place beside a stream: name a file with --rejects, or allow none.")
    rejects = inputs.rejects or (None if to_stream else f"{output}.rejects.csv")
    check_names(inputs.names, [output, rejects, *inputs.also_written])
    sources = find_sources(inputs.names, inputs.format)
    report.begin(sources)
    columns.check_names(contract)
    output_format = output_format or format_of(output, "--output-format")
    if inputs.detailed:
        report.predictions = Distribution()
    with ExitStack() as stack:
        publication = stack.enter_context(Publication(inputs.wait, digests=inputs.detailed))
        report.outputs = publication.published
        predictions = publication.add(output)
        rejects_file = RejectsFile(rejects, publication)
        judge = Judge(contract, lambda rows: columns.of(rows, schema), columns.keep, fields=rejects is not None)
        with report.timed("open"):
            tables = _opened(sources, judge, stack, report, digest=inputs.detailed)
        schema = columns.schema(contract, tables, output_format)
        rejects_file.begin(tables, stack)
        with writing(predictions.name):
            writer = stack.enter_context(TableWriter(predictions.file, output_format, schema))

        def write(block: JudgedBlock) -> None:
            with writing(predictions.name):
                writer.write(block.output)
            if report.predictions is not None:
                report.predictions.count(block.output[columns.label], block.output[PROBABILITY])

        _run(inputs, judge, tables, rejects_file, write, report)
        report.drift = columns.drift()
        if report.failure is None and report.drift is not None and columns.max_psi is not None:
            report.failure = report.drift.describe(columns.max_psi)
        with report.timed("publish"):
            with writing(predictions.name):
                writer.close()
            if report.failure:
                publication.drop(predictions)
            report.rejects = rejects_file.close(report.rejected, if_any=inputs.rejects is None or inputs.rejects_if_any)
            publication.publish()
            if not report.failure:
                report.output = predictions.name
    return report


def validate(
    inputs: Inputs, contract: Contract, on_accepted: Callable[[pa.Table], None] = lambda rows: None
) -> RunReport:
    """Judge the inputs as `score` does, and write nothing but the rejects, where a file for them is named.

    ``on_accepted`` gets the accepted rows, table by table, with the contract's columns and types.

    Raises
    ------
    DataError, InputError, OutputBusyError, OutputError, TransferError, UsageError
        As `score` does.
    """
    report = RunReport(with_values=inputs.with_values)
    check_names(inputs.names, [inputs.rejects, *inputs.also_written])
    sources = find_sources(inputs.names, inputs.format)
    report.begin(sources)
    with ExitStack() as stack:
        publication = stack.enter_context(Publication(inputs.wait))
        rejects_file = RejectsFile(inputs.rejects, publication)
        judge = Judge(contract, fields=inputs.rejects is not None or inputs.with_values)
        tables = _opened(sources, judge, stack, report)
        rejects_file.begin(tables, stack)
        _run(inputs, judge, tables, rejects_file, lambda block: on_accepted(block.output), report)
        report.rejects = rejects_file.close(report.rejected, if_any=False)
        publication.publish()
    return report


def _run(
    inputs: Inputs,
    judge: Judge,
    tables: Sequence[InputTable],
    rejects: RejectsFile,
    on_block: Callable[[JudgedBlock], None],
    report: RunReport,
) -> None:
    sizes = [table.size for table in tables]
    comparable = None not in sizes and len({table.source.format for table in tables}) == 1
    total = sum(size or 0 for size in sizes) if comparable else None
    done = 0
    with report.timed("score"):
        try:
            for block in judge.judged(tables, inputs.jobs):
                report.count(block)
                with report.timed("write"):
                    rejects.write(block)
                    on_block(block)
                done += block.size
                if inputs.progress is not None:
                    inputs.progress(report.rows, done, total)
        except DataError:
            for table in tables:  # what looks damaged may only have been changed while it was read
                table.require_unchanged()
            raise
        for table, file in zip(tables, report.inputs, strict=True):
            file.sha256, file.bytes = table.sha256(), table.byte_size
            table.require_unchanged()
    report.close(inputs.max_rejects, inputs.min_rows)


def _opened(
    sources: Sequence[Source], judge: Judge, stack: ExitStack, report: RunReport, *, digest: bool = False
) -> list[InputTable]:
    tables = []
    for source, file in zip(sources, report.inputs, strict=True):
        tables.append(stack.enter_context(InputTable(source, digest=digest)))
        file.bytes = tables[-1].byte_size
        judge.require_columns(tables[-1])
    return tables
