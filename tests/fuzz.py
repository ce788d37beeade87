"""Feeds the CSV and Parquet readers what nobody would write: ``python tests/fuzz.py --seconds 300``.

Whatever the bytes, a run of `validate` ends in a report whose rows are all accounted for or in an error of our own,
and does so in one block and in many.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import gzip
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder stands there

from tests import corpus
from tests.named_inputs import Inputs, validate
from titanic_batch.errors import DataError, TitanicError
from titanic_batch.passenger.schema import CONTRACT, LABELLED_CONTRACT
from titanic_batch.reading.formats import FORMATS, Format
from titanic_batch.reading.opening import open_table
from titanic_batch.runs.options import RejectLimit
from titanic_batch.runs.report import RunReport

CPU_SECONDS = 60  # for one input; they take milliseconds
STALLED_SECONDS = 900
MEMORY = Path("/dev/shm")  # fsync costs nothing there

TOKENS = [
    *(b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xf4\x8f\xbe\x80"),
    *(b"NA", b"nan", b"inf", b"-", b"1e999", b"9" * 20, b"0x1", b" ", b"3.5", b"male", b"x", b";", b"\t", b"'", b"\\"),
    *(corpus.HEADER, corpus.lines(1), b",,,,,,,,,,\n", b"PassengerId", b"PAR1", b"\x1f\x8b"),
]


@dataclass(frozen=True)
class Case:
    """An input, and a second way to read it."""

    data: bytes
    format: Format
    block_bytes: int = 64
    block_rows: int = 2
    jobs: int = 1
    labelled: bool = False


def outcome(case: Case, folder: Path, cut: bool) -> tuple[object, ...]:
    """Return what a run comes to: counts, rules and rejects, or the type of our error."""
    path, rejects = folder / f"in.{case.format}", folder / "rejects.parquet"
    path.write_bytes(case.data)
    inputs = Inputs(
        [str(path)],
        max_rejects=RejectLimit(percent=Decimal(100)),
        rejects=str(rejects),
        jobs=case.jobs if cut else 1,
        with_values=True,
    )
    accepted: list[pa.Table] = []
    failure: TitanicError | None = None
    with pytest.MonkeyPatch.context() as patch:
        if cut:
            patch.setattr(
                "titanic_batch.runs.batch.open_table", functools.partial(open_table, block_bytes=case.block_bytes)
            )
            patch.setattr("titanic_batch.reading.parquet_blocks.BLOCK_ROWS", case.block_rows)
            patch.setattr("titanic_batch.reading.parquet_blocks.MAX_GROUP_ROWS", case.block_rows)
        try:
            report = validate(inputs, LABELLED_CONTRACT if case.labelled else CONTRACT, accepted.append)
        except TitanicError as error:
            failure = error
    if failure is not None:
        assert "\n" not in str(failure)
        assert len(list(folder.iterdir())) == 1, "a run that fails leaves nothing behind"
        return (type(failure),)
    table = pq.read_table(rejects)
    rejects.unlink()
    check_sums(report, table, accepted)
    rows = [row for block in accepted for row in block.to_pylist()]
    whole = table.drop_columns(report.incomplete)  # in slices, what stands before the damage can be read
    return report.rows, repr(report.rules), repr(rows), repr(whole.to_pylist()), report.unreadable_columns


def check_sums(report: RunReport, rejects: pa.Table, accepted: Sequence[pa.Table]) -> None:
    """Check that every row is accounted for, once."""
    assert report.rows == report.accepted + report.rejected
    assert report.accepted == sum(table.num_rows for table in accepted)
    numbers = rejects["reject_row"].to_pylist()
    assert report.rejected == len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)
    assert all(1 <= number <= report.rows for number in numbers)
    assert all(1 <= rule.rows <= report.rejected for rule in report.rules)
    assert all(row.number in set(numbers) for rule in report.rules for row in rule.first_rows)


def check(case: Case) -> None:
    """Run over an input in one block and in several; fail if it doesn't end as it must, or not the same."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        faulthandler.dump_traceback_later(STALLED_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # its signal ends the process, also in the midst of C
        try:
            whole, cut = (outcome(case, Path(name), cut) for cut in (False, True))
            assert cut == whole or (DataError in (cut[0], whole[0]) and is_damaged(case))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()


def is_damaged(case: Case) -> bool:
    """Tell whether a Parquet file can't be read in full: what is not needed is read only along with what is."""
    if case.format != "parquet":
        return False
    try:
        pq.read_table(pa.BufferReader(case.data))
    except (OSError, pa.ArrowException):
        return True
    return False


# Inputs


@functools.cache
def seeds() -> list[tuple[bytes, Format]]:
    """Return small valid and odd files to start from."""
    found: list[tuple[bytes, Format]] = []
    for odd in corpus.ODD_FILES:
        for name, content in odd.files.items():
            kinds = [kind for kind in FORMATS if name.endswith(f".{kind}")]
            if content is not None and kinds and len(content) < 20_000:
                found.append((content, kinds[0]))
    found += [(odd.csv(corpus.lines(1, 2), corpus.lines(3)), "csv") for odd in corpus.ODD_ROWS if len(odd.line) < 1_000]
    found += [(odd.parquet(corpus.good_table(1, 3)), "parquet") for odd in corpus.ODD_ROWS[::5] if odd.values]
    return sorted(found)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, Format]:
    """Draw a seed in which some bytes are changed, cut out, repeated, put in, or taken from another seed."""
    data, kind = draw(st.sampled_from(seeds()))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["flip", "cut", "repeat", "token", "bytes", "end", "splice"])):
            case "flip":
                bit = 1 << draw(st.integers(0, 7))
                data = data[:start] + bytes(byte ^ bit for byte in data[start : start + 1]) + data[start + 1 :]
            case "cut":
                data = data[:start] + data[end:]
            case "repeat":
                data = data[:end] + data[start:end] * draw(st.integers(1, 3)) + data[end:]
            case "token":
                data = data[:start] + draw(st.sampled_from(TOKENS)) + data[start:]
            case "bytes":
                data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
            case "end":
                data = data[:start]
            case "splice":
                other, _ = draw(st.sampled_from(seeds()))
                data = data[:start] + other[draw(st.integers(0, len(other))) :]
    return data, kind


@st.composite
def csv_soup(draw: st.DrawFn) -> tuple[bytes, Format]:
    """Draw a CSV with a header, and rows made of what a CSV's grammar knows, in any order."""
    parts = draw(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=40))
    data = corpus.HEADER + b"".join(parts)
    return (gzip.compress(data, mtime=0), "csv.gz") if draw(st.booleans()) else (data, "csv")


_INTEGERS = st.integers(-(2**66), 2**66) | st.integers(-1, 25)
_TEXT = st.sampled_from(["male", "female", "C85", "NA", "", "nan", "3", "\0", "\U0010ff80"]) | st.text(max_size=3)
_NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, 2.0, 3.0, 3.5, 2.0**63, -(2.0**63), 1e300])
_DECIMALS = st.decimals(-(10**20), 10**20, places=3) | st.integers(0, 3).map(Decimal)


def _integers(kind: pa.DataType) -> st.SearchStrategy[int]:
    bits = kind.bit_width
    low, high = (0, 2**bits - 1) if str(kind).startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.integers(low, high) | st.integers(0, 25)


_KINDS: list[tuple[pa.DataType, st.SearchStrategy[object]]] = [
    *((kind, _integers(kind)) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *((kind, _integers(kind)) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    *((kind, _NUMBERS) for kind in (pa.float32(), pa.float64())),
    *((kind, _DECIMALS) for kind in (pa.decimal128(38, 3), pa.decimal256(70, 3))),
    *((kind, _TEXT) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *((kind, st.binary(max_size=3)) for kind in (pa.binary(), pa.large_binary())),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    (pa.timestamp("us"), st.integers(0, 2**40)),
    (pa.list_(pa.int64()), st.lists(_INTEGERS.filter(lambda value: abs(value) < 2**63), max_size=2)),
    (pa.struct([("a", pa.int64())]), st.builds(lambda: {"a": 1})),
]
_NUMERIC, _TEXTUAL = _KINDS[:12], _KINDS[12:15]


@st.composite
def arrow_arrays(draw: st.DrawFn, rows: int, likely: list[tuple[pa.DataType, st.SearchStrategy[object]]]) -> pa.Array:
    """Draw a column, mostly of a type that fits, perhaps as a dictionary, perhaps of bytes that are no UTF-8."""
    kind, values = draw(st.sampled_from(_KINDS if not draw(st.integers(0, 15)) else likely))
    drawn = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
    if kind == pa.string() and not draw(st.integers(0, 3)):
        return corpus.raw_strings([draw(st.binary(max_size=3)) if value is not None else None for value in drawn])
    array = pa.array(drawn, kind)
    plain = pa.types.is_primitive(kind) or pa.types.is_string(kind)
    return array.dictionary_encode() if plain and draw(st.booleans()) else array


@st.composite
def parquet_tables(draw: st.DrawFn) -> tuple[bytes, Format]:
    """Draw a Parquet file with the contract's columns and another, each of any type."""
    rows = draw(st.integers(0, 12))
    columns = {
        name: draw(arrow_arrays(rows, _TEXTUAL if kind not in (pa.int64(), pa.float64()) else _NUMERIC))
        for name, kind in CONTRACT.types.items()
    }
    columns["Extra"] = draw(arrow_arrays(rows, _KINDS))
    return corpus.parquet_of(pa.table(columns), draw(st.integers(1, 12))), "parquet"


def cases() -> st.SearchStrategy[Case]:
    """Return inputs of all kinds."""
    anything = st.tuples(st.binary(max_size=200), st.sampled_from(FORMATS))
    return st.builds(
        lambda drawn, **others: Case(*drawn, **others),
        st.one_of(mutated(), csv_soup(), parquet_tables(), mutated(), anything),
        block_bytes=st.integers(1, 400),
        block_rows=st.integers(1, 6),
        jobs=st.integers(1, 2),
        labelled=st.integers(0, 9).map(lambda number: number == 0),
    )


def fuzz(seconds: float, seed: int = 0, tell: Callable[[int], None] = lambda count: None) -> int:
    """Check inputs for a time, and return how many; raises what `check` does, on the smallest input that was found."""
    count, end = 0, time.monotonic() + seconds

    def counted(case: Case) -> None:
        nonlocal count
        count += 1
        check(case)

    quiet = settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    while time.monotonic() < end:
        hypothesis.seed(seed)(quiet(given(cases())(counted)))()
        seed += 1
        tell(count)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of the first hundred inputs; each next has one more"
    )
    given_arguments = parser.parse_args()
    print(f"seed {given_arguments.seed}")
    count = fuzz(given_arguments.seconds, given_arguments.seed)
    print(f"{count} inputs, nothing found")


if __name__ == "__main__":
    main()
