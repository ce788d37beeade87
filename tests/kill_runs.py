"""Kill runs, and check that nothing is ever half done: ``python tests/kill_runs.py --runs 200``.

A process that has imported everything forks a run, and ends it: at random moments by SIGKILL or SIGTERM, or, with
``--steps``, at each step of publishing in turn, which kills the process, fails, or is when SIGTERM arrives. All the
while older outputs exist. After each the outputs must be whole, old or new, and a next run must leave nothing else.
Twenty runs at once must exclude each other.
Prints how the runs ended; the exit code is 1 where something was amiss.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What the command imports when it runs, so that a forked run begins with its work.
from titanic_batch.cli import command as cli
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.sources import find_inputs
from titanic_batch.runs import folders  # noqa: F401  # only imported, like Model
from titanic_batch.runs.batch import validate
from titanic_batch.runs.options import RunOptions
from titanic_batch.writing import hidden_file, publishing

HEADER = "PassengerId,Pclass,Sex,Age,SibSp,Parch,Fare,Cabin\n"
OUTPUTS = ("p.parquet", "p.parquet.rejects.csv")
RECORDS = ("r.json", "m.prom")
SINGLE = ("score", "in.csv", "-o", "p.parquet", "--max-rejects", "50%", "--report", "r.json", "--metrics", "m.prom")
FOLDER = ("score", "in", "-o", "out/", "--max-rejects", "50%", "--resume")

STEPS = ("open", "dup", "fsync", "rename", "unlink")


class Amiss(AssertionError):  # noqa: N818  # no error, but a finding
    """What must never be."""


def check(holds: bool, *what: object) -> None:
    if not holds:
        raise Amiss(*what)


class FaultyOs:
    """``os`` with a fault in one of the calls that publishing makes, counted from 0; without one it only counts."""

    def __init__(self, at: int | None, fault: str = "") -> None:
        self.calls: list[str] = []
        self._at = at
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._counted(name, real) if name in STEPS else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 == self._at:
                if self._fault == "error":
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                os.kill(os.getpid(), signal.SIGKILL if self._fault == "kill" else signal.SIGTERM)
            return real(*arguments, **named)

        return call


def run(folder: Path, *arguments: str, faulty: FaultyOs | None = None) -> int:
    """Start the command in a process of its own, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.chdir(folder)
        for descriptor, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.argv = ["titanic", *arguments, "-m", "../model.skops"]
        if faulty is not None:
            for module in (publishing, hidden_file):
                vars(module)["os"] = faulty
        cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        if faulty is not None:
            (folder.parent / "calls").write_text("\n".join(faulty.calls))
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a process, and return its exit code, or its signal's number with a minus."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_rows(path: Path, first: int, rows: int) -> None:
    """Write passengers, one in a hundred of them bad."""
    path.parent.mkdir(exist_ok=True)
    lines = [
        f"{key},{9 if key % 100 == 50 else key % 3 + 1},male,{key % 80},0,0,7.25,\n"
        for key in range(first, first + rows)
    ]
    path.write_text(HEADER + "".join(lines))


class Ground:
    """A folder with older outputs, made anew for each run, and what the outputs become."""

    def __init__(self, top: Path, rows: int) -> None:
        self.folder = top / "ground"
        self._origin = top / "origin"
        Model(n_estimators=3).fit(packaged_rows()).save(top / "model.skops")
        write_rows(self._origin / "in.csv", 1, 150)
        for number in range(3):
            write_rows(self._origin / "in" / f"{number}.csv", 1, 150 + number)
        # What is imported only when rows come. In this thread: a fork takes no other along.
        validate(find_inputs([str(self._origin / "in.csv")]).require_all(), CONTRACT, RunOptions(jobs=1))
        for command in (SINGLE, FOLDER):
            check(ended(run(self._origin, *command)) == 0, "the first run")
        write_rows(self._origin / "in.csv", 200, rows)
        for number in range(3):
            write_rows(self._origin / "in" / f"{number}.csv", 200, rows // 3 + number)
        self.renew()
        self.old = content(self.folder)
        self.seconds = dict.fromkeys((SINGLE, FOLDER), float("inf"))
        for _ in range(3):
            self.renew()
            for command in (SINGLE, FOLDER):
                started = time.monotonic()
                check(ended(run(self.folder, *command)) == 0, "an undisturbed run")
                self.seconds[command] = min(self.seconds[command], time.monotonic() - started)
        self.new = content(self.folder)
        check(self.old.keys() == self.new.keys(), "the same files")
        check(all(self.old[name] != self.new[name] for name in OUTPUTS), "other content")

    def renew(self) -> None:
        """Put everything back as it was before the run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._origin, self.folder)

    def check_whole(self, command: tuple[str, ...]) -> dict[str, bytes]:
        """Check that each output is the old or the new one, and whole; return all that is there."""
        found = content(self.folder)
        for name, old in self.old.items():
            if name in RECORDS:
                check(name in found, name, "is gone")
            else:
                check(
                    found.get(name) in (old, self.new[name]) or name == "out/_state.json",
                    name,
                    "is neither old nor new",
                )
        json.loads(found["r.json"])
        json.loads(found["out/_state.json"])
        if command == SINGLE and found[OUTPUTS[0]] == self.new[OUTPUTS[0]]:
            check(found[OUTPUTS[1]] == self.new[OUTPUTS[1]], "new predictions without their rejects")
        return found

    def check_next(self, command: tuple[str, ...]) -> None:
        """Check that a next run ends well, and leaves what an undisturbed one does."""
        check(ended(run(self.folder, *command)) == 0, "the next run", (self.folder.parent / "stderr").read_text())
        found = content(self.folder)
        expected = {**self.old, **{name: new for name, new in self.new.items() if is_output(name, command)}}
        for name in RECORDS:
            check(name in found, name, "is gone")
            found.pop(name), expected.pop(name)
        check(found.keys() == expected.keys(), "left behind", found.keys() ^ expected.keys())
        check(found == expected, "not what an undisturbed run leaves", [n for n in found if found[n] != expected[n]])

    def check_stopped(self, code: int, found: dict[str, bytes]) -> None:
        """Check what SIGTERM leaves: nothing, and the old outputs; or all of the new, where it came too late."""
        check(code in (0, 143), "the exit code is", code, (self.folder.parent / "stderr").read_text())
        check(found.keys() == self.old.keys(), "left behind", found.keys() ^ self.old.keys())
        expected = self.new if code == 0 else self.old
        check(all(found[name] == expected[name] for name in OUTPUTS), "not what the exit code says")
        if found["r.json"] != self.old["r.json"]:
            check(json.loads(found["r.json"])["exit_code"] == code, "not what the record says")


def is_output(name: str, command: tuple[str, ...]) -> bool:
    return name in OUTPUTS if command == SINGLE else name.startswith("out/")


def at_random_moments(ground: Ground, runs: int, number: signal.Signals, chance: random.Random) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for turn in range(runs):
        command = FOLDER if turn % 2 else SINGLE
        ground.renew()
        pid = run(ground.folder, *command)
        # Half of them late, where publishing is.
        time.sleep(ground.seconds[command] * (chance.uniform(0, 1) if turn % 4 < 2 else chance.uniform(0.6, 1.05)))
        os.kill(pid, number)
        code = ended(pid)
        found = ground.check_whole(command)
        if number == signal.SIGTERM and code != -number:  # which it is before the run has seen to it
            if command == SINGLE:
                ground.check_stopped(code, found)
            else:
                check(code in (0, 143), "the exit code is", code)
                check(not any(Path(name).name.startswith(".") for name in found), "left behind", list(found))
        ground.check_next(command)
        ground.seconds[command] *= 0.9 if code == 0 else 1.05  # other work on the machine comes and goes
        outcomes[f"{number.name} {'done before' if code == 0 else 'stopped'}"] += 1
    return outcomes


def at_each_step(ground: Ground) -> Counter[str]:
    """Let each call that publishing makes fail, kill the process, or be when SIGTERM arrives."""
    outcomes: Counter[str] = Counter()
    calls_file = ground.folder.parent / "calls"
    for fault in ("error", "kill", "term"):
        step, calls = 0, None
        while calls is None or step < len(calls):
            ground.renew()
            if calls is None:
                check(ended(run(ground.folder, *SINGLE, faulty=FaultyOs(None))) == 0, "a run that is counted")
                calls = calls_file.read_text().split("\n")
                continue
            code = ended(run(ground.folder, *SINGLE, faulty=FaultyOs(step, fault)))
            what = f"{fault} at {step} {calls[step]}"
            try:
                found = ground.check_whole(SINGLE)
                if fault == "kill":
                    check(code == -signal.SIGKILL, "the exit code is", code)
                elif fault == "term":
                    ground.check_stopped(code, found)
                else:
                    check(code in (0, 73, 74), "the exit code is", code)
                    stderr = (ground.folder.parent / "stderr").read_text()
                    check(all(line.startswith("titanic: ") for line in stderr.splitlines()), stderr)
                    check(found.keys() == ground.old.keys() or calls[step] == "unlink", "left behind", list(found))
                    if found["r.json"] != ground.old["r.json"]:
                        check(json.loads(found["r.json"])["exit_code"] == code, "not what the record says")
                if found.keys() != ground.old.keys() or fault == "kill":
                    ground.check_next(SINGLE)
            except Amiss as amiss:
                raise Amiss(what, *amiss.args) from None
            outcomes[f"{fault} {code}"] += 1
            step += 1
    return outcomes


def at_once(ground: Ground, runs: int) -> Counter[str]:
    """Start many runs of one output at once: one or more publish, the others are told; those that wait all publish."""
    outcomes: Counter[str] = Counter()
    for options, expected in (((), (0, 75)), (("--wait", "300"), (0,))):
        ground.renew()
        codes = [ended(pid) for pid in [run(ground.folder, *SINGLE, *options) for _ in range(runs)]]
        check(0 in codes and set(codes) <= set(expected), "the exit codes are", codes)
        found = content(ground.folder)
        check(found.keys() == ground.old.keys(), "left behind", found.keys() ^ ground.old.keys())
        check(all(found[name] == ground.new[name] for name in OUTPUTS), "not what an undisturbed run leaves")
        outcomes += Counter(f"at once{' ' * bool(options)}{' '.join(options[:1])} {code}" for code in codes)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20, help="how many to kill with each signal")
    parser.add_argument("--rows", type=int, default=10_000, help="of the input")
    parser.add_argument("--steps", action="store_true", help="a fault at each step of publishing, too")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as top:
        ground = Ground(Path(top), arguments.rows)
        outcomes: Counter[str] = Counter()
        try:
            for number in (signal.SIGKILL, signal.SIGTERM):
                outcomes += at_random_moments(ground, arguments.runs, number, chance)
            outcomes += at_once(ground, 20)
            if arguments.steps:
                outcomes += at_each_step(ground)
        except Amiss as amiss:
            sys.exit(f"--seed {arguments.seed}: {' '.join(map(str, amiss.args))}")
    for outcome, count in sorted(outcomes.items()):
        print(f"{outcome}: {count}")


if __name__ == "__main__":
    main()
