"""Command-line options: those that several commands share, and those that `RunOptions` declares."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from titanic_batch.cli.console import Log
from titanic_batch.errors import UsageError
from titanic_batch.reading.limits import LIBRARIES_SIZE, require_memory
from titanic_batch.reading.paths import require_path
from titanic_batch.runs.options import DECLARED, REPORT_FILES, Option, RunOptions, file_name, one_of

Command = Callable[..., None]

_TYPES = typing.get_type_hints(RunOptions)
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunOptions)}


def named(param: typer.CallbackParam, value: str | None) -> str | None:
    """Return a file name, if one was given, after checking that it is one."""
    return None if value is None else file_name(value, param.opts[0])


def paths(value: Any) -> Any:
    """Return the one or more file names that an argument gives, after checking that none is a URL."""
    for name in [value] if isinstance(value, str) else value or ():
        require_path(name)
    return value


def _model_name(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> Any:
    name, _ = _not_blank(ctx, param, value, "name")
    return paths(name)


def _pin(ctx: typer.Context, param: typer.CallbackParam, value: str | None) -> str | None:
    pin, given_as = _not_blank(ctx, param, value, "digest")
    if pin is not None and not re.fullmatch("[0-9A-Fa-f]{64}", pin.strip()):
        raise UsageError(f"{given_as} is no SHA-256: give the 64 hexadecimal digits that sha256sum prints.")
    return pin


def _not_blank(ctx: typer.Context, param: typer.CallbackParam, value: str | None, noun: str) -> tuple[str | None, str]:
    """Return the value of an option that has a variable too, not blank if there is one, and which of them states it.

    Click takes a variable that is set and empty for one that is not set, which would drop a model or a pin in silence.
    """
    variable, option = str(param.envvar), param.opts[0]
    source = ctx.get_parameter_source(str(param.name))
    if value is None or (source is not None and source.name == "ENVIRONMENT"):
        value = os.environ.get(variable)
        if value is not None and not value.strip():
            raise UsageError(f"{variable} is set and empty: set it to a {noun}, or unset it.")
        return value, variable
    if not value.strip():
        raise UsageError(f"{option} is followed by an empty {noun}: give one, or leave the option out.")
    return value, option


def _log_format(ctx: typer.Context, value: str) -> str:
    Log.reset(one_of(("text", "json"), value, "--log-format"), ctx.info_name)
    return value


inputs_argument = typer.Argument(
    callback=paths,
    help="Files, folders (the files directly in them) or globs of CSV or Parquet; - is stdin.",
    show_default=False,
)
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="TITANIC_MODEL",
        callback=_model_name,
        help="Model file. Default: ./model.skops if it is there, else the reference model.",
        show_default=False,
    ),
]
LogFormat = Annotated[
    str,
    typer.Option(
        callback=_log_format,
        is_eager=True,
        help="What is said on stderr: text, or json, one object a line.",
        rich_help_panel=REPORT_FILES,
    ),
]


def model_digest(panel: str | None = None) -> Any:
    """Return the option that pins a model, shown in a panel of the help."""
    return typer.Option(
        envvar="TITANIC_MODEL_SHA256",
        callback=_pin,
        help="The SHA-256 that the model file must have, in hex.",
        show_default=False,
        rich_help_panel=panel,
    )


def takes_run_options(*, panels: bool = False, but: Collection[str] = ()) -> Callable[[Command], Command]:
    """Replace a command's parameter ``options`` with the options that `RunOptions` declares for the command.

    The decorated function still receives one `RunOptions`.

    Parameters
    ----------
    panels
        Whether its help has panels.
    but
        Parameters of the command that are no options: they keep their defaults.
    """

    def decorate(command: Command) -> Command:
        declared = {name: option for name, option in DECLARED.items() if command.__name__ in option.commands}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name == "options":
                parameters += [_parameter(name, option, panels=panels) for name, option in declared.items()]
            elif parameter.name not in but:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def run(**given: Any) -> None:
            require_memory(LIBRARIES_SIZE)
            own = {name: given.pop(name) for name in declared}
            # Typer passes None for a list without entries.
            options = RunOptions(**{name: value for name, value in own.items() if value is not None})
            command(options=options, **given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(name: str, option: Option, *, panels: bool) -> inspect.Parameter:
    """Return a Typer parameter for an option of a run."""
    default = shown = _DEFAULTS[name]
    typed, flags = _TYPES[name], option.flags
    if typed is bool:
        flags = flags or (f"--{name.replace('_', '-')}",)  # otherwise Typer adds a --no- flag
    elif option.type is list:
        typed, shown = list[str] | None, None
    elif option.type is not None:
        typed, shown = (option.type | None, None) if default is None else (option.type, str(default))

    def parsed(param: typer.CallbackParam, value: Any) -> Any:
        if value is None:
            return default
        return value if option.parse is None else option.parse(value, param.opts[0])

    annotation = Annotated[
        typed,  # type: ignore[valid-type]  # only known at run time
        typer.Option(
            *flags,
            help=option.help,
            min=option.minimum,
            max=option.maximum,
            callback=parsed,
            show_default=shown is not None,
            rich_help_panel=option.panel if panels else None,
        ),
    ]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=annotation)
