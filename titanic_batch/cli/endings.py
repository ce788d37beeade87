"""How a run ends: the exit code and the message for an exception, a signal or a report. Only this module decides it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
import typer.core

from titanic_batch import errors
from titanic_batch.cli.console import Log, say, silence_stdout
from titanic_batch.reading.limits import NO_THREAD, start_thread
from titanic_batch.runs.exit_codes import (
    BROKEN_PIPE,
    DONE,
    INTERNAL_ERROR,
    INTERRUPTED,
    INVALID_DATA,
    TERMINATED,
    TRANSFER_FAILED,
    WRONG_USAGE,
    code_of,
    combined_code,
)
from titanic_batch.writing import stopping
from titanic_batch.writing.publishing import discard_all

if TYPE_CHECKING:
    from titanic_batch.runs.fit import FitReport
    from titanic_batch.runs.folders import FolderItem
    from titanic_batch.runs.record import RunRecord
    from titanic_batch.runs.report import RunReport

STOPPED_BY = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
_LEAVE_SECONDS = 0.8


class Ended(Exception):  # noqa: N818  # as SystemExit
    """Ends the run with an exit code and, optionally, a message."""

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Ending(NamedTuple):
    """An exit code, and a message if there is one to print."""

    code: int
    message: str | None


class _Process:
    """Process-wide state: the record of the current run, and whether the message that it was stopped was printed."""

    record: RunRecord | None = None
    said_stopped = False


class Commands(typer.core.TyperGroup):
    """Turns expected errors into a line on stderr and an exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line. A failure to print help or the version ends like a failure to print a result."""
        try:
            return super().main(*args, **options)
        except (OSError, SystemExit) as error:
            # rich and typer exit with 1 on a broken pipe.
            cause = error.__context__ if isinstance(error, SystemExit) else error
            if not isinstance(cause, OSError) or ending_of(cause).code == INTERNAL_ERROR:
                raise
            raise SystemExit(say_ending(cause)) from None

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and print how it ended if it failed."""
        _Process.record, _Process.said_stopped = None, False
        try:
            return super().invoke(ctx)
        except typer.Exit:
            raise
        except (Exception, stopping.Stopped) as error:
            if ending_of(error).code != INTERNAL_ERROR:
                _Process.said_stopped = isinstance(error, stopping.Stopped)
                raise typer.Exit(say_ending(error)) from None
            # A bug, or a usage error from the parser, which prints its own message.
            if Log.format != "json":
                raise
            raise typer.Exit(_say_as_json(error)) from None


def say_ending(error: BaseException) -> int:
    """Print the message of an expected error, and return the exit code."""
    code, message = ending_of(error)
    if message is not None:
        say(message, "error", exit_code=code)
    if isinstance(error, errors.OutputError | errors.TransferError | OSError):
        silence_stdout()
    return code


def _say_as_json(error: BaseException) -> int:
    """Print an error as JSON instead of the parser's own message or a traceback, and return the exit code."""
    if (message_of := getattr(error, "format_message", None)) is not None:  # a usage error from the parser
        say(message_of(), "error", exit_code=WRONG_USAGE)
        return WRONG_USAGE
    # Without the exception's own message, in which a library may quote what a field contains.
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    say(ending_of(error).message or "", "critical", exit_code=INTERNAL_ERROR, traceback=places)
    return INTERNAL_ERROR


def ending_of(error: BaseException) -> Ending:
    """Return the exit code and the message for an exception."""
    match error:
        case errors.TitanicError():
            return Ending(code_of(error), str(error))
        case Ended():
            return Ending(error.code, error.message)
        case stopping.Stopped():
            return Ending(error.code, _stopped(error.code))
        case BrokenPipeError():
            return Ending(BROKEN_PIPE, None)
        case OSError(errno=errno.ENOSPC):
            return Ending(
                TRANSFER_FAILED, f"writing failed ({errors.reason_of(error)}): free some space and try again."
            )
        case OSError(errno=errno.EBADF):
            return Ending(code_of(errors.OutputError()), "stdout is not open for writing: lead it somewhere.")
        case _ if errors.is_out_of_memory(error):
            message = "there is not enough memory: give more, or use fewer --jobs, and try again."
            return Ending(TRANSFER_FAILED, message)
        case RuntimeError(args=("can't start new thread",)):
            return Ending(TRANSFER_FAILED, NO_THREAD)
        case _:
            return Ending(INTERNAL_ERROR, f"a fault of the program ({type(error).__name__}).")


def _stopped(code: int) -> str:
    name = next(number.name for number, known in STOPPED_BY.items() if known == code)
    items = _Process.record.items if _Process.record is not None else None
    if items is None:
        return f"stopped by {name}: nothing was published, so run it again."
    done = sum(item.is_done for item in items)
    return f"stopped by {name}: {done} of {len(items)} inputs are done, so run it again with --resume."


@contextmanager
def recorded(record: RunRecord) -> Iterator[None]:
    """Write the record when the ``with`` block ends, whether or not it raises."""
    _Process.record = record
    try:
        yield
    except BaseException as error:
        code, message = ending_of(error)
        # After a usage error nothing is written: the file for the record may be an input.
        for failed in record.end(code, message) if code != WRONG_USAGE else ():
            if str(failed) != message:
                say(str(failed), "error")
        raise
    for failed in record.end(DONE):
        raise failed


def leave(code: int) -> None:
    """Discard unpublished files, write the record if there is time, and end the process."""
    record, ended = _Process.record, threading.Event()

    def end() -> None:
        try:
            if record is None or record.exit_code is None:
                discard_all()
            if not _Process.said_stopped:
                say(_stopped(code), "error", exit_code=code)
            if record is not None:
                record.end(code, _stopped(code))
        finally:
            ended.set()

    with suppress(errors.TransferError):  # without a thread, there is no telling how long it would take
        start_thread(end)
        ended.wait(_LEAVE_SECONDS)
    discard_all(for_good=True)  # such as a record that takes too long to write
    os._exit(code if record is None or record.exit_code is None else record.exit_code)


def say_outcome(report: RunReport, of: str = "") -> None:
    """Print the outcome of a scoring run.

    Raises
    ------
    DataError
        The run failed because of its data.
    """
    for remark in report.remarks():
        say(f"{of}{remark}", "warning")
    if report.failure:
        where = f"; the rejected rows are in {report.rejects}" if report.rejects else ""
        raise errors.DataError(f"{of}{report.failure}: no predictions written{where}.")
    if report.drift and (moved := report.drift.describe()):
        say(f"{of}{moved}.", "warning")
    if report.rejects and report.rejected:
        say(f"{of}{report.rejected} of {report.rows} rows rejected: see {report.rejects}.", "warning")
    if not of and sys.stderr.isatty():
        say(f"{report.accepted} rows scored: see {report.output}.")


def say_outcome_of_item(item: FolderItem) -> None:
    """Print the outcome of one input of several. Its failure is printed as well, and not raised."""
    try:
        if item.error is not None:
            raise item.error
        say_outcome(item.report, f"{item.source.name}: ")
    except errors.TitanicError as error:
        say(str(error), "error")


def say_outcome_of_items(items: Sequence[FolderItem], output: str) -> None:
    """Print how many inputs were scored, if stderr is a terminal.

    Raises
    ------
    Ended
        An input failed. Its exit code is `combined_code` of those of all inputs.
    """
    from titanic_batch.runs.record import exit_code_of

    code = combined_code(exit_code_of(item) or DONE for item in items)
    if code != DONE:
        failed = sum(item.failure is not None for item in items)
        raise Ended(code, f"{failed} of {len(items)} inputs failed: see above.")
    if sys.stderr.isatty():
        skipped = sum(item.skipped for item in items)
        say(f"{len(items) - skipped} inputs scored, {skipped} skipped: see {output}.")


def end_check(report: RunReport) -> None:
    """End a check of data. There is no message but a warning, because the report already contains the result.

    Raises
    ------
    Ended
        The data failed the check.
    """
    for remark in report.remarks():
        say(remark, "warning")
    if report.failure:
        raise Ended(INVALID_DATA)


def end_fit(report: FitReport) -> None:
    """End a fit.

    Raises
    ------
    DataError
        No model was saved.
    """
    if report.failure:
        raise errors.DataError(f"{report.failure}: no model saved.")
