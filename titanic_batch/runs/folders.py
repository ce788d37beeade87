"""Many inputs into a folder: one file of predictions for each, under its name, and each a job of its own."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from titanic_batch.checking.contract import Contract
from titanic_batch.errors import (
    DataError,
    InputError,
    OutputBusyError,
    OutputError,
    TitanicError,
    TransferError,
    UsageError,
)
from titanic_batch.reading.formats import FORMATS, STDIN, Format
from titanic_batch.reading.sources import Source, find_sources
from titanic_batch.runs.batch import score
from titanic_batch.runs.folder_state import NAME as STATE
from titanic_batch.runs.folder_state import Entry, FolderState, recipe_of
from titanic_batch.runs.options import Inputs
from titanic_batch.runs.report import InputFile, RunReport
from titanic_batch.writing import stopping
from titanic_batch.writing.file_names import check_names
from titanic_batch.writing.predictions import PredictedColumns
from titanic_batch.writing.publishing import clear_left_behind, is_stream, make_folder

REJECTS = "_rejects"


@dataclass(slots=True)
class Unit:
    """One input and what becomes of it.

    ``name`` is the output's within the folder. ``report`` tells what was done, ``error`` what kept it from being done;
    both are as they were where nothing was: ``skipped``, or the run has ended before.
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
    def failure(self) -> str | None:
        """Why there are no new predictions, if there are none."""
        return str(self.error) if self.error is not None else self.report.failure


def units_of(inputs: Inputs, folder: str, output_format: Format | None = None) -> list[Unit]:
    """Return what to make of the inputs: of each one file.

    An output is called as its input is below the folder that was given, or below the part of a glob that has no
    wildcard; with ``output_format``, and where the name tells another format, the suffix is that of the format.

    Raises
    ------
    InputError
        A file or folder is not there, or there is nothing in it.
    UsageError
        Two inputs would become one output, an input would be overwritten, or has no name.
    """
    if STDIN in inputs.names:
        raise UsageError(
            "- (stdin) has no name that its predictions could have in a folder: name a file as the output."
        )
    units = []
    for given in inputs.names:
        for source in find_sources([given], inputs.format):
            kind = output_format or source.format
            name = _with_suffix(os.path.relpath(source.name, _base(given)), kind)
            output, rejects = os.path.join(folder, name), os.path.join(folder, REJECTS, f"{name}.rejects.csv")
            units.append(Unit(source, name, output, rejects, kind))
    _check(units, inputs, folder)
    return units


def sizes_of(units: Sequence[Unit]) -> list[int]:
    """Return the sizes of the inputs in bytes, 0 for pipes and for what has vanished, which reading it will tell."""
    return [os.path.getsize(unit.source.name) if os.path.isfile(unit.source.name) else 0 for unit in units]


def score_each(
    units: Sequence[Unit],
    inputs: Inputs,
    contract: Contract,
    columns: PredictedColumns,
    folder: str,
    *,
    resume: bool = False,
    on_done: Callable[[Unit], None] = lambda unit: None,
) -> None:
    """Score each unit by itself, as `batch.score` does a single input; one that fails doesn't stop the others.

    The limits of ``inputs`` hold for each. ``resume`` skips a unit whose output was made from the same content, with
    the same model, versions and options, and is unchanged. ``on_done`` is called with each unit when it is done.

    Raises
    ------
    OutputError
        The folder can't be made.
    OutputBusyError, TransferError
        What was done can't be noted in the folder's state.
    UsageError
        A column to keep is one that is written anyway.
    """
    columns.check_names(contract)
    for place in sorted({folder, *(os.path.dirname(name) for unit in units for name in (unit.output, unit.rejects))}):
        make_folder(place)
        clear_left_behind(place)
    state = FolderState(folder)
    rows = 0
    try:
        for number, unit in enumerate(units):
            stopping.release()
            recipe = recipe_of(_recipe(unit, inputs, contract, columns))
            if resume and (made := state.made(unit.name, unit.source.name, recipe)):
                unit.skipped = True
                unit.report.inputs = [
                    InputFile(unit.source.name, unit.source.format, made.input_bytes, made.input_sha256)
                ]
            else:
                _score(unit, _inputs_of(unit, inputs, rows, number, len(units)), contract, columns)
                rows += unit.report.rows
                if unit.failure is None:
                    _note(unit, recipe, state)
            on_done(unit)
    finally:
        state.save()


def _score(unit: Unit, inputs: Inputs, contract: Contract, columns: PredictedColumns) -> None:
    try:
        score(inputs, contract, columns, unit.output, unit.format, unit.report)
    except (DataError, InputError, OutputBusyError, OutputError, TransferError) as error:
        unit.error = error


def _inputs_of(unit: Unit, inputs: Inputs, rows: int, number: int, count: int) -> Inputs:
    """Return the inputs of one unit, the progress of which is counted in units."""
    progress = inputs.progress

    def show(judged: int, done: int, total: int | None) -> None:
        assert progress is not None  # noqa: S101  # else this is not called
        progress(rows + judged, number, count)

    return replace(
        inputs,
        names=[unit.source.name],
        rejects=unit.rejects,
        rejects_if_any=True,
        detailed=True,
        progress=progress and show,
    )


def _note(unit: Unit, recipe: str, state: FolderState) -> None:
    (source,), output = unit.report.inputs, unit.report.outputs[-1]
    if not is_stream(unit.source.name) and not is_stream(unit.output):
        state.note(unit.name, Entry(source.bytes, source.sha256, recipe, output.bytes, output.sha256))


def _recipe(unit: Unit, inputs: Inputs, contract: Contract, columns: PredictedColumns) -> Mapping[str, Any]:
    """Return all that shapes an output, beside its input."""
    return {
        "provenance": dict(columns.provenance),
        "schema": contract.digest,
        "keep": list(columns.keep),
        "input_format": unit.source.format,
        "output_format": unit.format,
        "max_rejects": str(inputs.max_rejects),
        "min_rows": inputs.min_rows,
        "max_psi": columns.max_psi,
    }


def _check(units: Sequence[Unit], inputs: Inputs, folder: str) -> None:
    written: dict[str, str] = {os.path.realpath(os.path.join(folder, STATE)): "the state of the folder"}
    for unit in units:
        for name in (unit.output, unit.rejects):
            place = os.path.realpath(name)
            if place in written:
                raise UsageError(
                    f"{name} would be written twice, for {written[place]} and {unit.source.name}: "
                    "name each input once, or score them into different folders."
                )
            written[place] = unit.source.name
    inside = os.path.join(os.path.realpath(folder), "")
    for unit in units:
        source = unit.source.name
        if os.path.normpath(unit.name).startswith(os.pardir):
            raise UsageError(f"{source} has no place below {folder}: name the folder that it is in.")
        if (place := os.path.realpath(source)).startswith(inside):
            raise UsageError(f"{source} is an input and lies in the output folder: name another folder.")
        if place in written:
            raise UsageError(f"{source} is an input and would be overwritten: name another folder.")
    check_names(inputs.names, inputs.also_written)
    for other in inputs.also_written:
        if os.path.realpath(other) in written:
            raise UsageError(f"{other} is named for two outputs: name another file for one of them.")


def _base(given: str) -> str:
    """Return the folder below which the names of inputs count."""
    if os.path.isdir(given):
        return given
    base = os.path.dirname(given)
    while glob.has_magic(base) and not os.path.exists(given):
        base = os.path.dirname(base)
    return base or os.curdir


def _with_suffix(name: str, kind: Format) -> str:
    suffix = next((f".{known}" for known in FORMATS if name.lower().endswith(f".{known}")), "")
    return name if suffix == f".{kind}" else f"{name[: len(name) - len(suffix)]}.{kind}"
