"""The jobs: read, judge, score, write, publish; and say what was done.

Nothing here prints or exits. What a run comes to is a `RunReport`, also where the data broke the contract: then its
``failure`` says how. Errors are raised for all that keeps a run from getting that far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from titanic_batch.column_text import as_text, is_plain
from titanic_batch.columns import is_text
from titanic_batch.drift import Drift
from titanic_batch.errors import DataError, UsageError
from titanic_batch.file_names import check_names
from titanic_batch.judging import Judge, JudgedBlock
from titanic_batch.publishing import PRIVATE, STDOUT, Publication, PublishedFile, is_stream, writing
from titanic_batch.sources import Format, InputTable, Source, find_sources, format_of
from titanic_batch.tables import RejectsWriter, TableWriter
from titanic_batch.validation import Contract

PROBABILITY = "Probability"
FIRST_ROWS = 5
PROBABILITY_BINS = 10

Progress = Callable[[int, int, int | None], None]
"""Called with the rows judged so far, how much of the input that is, and how much there is (None: not known)."""

Scores = Callable[[pa.Table], tuple[pa.Array, pa.Array]]
"""Takes accepted rows and returns their labels (int8) and probabilities (float64)."""


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rejected rows a run bears: a number, or a share of all rows in percent."""

    rows: int = 0
    percent: Decimal | None = None

    @classmethod
    def parse(cls, text: str) -> RejectLimit:
        """Return the limit that ``N`` or ``P%`` stands for.

        Raises
        ------
        UsageError
        """
        try:
            if text.endswith("%"):
                limit = cls(percent=Decimal(text[:-1]))
                valid = limit.percent is not None and 0 <= limit.percent <= 100
            else:
                limit = cls(rows=int(text))
                valid = limit.rows >= 0
        except (InvalidOperation, ValueError):
            valid = False
        if not valid:
            raise UsageError(
                f"{text} is no limit of rejects: give a number of rows, 0 or more, or a share such as 2.5%."
            )
        return limit

    def is_passed(self, rejected: int, rows: int) -> bool:
        """Tell whether so many rejected of so many rows are too many."""
        if self.percent is not None:
            return 100 * rejected > self.percent * rows
        return rejected > self.rows

    def __str__(self) -> str:
        return str(self.rows) if self.percent is None else f"{self.percent}%"


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that breaks a rule: its source, its number there (1 is the first), and the value if it may be shown."""

    source: str
    number: int
    value: str | None


@dataclass(slots=True)
class RuleCount:
    """How many rows break a rule, and which of them come first."""

    rule: str
    column: str | None
    rows: int = 0
    first_rows: list[BrokenRow] = field(default_factory=list)


@dataclass(slots=True)
class InputFile:
    """An input; its size and its SHA-256 are None where they aren't known: before it was read, or opened."""

    name: str
    format: Format
    bytes: int | None = None
    sha256: str | None = None


@dataclass(slots=True)
class Distribution:
    """How predictions are distributed: rows by label, the sum of probabilities, and rows by tenth of probability."""

    labels: dict[int, int] = field(default_factory=dict)
    total: float = 0
    bins: list[int] = field(default_factory=lambda: [0] * PROBABILITY_BINS)

    def count(self, labels: pa.ChunkedArray, probabilities: pa.ChunkedArray) -> None:
        """Add the predictions of a block."""
        for found in pc.value_counts(labels).to_pylist():
            self.labels[found["values"]] = self.labels.get(found["values"], 0) + found["counts"]
        values = probabilities.to_numpy()
        self.total += float(values.sum())
        tenths = np.minimum((values * PROBABILITY_BINS).astype(np.int8), PROBABILITY_BINS - 1)
        counts = np.bincount(tenths, minlength=PROBABILITY_BINS).tolist()
        self.bins = [one + other for one, other in zip(self.bins, counts, strict=True)]


@dataclass(slots=True)
class RunReport:
    """What a run did, and how far it came while it is running.

    ``rows`` is ``accepted`` plus ``rejected``; a row that breaks several rules is rejected once, and counted with each
    of them in ``rules``. ``failure`` tells why nothing but the rejects was published; None: all is well. ``too_few``
    tells that it is the number of rows, and not the rejects. ``outputs`` are the files that were published so far,
    ``seconds`` where the time went, ``predictions`` how they are distributed, if that was asked for. ``drift`` tells
    how what was scored compares with what the model was fitted on, where that is known.
    """

    sources: list[str] = field(default_factory=list)
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    rules: list[RuleCount] = field(default_factory=list)
    output: str | None = None
    rejects: str | None = None
    failure: str | None = None
    too_few: bool = False
    drift: Drift | None = None
    with_values: bool = False
    inputs: list[InputFile] = field(default_factory=list, compare=False)
    outputs: list[PublishedFile] = field(default_factory=list, compare=False)
    predictions: Distribution | None = field(default=None, compare=False)
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    def begin(self, sources: Sequence[Source]) -> None:
        """Note what will be read."""
        self.sources = [source.name for source in sources]
        self.inputs = [InputFile(source.name, source.format) for source in sources]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that something takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0) + time.perf_counter() - started

    def count(self, block: JudgedBlock) -> None:
        """Add the rows of a block."""
        self.rows += block.count
        self.accepted += block.output.num_rows
        self.rejected += len(block.rejected)
        known = {(rule.rule, rule.column): rule for rule in self.rules}
        for problem in block.problems:
            rule = known.get((problem.rule, problem.column))
            if rule is None:
                rule = known[problem.rule, problem.column] = RuleCount(problem.rule, problem.column)
                self.rules.append(rule)
            rule.rows += len(problem.rows)
            for row in problem.rows[: FIRST_ROWS - len(rule.first_rows)].tolist():
                value = block.value(row, problem.column) if self.with_values else None
                rule.first_rows.append(BrokenRow(block.table.source.name, row + block.first_row, value))

    def close(self, limit: RejectLimit, min_rows: int) -> None:
        """Check the sums, and what the data had to be."""
        if self.rows != self.accepted + self.rejected:
            raise AssertionError(f"{self.rows} rows in, but {self.accepted} accepted and {self.rejected} rejected")
        self.rules.sort(key=lambda rule: (-rule.rows, rule.rule, rule.column or ""))
        if limit.is_passed(self.rejected, self.rows):
            broken = ", ".join(f"{rule.rule} {rule.column or 'row'}: {rule.rows}" for rule in self.rules)
            self.failure = f"{self.rejected} of {self.rows} rows rejected, {limit} allowed ({broken})"
        elif self.rows < min_rows:
            self.failure = f"{self.rows} rows, at least {min_rows} expected"
            self.too_few = True


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to read and what it must be, the same for each job.

    ``rejects_if_any``: whether ``rejects`` is to be there only if a row was rejected. ``also_written`` names files that
    the caller will write once the job is done: none of those that the job reads or writes. ``wait``: seconds to wait
    for another run that is writing an output. ``detailed``: whether the report is to have digests of inputs and
    outputs, and the distribution of the predictions.
    """

    names: Sequence[str]
    format: Format | None = None
    max_rejects: RejectLimit = RejectLimit()
    min_rows: int = 0
    rejects: str | None = None
    rejects_if_any: bool = False
    also_written: Sequence[str] = ()
    wait: float = 0
    detailed: bool = False
    jobs: int = 1
    progress: Progress | None = None
    with_values: bool = False


@dataclass(frozen=True, slots=True)
class PredictedColumns:
    """What a row of predictions holds: its key, the columns to keep, the label and the probability.

    ``label`` names the predicted column. ``provenance`` goes into Parquet's metadata. ``drift`` tells how the rows that
    were scored since its last call compare with those of the fit, and ``max_psi`` how far they may have moved: a run
    that passes it fails.
    """

    label: str
    scores: Scores
    keep: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    drift: Callable[[], Drift | None] = lambda: None
    max_psi: float | None = None

    def check_names(self, contract: Contract) -> None:
        """Check that no column would be written twice.

        Raises
        ------
        UsageError
            A column to keep is one that is written anyway.
        """
        written = [contract.key, *self.keep, self.label, PROBABILITY]
        if twice := {name for name in written if written.count(name) > 1}:
            raise UsageError(f"{', '.join(sorted(twice))} is written anyway, or kept twice: leave it out of --keep.")

    def schema(self, contract: Contract, tables: Sequence[InputTable], output_format: Format) -> pa.Schema:
        """Return the schema of predictions.

        Kept columns are as they stand in the tables, but text is no longer codes or views; they are text where the
        tables differ, or where a CSV has no form for them.
        """
        fields = [(contract.key, contract.types[contract.key])]
        for name in self.keep:
            kinds = {contract.types.get(name) or table.type_of(name) for table in tables}
            kind = kinds.pop() if len(kinds) == 1 else pa.string()
            stays = (
                is_plain(kind) if output_format != "parquet" else pa.types.is_large_string(kind) or not is_text(kind)
            )
            fields.append((name, kind if stays else pa.string()))
        fields += [(self.label, pa.int8()), (PROBABILITY, pa.float64())]
        return pa.schema(fields, metadata=dict(self.provenance))

    def of(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        """Return the predictions for accepted rows."""
        labels, probabilities = self.scores(rows)
        carried = [_as(rows[field.name], field.type) for field in schema if field.name in rows.column_names]
        return pa.table([*carried, labels, probabilities], schema=schema)


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
        rejects_file = _Rejects(rejects, publication)
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
        rejects_file = _Rejects(inputs.rejects, publication)
        judge = Judge(contract, fields=inputs.rejects is not None or inputs.with_values)
        tables = _opened(sources, judge, stack, report)
        rejects_file.begin(tables, stack)
        _run(inputs, judge, tables, rejects_file, lambda block: on_accepted(block.output), report)
        report.rejects = rejects_file.close(report.rejected, if_any=False)
        publication.publish()
    return report


class _Rejects:
    """The rejects file of a run, if it has one."""

    def __init__(self, name: str | None, publication: Publication) -> None:
        self._name = name
        if name is not None:
            with writing(name):
                self._format = format_of(name, "a rejects file so called")
                # Whoever finds new predictions finds the rejects that belong to them.
                self._output = publication.add(name, PRIVATE, first=True)

    def begin(self, tables: Sequence[InputTable], stack: ExitStack) -> None:
        """Write the header, which needs the columns of all tables."""
        if self._name is not None:
            columns = list(dict.fromkeys(column for table in tables for column in table.names))
            with writing(self._name):
                self._writer = stack.enter_context(RejectsWriter(self._output.file, self._format, columns))

    def write(self, block: JudgedBlock) -> None:
        if self._name is not None:
            with writing(self._name):
                self._writer.write(block)

    def close(self, rejected: int, *, if_any: bool) -> str | None:
        """Make the file ready to be published, and return its name; or to be removed, without any rejects."""
        if self._name is None:
            return None
        with writing(self._name):
            self._writer.close()
        if rejected or not if_any:
            return self._name
        self._output.withdraw()
        return None


def _run(
    inputs: Inputs,
    judge: Judge,
    tables: Sequence[InputTable],
    rejects: _Rejects,
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


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == kind else as_text(column) if pa.types.is_string(kind) else column.cast(kind)
