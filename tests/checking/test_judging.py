"""What becomes of each row: the same whatever blocks, threads and formats; nothing lost; the first key wins."""

from __future__ import annotations

import gzip
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passengers import COLUMNS, Row, csv_bytes, many, parquet_bytes, passenger, passengers, table_of, typed
from titanic_batch.checking import threads
from titanic_batch.checking.judging import Judge, JudgedBlock
from titanic_batch.errors import DataError, TransferError
from titanic_batch.passenger.pipeline import build_pipeline
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading import parquet_blocks
from titanic_batch.reading.columns import STRING
from titanic_batch.reading.formats import Format
from titanic_batch.reading.input_table import InputTable
from titanic_batch.reading.opening import open_table
from titanic_batch.reading.rules import (
    DUPLICATE_KEY,
    ENCODING,
    MISSING,
    NOT_ALLOWED,
    NOT_FINITE,
    OUT_OF_RANGE,
    TYPE,
    UNCLOSED_QUOTE,
    WRONG_FIELD_COUNT,
)
from titanic_batch.reading.sources import Source
from titanic_batch.scoring.pipelines import PipelinePredictor
from titanic_batch.scoring.scorer import Scorer

Reasons = frozenset[tuple[str, str | None]]


class Judged(NamedTuple):
    """All rows of some tables: the table's place, the row's number and why it was rejected; and what was accepted."""

    rows: list[tuple[int, int, Reasons]]
    accepted: list[dict[str, Any]]
    fields: list[dict[str, Any]]
    lines: list[str | None]


def collected(blocks: Iterator[JudgedBlock], tables: Sequence[InputTable]) -> Judged:
    """Put blocks together, and check what must hold of each."""
    found = Judged([], [], [], [])
    for block in blocks:
        place = tables.index(block.table)
        numbers = [number for at, number, _ in found.rows if at == place]
        assert block.first_row == len(numbers) + 1
        reasons: list[set[tuple[str, str | None]]] = [set() for _ in range(block.count)]
        for problem in block.problems:
            assert len(problem.rows)
            assert (np.diff(problem.rows) > 0).all()
            for row in problem.rows.tolist():
                assert (problem.rule, problem.column) not in reasons[row]
                reasons[row].add((problem.rule, problem.column))
        assert block.rejected.tolist() == [row for row, why in enumerate(reasons) if why]
        assert block.count == block.output.num_rows + len(block.rejected)
        found.rows.extend((place, block.first_row + row, frozenset(why)) for row, why in enumerate(reasons))
        found.accepted.extend(block.output.to_pylist())
        if block.fields is not None:
            assert block.fields.table.num_rows == len(block.fields.lines) == len(block.rejected)
            found.fields.extend(block.fields.table.to_pylist())
            found.lines.extend(block.fields.lines)
    return found


def judged(
    *data: bytes,
    kind: Format = "csv",
    jobs: int = 1,
    block_bytes: int = 2**20,
    score: Callable[[pa.Table], pa.Table] | None = None,
    keep: Sequence[str] = (),
    fields: bool = True,
) -> Judged:
    tables = [table_of(part, kind, block_bytes, f"table {place}") for place, part in enumerate(data)]
    judge = Judge(CONTRACT, score, keep, fields=fields)
    with ExitStack() as stack:
        for table in tables:
            stack.enter_context(table)
            judge.require_columns(table)
        return collected(judge.judged(tables, jobs), tables)


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns or raise what it raises; fail if it hangs."""
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome["value"] = call()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, f"still running after {seconds} s"
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    yield
    assert not threads.are_running()


# Against a plain model of what must come out

SPOILED: dict[str, tuple[dict[str, str], set[tuple[str, str | None]]]] = {
    "valid": ({}, set()),
    "unknown sex": ({"Sex": "x"}, {(NOT_ALLOWED, "Sex")}),
    "no class, too old": ({"Pclass": "", "Age": "200"}, {(MISSING, "Pclass"), (OUT_OF_RANGE, "Age")}),
    "no age at all": ({"Age": "", "Fare": "NA", "Cabin": ""}, set()),
    "infinite fare": ({"Fare": "inf"}, {(NOT_FINITE, "Fare")}),
    "no key": ({"PassengerId": ""}, {(MISSING, "PassengerId")}),
}
# What a typed file cannot hold.
SPOILED_TEXT: dict[str, tuple[dict[str, str], set[tuple[str, str | None]]]] = {
    "key of letters": ({"PassengerId": "one"}, {(TYPE, "PassengerId")}),
    "half a parent": ({"Parch": "0.5", "Sex": "x"}, {(TYPE, "Parch"), (NOT_ALLOWED, "Sex")}),
    "written oddly": ({"Parch": "1.0", "Pclass": " 2"}, set()),
    "foreign byte": ({"Cabin": "C\udcff"}, {(ENCODING, "Cabin")}),
    "too few fields": ({}, {(WRONG_FIELD_COUNT, None)}),
}

keys = st.integers(-3, 12)
kinds = st.lists(st.tuples(keys, st.sampled_from([*SPOILED])), max_size=25)
kinds_of_text = st.lists(st.tuples(keys, st.sampled_from(["valid", *SPOILED, *SPOILED_TEXT])), max_size=25)
Kinds = list[tuple[int, str]]


def spoiled_row(key: int, kind: str) -> Row:
    return passenger(key) | (SPOILED | SPOILED_TEXT)[kind][0]


def text_of(rows: Kinds) -> bytes:
    lines = []
    for key, kind in rows:
        line = ",".join(f'"{value}"' for value in spoiled_row(key, kind).values()).encode("utf-8", "surrogateescape")
        lines.append(line if kind != "too few fields" else line.partition(b",")[0])
    return b"\n".join([",".join(COLUMNS).encode(), *lines])


def expected(*tables: Kinds) -> tuple[list[tuple[int, int, Reasons]], list[Row]]:
    """Return, of each row, its table, number and reasons, and the accepted rows."""
    seen: set[int] = set()
    rows, accepted = [], []
    for place, table in enumerate(tables):
        for number, (key, kind) in enumerate(table, start=1):
            reasons = set((SPOILED | SPOILED_TEXT)[kind][1])
            if not reasons & {(MISSING, "PassengerId"), (TYPE, "PassengerId"), (WRONG_FIELD_COUNT, None)}:
                if key in seen:
                    reasons.add((DUPLICATE_KEY, "PassengerId"))
                seen.add(key)
            rows.append((place, number, frozenset(reasons)))
            if not reasons:
                accepted.append(spoiled_row(key, kind))
    return rows, accepted


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(kinds_of_text, max_size=3), st.sampled_from([1, 2, 4]), st.sampled_from([1, 100, 300, 2**20]))
def test_rows_come_to_what_a_plain_model_says(tables: list[Kinds], jobs: int, block_bytes: int) -> None:
    rows, accepted = expected(*tables)
    found = judged(*map(text_of, tables), jobs=jobs, block_bytes=block_bytes)
    assert found.rows == rows
    assert found.accepted == (typed(accepted).to_pylist() if accepted else [])
    bad = [tables[place][number - 1] for place, number, why in rows if why]
    assert len(found.fields) == len(found.lines) == len(bad)
    for (key, kind), fields, line in zip(bad, found.fields, found.lines, strict=True):
        if kind == "too few fields":
            assert (fields, line) == (dict.fromkeys(COLUMNS) | {"PassengerId": str(key)}, f'"{key}"')
        else:
            expected_cabin = "C\U0010ffff" if kind == "foreign byte" else spoiled_row(key, kind)["Cabin"]
            assert (fields, line) == (spoiled_row(key, kind) | {"Cabin": expected_cabin}, None)
    assert judged(*map(text_of, tables), jobs=jobs, block_bytes=block_bytes, fields=False) == (
        rows,
        found.accepted,
        [],
        [],
    )


def typed_even_if_bad(rows: Kinds) -> pa.Table:
    texts = [spoiled_row(key, kind) for key, kind in rows]

    def values(name: str, kind: pa.DataType) -> pa.Array:
        missing = ("", "NA", "nan", "NaN")
        column = [None if text[name] in missing else text[name] for text in texts]
        return pa.array(column, pa.string()).cast(pa.string() if kind == STRING else kind)

    return pa.table({name: values(name, kind) for name, kind in CONTRACT.types.items()})


@pytest.mark.slow
@settings(max_examples=20)
@given(kinds, st.integers(1, 9))
def test_parquet_comes_to_the_same_as_csv(rows: Kinds, group: int) -> None:
    from_csv = judged(text_of(rows), fields=False)
    from_parquet = judged(parquet_bytes(typed_even_if_bad(rows), group), kind="parquet", fields=False)
    assert from_parquet == from_csv


# Blocks and threads


@pytest.fixture(scope="module")
def mixed() -> list[bytes]:
    """Two CSVs of some thousand rows, some bad, some keys repeated within and across the files."""
    rows = passengers(4_000)
    rows[17] |= {"Sex": "x"}
    rows[1_500] |= {"PassengerId": "3"}
    rows[1_501] |= {"Age": "-1", "PassengerId": "4"}
    rows[3_999] |= {"PassengerId": "4000.0", "Fare": "1e9"}
    more = passengers(1_000, first_key=3_950)
    return [csv_bytes(rows), csv_bytes(more)]


@pytest.fixture(scope="module")
def at_once(mixed: list[bytes]) -> Judged:
    return judged(*mixed)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.parametrize("block_bytes", [500, 20_000])
def test_blocks_and_threads_change_nothing(mixed: list[bytes], at_once: Judged, jobs: int, block_bytes: int) -> None:
    found = within(60, lambda: judged(*mixed, jobs=jobs, block_bytes=block_bytes))
    assert found == at_once
    assert len(found.rows) == 5_000
    assert [number for place, number, why in found.rows if place == 0 and why] == [18, 1_501, 1_502, 4_000]
    # The 4,000th row is rejected for its fare and keeps its key: 51 of the second file's keys came before.
    assert [number for place, number, why in found.rows if place == 1 and why] == list(range(1, 52))


def test_first_row_with_a_key_owns_it_even_if_it_is_rejected() -> None:
    rows = [passenger(7, Sex="x"), passenger(7), passenger(8), passenger(8, Age="-1"), passenger(8), passenger(9)]
    repeated = (DUPLICATE_KEY, "PassengerId")
    reasons: list[list[tuple[str, str | None]]] = [
        [(NOT_ALLOWED, "Sex")], [repeated], [], [(OUT_OF_RANGE, "Age"), repeated], [repeated], []
    ]  # fmt: skip
    for block_bytes in (1, 60, 10_000):
        found = judged(csv_bytes(rows), block_bytes=block_bytes)
        assert found.rows == [(0, number, frozenset(why)) for number, why in enumerate(reasons, start=1)]
        assert [row["PassengerId"] for row in found.accepted] == [8, 9]
        assert [row["Sex"] for row in found.fields] == [rows[at]["Sex"] for at in (0, 1, 3, 4)]


def test_keys_are_the_same_however_they_are_written() -> None:
    rows = [passenger(1, PassengerId=text) for text in ("7", "7.0", "+7", " 7", "0x7", "70e-1", "8")]
    assert [row["PassengerId"] for row in judged(csv_bytes(rows)).accepted] == [7, 8]


def test_rows_that_open_a_quote_and_never_close_it_end_the_table() -> None:
    data = csv_bytes(passengers(5)) + b'6,1,"male,1,1,1,1,\n7,1,male\n'
    for block_bytes in (1, 10_000):
        found = judged(data, data, block_bytes=block_bytes)
        never_closed: Reasons = frozenset([(UNCLOSED_QUOTE, None)])
        assert found.rows[5] == (0, 6, never_closed)
        assert [why for _, _, why in found.rows[6:]] == [{(DUPLICATE_KEY, "PassengerId")}] * 5 + [never_closed]
        assert found.lines[0] == '6,1,"male,1,1,1,1,\n7,1,male\n'


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_tables_and_tables_without_rows(jobs: int) -> None:
    empty = csv_bytes([])
    assert judged(jobs=jobs) == ([], [], [], [])
    assert judged(empty, empty, jobs=jobs) == ([], [], [], [])
    found = judged(empty, csv_bytes(passengers(2)), empty, jobs=jobs)
    assert [(place, number) for place, number, _ in found.rows] == [(1, 1), (1, 2)]
    assert judged(parquet_bytes(typed(passengers(1))[:0]), kind="parquet", jobs=jobs).rows == []


def test_huge_row_groups_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_blocks, "BLOCK_ROWS", 70)
    monkeypatch.setattr(parquet_blocks, "MAX_GROUP_ROWS", 150)
    table = many(1_000).append_column("Name", pa.array([f"n{row}" for row in range(1_000)]))
    keys = np.arange(1_000)
    keys[[500, 900]] = [3, 899]
    table = table.set_column(0, "PassengerId", pa.array(keys))
    for jobs in (1, 3):
        for group in (1_000, 100):
            found = judged(parquet_bytes(table, group), kind="parquet", jobs=jobs, keep=["Name"])
            assert [number for _, number, why in found.rows if why] == [501, 901]
            assert [row["Name"] for row in found.accepted] == [
                f"n{row}" for row in range(1_000) if row not in (500, 900)
            ]
            assert [row["Name"] for row in found.fields] == ["n500", "n900"]


def test_value_of_a_rejected_row_is_shown_as_it_stood() -> None:
    rows = csv_bytes([passenger(1), passenger(2, Sex="x?"), passenger(3, Age=" old")]).replace(b"x?", b"x\xff")
    with table_of(rows) as table:
        (block,) = Judge(CONTRACT, fields=True).judged([table])
        assert [block.value(1, "Sex"), block.value(2, "Age"), block.value(2, "Sex")] == ["x\\xff", " old", "female"]
        assert block.value(1, None) is None
    with table_of(rows) as table:
        (block,) = Judge(CONTRACT).judged([table])
        assert block.value(1, "Sex") is None


# Columns to keep


def test_kept_columns_come_with_the_accepted_rows() -> None:
    rows = [row | {"Name": name, "Note": ""} for row, name in zip(passengers(3), ["a", "NA", ""], strict=True)]
    rows[0] |= {"Sex": "x"}
    found = judged(csv_bytes(rows, (*COLUMNS, "Name", "Note")), keep=["Name", "Age"])
    assert [(row["PassengerId"], row["Name"], row["Age"]) for row in found.accepted] == [(2, "NA", 0.75), (3, "", 38.0)]
    assert [row["Note"] for row in found.fields] == [""]


def test_column_to_keep_must_be_there() -> None:
    with pytest.raises(DataError, match="column missing: Name"):
        judged(csv_bytes(passengers(1)), keep=["Name"])


# Scores


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    table = many(500, seed=1)
    frame = table.to_pandas()
    labels = (frame["Sex"] == "female") ^ (np.random.default_rng(2).random(len(frame)) < 0.2)
    return Scorer(PipelinePredictor(build_pipeline(n_estimators=5).fit(frame, labels.astype(int))))


@pytest.mark.slow
@settings(max_examples=20)
@given(kinds_of_text, st.sampled_from([1, 2]), st.sampled_from([1, 200, 2**20]))
def test_scores_are_those_of_the_valid_rows_alone(scorer: Scorer, rows: Kinds, jobs: int, block_bytes: int) -> None:
    def score(table: pa.Table) -> pa.Table:
        scores = scorer.score(table)
        return pa.table({"key": table["PassengerId"], "label": scores.code, "probability": scores.probability})

    _, accepted = expected(rows)
    alone = score(typed(accepted)).to_pylist() if accepted else []
    assert judged(text_of(rows), score=score, jobs=jobs, block_bytes=block_bytes).accepted == alone


def test_rows_beside_foreign_bytes_in_parquet_are_scored(scorer: Scorer) -> None:
    table = many(3)
    raw = pa.array([b"C85", b"C\xff", b"T"], pa.binary())
    cabins = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    data = parquet_bytes(table.set_column(7, "Cabin", cabins))
    found = judged(data, kind="parquet", score=lambda rows: pa.table({"probability": scorer.score(rows).probability}))
    assert [why for _, _, why in found.rows] == [set(), {(ENCODING, "Cabin")}, set()]
    assert [fields["Cabin"] for fields in found.fields] == ["C\U0010ffff"]
    assert len(found.accepted) == 2


def test_score_sees_accepted_rows_and_its_output_loses_late_duplicates() -> None:
    seen: list[int] = []

    def score(table: pa.Table) -> pa.Table:
        seen.extend(table["PassengerId"].to_pylist())
        return pa.table({"twice": [2 * key for key in table["PassengerId"].to_pylist()]})

    rows = [passenger(1), passenger(2, Sex="x"), passenger(3), passenger(1), passenger(4)]
    assert judged(csv_bytes(rows), score=score).accepted == [{"twice": 2}, {"twice": 6}, {"twice": 8}]
    assert seen == [1, 3, 1, 4]


# Faults


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.usefixtures("no_threads_left")
def test_damage_in_the_middle_of_a_table_comes_through(jobs: int) -> None:
    data = gzip.compress(csv_bytes(passengers(20_000)), compresslevel=1)  # damage near the beginning shows at once
    tables = [
        table_of(csv_bytes(passengers(10)), name="good"),
        table_of(data[: len(data) // 2], "csv.gz", 5_000, "bad"),
    ]
    blocks = Judge(CONTRACT).judged(tables, jobs)
    counts: list[int] = []
    with pytest.raises(DataError, match="bad is damaged: it cannot be read to its end"):
        within(60, lambda: counts.extend(block.count for block in blocks))
    assert counts[0] == 10


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.usefixtures("no_threads_left")
def test_fault_in_a_row_group_comes_through(jobs: int) -> None:
    data = bytearray(parquet_bytes(many(20_000), 1_000))
    data[len(data) // 2 : len(data) // 2 + 2_000] = b"\xff" * 2_000
    with pytest.raises(DataError, match="table 0 is damaged"):
        within(60, lambda: judged(bytes(data), kind="parquet", jobs=jobs))


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.usefixtures("no_threads_left")
def test_stream_that_breaks_comes_through(jobs: int) -> None:
    class Breaking(io.BytesIO):
        def readinto(self, buffer: Any, /) -> int:
            got = super().readinto(buffer)
            if not got:
                raise OSError(5, "Input/output error")
            return got

    table = open_table(Source("in", "csv", Breaking(csv_bytes(passengers(1_000)))), 1_000)
    with pytest.raises(TransferError, match="reading in failed midway"):
        within(60, lambda: list(Judge(CONTRACT).judged([table], jobs)))


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.usefixtures("no_threads_left")
def test_fault_in_scoring_comes_through_as_it_is(jobs: int) -> None:
    def score(table: pa.Table) -> pa.Table:
        if 500 in table["PassengerId"].to_pylist():
            raise ZeroDivisionError("a bug")
        return table

    with pytest.raises(ZeroDivisionError, match="a bug"):
        within(60, lambda: judged(csv_bytes(passengers(1_000)), block_bytes=1_000, score=score, jobs=jobs))


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.usefixtures("no_threads_left")
def test_caller_may_leave_early(jobs: int) -> None:
    table = table_of(csv_bytes(passengers(3_000)), block_bytes=1_000)

    def leave() -> JudgedBlock:
        with closing(Judge(CONTRACT).judged([table], jobs)) as blocks:
            return next(blocks)

    assert within(60, leave).first_row == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_reading_runs_only_a_little_ahead(jobs: int) -> None:
    class Counted(io.BytesIO):
        taken = 0

        def readinto(self, buffer: Any, /) -> int:
            got = super().readinto(buffer)
            Counted.taken += got
            return got

    data = csv_bytes(passengers(10_000))
    table = open_table(Source("in", "csv", Counted(data)), 2_000)
    with closing(Judge(CONTRACT).judged([table], jobs)) as blocks:
        for taken in range(1, 6):
            next(blocks)
            time.sleep(0.05)  # what would run ahead has the time to
            assert Counted.taken <= 2_000 * (taken + 2 * jobs + 4)
