"""Measure ``titanic serve`` side by side with ``mlflow models serve`` of the same pipeline and one worker.

    python tests/benchmarks/serving.py --mlflow-python FILE [--repeats 3] [--seconds 10] [--json FILE]

``requests``, ``p99``
    wrk posts CSVs of one row, 10,000 different ones, over 4 connections. Both servers run all the time and are asked in
    turns (A B A B ...), each once unmeasured before.
``body``
    A CSV of 100,000 rows as one body, against ``titanic score`` of the same file less its time for 418 rows.
``memory``
    Resident memory of the server after 100,000 requests against that after 1,000.

``--mlflow-python`` names the interpreter of an environment that has MLflow. wrk is Debian's. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ROWS = 100_000
START_ROWS = 418
EARLY, LATE = 1_000, 100_000
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


def call(*command: str | Path) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def titanic(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "titanic_batch", *map(str, arguments)]


@contextlib.contextmanager
def served(command: list[str], port: int, log: Path) -> Iterator[int]:
    """Run a server until the end of the block, once it answers; give its process id."""
    environment = ENVIRONMENT | {"PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended: {log.read_text()}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def load(url: str, seconds: int) -> dict[str, float]:
    printed = call("wrk", "-t1", "-c4", f"-d{seconds}s", "-s", HERE / "rows.lua", url)
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    assert not found["failed"], printed
    return found | {"rate": found["requests"] / found["seconds"]}


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def seconds_of(command: list[str]) -> float:
    start = time.perf_counter()
    call(*command)
    return time.perf_counter() - start


def post(port: int, body: bytes) -> tuple[float, bytes]:
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/predict", body, {"Content-Type": "text/csv"})
    answer = connection.getresponse().read()
    return time.perf_counter() - start, answer


def measure_requests(ours: str, theirs: str, options: argparse.Namespace) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {"titanic": [], "mlflow": []}
    for turn in range(options.repeats + 1):
        for name, url in (("titanic", ours), ("mlflow", theirs)):
            found = load(url, options.seconds if turn else 2)
            print(f"{name}: {found['rate']:.0f} requests/s, p99 {found['p99'] * 1e3:.1f} ms", file=sys.stderr)
            runs[name] += [found] if turn else []
    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in ("rate", "p50", "p99")}
        for name, found in runs.items()
    }
    ratios = {key: medians["titanic"][key] / medians["mlflow"][key] for key in ("rate", "p99")}
    return {"runs": runs, "medians": medians, "ratios": ratios}


def measure_body(port: int, model: Path, work: Path, repeats: int) -> dict[str, Any]:
    files = {rows: work / f"{rows}.csv" for rows in (START_ROWS, ROWS)}
    for rows, file in files.items():
        call(sys.executable, HERE / "passengers.py", str(rows), file)
    target, body = work / "predictions.csv", files[ROWS].read_bytes()
    times: dict[str, list[float]] = {"start": [], "score": [], "serve": []}
    for _ in range(repeats + 2):
        times["start"].append(seconds_of(titanic("score", files[START_ROWS], "-o", target, "-m", model)))
        times["score"].append(seconds_of(titanic("score", files[ROWS], "-o", target, "-m", model)))
        seconds, answer = post(port, body)
        times["serve"].append(seconds)
        assert answer == target.read_bytes()
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {"runs": times, "medians": medians, "ratio": medians["serve"] / (medians["score"] - medians["start"])}


def measure_memory(pid: int, url: str) -> dict[str, Any]:
    """Return the memory of a fresh server early and late."""
    found, sent = {}, 0.0
    for count in (EARLY, LATE):
        while sent < count:
            sent += load(url, 1 if count == EARLY else 10)["requests"]
        found[str(count)] = resident(pid)
    return {"bytes": found, "ratio": found[str(LATE)] / found[str(EARLY)]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure titanic serve side by side with MLflow.")
    parser.add_argument("--mlflow-python", metavar="FILE", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="titanic-serving-") as folder:
        work = Path(folder)
        model, pickle, mlflow = work / "model.skops", work / "model.joblib", work / "mlflow"
        call(*titanic("fit", "-o", model))
        call(sys.executable, HERE / "contenders.py", "make-pickle", pickle, model)
        call(options.mlflow_python, HERE / "contenders.py", "make-mlflow", mlflow, pickle)
        port, other = free_port(), free_port()
        ours = titanic("serve", "-m", model, "--port", str(port))
        serve_mlflow = [options.mlflow_python, "-m", "mlflow", "models", "serve", "-m", str(mlflow), "-w", "1"]
        theirs = [*serve_mlflow, "--env-manager", "local", "-p", str(other)]
        url = f"http://127.0.0.1:{port}/predict"
        with served(ours, port, work / "memory.log") as pid:
            report = {"memory": measure_memory(pid, url)}
        with served(ours, port, work / "ours.log"):
            report["body"] = measure_body(port, model, work, options.repeats)
            with served(theirs, other, work / "theirs.log"):
                report["requests"] = measure_requests(url, f"http://127.0.0.1:{other}/invocations", options)
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
