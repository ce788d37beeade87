"""End runs early while their threads are at work: ``python tests/early_ends.py --runs 300``.

A process that has imported everything forks a run, which ends as a process of its own: through the interpreter's end.
Loops beside it keep the cores busy, so that threads are often in the midst of something. Each run must end with its
exit code, and not by a crash, and must leave nothing behind. Prints how the runs ended; the exit code is 1 where
something was amiss.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What the command imports when it runs, so that a forked run begins with its work.
from titanic_batch.cli import command as cli
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.writing import tables

HEADER = b"PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin\n"
ROWS = 3_000_000
BUSY_LOOPS = 3
SCORE = ("score", "rows.csv", "-o", "p.csv", "--jobs", "4")


def limit_files() -> None:
    """Let every write fail that makes a file longer than 64 KiB, as a full disk would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))


def fail_in_writer() -> None:
    """Put a bug into the writer of predictions, which shows at its third block."""
    write, blocks = tables.TableWriter.write, iter([1, 1])

    def written(self: tables.TableWriter, table: Any) -> None:
        write(self, table)
        if not next(blocks, 0):
            raise ZeroDivisionError("a bug")

    tables.TableWriter.write = written  # type: ignore[method-assign]  # the bug is to be there


@dataclass(frozen=True)
class EarlyEnd:
    """A way to end early: what is run, the exit code, and what is done to the process."""

    arguments: tuple[str, ...]
    code: int
    before: Callable[[], None] = lambda: None
    signals: tuple[signal.Signals, ...] = field(default=())


ENDS = {
    "full disk": EarlyEnd(SCORE, 74, limit_files),
    "damage midway": EarlyEnd(("score", "cut.csv.gz", "-o", "p.csv", "--jobs", "4"), 65),
    "reject limit": EarlyEnd(("score", "bad.csv", "-o", "p.csv", "--jobs", "4"), 65),
    "SIGINT": EarlyEnd(SCORE, 130, signals=(signal.SIGINT,)),
    "SIGTERM twice": EarlyEnd(SCORE, 143, signals=(signal.SIGTERM, signal.SIGTERM)),
    "closed pipe": EarlyEnd(("score", "rows.csv", "-o", "-", "--jobs", "4"), 141),
    "bug in the writer": EarlyEnd(SCORE, 1, fail_in_writer),
    "stalled pipe, full disk": EarlyEnd(("score", "-", "-o", "p.csv", "--jobs", "4"), 74, limit_files),
}


def write_inputs(folder: Path) -> None:
    """Write rows, the same with bad ones among them, and half of a gzip of them."""
    rows = b"".join(b"%d,3,male,22,1,0,7.25,\n" % (key * 7919 % 2**31) for key in range(ROWS))
    (folder / "rows.csv").write_bytes(HEADER + rows)
    (folder / "bad.csv").write_bytes(HEADER + rows.replace(b"1,0,7.25,", b"1,0,free,", 1))
    compressed = gzip.compress(HEADER + rows, compresslevel=1)
    (folder / "cut.csv.gz").write_bytes(compressed[: len(compressed) * 2 // 3])


def fork_run(folder: Path, end: EarlyEnd, stdin: int, stdout: int) -> int:
    """Fork a run, and return its id. In the new process this raises the SystemExit that the command ends with."""
    if pid := os.fork():
        return pid
    os.chdir(folder)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    os.dup2(os.open(folder.parent / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["titanic", *end.arguments, "-m", "../model.skops"]
    end.before()
    cli.main()
    raise AssertionError("the command returned")


def run(folder: Path, name: str, random_number: random.Random) -> str | None:
    """Run once, and return what is amiss, or None."""
    end = ENDS[name]
    stdin_of_run, stdin = os.pipe()
    output, stdout_of_run = os.pipe()
    if name == "closed pipe":
        os.close(output)
        output = os.open(os.devnull, os.O_RDONLY)
    pid = fork_run(folder, end, stdin_of_run, stdout_of_run)
    os.close(stdin_of_run)
    os.close(stdout_of_run)
    if name.startswith("stalled pipe"):
        fill(stdin, folder / "rows.csv")
    if end.signals:
        time.sleep(random_number.uniform(0.05, 0.5))
        for number in end.signals:
            os.kill(pid, number)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(stdin)
    os.close(output)
    said = (folder.parent / "stderr").read_text()
    left = sorted(path.name for path in folder.iterdir())
    allowed = ["bad.csv", "cut.csv.gz", "rows.csv"]
    if "p.csv.rejects.csv" in left and name == "reject limit":
        (folder / "p.csv.rejects.csv").unlink()
        left.remove("p.csv.rejects.csv")
    if end.signals and code == 0:  # it was done before
        (folder / "p.csv").unlink()
        return None
    if code != end.code or left != allowed or (code != 1 and said.count("\n") > 1):
        return f"exit code {code}, left {left}, said {said!r}"
    return None


def fill(pipe: int, path: Path) -> None:
    """Write the beginning of a file to a pipe, which stays open."""
    with path.open("rb") as file:
        rows = file.read(20 * 2**20)
    with suppress(BrokenPipeError):
        while rows:
            rows = rows[os.write(pipe, rows) :]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="of each way to end early")
    parser.add_argument("--only", choices=ENDS, help="this way alone")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    place = Path(tempfile.mkdtemp(prefix="titanic-early-"))
    loops: list[subprocess.Popen[bytes]] = []
    random_number, findings, own_id = random.Random(given.seed), 0, os.getpid()
    try:
        (place / "run").mkdir()
        write_inputs(place / "run")
        Model(n_estimators=5).fit(packaged_rows()).save(place / "model.skops")
        loops += [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_LOOPS)]
        for name in [given.only] if given.only else ENDS:
            outcomes: Counter[str] = Counter()
            for _ in range(given.runs):
                outcomes[run(place / "run", name, random_number) or "as it should"] += 1
            findings += given.runs - outcomes["as it should"]
            for outcome, count in outcomes.items():
                print(f"{name}: {count} {outcome}", flush=True)
    finally:
        if os.getpid() == own_id:  # and this is not a run that ends
            for loop in loops:
                loop.kill()
            shutil.rmtree(place)
    return int(findings > 0)


if __name__ == "__main__":
    sys.exit(main())
