"""``titanic inspect``: what a model is, and how it differs from another."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from titanic_batch.cli.console import write_text
from titanic_batch.cli.options import named, paths
from titanic_batch.errors import ModelError, UsageError

if TYPE_CHECKING:
    from titanic_batch.models.artifact import Artifact


def inspect(
    model: Annotated[str, typer.Argument(callback=paths, help="A model file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole manifest as JSON.")] = False,
    diff: Annotated[
        str | None,
        typer.Option(callback=named, help="Print what is otherwise in this other model.", show_default=False),
    ] = None,
) -> None:
    """Print what a model is, what it needs and how good it is, without building it."""
    from titanic_batch.models.artifact import read_artifact

    if as_json and diff is not None:
        raise UsageError("--json and --diff don't go together: --diff compares by name.")
    artifact = read_artifact(model)
    if diff is not None:
        text = difference_text(artifact, read_artifact(diff))
    else:
        text = (artifact_json if as_json else artifact_text)(artifact)
    write_text(f"{text}\n")


def artifact_text(artifact: Artifact) -> str:
    """Return all that can be said of a model file without building it."""
    if artifact.manifest is None:
        return f"{artifact.name}: a pickle, of which nothing is known without running it\nsha256  {artifact.sha256}"
    return _aligned([*_described(artifact.manifest.to_json()), ("sha256", artifact.sha256)])


def artifact_json(artifact: Artifact) -> str:
    """Return the manifest and the file's digest as JSON."""
    manifest = artifact.manifest and artifact.manifest.to_json()
    return json.dumps({"sha256": artifact.sha256, "manifest": manifest}, indent=2)


def difference_text(old: Artifact, new: Artifact) -> str:
    """Return what changed between two models, a line each: what it is, how it was, how it is.

    Raises
    ------
    ModelError
        One of them is a pickle.
    """
    sides = []
    for artifact in (old, new):
        if artifact.manifest is None:
            raise ModelError(
                f"{artifact.name} is a pickle, of which nothing is known without running it: none to compare."
            )
        sides.append(dict(_flat(artifact.manifest.to_json())) | {"sha256": artifact.sha256})
    before, after = sides
    changed = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    lines = [(name, f"{_short(before.get(name))} -> {_short(after.get(name))}") for name in changed]
    return _aligned(lines) if lines else "the models are the same"


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    lines = [(_short(name), value) for name, value in lines]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def _described(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know of a manifest."""
    for name, value in _flat(manifest):
        if not name.startswith(("reference.", "format")):
            yield name, _short(value)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all that nested dicts hold, by a dotted name."""
    if isinstance(value, dict) and value:
        if set(value) == {"value", "low", "high"} and all(isinstance(part, float) for part in value.values()):
            yield name, f"{value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})"
            return
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _short(value: Any) -> str:
    """Return a value on one line, with nothing in it that a terminal would obey."""
    if isinstance(value, str):
        return value if value.isprintable() else json.dumps(value)
    if isinstance(value, list):
        return ", ".join(_short(part) for part in value)
    return json.dumps(value)
