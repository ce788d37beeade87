"""The report of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from titanic_batch.checking.judging import JudgedBlock
from titanic_batch.reading.formats import Format
from titanic_batch.reading.sources import PassedOver, Source
from titanic_batch.runs.options import RunOptions
from titanic_batch.scoring.drift import PROBABILITY_BINS, Drift, probability_counts
from titanic_batch.writing.publishing import PublishedFile

FIRST_ROWS = 5


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that breaks a rule: its source, its number in the source (from 1), and the value if it may be shown."""

    source: str
    number: int
    value: str | None


@dataclass(slots=True)
class RuleCount:
    """The number of rows that break a rule, and the first few of them."""

    rule: str
    column: str | None
    rows: int = 0
    first_rows: list[BrokenRow] = field(default_factory=list)


@dataclass(slots=True)
class InputFile:
    """An input. Its size and SHA-256 are None if unknown, such as before it was opened or read."""

    name: str
    format: Format
    bytes: int | None = None
    sha256: str | None = None


@dataclass(slots=True)
class Distribution:
    """The distribution of predictions: rows by label, the sum of probabilities, and rows by tenth of probability."""

    labels: dict[str, int] = field(default_factory=dict)
    total: float = 0
    bins: list[int] = field(default_factory=lambda: [0] * PROBABILITY_BINS)

    def count(self, labels: pa.ChunkedArray, probabilities: pa.ChunkedArray) -> None:
        """Add the predictions of a block."""
        for found in pc.value_counts(labels).to_pylist():
            label = str(found["values"])
            self.labels[label] = self.labels.get(label, 0) + found["counts"]
        values = probabilities.to_numpy()
        self.total += float(values.sum())
        counts = probability_counts(values).tolist()
        self.bins = [one + other for one, other in zip(self.bins, counts, strict=True)]


@dataclass(slots=True)
class RunReport:
    """What a run did; while it is running, what it has done so far.

    Attributes
    ----------
    sources
        Names of the inputs.
    rows, accepted, rejected
        Numbers of rows; ``rows`` is ``accepted`` plus ``rejected``.
    rules
        The broken rules. A row that breaks several rules is counted for each of them, but rejected only once.
    output
        The file of predictions, once published.
    rejects
        The rejects file, if there is one.
    left_out, incomplete
        Columns that can't be read, and that the rejects file does not have; and those of which it has only what can be
        read.
    failure
        Why nothing but the rejects was published, or None if the data passed.
    too_few
        Whether the failure is that there are too few rows.
    drift
        How the scored rows compare with the rows that the model was fitted on, if known.
    with_values
        Whether ``rules`` contains the values of the first rows.
    inputs
        The inputs with their sizes and digests.
    outputs
        The files published so far.
    predictions
        The distribution of the predictions, if requested.
    seconds
        Time spent on each stage.
    passed_over
        Files in named folders that are not read.
    """

    sources: list[str] = field(default_factory=list)
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    rules: list[RuleCount] = field(default_factory=list)
    output: str | None = None
    rejects: str | None = None
    left_out: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    failure: str | None = None
    too_few: bool = False
    drift: Drift | None = None
    with_values: bool = False
    inputs: list[InputFile] = field(default_factory=list, compare=False)
    outputs: list[PublishedFile] = field(default_factory=list, compare=False)
    predictions: Distribution | None = field(default=None, compare=False)
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    passed_over: Sequence[PassedOver] = ()

    def begin(self, sources: Sequence[Source]) -> None:
        """Set the inputs that will be read."""
        self.sources = [source.name for source in sources]
        self.inputs = [InputFile(source.name, source.format) for source in sources]

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time spent in the ``with`` block to a stage."""
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

    @property
    def unreadable_columns(self) -> list[str]:
        """Columns that could not be read, or not to their end, and are missing in the rejects file."""
        return [*self.left_out, *self.incomplete]

    def remarks(self) -> list[str]:
        """Return what is to be known about the rejects file, in a sentence each."""
        remarks = []
        if self.left_out:
            are = "are" if len(self.left_out) > 1 else "is"
            remarks.append(f"{_columns(self.left_out)} can't be read and {are} left out of the rejects.")
        if self.incomplete:
            remarks.append(f"{_columns(self.incomplete)} can't be read in full: fields are missing in the rejects.")
        return remarks

    def close(self, options: RunOptions) -> None:
        """Check the sums, and set ``failure`` if the rejects, the number of rows or the drift is beyond its limit."""
        if self.rows != self.accepted + self.rejected:
            raise AssertionError(f"{self.rows} rows in, but {self.accepted} accepted and {self.rejected} rejected")
        self.rules.sort(key=lambda rule: (-rule.rows, rule.rule, rule.column or ""))
        limit = options.max_rejects
        if limit.is_exceeded(self.rejected, self.rows):
            broken = ", ".join(f"{rule.rule} {rule.column or 'row'}: {rule.rows}" for rule in self.rules)
            self.failure = f"{self.rejected} of {self.rows} rows rejected, {limit} allowed ({broken})"
        elif self.rows < options.min_rows:
            self.failure = f"{self.rows} rows, at least {options.min_rows} expected"
            self.too_few = True
        elif self.drift is not None and options.max_psi is not None:
            self.failure = self.drift.describe(options.max_psi)


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {', '.join(name.strip() or '(nameless)' for name in names)}"
