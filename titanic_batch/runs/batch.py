"""Jobs that produce one output: read, check, score, write, publish, and report what was done.

Nothing here prints or exits. A run returns a `RunReport`, even if the data broke the contract; its ``failure`` then
says how. Whatever stops a run earlier raises an error.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.checking.judging import Judge, JudgedBlock, types_to_read
from titanic_batch.errors import DataError, InputError, is_out_of_memory
from titanic_batch.notebook.words import PROBABILITY
from titanic_batch.reading.files import read_error
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.sources import Source
from titanic_batch.runs.options import RunOptions
from titanic_batch.runs.report import Distribution, RunReport
from titanic_batch.writing.predictions import PredictedColumns
from titanic_batch.writing.publishing import Publication
from titanic_batch.writing.rejects import RejectsFile
from titanic_batch.writing.tables import TableWriter


@dataclass(frozen=True, slots=True)
class Target:
    """The files that a scoring run writes: predictions and, optionally, rejects.

    With ``rejects_if_any``, the rejects file exists only if a row was rejected; one of an earlier run is removed.
    """

    predictions: str
    format: Format
    rejects: str | None = None
    rejects_if_any: bool = False


def score(
    sources: Sequence[Source],
    target: Target,
    columns: PredictedColumns,
    options: RunOptions,
    report: RunReport | None = None,
) -> RunReport:
    """Score the sources into one file of predictions.

    The predictions are published only if all rows were checked and the report has no ``failure``; the rejects are
    published even if it has one. A ``report`` that is given is filled in and returned; if the run raises, it shows how
    far the run got.

    Raises
    ------
    DataError, InputError, TransferError
        An input can't be opened or read to its end, or its columns don't match the contract.
    OutputBusyError, OutputError, TransferError
        An output can't be created or written.
    UsageError
        The output contains a column to keep anyway.
    """
    report = report or RunReport()
    report.begin(sources)
    columns.require_distinct_names()
    columns.drift()  # forgets the rows of a run that failed
    if options.detailed:
        report.predictions = Distribution()
    with ExitStack() as stack:
        publication = stack.enter_context(Publication(options.wait, digests=options.detailed))
        report.outputs = publication.published
        output = publication.add(target.predictions)
        rejects = RejectsFile(target.rejects, publication)
        with report.timed("open"):
            tables = _open_tables(sources, columns.contract, columns.keep, stack, report, digest=options.detailed)
        schema = columns.schema(tables, target.format)
        rejects.begin(tables, stack)
        predictions = stack.enter_context(TableWriter(output.file, target.format, schema))
        judge = Judge(
            columns.contract,
            partial(columns.of, schema=schema),
            columns.keep,
            fields=target.rejects is not None,
            key_text=columns.key_text is not None,
        )
        with closing(_judged_blocks(judge, tables, options, report)) as blocks:
            for block in blocks:
                with report.timed("write"):
                    rejects.write(block)
                    predictions.write(block.output)
                    if report.predictions is not None:
                        report.predictions.count(block.output[columns.label], block.output[PROBABILITY])
        report.drift = columns.drift()
        report.close(options)
        with report.timed("publish"):
            predictions.close()
            if report.failure:
                publication.drop(output)
            report.rejects = rejects.close(report.rejected, if_any=target.rejects_if_any)
            report.left_out, report.incomplete = rejects.left_out, rejects.incomplete
            publication.publish()
            if not report.failure:
                report.output = output.name
    return report


def validate(
    sources: Sequence[Source],
    contract: Contract,
    options: RunOptions,
    on_accepted: Callable[[pa.Table], None] = lambda rows: None,
) -> RunReport:
    """Check the sources as `score` does. Only the rejects are written, if the options name a file for them.

    ``on_accepted`` is called with tables of accepted rows, which have the contract's columns and types.

    Raises
    ------
    DataError, InputError, OutputBusyError, OutputError, TransferError
        As `score`.
    """
    report = RunReport(with_values=options.with_values)
    report.begin(sources)
    with ExitStack() as stack:
        publication = stack.enter_context(Publication(options.wait))
        rejects = RejectsFile(options.rejects, publication)
        tables = _open_tables(sources, contract, (), stack, report)
        rejects.begin(tables, stack)
        judge = Judge(contract, fields=options.rejects is not None or options.with_values)
        with closing(_judged_blocks(judge, tables, options, report)) as blocks:
            for block in blocks:
                with report.timed("write"):
                    rejects.write(block)
                    on_accepted(block.output)
        report.close(options)
        report.rejects = rejects.close(report.rejected, if_any=False)
        report.left_out, report.incomplete = rejects.left_out, rejects.incomplete
        publication.publish()
    return report


def _open_tables(
    sources: Sequence[Source],
    contract: Contract,
    keep: Sequence[str],
    stack: ExitStack,
    report: RunReport,
    *,
    digest: bool = False,
) -> list[InputTable]:
    """Open the sources and check that they have the columns to read; ``stack`` closes them."""
    tables = []
    for source, file in zip(sources, report.inputs, strict=True):
        table = stack.enter_context(open_table(source, digest=digest))
        tables.append(table)
        file.bytes = table.byte_size
        table.require(types_to_read(contract, keep))
    return tables


def _judged_blocks(
    judge: Judge, tables: Sequence[InputTable], options: RunOptions, report: RunReport
) -> Generator[JudgedBlock, None, None]:
    """Yield all rows of the tables, judged and counted; then check that no file has changed in the meantime."""
    sizes = [table.size for table in tables]
    comparable = None not in sizes and len({table.source.format for table in tables}) == 1
    total = sum(size or 0 for size in sizes) if comparable else None
    done = 0
    with report.timed("score"):
        try:
            with closing(judge.judged(tables, options.threads)) as blocks:
                for block in blocks:
                    report.count(block)
                    yield block
                    done += block.size
                    if options.progress is not None:
                        options.progress(report.rows, done, total)
        except (DataError, InputError):
            for table in tables:  # a file that changes while it is read can look damaged, or be gone
                table.require_unchanged()
            raise
        except (ImportError, MemoryError) as error:  # libraries are imported while the first block is checked
            if not is_out_of_memory(error):
                raise
            raise read_error(", ".join(table.source.name for table in tables), error) from None
        for table, file in zip(tables, report.inputs, strict=True):
            file.sha256, file.bytes = table.sha256(), table.byte_size
            table.require_unchanged()
