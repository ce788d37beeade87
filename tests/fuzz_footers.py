"""Changes footers of Parquet files: ``python tests/fuzz_footers.py --files 15000``.

Each file is read by a child process, since pyarrow can end the process that reads it. Whatever the footer says, a run
ends in a report whose rows are all accounted for or in an error of our own, soon, and without much memory. A file that
does otherwise is kept, and its seed is named.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, its own folder stands there

from tests import corpus, thrift
from tests.fuzz import MEMORY, check_sums
from tests.named_inputs import Inputs, score, validate
from titanic_batch.errors import TitanicError
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.passenger.words import LABEL
from titanic_batch.runs.options import RejectLimit
from titanic_batch.writing.predictions import PredictedColumns

BATCH = 100  # files for one child
CPU_SECONDS = 20  # for one file; they take milliseconds
STALLED_SECONDS = 120
MEGABYTES = 400  # that a file may add to the memory of the child
NUMBERS = (0, 1, -1, 2, 3, 7, 8, 99, 127, 255, 2**15, 2**20 + 1, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
BYTES = (b"", b"\xff", b"\0", b"Sex", b"Name", b"Age", b"a.b", b"ARROW:schema", b"x" * 3000)


@functools.cache
def seeds() -> list[bytes]:
    """Return the files whose footers are changed."""
    table = corpus.good_table(1, 30)
    bad = corpus.with_columns(table, Sex=pa.array(["male", "x", "female"] * 10))
    rich = corpus.with_columns(
        bad,
        List=pa.array([[1], [], None] * 10),
        Parts=pa.array([{"a": 1, "b": [{"c": "x"}]}, None, {"a": None, "b": []}] * 10),
        Map=pa.array([[("k", 1)], None, []] * 10, pa.map_(pa.string(), pa.int64())),
        Moment=pa.array([0, 1, None] * 10, pa.timestamp("us", "UTC")),
        Price=pa.array([Decimal("1.50"), None, Decimal(2)] * 10, pa.decimal128(12, 3)),
        Bytes=pa.array([b"\xff", b"", None] * 10),
        Half=pa.array([1.5, None, 2.0] * 10, pa.float16()),
        Id=pa.array([b"0123456789abcdef", None, None] * 10, pa.binary(16)),
        Kind=pa.array(["a", None, "b"] * 10).dictionary_encode(),
    )
    files = [corpus.parquet_of(each, size) for each in (table, bad, rich) for size in (7, 30)]
    options: list[dict[str, Any]] = [
        {"use_dictionary": False, "column_encoding": {"Sex": "DELTA_BYTE_ARRAY", "Name": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True, "write_page_checksum": True},
        {"store_schema": False, "compression": "none", "write_statistics": False},
    ]
    for option in options:
        sink = pa.BufferOutputStream()
        pq.write_table(rich if option.get("compression") else bad, sink, row_group_size=10, **option)
        files.append(sink.getvalue().to_pybytes())
    return files


def mutated(seed: int) -> bytes:
    """Return a file whose footer is changed in some places: fields of the struct, or its bytes."""
    chance = random.Random(seed)
    pages, footer = thrift.split(chance.choice(seeds()))
    if chance.random() < 0.7:
        struct = thrift.decode(footer)
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            _change_field(struct, chance)
        with suppress(TypeError, ValueError):  # a value that doesn't fit its field
            footer = thrift.encode(struct)
    if chance.random() < 0.4:
        for _ in range(chance.choice((1, 1, 2, 5))):
            footer = _change_bytes(footer, chance)
    if chance.random() < 0.02:
        pages = pages[: chance.randrange(len(pages))]
    return thrift.join(pages, footer)


def _fields(struct: thrift.Struct) -> Iterator[tuple[thrift.Struct, thrift.Field]]:
    for each in struct.fields:
        yield struct, each
        inner = each.value.elements if isinstance(each.value, thrift.ListOf) else [each.value]
        for value in inner:
            if isinstance(value, thrift.Struct):
                yield from _fields(value)


def _change_field(root: thrift.Struct, chance: random.Random) -> None:
    every = list(_fields(root))
    if chance.random() < 0.5:  # otherwise the row groups, which have by far the most fields, are hit nearly always
        every = [(struct, each) for struct, each in _fields(thrift.Struct(root.fields[:3]))] + every[-3:]
    struct, each = chance.choice(every)
    match chance.choice(("value", "value", "value", "drop", "number", "add", "swap")):
        case "value":
            each.value = _other_value(each, chance)
        case "drop":
            struct.fields.remove(each)
        case "number":
            each.number = chance.randrange(1, 20)
            struct.fields.sort(key=lambda field: field.number)
        case "add":
            kinds = [(thrift.I32, chance.choice(NUMBERS[:11])), (thrift.BINARY, chance.choice(BYTES))]
            kinds.append((thrift.STRUCT, thrift.Struct([thrift.Field(chance.randrange(1, 20), 12, thrift.Struct())])))
            struct.add(chance.randrange(1, 20), *chance.choice(kinds))
        case "swap":
            other = chance.choice([field for _, field in every if field.kind == each.kind])
            each.value, other.value = thrift.copy_of(other.value), thrift.copy_of(each.value)


def _other_value(each: thrift.Field, chance: random.Random) -> Any:
    if isinstance(each.value, bool):
        return not each.value
    if isinstance(each.value, int):
        return chance.choice((*NUMBERS, each.value + 1, each.value - 1, each.value * 2, each.value // 2, -each.value))
    if isinstance(each.value, bytes):
        return chance.choice((*BYTES, each.value[:-1], each.value + b"x", each.value[::-1]))
    if isinstance(each.value, thrift.ListOf):
        elements = [thrift.copy_of(element) for element in each.value.elements]
        place = chance.randrange(len(elements) + 1)
        ways = (
            elements[:place],
            elements[place:],
            elements[:place] + elements[place + 1 :],
            elements * 2,
            elements[::-1],
        )
        return thrift.ListOf(each.value.kind, chance.choice(ways))
    return thrift.Struct()


def _change_bytes(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    end = min(len(data), start + chance.randrange(12))
    match chance.choice(("flip", "flip", "set", "cut", "repeat", "bytes", "end")):
        case "flip":
            bit = 1 << chance.randrange(8)
            return data[:start] + bytes(byte ^ bit for byte in data[start : start + 1]) + data[start + 1 :]
        case "set":
            return data[:start] + bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF))]) + data[start + 1 :]
        case "cut":
            return data[:start] + data[end:]
        case "repeat":
            return data[:end] + data[start:end] + data[end:]
        case "bytes":
            return data[:start] + chance.randbytes(end - start) + data[end:]
        case _:
            return data[:start]


def read(content: bytes, folder: Path, seed: int) -> str:
    """Validate and score a file, whole or in slices, and return how that ended; raise if it is not as it must be."""
    chance = random.Random(seed)
    path = folder / "in.parquet"
    path.write_bytes(content)
    keep = chance.choice(((), (), ("Name",), ("List",), ("Kind", "Price"), ("Parts",)))
    options: dict[str, Any] = {"max_rejects": RejectLimit(percent=Decimal(100)), "jobs": chance.choice((1, 1, 2))}
    outcomes = []
    with pytest.MonkeyPatch.context() as patch:
        if chance.random() < 0.4:
            patch.setattr("titanic_batch.reading.parquet_blocks.BLOCK_ROWS", 4)
            patch.setattr("titanic_batch.reading.parquet_blocks.MAX_GROUP_ROWS", chance.choice((6, 12)))
        for command in ("validate", "score"):
            accepted: list[pa.Table] = []
            rejects, output = folder / "rejects.csv", folder / f"out.{chance.choice(('csv', 'parquet'))}"
            inputs = Inputs([str(path)], **options, rejects=str(rejects), keep=keep)
            failure: TitanicError | None = None
            try:
                if command == "validate":
                    report = validate(inputs, CONTRACT, accepted.append)
                else:
                    columns = PredictedColumns(CONTRACT, LABEL, scores, keep)
                    report = score(inputs, columns, str(output))
            except TitanicError as error:
                failure = error
            if failure is not None:
                assert "\n" not in str(failure)
                assert [each.name for each in folder.iterdir()] == [path.name], "a run that fails leaves nothing behind"
                outcomes.append(type(failure).__name__)
                continue
            if command == "score":
                accepted = [read_back(output)]
            check_sums(report, read_back(rejects), accepted)
            rejects.unlink()
            output.unlink(missing_ok=True)
            outcomes.append("rows")
    return " ".join(outcomes)


def scores(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Predict the same for every row."""
    return pa.array([0] * rows.num_rows, pa.int8()), pa.array([0.5] * rows.num_rows)


def read_back(path: Path) -> pa.Table:
    """Return the rows that were written to a file."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    return pa.csv.read_csv(
        path,
        pa.csv.ReadOptions(encoding="latin-1"),
        pa.csv.ParseOptions(newlines_in_values=True),
        pa.csv.ConvertOptions(strings_can_be_null=True),
    )


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


Examine = Callable[[bytes, Path, int], str]


def _child(numbers: Sequence[int], told: int, make: Callable[[int], bytes], examine: Examine) -> None:
    """Read files and write for each of them a line when it begins and one when it ends."""
    with os.fdopen(told, "w") as pipe, tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:

        def tell(*words: object) -> None:
            print(json.dumps(words), file=pipe, flush=True)

        for number in numbers:
            tell("begin", number)
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # their signals end the process, also in the midst of C
            signal.alarm(STALLED_SECONDS)
            before, folder = _megabytes(), Path(name) / str(number)
            folder.mkdir()
            try:
                outcome = examine(make(number), folder, number)
            except BaseException:
                tell("failure", number, traceback.format_exc())
                continue
            finally:
                shutil.rmtree(folder)
            if (more := _megabytes() - before) > MEGABYTES:
                tell("failure", number, f"{more:.0f} MB more memory")
            else:
                tell("end", number, outcome)


def fuzz(
    first: int, count: int, make: Callable[[int], bytes] = mutated, examine: Examine = read
) -> tuple[Counter[str], dict[int, str]]:
    """Examine files with these seeds in child processes, and return how often each outcome occurred, and the failures.

    Parameters
    ----------
    first, count
        The seed of the first file, and how many there are.
    make
        Makes the file of a seed.
    examine
        Takes a file, an empty folder and the seed, and returns how it ended, or raises.
    """
    outcomes: Counter[str] = Counter()
    failures: dict[int, str] = {}
    left = list(range(first, first + count))
    while left:
        ours, told = os.pipe()
        if not (pid := os.fork()):
            os.close(ours)
            code = 1
            try:
                faulthandler.disable()
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # open until the process ends
                os.dup2(sys.stderr.fileno(), 2)
                _child(left[:BATCH], told, make, examine)
                code = 0
            finally:
                os._exit(code)
        os.close(told)
        current = None
        with os.fdopen(ours) as pipe:
            for line in pipe:
                what, number, *more = json.loads(line)
                current = number if what == "begin" else None
                if what == "end":
                    outcomes[more[0]] += 1
                elif what == "failure":
                    failures[number] = more[0]
                left = [each for each in left if each > number] if what != "begin" else left
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if current is not None:
            failures[current] = f"the process ended with {code}"
            left = [each for each in left if each > current]
        elif code:
            raise RuntimeError(f"the child ended with {code} between two files")
    return outcomes, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**9), help="of the first file; each next has one more"
    )
    parser.add_argument("--kept", type=Path, default=Path("footers"), help="folder for files that fail")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    outcomes, failures = fuzz(given.seed, given.files)
    for outcome, times in outcomes.most_common():
        print(f"{times:6} {outcome}")
    for number, failure in failures.items():
        given.kept.mkdir(exist_ok=True)
        (given.kept / f"{number}.parquet").write_bytes(mutated(number))
        print(f"--seed {number} --files 1: {failure}")
    sys.exit(f"{len(failures)} failures, kept in {given.kept}" if failures else None)


if __name__ == "__main__":
    main()
