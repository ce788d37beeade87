"""Write any number of synthetic passengers as CSV, as Parquet, or as both.

    python tests/benchmarks/passengers.py 2000000 out.csv [out.parquet] [--seed 1] [--shuffled] [--bad 0.01]

The columns are Kaggle's without ``Survived``, about 70 bytes a row in CSV, where only names are quoted (for their
comma). Every row satisfies ``titanic_batch.passenger.schema.PASSENGER`` unless ``--bad`` spoils it. Rows are made a
batch at a time from the seed and the batch's position, so that memory does not grow with their number and the same
arguments always give the same bytes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

BATCH_ROWS = 1 << 18
BAD_CLASS = 7
BAD_AGE = 999.0  # in CSV the text BAD_AGE_TEXT; a Parquet column of numbers has no room for text
BAD_AGE_TEXT = "unknown"

SCHEMA = pa.schema(
    {
        "PassengerId": pa.int64(),
        "Pclass": pa.int64(),
        "Name": pa.string(),
        "Sex": pa.string(),
        "Age": pa.float64(),
        "SibSp": pa.int64(),
        "Parch": pa.int64(),
        "Ticket": pa.string(),
        "Fare": pa.float64(),
        "Cabin": pa.string(),
        "Embarked": pa.string(),
    }
)

SURNAMES = [
    onset + middle + end
    for onset in ("An", "Bra", "Cu", "Dav", "Fut", "Has", "Jo", "Lar", "Mo", "O'Con", "San", "van W")
    for middle in ("der", "el", "in", "kov", "min")
    for end in ("", "berg", "gs", "sson", "ton")
]
MEN = ["Mr. Charles", "Mr. Ernst Gilbert", "Mr. Johan Svensson", "Mr. Patrick", "Master. Gosta", "Rev. Thomas"]
WOMEN = ["Miss. Anna", "Miss. Laina", "Mrs. Elisabeth (Vilhelmina)", "Mrs. John (Florence)", "Mlle. Berthe"]
TICKETS = ["", "", "", "", "PC ", "A/5 ", "C.A. ", "STON/O2. 31"]
BABY_AGES = (0.17, 0.33, 0.42, 0.67, 0.75, 0.83, 0.92)
DECKS = ("AAABBBBCCCCCDDDEET", "DDEFFF", "EFFGGG")  # of the first, second and third class
SIBLINGS = (68, 23, 3.1, 1.8, 2, 0.6, 0.4, 0.4, 0.7)  # percent with 0, 1, 2, ... of them
PARENTS = (76, 13, 9, 0.6, 0.5, 0.5, 0.2, 0.1, 0.05, 0.05)
FARES = (65.0, 18.0, 9.5)  # the median of each class


def write_passengers(
    rows: int,
    csv: Path | None = None,
    parquet: Path | None = None,
    *,
    seed: int = 0,
    shuffled: bool = False,
    bad: float = 0.0,
) -> None:
    """Write the same ``rows`` passengers to each file that is given.

    Parameters
    ----------
    rows
        How many; their ids are 1 to ``rows``.
    csv, parquet
        Where to.
    seed
        Another seed gives other passengers.
    shuffled
        Whether the ids come in a scattered order; the order is rising otherwise.
    bad
        The share of rows to spoil, from 0 to 1: each has a class of 7, a text for an age, or no sex.
    """
    with ExitStack() as stack:
        lines = stack.enter_context(csv.open("wb")) if csv else None
        table = stack.enter_context(pq.ParquetWriter(parquet, SCHEMA)) if parquet else None
        if lines:
            lines.write(",".join(SCHEMA.names).encode() + b"\n")
        for batch in passenger_batches(rows, seed=seed, shuffled=shuffled, bad=bad):
            if lines:
                write_lines(batch, lines)
            if table:
                table.write_batch(batch)


def passenger_batches(
    rows: int, *, seed: int = 0, shuffled: bool = False, bad: float = 0.0
) -> Iterator[pa.RecordBatch]:
    """Yield what ``write_passengers`` writes, as batches of ``SCHEMA``."""
    for number, start in enumerate(range(0, rows, BATCH_ROWS)):
        random = np.random.default_rng([seed, number])
        ids = np.arange(start, min(start + BATCH_ROWS, rows), dtype=np.int64)
        if shuffled:
            ids = random.permutation(scattered(ids, rows))
        yield make_batch(ids + 1, random, bad)


def scattered(positions: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Return other positions below ``total``, a different one for each, far apart for neighbours."""
    step = max(int(total * 0.6180339887), 1)
    while math.gcd(step, total) > 1:
        step += 1
    return positions * step % total


def make_batch(ids: NDArray[np.int64], random: np.random.Generator, bad: float) -> pa.RecordBatch:
    """Return one passenger for each id, a share of them spoiled."""
    size = len(ids)
    pclass = random.choice(np.array([1, 2, 3]), size, p=[0.24, 0.21, 0.55])
    male = random.random(size) < 0.65
    age, no_age = make_ages(size, random), random.random(size) < 0.2
    no_sex = np.zeros(size, dtype=bool)
    spoiled = random.choice(size, round(size * bad), replace=False)
    pclass[spoiled[0::3]] = BAD_CLASS
    age[spoiled[1::3]], no_age[spoiled[1::3]] = BAD_AGE, False
    no_sex[spoiled[2::3]] = True
    columns = [
        pa.array(ids),
        pa.array(pclass),
        make_names(male, random),
        pa.array(np.where(male, "male", "female"), mask=no_sex),
        pa.array(age, mask=no_age),
        pick(np.arange(len(SIBLINGS)), size, random, SIBLINGS),
        pick(np.arange(len(PARENTS)), size, random, PARENTS),
        join(pick(TICKETS, size, random), text(random.integers(1_000, 400_000, size))),
        pa.array(make_fares(pclass, random), mask=random.random(size) < 0.001),
        make_cabins(pclass, random),
        pick(["S", "C", "Q", None], size, random, (72, 19, 8.8, 0.2)),
    ]
    return pa.record_batch(columns, schema=SCHEMA)


def make_ages(size: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return ages: most whole, some halves, and babies of some months."""
    ages = np.floor(np.clip(random.normal(29.5, 14.0, size), 1, 80))
    ages[random.random(size) < 0.03] += 0.5
    babies = random.random(size) < 0.015
    ages[babies] = random.choice(np.array(BABY_AGES), int(babies.sum()))
    return ages


def make_fares(pclass: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return fares that follow the class, tens of thousands of distinct ones, some of 0."""
    medians = np.array(FARES)[np.clip(pclass, 1, 3) - 1]
    fares = np.clip(medians * random.lognormal(0.0, 0.6, len(pclass)), 4.0, 512.3292)
    fares = np.where(random.random(len(pclass)) < 0.5, np.round(fares, 2), np.round(fares * 240) / 240).round(4)
    fares[random.random(len(pclass)) < 0.015] = 0.0
    return np.asarray(fares, dtype=np.float64)


def make_names(male: NDArray[np.bool_], random: np.random.Generator) -> pa.Array:
    """Return names such as ``Sandersson, Miss. Anna``, which CSV must quote."""
    given = pc.if_else(pa.array(male), pick(MEN, len(male), random), pick(WOMEN, len(male), random))
    return join(pick(SURNAMES, len(male), random), ", ", given)


def make_cabins(pclass: NDArray[np.int64], random: np.random.Generator) -> pa.Array:
    """Return cabins such as ``C22`` or ``C22 C26``, on the decks of the class, most of them missing."""
    size = len(pclass)
    decks = [random.choice(np.array(list(letters)), size) for letters in DECKS]
    first = join(pa.array(np.choose(np.clip(pclass, 1, 3) - 1, decks)), text(random.integers(1, 130, size)))
    second = pc.if_else(pa.array(random.random(size) < 0.1), join(" ", first), "")
    unknown = random.random(size) < np.array([0.0, 0.19, 0.91, 0.98])[np.clip(pclass, 0, 3)]
    return pc.if_else(pa.array(unknown), pa.scalar(None, pa.string()), join(first, second))


def pick(
    values: ArrayLike | list[str] | list[str | None],
    size: int,
    random: np.random.Generator,
    weights: Iterable[float] | None = None,
) -> pa.Array:
    """Return ``size`` random ones of ``values``."""
    choices = pa.array(values)
    if weights is None:
        return choices.take(pa.array(random.integers(0, len(choices), size)))
    bounds = np.cumsum(np.fromiter(weights, dtype=np.float64))
    return choices.take(pa.array(np.searchsorted(bounds / bounds[-1], random.random(size), side="right")))


def text(numbers: ArrayLike) -> pa.Array:
    """Return numbers as text."""
    return pa.array(numbers).cast(pa.string())


def join(*parts: Any, separator: str = "") -> pa.Array:
    """Return the texts row by row put together, a missing one as an empty one."""
    return pc.binary_join_element_wise(*parts, separator, null_handling="replace", null_replacement="")


def write_lines(batch: pa.RecordBatch, file: BinaryIO) -> None:
    """Write a batch as lines of CSV."""
    fields = {name: batch[name].cast(pa.string()) for name in batch.schema.names}
    fields["Name"] = join('"', fields["Name"], '"')
    fields["Age"] = pc.if_else(pc.equal(batch["Age"], BAD_AGE), BAD_AGE_TEXT, fields["Age"])
    lines = join(join(*fields.values(), separator=","), "\n")
    file.write(lines.buffers()[2])  # the values, one behind the other, are the file


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write synthetic passengers.")
    parser.add_argument("rows", type=int)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a .csv, a .parquet, or one of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffled", action="store_true", help="scatter the ids")
    parser.add_argument("--bad", type=float, default=0.0, metavar="SHARE", help="spoil this share of the rows")
    arguments = parser.parse_args()
    files = {file.suffix: file for file in arguments.files}
    if len(files) < len(arguments.files) or not files.keys() <= {".csv", ".parquet"}:
        parser.error("at most one .csv and one .parquet")
    write_passengers(
        arguments.rows,
        files.get(".csv"),
        files.get(".parquet"),
        seed=arguments.seed,
        shuffled=arguments.shuffled,
        bad=arguments.bad,
    )


if __name__ == "__main__":
    main()
