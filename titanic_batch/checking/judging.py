"""What becomes of each row: accepted, with its scores, or rejected, with all its reasons.

The one path of a row, whoever asks: the batch job, the data check in CI, the server. Blocks are judged side by side and
come out in the order of the input; whether a key came before is settled in that order.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from titanic_batch.checking.contract import Contract
from titanic_batch.checking.keys import SeenKeys
from titanic_batch.reading.blocks import Block, Fields
from titanic_batch.reading.escapes import printable
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.rules import DUPLICATE_KEY, Mask, Problem


@dataclass(frozen=True, slots=True)
class JudgedBlock:
    """Some consecutive rows of one table, judged."""

    table: InputTable
    first_row: int
    """Number of the first row within its table, which counts from 1."""
    count: int
    output: pa.Table
    """What `score` made of the accepted rows, in order; without it, the accepted rows."""
    problems: list[Problem]
    rejected: NDArray[np.int64]
    """Rows that have a problem, rising, 0 the block's first."""
    fields: Fields | None
    """The rejected rows as they stood, where they were asked for."""
    size: int
    """How much of ``table.size`` the block is."""

    def value(self, row: int, column: str | None) -> str | None:
        """Return what a rejected row holds in a column; the fields must have been asked for."""
        if self.fields is None or column is None:
            return None
        value = self.fields.table[column][int(np.searchsorted(self.rejected, row))].as_py()
        return None if value is None else printable(value)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """A block judged by itself; whether its keys came before is open."""

    table: InputTable
    block: Block
    count: int
    output: pa.Table
    problems: list[Problem]
    accepted: Mask
    fields: Fields | None
    keys: NDArray[np.int64]
    keyless: NDArray[np.int64]
    """Rows that have no key."""


def types_to_read(contract: Contract, keep: Sequence[str] = ()) -> Mapping[str, pa.DataType | None]:
    """Return the columns that rows are judged by, and those to keep, with their types (None: as they stand)."""
    return contract.types | {name: None for name in keep if name not in contract.types}


class Judge:
    """Judges rows by a contract.

    Parameters
    ----------
    contract
        What a row must be.
    score
        Makes a table of the accepted rows of a block, with as many rows. It is called from several threads.
    keep
        Further columns that ``score`` is to see: of the contract's type where the contract has them, else as they
        stand.
    fields
        Whether rejected rows are to be given as they stood.
    """

    def __init__(
        self,
        contract: Contract,
        score: Callable[[pa.Table], pa.Table] | None = None,
        keep: Sequence[str] = (),
        *,
        fields: bool = False,
    ) -> None:
        self.contract = contract
        self._score = score
        self._types = types_to_read(contract, keep)
        self._fields = fields

    def require_columns(self, table: InputTable) -> None:
        """Check that a table has the columns that rows are judged by, and those to keep.

        Raises
        ------
        DataError
        """
        table.require(self._types)

    def judged(self, tables: Sequence[InputTable], jobs: int = 1) -> Generator[JudgedBlock, None, None]:
        """Yield all rows of the tables, block by block, in order, whatever ``jobs``; keys are unique over all of them.

        ``jobs`` threads read, check and score; memory follows their number and the size of a block. Threads, since
        nearly all of the work is done outside the interpreter's lock, and a process would cost its own imports and
        its own copy of the model.

        Raises
        ------
        DataError, TransferError
            A table is damaged, or reading it failed midway.
        """
        seen = SeenKeys()
        window = _Window(width=jobs + 2)
        wanted = None if self._fields else list(self._types)
        blocks = ((table, block) for table in tables for block in table.blocks(wanted))
        calls = (joblib.delayed(self._verdict)(window, place, *pair) for place, pair in enumerate(blocks))
        parallel = joblib.Parallel(
            n_jobs=jobs, prefer="threads", return_as="generator", pre_dispatch=jobs + 2, batch_size=1
        )
        verdicts = parallel(calls)
        first_row, current = 1, None
        try:
            for verdict in verdicts:
                if verdict.table is not current:
                    first_row, current = 1, verdict.table
                yield self._settled(verdict, first_row, seen)
                first_row += verdict.count
                window.advance()
        finally:
            window.close()
            with warnings.catch_warnings():
                # A caller that leaves early knows that it does.
                warnings.filterwarnings("ignore", ".* tasks ", UserWarning)
                verdicts.close()

    def _verdict(self, window: _Window, place: int, table: InputTable, block: Block) -> _Verdict:
        window.wait_for(place)
        rows = block.read(self._types)
        problems = self.contract.problems(rows)
        accepted = np.ones(rows.table.num_rows, dtype=np.bool_)
        for problem in problems:
            accepted[problem.rows] = False
        good = rows.table if accepted.all() else rows.table.filter(pa.array(accepted))
        rejected = np.flatnonzero(~accepted)
        key = rows.table[self.contract.key]
        return _Verdict(
            table=table,
            block=block,
            count=rows.table.num_rows,
            output=good if self._score is None else self._score(good),
            problems=problems,
            accepted=accepted,
            fields=block.fields(rejected) if self._fields and len(rejected) else None,
            keys=pc.drop_null(key).to_numpy(),
            keyless=np.flatnonzero(key.is_null().to_numpy()) if key.null_count else np.empty(0, dtype=np.int64),
        )

    def _settled(self, verdict: _Verdict, first_row: int, seen: SeenKeys) -> JudgedBlock:
        repeated = np.flatnonzero(seen.add(verdict.keys))
        if len(repeated) and len(verdict.keyless):
            repeated = np.delete(np.arange(verdict.count), verdict.keyless)[repeated]
        rejected = np.flatnonzero(~verdict.accepted)
        output, problems, fields = verdict.output, verdict.problems, verdict.fields
        if len(repeated):
            problems = [*problems, Problem(DUPLICATE_KEY, self.contract.key, repeated)]
            late = repeated[verdict.accepted[repeated]]
            if len(late):
                stays = np.ones(len(verdict.accepted), dtype=np.bool_)
                stays[late] = False
                output = output.filter(pa.array(stays[verdict.accepted]))
                if self._fields:
                    fields = _merged(fields, rejected, verdict.block.fields(late), late)
                rejected = np.union1d(rejected, late)
        return JudgedBlock(
            verdict.table, first_row, verdict.count, output, problems, rejected, fields, verdict.block.size
        )


def _merged(one: Fields | None, rows: NDArray[np.int64], other: Fields, other_rows: NDArray[np.int64]) -> Fields:
    """Return the fields of two disjoint sets of rows in the order of the rows."""
    if one is None:
        return other
    order = np.argsort(np.concatenate([rows, other_rows]))
    lines = one.lines + other.lines
    return Fields(pa.concat_tables([one.table, other.table]).take(pa.array(order)), [lines[place] for place in order])


class _Window:
    """Lets calls run only a little ahead of the one whose result is used next, so that results don't pile up."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._done = 0
        self._changed = threading.Condition()

    def wait_for(self, place: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: place < self._done + self._width)

    def advance(self) -> None:
        with self._changed:
            self._done += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._width = 2**62
            self._changed.notify_all()
