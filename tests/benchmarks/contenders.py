"""What the product is measured against, each a program of its own.

    python tests/benchmarks/contenders.py NAME ARGUMENT...

The floor. ``write-polars``, ``write-duckdb`` and ``write-pyarrow`` do all of a scoring job's reading and writing and
none of its scoring: they parse the eight columns that a prediction needs, use each in some cheap sum, and write three
columns of the predictions' types in the order of the input, compressed with snappy. Like real probabilities, the
numbers they write are some ten thousand distinct ones. ``read-polars``, ``read-duckdb`` and ``read-pyarrow`` parse the
same columns, sum up each, and write nothing, which is the least that a validation does. Each is told the columns'
types, so that none spends time on guessing them, streams with bounded memory, and uses all cores.

The plain way. ``pandas`` is the script that one writes first: read all, predict all, write all. ``imports`` is only
what it imports.

``first-answer`` starts a server, and ends once it has made one prediction.

``make-pickle`` and ``make-mlflow`` put the fitted pipeline where ``pandas`` and MLflow find it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NEEDED = ["PassengerId", "Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Cabin"]
ALL = ["PassengerId", "Pclass", "Name", "Sex", "Age", "SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked"]
WHOLE = {"PassengerId", "Pclass", "SibSp", "Parch"}
REAL = {"Age", "Fare"}


# polars


def scan_polars(source: str) -> Any:
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    if source.endswith(".parquet"):
        return pl.scan_parquet(source)
    types = {each: pl.Int64() if each in WHOLE else pl.Float64() if each in REAL else pl.String() for each in ALL}
    return pl.scan_csv(source, schema=types)


def write_polars(source: str, target: str) -> None:
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    letters = pl.col("Cabin").str.len_bytes().fill_null(0).cast(pl.Int64)
    whole = pl.col("Pclass") + pl.col("SibSp") + pl.col("Parch") + (pl.col("Sex") == "male").cast(pl.Int64) + letters
    real = ((pl.col("Age").fill_null(0) + pl.col("Fare").fill_null(0)) * 20).floor() / 20_000
    predictions = scan_polars(source).select(
        "PassengerId", (whole % 2).cast(pl.Int8).alias("Survived"), real.alias("Probability")
    )
    predictions.sink_parquet(target, compression="snappy")


def read_polars(source: str) -> None:
    import polars as pl  # type: ignore[import-not-found, unused-ignore]

    numbers = pl.col("PassengerId", "Pclass", "Age", "SibSp", "Parch", "Fare").sum()
    texts = [(pl.col("Sex") == "male").sum(), pl.col("Cabin").str.len_bytes().sum()]
    print(scan_polars(source).select(numbers, *texts).collect(engine="streaming"))


# DuckDB


def scan_duckdb(source: str) -> str:
    if source.endswith(".parquet"):
        return f"read_parquet('{source}')"
    types = {each: "BIGINT" if each in WHOLE else "DOUBLE" if each in REAL else "VARCHAR" for each in ALL}
    return f"read_csv('{source}', header=true, auto_detect=false, delim=',', quote='\"', escape='\"', columns={types})"


def write_duckdb(source: str, target: str) -> None:
    import duckdb

    whole = "Pclass + SibSp + Parch + (Sex = 'male')::BIGINT + coalesce(strlen(Cabin), 0)"
    real = "floor((coalesce(Age, 0) + coalesce(Fare, 0)) * 20) / 20000"
    columns = f"PassengerId, (({whole}) % 2)::TINYINT AS Survived, {real} AS Probability"
    duckdb.execute(
        f"COPY (SELECT {columns} FROM {scan_duckdb(source)}) TO '{target}' (FORMAT parquet, COMPRESSION snappy)"
    )


def read_duckdb(source: str) -> None:
    import duckdb

    numbers = ", ".join(f"sum({each})" for each in NEEDED if each in WHOLE | REAL)
    query = f"SELECT {numbers}, count_if(Sex = 'male'), sum(strlen(Cabin)) FROM {scan_duckdb(source)}"
    print(duckdb.execute(query).fetchall())


# pyarrow


def scan_pyarrow(source: str) -> Iterator[Any]:
    import pyarrow as pa

    if source.endswith(".parquet"):
        import pyarrow.parquet as pq

        yield from pq.ParquetFile(source).iter_batches(1 << 18, columns=NEEDED)
        return
    from pyarrow import csv

    types = {each: pa.int64() if each in WHOLE else pa.float64() if each in REAL else pa.string() for each in NEEDED}
    reading = csv.ReadOptions(block_size=1 << 23)
    converting = csv.ConvertOptions(column_types=types, include_columns=NEEDED, strings_can_be_null=True)
    with csv.open_csv(source, reading, convert_options=converting) as batches:
        yield from batches


def write_pyarrow(source: str, target: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    schema = pa.schema({"PassengerId": pa.int64(), "Survived": pa.int8(), "Probability": pa.float64()})
    with pq.ParquetWriter(target, schema, compression="snappy") as writer:
        for batch in scan_pyarrow(source):
            whole = pc.add(pc.add(batch["Pclass"], batch["SibSp"]), batch["Parch"])
            whole = pc.add(whole, pc.equal(batch["Sex"], "male").cast(pa.int64()))
            whole = pc.add(whole, pc.fill_null(pc.binary_length(batch["Cabin"]), 0))
            real = pc.add(pc.fill_null(batch["Age"], 0.0), pc.fill_null(batch["Fare"], 0.0))
            real = pc.divide(pc.floor(pc.multiply(real, 20.0)), 20_000.0)
            columns = [batch["PassengerId"], pc.bit_wise_and(whole, 1).cast(pa.int8()), real]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def read_pyarrow(source: str) -> None:
    import pyarrow.compute as pc

    totals: dict[str, float] = dict.fromkeys(NEEDED, 0)
    for batch in scan_pyarrow(source):
        for each in NEEDED:
            values = batch[each]
            if each == "Sex":
                values = pc.equal(values, "male")
            elif each == "Cabin":
                values = pc.binary_length(values)
            totals[each] += pc.sum(values).as_py() or 0
    print(totals)


# the same pipeline


def score_pandas(source: str, target: str, model: str) -> None:
    import joblib
    import pandas as pd

    pipeline = joblib.load(model)
    passengers = pd.read_csv(source) if source.endswith(".csv") else pd.read_parquet(source)
    probability = pipeline.predict_proba(passengers)[:, 1]
    predictions = pd.DataFrame(
        {
            "PassengerId": passengers["PassengerId"],
            "Survived": (probability > 0.5).astype("int8"),
            "Probability": probability,
        }
    )
    predictions.to_parquet(target, index=False)


def import_libraries() -> None:
    import pandas  # noqa: F401  # the import is what is measured
    import sklearn.ensemble  # noqa: F401  # as above


def first_answer(*command: str) -> None:
    """Start a server that says on which port it serves, have it make one prediction, and kill it."""
    import http.client
    import re
    import subprocess

    row = dict.fromkeys(["PassengerId", "Pclass", "SibSp", "Parch"], 1) | {"Sex": "male", "Age": 22, "Fare": 7.25}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(found[1] for line in process.stderr if (found := re.search(r"serving .*:(\d+)$", line)))
        connection = http.client.HTTPConnection("127.0.0.1", int(port))
        connection.request("POST", "/predict", json.dumps(row), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        process.kill()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {said.decode()}")


def make_pickle(target: str, model: str = "") -> None:
    """Pickle the pipeline of a ``.skops`` model, or a fresh one that is fitted as the reference model is."""
    import joblib

    if model:
        import skops.io

        pipeline = skops.io.load(model, trusted=skops.io.get_untrusted_types(file=model))
    else:
        import pandas as pd

        from titanic_batch.passenger.pipeline import build_pipeline

        passengers = pd.read_csv(Path(__file__).parents[2] / "titanic_batch" / "passenger" / "train.csv")
        pipeline = build_pipeline().fit(passengers, passengers["Survived"])
    joblib.dump(pipeline, target)


def make_mlflow(target: str, pickle: str) -> None:
    """Save the pickled pipeline as an MLflow model that answers with probabilities and brings its own code."""
    package = Path(__file__).parents[2] / "titanic_batch"
    sys.path.insert(0, str(package.parent))
    import joblib
    import mlflow.sklearn  # type: ignore[import-not-found, unused-ignore]

    mlflow.sklearn.save_model(
        joblib.load(pickle),
        target,
        code_paths=[str(package)],
        pip_requirements=[],
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
    )


PROGRAMS: dict[str, Callable[..., None]] = {
    "write-polars": write_polars,
    "write-duckdb": write_duckdb,
    "write-pyarrow": write_pyarrow,
    "read-polars": read_polars,
    "read-duckdb": read_duckdb,
    "read-pyarrow": read_pyarrow,
    "pandas": score_pandas,
    "imports": import_libraries,
    "first-answer": first_answer,
    "make-pickle": make_pickle,
    "make-mlflow": make_mlflow,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
