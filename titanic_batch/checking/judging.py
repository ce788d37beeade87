"""Checking and scoring of rows: each row is either accepted and scored, or rejected with all its reasons.

The batch job, the data check in CI and the server all use this code. Blocks are processed in parallel and returned in
the order of the input. Duplicate keys are detected in that order, too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from titanic_batch.checking.contract import Contract
from titanic_batch.checking.key_text import with_key_text
from titanic_batch.checking.keys import SeenKeys, SeenTexts
from titanic_batch.checking.threads import map_in_order
from titanic_batch.reading.blocks import Block, Fields, Rows
from titanic_batch.reading.columns import STRING, as_single_array
from titanic_batch.reading.escapes import printable
from titanic_batch.reading.files import reading_from
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.limits import require_memory
from titanic_batch.reading.rules import DUPLICATE_KEY, Mask, Problem

_BLOCK_MEMORY = 64 * 2**20  # bytes to read, check and score a block of ordinary size: seldom more than half of it
_MAX_MEMORY = 10 * _BLOCK_MEMORY  # with any number of threads


@dataclass(frozen=True, slots=True)
class JudgedBlock:
    """Consecutive rows of one table, after they have been checked and scored."""

    table: InputTable
    first_row: int
    """Number of the first row within its table, counted from 1."""
    count: int
    output: pa.Table
    """The result of `score` for the accepted rows, in order. Without `score`, the accepted rows."""
    problems: list[Problem]
    rejected: NDArray[np.int64]
    """Zero-based positions of the rejected rows within the block, in ascending order."""
    fields: Fields | None
    """The original values of the rejected rows, if they were requested and there are any."""
    size: int
    """Size of the block, in the unit of ``table.size``."""

    def value(self, row: int, column: str | None) -> str | None:
        """Return the original value of a rejected row in a column, or None if it is null or was not requested."""
        if self.fields is None or column is None:
            return None
        value = self.fields.table[column][int(np.searchsorted(self.rejected, row))].as_py()
        return None if value is None else printable(value)


@dataclass(frozen=True, slots=True)
class _Part:
    """A block of a table."""

    table: InputTable
    block: Block

    def memory(self) -> int:
        """Return roughly how many bytes it takes to read, check and score the block."""
        return int(_BLOCK_MEMORY * self.block.size / self.table.ordinary_block_size)

    def read(self, types: Mapping[str, pa.DataType | None]) -> Rows:
        """Read the block; see `Block.read`. A failure is reported with the name of the table."""
        with reading_from(self.table.source.name):
            return self.block.read(types)

    def fields(self, rows: NDArray[np.int64]) -> Fields:
        """Return original values; see `Block.fields`. A failure is reported with the name of the table."""
        with reading_from(self.table.source.name):
            return self.block.fields(rows)


@dataclass(frozen=True, slots=True)
class _CheckedBlock:
    """A block that was checked and scored on its own, before its keys are compared with those of other blocks."""

    part: _Part
    count: int
    output: pa.Table
    problems: list[Problem]
    accepted: Mask
    fields: Fields | None
    keys: pa.Array
    """Those of all rows that have one, in order."""
    keyless: NDArray[np.int64]
    """Zero-based positions of the rows without a key."""


def types_to_read(contract: Contract, keep: Sequence[str] = ()) -> Mapping[str, pa.DataType | None]:
    """Return the contract's columns and those to keep, with the types to read them as. None keeps the original type."""
    return contract.types | {name: None for name in keep if name not in contract.types}


class Judge:
    """Checks rows against a contract, and scores the accepted ones.

    Parameters
    ----------
    contract
        The contract that each row must satisfy.
    score
        Function that takes a table with the accepted rows of a block and returns a table with as many rows. It is
        called from several threads.
    keep
        Additional columns to pass to ``score``. Columns of the contract have the contract's type, others keep their
        original type.
    fields
        Whether to return the original values of rejected rows.
    key_text
        Whether to pass the key to ``score`` as text, too, in the column `KEY_TEXT`.
    """

    def __init__(
        self,
        contract: Contract,
        score: Callable[[pa.Table], pa.Table] | None = None,
        keep: Sequence[str] = (),
        *,
        fields: bool = False,
        key_text: bool = False,
    ) -> None:
        self.contract = contract
        self._score = score
        self._types = types_to_read(contract, keep)
        self._fields = fields
        self._key_text = key_text

    def require_columns(self, table: InputTable) -> None:
        """Check that a table has the contract's columns and those to keep.

        Raises
        ------
        DataError
            A column is missing, occurs more than once, or can't be converted.
        """
        table.require(self._types)

    def judged(self, tables: Sequence[InputTable], jobs: int = 1) -> Generator[JudgedBlock, None, None]:
        """Yield all rows of the tables, block by block and in order. A key must be unique across all tables.

        ``jobs`` threads read, check and score blocks. The result does not depend on their number. Threads are used
        because nearly all of the work releases the GIL, and each process would need its own imports and its own copy of
        the model.

        Raises
        ------
        DataError
            A table is damaged.
        TransferError
            Reading a table failed midway.
        """
        seen = _SeenKeys(self.contract.types[self.contract.key])
        checked_blocks = map_in_order(
            self._check, self._blocks(tables), threads=jobs, memory=_Part.memory, max_memory=_MAX_MEMORY
        )
        first_row, current = 1, None
        with closing(checked_blocks):
            for checked in checked_blocks:
                if checked.part.table is not current:
                    first_row, current = 1, checked.part.table
                yield self._reject_duplicates(checked, first_row, seen)
                first_row += checked.count

    def _blocks(self, tables: Sequence[InputTable]) -> Generator[_Part, None, None]:
        for table in tables:
            with closing(table.blocks(list(self._types), fields=self._fields)) as blocks:
                for block in blocks:
                    yield _Part(table, block)

    def _check(self, part: _Part) -> _CheckedBlock:
        require_memory(part.memory())
        rows = self._read(part)
        problems = self.contract.problems(rows)
        accepted = np.ones(rows.table.num_rows, dtype=np.bool_)
        for problem in problems:
            accepted[problem.rows] = False
        accepted_rows = rows.table if accepted.all() else rows.table.filter(pa.array(accepted))
        rejected = np.flatnonzero(~accepted)
        key = rows.table[self.contract.key]
        return _CheckedBlock(
            part=part,
            count=rows.table.num_rows,
            output=accepted_rows if self._score is None else self._score(accepted_rows),
            problems=problems,
            accepted=accepted,
            fields=part.fields(rejected) if self._fields and len(rejected) else None,
            keys=as_single_array(pc.drop_null(key)),
            keyless=np.flatnonzero(key.is_null().to_numpy()) if key.null_count else np.empty(0, dtype=np.int64),
        )

    def _read(self, part: _Part) -> Rows:
        if not self._key_text:
            return part.read(self._types)
        key = self.contract.key
        return with_key_text(part.read({**self._types, key: None}), key, self.contract.types[key])

    def _reject_duplicates(self, checked: _CheckedBlock, first_row: int, seen: _SeenKeys) -> JudgedBlock:
        repeated = np.flatnonzero(seen.add(checked.keys))
        if len(repeated) and len(checked.keyless):
            repeated = np.delete(np.arange(checked.count), checked.keyless)[repeated]
        rejected = np.flatnonzero(~checked.accepted)
        output, problems, fields = checked.output, checked.problems, checked.fields
        if len(repeated):
            problems = [*problems, Problem(DUPLICATE_KEY, self.contract.key, repeated)]
            newly_rejected = repeated[checked.accepted[repeated]]
            if len(newly_rejected):
                kept = np.ones(len(checked.accepted), dtype=np.bool_)
                kept[newly_rejected] = False
                output = output.filter(pa.array(kept[checked.accepted]))
                if self._fields:
                    fields = _merged(fields, rejected, checked.part.fields(newly_rejected), newly_rejected)
                rejected = np.union1d(rejected, newly_rejected)
        table, size = checked.part.table, checked.part.block.size
        return JudgedBlock(table, first_row, checked.count, output, problems, rejected, fields, size)


class _SeenKeys:
    """The keys so far, be they integers or text."""

    def __init__(self, arrow_type: pa.DataType) -> None:
        self._texts = SeenTexts() if arrow_type == STRING else None
        self._integers = SeenKeys()

    def add(self, keys: pa.Array) -> Mask:
        """Add keys and return the mask of those that were added before."""
        return self._integers.add(keys.to_numpy()) if self._texts is None else self._texts.add(keys.to_pylist())


def _merged(one: Fields | None, rows: NDArray[np.int64], other: Fields, other_rows: NDArray[np.int64]) -> Fields:
    """Return the fields of two disjoint sets of rows in the order of the rows."""
    if one is None:
        return other
    order = np.argsort(np.concatenate([rows, other_rows]))
    lines = one.lines + other.lines
    table = pa.concat_tables([one.table, other.table]).take(pa.array(order))
    return Fields(table, [lines[index] for index in order], one.unread | other.unread)
