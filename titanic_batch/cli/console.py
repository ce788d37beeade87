"""Output of the command: messages on stderr, results on stdout or in a file, progress on a terminal."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from titanic_batch.errors import one_line
from titanic_batch.notebook.words import ROWS
from titanic_batch.reading.sources import describe

if TYPE_CHECKING:
    from titanic_batch.models.model import Model
    from titanic_batch.reading.sources import Inputs
    from titanic_batch.runs.options import Progress


class Log:
    """The process-wide format of messages, ``text`` or ``json``, and the command that they come from."""

    format = "text"
    command: str | None = None

    @classmethod
    def reset(cls, log_format: str = "text", command: str | None = None) -> None:
        """Set the format and the command of all further messages."""
        cls.format, cls.command = log_format, command


def say(message: str, level: str = "info", **more: object) -> None:
    """Print a message on stderr, as one line. ``more`` is only printed as JSON."""
    line = _json_line(message, level, **more) if Log.format == "json" else f"titanic: {message}"
    try:
        print(one_line(line), file=sys.stderr, flush=True)
    except OSError:  # nobody can read it, and that is no reason to fail
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class JsonFormatter(logging.Formatter):
    """Formats what is logged as `say` prints messages as JSON, but for lines that are JSON already.

    Parameters
    ----------
    as_they_are
        The logger of these lines.
    """

    def __init__(self, as_they_are: logging.Logger) -> None:
        super().__init__()
        self._as_they_are = as_they_are.name

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        message = super().format(record)
        if record.name == self._as_they_are:
            return message
        return _json_line(message.removeprefix("titanic: "), record.levelname.lower())


def _json_line(message: str, level: str, **more: object) -> str:
    time_of_day = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time_of_day, "level": level, "command": Log.command, "message": message, **more})


def announce(model: Model) -> None:
    """Warn if no model was named, so that the reference model is used, and print the model's caution, if any."""
    if model.is_reference:
        say(f"no model is named, so the reference model is used, fitted on the packaged {ROWS}.", "warning")
    if model.caution:
        say(model.caution, "warning")


def say_passed_over(inputs: Inputs) -> None:
    """Warn of files in named folders that are not read, unless the inputs have an error, which ends the run."""
    if inputs.passed_over and inputs.error is None:
        hint = "to read one, name it as an input, with --input-format where its suffix is unknown"
        say(f"{describe(inputs.passed_over)}: {hint}.", "warning")


def write_text(text: str, output: str | None = None) -> None:
    """Write a result to stdout, or to a file, which is published complete or not at all.

    Raises
    ------
    OutputBusyError, OutputError, TransferError
        The output can't be written.
    """
    from titanic_batch.writing.publishing import Publication
    from titanic_batch.writing.streams import STDOUT

    with Publication() as publication:
        file = publication.add(output or STDOUT).file
        file.write(text.encode(errors="backslashreplace"))  # a file name need not be valid UTF-8
        publication.publish()


def silence_stdout() -> None:
    """Redirect stdout to the null device: flushing the rest at exit would only fail again."""
    with suppress(OSError):  # such as stdout without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def row_progress() -> Iterator[Progress | None]:
    """Yield a callback that shows the progress of a run on stderr; None without a terminal, or if messages are JSON."""
    if not sys.stderr.isatty() or Log.format == "json":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("0 rows", total=None)

        def show(rows: int, done: int, total: int | None) -> None:
            rate = rows / max(time.monotonic() - started, 1e-9)
            bar.update(task, description=f"{rows:,} rows, {rate:,.0f} rows/s", completed=done, total=total)

        yield show


@contextmanager
def count_progress(description: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a callback that shows on stderr how many of a total are done; None without a terminal.

    ``description`` is a format string with the fields ``done`` and ``total``.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False)
        yield lambda done, total: bar.update(
            task, description=description.format(done=done, total=total), completed=done, total=total, visible=True
        )
