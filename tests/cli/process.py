"""The command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 300  # of what should take seconds, on a machine that is busy


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process, as users have it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TITANIC_", "PYTHONUNBUFFERED"))}
    return kept | more


def run_process(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=env or environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def unprivileged(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python as one whom the permissions of files restrict, also if root runs the tests."""
    command = [sys.executable, *map(str, arguments)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=TIMEOUT)


@contextmanager
def closed_pipe() -> Iterator[int]:
    """Give the writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)
