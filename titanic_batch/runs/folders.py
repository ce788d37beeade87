"""Score many inputs into a folder: each is a job of its own, whose predictions are named after it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from titanic_batch.errors import (
    DataError,
    InputError,
    OutputBusyError,
    OutputError,
    TitanicError,
    TransferError,
    UsageError,
)
from titanic_batch.reading.formats import FORMATS, Format
from titanic_batch.reading.paths import opening_error
from titanic_batch.reading.sources import Source
from titanic_batch.runs.batch import Target, score
from titanic_batch.runs.folder_state import NAME as STATE
from titanic_batch.runs.folder_state import Entry, FolderState, recipe_of
from titanic_batch.runs.options import RunOptions
from titanic_batch.runs.report import InputFile, RunReport
from titanic_batch.writing import stopping
from titanic_batch.writing.file_names import real_path
from titanic_batch.writing.predictions import PredictedColumns
from titanic_batch.writing.publishing import make_folder, remove_leftovers
from titanic_batch.writing.streams import is_stream

REJECTS = "_rejects"


@dataclass(slots=True)
class FolderItem:
    """One input of a folder run, and its outcome.

    ``name`` is the path of the output within the folder. ``report`` says what was done, ``error`` why it could not be
    completed. If the item was ``skipped``, or the run ended before it, no rows are reported and there is no error.
    """

    source: Source
    name: str
    output: str
    rejects: str
    format: Format
    report: RunReport = field(default_factory=RunReport)
    error: TitanicError | None = None
    skipped: bool = False

    @property
    def places(self) -> tuple[str, str]:
        """The folders of the output and the rejects."""
        return os.path.dirname(self.output), os.path.dirname(self.rejects)

    @property
    def failure(self) -> str | None:
        """Why scoring failed, or None."""
        return str(self.error) if self.error is not None else self.report.failure

    @property
    def is_done(self) -> bool:
        """Whether the predictions were published, by this run or an earlier one."""
        return self.skipped or self.report.output is not None


def make_items(sources: Sequence[Source], folder: str, output_format: Format | None = None) -> list[FolderItem]:
    """Return an item for each source.

    An output has the name of its source, relative to the given folder or to the part of the glob without wildcards. Its
    suffix is replaced if it is not that of the output format, which defaults to the source's.

    Raises
    ------
    UsageError
        A source has no name, such as stdin.
    """
    items = []
    for source in sources:
        if source.stream is not None:
            raise UsageError(
                "- (stdin) has no name that its predictions could have in a folder: name a file as the output."
            )
        file_format = output_format or source.format
        name = _with_suffix(source.relative_name, file_format)
        output, rejects = os.path.join(folder, name), os.path.join(folder, REJECTS, f"{name}.rejects.csv")
        items.append(FolderItem(source, name, output, rejects, file_format))
    return items


def check_places(items: Sequence[FolderItem], folder: str, also_written: Sequence[str]) -> None:
    """Check that each item has output paths of its own in the folder, and that no input is overwritten.

    ``also_written`` lists other files that the run writes.

    Raises
    ------
    UsageError
        A file would be written twice, an output would be outside the folder, or an input is inside it or would be
        overwritten.
    OutputError
        A name is relative, and there is no working directory.
    """
    written: dict[str, str] = {real_path(os.path.join(folder, STATE)): "the state of the folder"}
    for item in items:
        for name in (item.output, item.rejects):
            place = real_path(name)
            if place in written:
                raise UsageError(
                    f"{name} would be written twice, for {written[place]} and {item.source.name}: "
                    "name each input once, or score them into different folders."
                )
            written[place] = item.source.name
    inside = os.path.join(real_path(folder), "")
    for item in items:
        source = item.source.name
        if os.path.normpath(item.name).split(os.sep)[0] == os.pardir:
            raise UsageError(f"{source} has no place below {folder}: name the folder that it is in.")
        if (place := real_path(source)).startswith(inside):
            raise UsageError(f"{source} is an input and lies in the output folder: name another folder.")
        if place in written:
            raise UsageError(f"{source} is an input and would be overwritten: name another folder.")
    for other in also_written:
        if real_path(other) in written:
            raise UsageError(f"{other} is named for two outputs: name another file for one of them.")


def input_sizes(items: Sequence[FolderItem]) -> list[int]:
    """Return the sizes of the inputs in bytes; 0 for pipes, and for files that can't be opened.

    Raises
    ------
    TransferError
        A size can't be told, and trying again may help.
    """
    return [_size_of(item.source.name) for item in items]


def _size_of(name: str) -> int:
    try:
        status = os.stat(name)
    except OSError as error:
        failure = opening_error(name, error)
        if isinstance(failure, TransferError):  # another shard may see the size, and share out the inputs otherwise
            raise failure from None
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def score_each(
    items: Sequence[FolderItem],
    folder: str,
    columns: PredictedColumns,
    options: RunOptions,
    on_done: Callable[[FolderItem], None] = lambda item: None,
) -> None:
    """Score each item separately with `batch.score`. An item that fails doesn't stop the others.

    The limits in the options apply to each item by itself. With ``resume``, an item is skipped if its output is
    unchanged and was made from the same content with the same model, versions and options. ``on_done`` is called with
    each item when it is done.

    Raises
    ------
    OutputError
        The folder can't be created, or its state.
    OutputBusyError, TransferError
        The state of the folder can't be saved.
    UsageError
        The output contains a column to keep anyway.
    """
    columns.require_distinct_names()
    make_folder(folder)
    for place in {folder, *(place for item in items for place in item.places)}:
        remove_leftovers(place)
    state = FolderState(folder)
    rows = 0
    try:
        for number, item in enumerate(items):
            stopping.release()
            source, recipe = item.source, recipe_of(_recipe(item, columns, options))
            if options.resume and (made := state.made(item.name, source.name, recipe)):
                item.skipped = True
                item.report.inputs = [InputFile(source.name, source.format, made.input_bytes, made.input_sha256)]
            else:
                _score(item, columns, _options_of_item(options, rows, number, len(items)))
                rows += item.report.rows
                if item.failure is None:
                    _note(item, recipe, state)
            on_done(item)
    finally:
        state.save()


def _score(item: FolderItem, columns: PredictedColumns, options: RunOptions) -> None:
    target = Target(item.output, item.format, item.rejects, rejects_if_any=True)
    try:
        for place in item.places:
            make_folder(place)
        score([item.source], target, columns, options, item.report)
    except (DataError, InputError, OutputBusyError, OutputError, TransferError) as error:
        item.error = error


def _options_of_item(options: RunOptions, rows: int, number: int, count: int) -> RunOptions:
    """Return the options for one item, whose progress is reported in items."""
    progress = options.progress

    def show(judged: int, done: int, total: int | None) -> None:
        assert progress is not None  # noqa: S101  # only called if there is one
        progress(rows + judged, number, count)

    return replace(options, detailed=True, progress=progress and show)


def _note(item: FolderItem, recipe: str, state: FolderState) -> None:
    (source,), output = item.report.inputs, item.report.outputs[-1]
    if not is_stream(item.source.name) and not is_stream(item.output):
        state.note(item.name, Entry(source.bytes, source.sha256, recipe, output.bytes, output.sha256))


def _recipe(item: FolderItem, columns: PredictedColumns, options: RunOptions) -> Mapping[str, Any]:
    """Return everything that affects an output except its input."""
    return options.recipe() | {
        "provenance": dict(columns.provenance),
        "schema": columns.contract.digest,
        "input_format": item.source.format,
        "output_format": item.format,
    }


def _with_suffix(name: str, file_format: Format) -> str:
    suffix = next((f".{known}" for known in FORMATS if name.lower().endswith(f".{known}")), "")
    return name if suffix == f".{file_format}" else f"{name[: len(name) - len(suffix)]}.{file_format}"
