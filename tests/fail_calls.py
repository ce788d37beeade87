"""Let each system call that a run makes on its outputs fail, and check how it ends: ``python -m tests.fail_calls``.

Compiles `failing_calls.c` and preloads it. Each run is forked from a process that has imported everything, works in a
folder with older outputs, and reads inputs from elsewhere. Afterwards each output must be whole, old or new; all must
be new if the exit code is 0; nothing else may be left; and one line must tell what is wrong.
Prints how the runs ended; the exit code is 1 where something was amiss.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.kill_runs import Amiss, check, content, ended, write_rows
from titanic_batch.cli import command as cli
from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.passenger.schema import CONTRACT
from titanic_batch.reading.sources import find_inputs
from titanic_batch.runs.batch import validate
from titanic_batch.runs.options import RunOptions

# Imported so that a forked run begins with its work.
for name in ("cli.validation_report", "runs.folders", "runs.prometheus"):
    importlib.import_module(f"titanic_batch.{name}")

SOURCE = Path(__file__).with_name("failing_calls.c")

LIMIT = ("--max-rejects", "50%", "--jobs", "1")
COMMANDS = (
    ("score", "../in.csv", "-o", "p.parquet", "--report", "r.json", "--metrics", "m.prom", *LIMIT),
    ("score", "../in", "-o", "out/", "--resume", *LIMIT),
    ("validate", "../in.csv", "--rejects", "bad.csv", "-o", "v.json", "--format", "json", *LIMIT),
)
RECORDS = ("r.json", "m.prom")  # which no two runs write alike
STATE = "out/_state.json"  # which lacks what failed

# The errors that each call ends with; all others with EIO.
ERRORS = {
    "open": (errno.EACCES, errno.EMFILE),
    "write": (errno.ENOSPC,),
    "flock": (errno.ENOLCK, errno.EINVAL),
    "fsync": (errno.EINVAL, errno.EIO),
    "rename": (errno.EBUSY, errno.EIO),
    "unlink": (errno.EPERM,),
    "close": (errno.EIO, errno.EDQUOT),
}
PASSING = (errno.EMFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Ground:
    """A folder with older outputs of a command, made anew for each run, and what an undisturbed run makes of it."""

    def __init__(self, top: Path, command: tuple[str, ...]) -> None:
        self.folder = top / "ground"
        self._command = command
        self._origin = top / "origin"
        shutil.rmtree(self._origin, ignore_errors=True)
        self._origin.mkdir()
        for first in (1, 200):
            write_rows(top / "in.csv", first, 150)
            for number in range(2):
                write_rows(top / "in" / f"{number}.csv", first, 150 + number)
            if first == 1:
                check(self._run(self._origin) == 0, "the first run", self.stderr())
        self.renew()
        self.old = content(self.folder)
        check(self._run(self.folder) == 0, "an undisturbed run", self.stderr())
        self.new = content(self.folder)
        self.calls = (top / "calls").read_text().splitlines()
        self.said = self.stderr().splitlines()
        check(self.old.keys() == self.new.keys(), "the same files")
        check(all(self.old[name] != self.new[name] for name in self.old), "other content")

    def renew(self) -> None:
        """Put everything back as it was before the run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self._origin, self.folder)

    def stderr(self) -> str:
        return (self.folder.parent / "stderr").read_text()

    def fail(self, number: int, error: int) -> int:
        """Run the command with a call that fails, check what it leaves and says, and return its exit code."""
        self.renew()
        code = self._run(self.folder, number, error)
        check(code in (0, 74 if error in PASSING else 73), "the exit code is", code, self.stderr())
        found = content(self.folder)
        check(found.keys() == self.old.keys(), "left behind or gone", found.keys() ^ self.old.keys())
        for name in self.old:
            if name in RECORDS or name == STATE:
                check(code != 0 or found[name] != self.old[name], name, "is old")
            else:
                check(found[name] in (self.new[name], *((self.old[name],) if code else ())), name, "is not whole")
        if "r.json" in found and found["r.json"] != self.old["r.json"]:
            check(json.loads(found["r.json"])["exit_code"] == code, "not what the report says")
        said = [line for line in self.stderr().splitlines() if line not in self.said]
        check(all(line.startswith("titanic: ") and "None" not in line for line in said), *said)
        check(len(said) - ("titanic: 1 of 2 inputs failed: see above." in said) == (code != 0), "said", *said)
        return code

    def _run(self, folder: Path, number: int = -1, error: int = 0) -> int:
        """Run the command in a process of its own, and return its exit code."""
        pid = os.fork()
        if pid:
            return ended(pid)
        code = 1
        try:
            os.chdir(folder)
            for descriptor, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(folder.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            sys.argv = ["titanic", *self._command]
            library = ctypes.CDLL(None)
            library.calls_made.restype = ctypes.c_char_p
            library.fail_call(os.fsencode(folder), number, error)
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
            (folder.parent / "calls").write_bytes(library.calls_made())
        finally:
            os._exit(code)


def tried(calls: list[str]) -> list[int]:
    """Return the numbers of the calls to let fail: of those alike, with the same name and path, the first and the last.

    Before anything is written, each output is looked at often, and each time alike.
    """
    last = {call: number for number, call in enumerate(calls)}
    return sorted({calls.index(call) for call in last} | set(last.values()))


def fail_each(top: Path) -> None:
    """Let each call of each command fail, in a folder of its own."""
    os.environ["TITANIC_MODEL"] = str(top / "model.skops")
    Model(n_estimators=3).fit(packaged_rows()).save(os.environ["TITANIC_MODEL"])
    write_rows(top / "in.csv", 1, 150)
    validate(find_inputs([str(top / "in.csv")]).require_all(), CONTRACT, RunOptions(jobs=1))  # imports what rows need
    for command in COMMANDS:
        ground, codes = Ground(top, command), Counter[int]()
        for number in tried(ground.calls):
            call = ground.calls[number]
            for error in ERRORS.get(call.partition(" ")[0], (errno.EIO,)):
                try:
                    codes[ground.fail(number, error)] += 1
                except Amiss as amiss:
                    what = " ".join(map(str, amiss.args))
                    sys.exit(f"{command[0]}: {os.strerror(error)} at {number}, {call}: {what}")
        print(command[0], *(f"{code}: {count}" for code, count in sorted(codes.items())), sep=", ")


def main() -> None:
    if len(sys.argv) > 1:
        fail_each(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as top:
        library = Path(top) / "failing_calls.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
        command = [sys.executable, "-m", "tests.fail_calls", top]
        sys.exit(subprocess.run(command, env=os.environ | {"LD_PRELOAD": str(library)}, check=False).returncode)


if __name__ == "__main__":
    main()
