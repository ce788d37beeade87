"""How a run ends: the exit code and the words that an exception, a signal or a report leads to. Decided here alone."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
import typer.core

from titanic_batch import errors
from titanic_batch.cli.console import Log, give_up_stdout, say
from titanic_batch.runs.exit_codes import (
    DATA_BROKE_THE_CONTRACT,
    DONE,
    FAULT_OF_OURS,
    INTERRUPTED,
    READER_WENT_AWAY,
    TERMINATED,
    TRANSFER_FAILED,
    WRONG_USAGE,
    code_of,
    gravest,
)
from titanic_batch.writing import stopping
from titanic_batch.writing.publishing import discard_all

if TYPE_CHECKING:
    from titanic_batch.runs.fit import FitReport
    from titanic_batch.runs.folders import FolderItem
    from titanic_batch.runs.record import RunRecord
    from titanic_batch.runs.report import RunReport

STOPPED_BY = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
_LAST_SECONDS = 0.8


class Ended(Exception):  # noqa: N818  # as SystemExit
    """The run ends with this exit code, and with this to say, if anything."""

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Ending(NamedTuple):
    """An exit code, and what there is to say."""

    code: int
    message: str | None


class _Process:
    """What there is once in a process: what it is about to record, and whether it said that it was stopped."""

    record: RunRecord | None = None
    said_stopped = False


class Commands(typer.core.TyperGroup):
    """Turns what is no bug of ours into a line on stderr and an exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run; help and the version, which the parser prints, fail as what a command prints does."""
        try:
            return super().main(*args, **options)
        except (OSError, SystemExit) as error:
            # On a broken pipe rich and typer exit with 1.
            cause = error.__context__ if isinstance(error, SystemExit) else error
            ending = ending_of(cause) if isinstance(cause, OSError) else Ending(FAULT_OF_OURS, None)
            if ending.code == FAULT_OF_OURS:
                raise
            if ending.message is not None:
                say(ending.message, "error", exit_code=ending.code)
            give_up_stdout()
            raise SystemExit(ending.code) from None

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and say how it ended where it failed."""
        _Process.record, _Process.said_stopped = None, False
        try:
            return super().invoke(ctx)
        except (errors.TitanicError, Ended, stopping.Stopped, BrokenPipeError, MemoryError) as error:
            code, message = ending_of(error)
            if message is not None:
                say(message, "error", exit_code=code)
            _Process.said_stopped = isinstance(error, stopping.Stopped)
            if isinstance(error, errors.TransferError | BrokenPipeError):
                give_up_stdout()
            raise typer.Exit(code) from None
        except typer.Exit:
            raise
        except Exception as error:
            if Log.format != "json" or ending_of(error).code != FAULT_OF_OURS:
                raise
            raise typer.Exit(_say_as_json(error)) from None


def _say_as_json(error: Exception) -> int:
    """Say as JSON what else would be the parser's own words, or a traceback, and return the exit code."""
    if (message_of := getattr(error, "format_message", None)) is not None:  # the parser's own
        say(message_of(), "error", exit_code=WRONG_USAGE)
        return WRONG_USAGE
    # Not the exception's own text: a library's can quote what a field holds.
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    say(ending_of(error).message or "", "critical", exit_code=FAULT_OF_OURS, traceback=places)
    return FAULT_OF_OURS


def ending_of(error: BaseException) -> Ending:
    """Return the exit code that an exception leads to, and what there is to say."""
    match error:
        case errors.TitanicError():
            return Ending(code_of(error), str(error))
        case Ended():
            return Ending(error.code, error.message)
        case stopping.Stopped():
            return Ending(error.code, _stopped(error.code))
        case BrokenPipeError():
            return Ending(READER_WENT_AWAY, None)
        case OSError(errno=errno.ENOSPC):
            return Ending(TRANSFER_FAILED, f"writing failed ({error.strerror}): free some space and try again.")
        case OSError(errno=errno.EBADF):
            return Ending(code_of(errors.OutputError()), "stdout is not open for writing: lead it somewhere.")
        case MemoryError():
            message = "there is not enough memory: give more, or use fewer --jobs, and try again."
            return Ending(TRANSFER_FAILED, message)
        case _:
            return Ending(FAULT_OF_OURS, f"a fault of the program ({type(error).__name__}).")


def _stopped(code: int) -> str:
    name = next(number.name for number, known in STOPPED_BY.items() if known == code)
    items = _Process.record.items if _Process.record is not None else None
    if items is None:
        return f"stopped by {name}: nothing was published, so run it again."
    done = sum(item.is_done for item in items)
    return f"stopped by {name}: {done} of {len(items)} inputs are done, so run it again with --resume."


@contextmanager
def recorded(record: RunRecord) -> Iterator[None]:
    """Record how a run ends, however it ends."""
    _Process.record = record
    try:
        yield
    except BaseException as error:
        code, message = ending_of(error)
        # What contradicts itself may name an input for the record.
        for failed in record.end(code, message) if code != WRONG_USAGE else ():
            if str(failed) != message:
                say(str(failed), "error")
        raise
    for failed in record.end(DONE):
        raise failed


def leave(code: int) -> None:
    """Discard what was not published, record how the run ended, if there is time, and end the process."""
    record = _Process.record

    def end() -> None:
        if record is None or record.exit_code is None:
            discard_all()
        if not _Process.said_stopped:
            say(_stopped(code), "error", exit_code=code)
        if record is not None:
            record.end(code, _stopped(code))

    last = threading.Thread(target=end, daemon=True)
    last.start()
    last.join(_LAST_SECONDS)
    discard_all(for_good=True)  # a record that takes too long
    os._exit(code if record is None or record.exit_code is None else record.exit_code)


def say_outcome(report: RunReport, of: str = "") -> None:
    """Say what there is to say of predictions that were made, or not.

    Raises
    ------
    DataError
        The data failed the run.
    """
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
    """Say what there is to say of one input of several, which fails no other."""
    try:
        if item.error is not None:
            raise item.error
        say_outcome(item.report, f"{item.source.name}: ")
    except errors.TitanicError as error:
        say(str(error), "error")


def say_outcome_of_items(items: Sequence[FolderItem], output: str) -> None:
    """Say on a terminal how many were scored.

    Raises
    ------
    Ended
        Any failed: with the gravest of their exit codes.
    """
    from titanic_batch.runs.record import exit_code_of

    code = gravest(exit_code_of(item) or DONE for item in items)
    if code != DONE:
        failed = sum(item.failure is not None for item in items)
        raise Ended(code, f"{failed} of {len(items)} inputs failed: see above.")
    if sys.stderr.isatty():
        skipped = sum(item.skipped for item in items)
        say(f"{len(items) - skipped} inputs scored, {skipped} skipped: see {output}.")


def end_check(report: RunReport) -> None:
    """End a check of data, whose report tells already what the data broke.

    Raises
    ------
    Ended
        The data failed it.
    """
    if report.failure:
        raise Ended(DATA_BROKE_THE_CONTRACT)


def end_fit(report: FitReport) -> None:
    """End a fit.

    Raises
    ------
    DataError
        No model was saved.
    """
    if report.failure:
        raise errors.DataError(f"{report.failure}: no model saved.")
