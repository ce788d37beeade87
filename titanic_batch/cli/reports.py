"""What a person reads at the end of a command, as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from titanic_batch.errors import ModelError

if TYPE_CHECKING:
    from titanic_batch.models.artifact import Artifact
    from titanic_batch.models.cross_validation import Comparison
    from titanic_batch.models.evaluation import Estimate, Evaluation
    from titanic_batch.runs.fit import FitReport


def fit_text(report: FitReport) -> str:
    """Return how good a new model is, and where it is."""
    rows = [("10-fold cross-validation", report.cross_validation)]
    if report.holdout is not None:
        rows.append(("holdout", report.holdout))
    lines = [f"{'evaluated by':<26}{'rows':>6}  {'accuracy':<24}{'log loss':>8}{'Brier':>8}"]
    lines += [_evaluation_line(name, evaluation) for name, evaluation in rows]
    if report.found:
        lines += [f"chosen: {', '.join(f'{name} {value}' for name, value in sorted(report.found.items()))}"]
    if report.comparisons:
        from titanic_batch.models.cross_validation import FOLDS, REPEATS  # whoever inspects needs no scikit-learn

        lines += [f"the old model and the new, each refitted on the same {FOLDS * REPEATS} folds:"]
        lines += [_comparison_line(comparison) for comparison in report.comparisons]
    if report.failure is None:
        lines += [f"saved: {report.output}"]
        lines += [f"report: {report.html}"] if report.html else []
    return "\n".join(lines)


def artifact_text(artifact: Artifact) -> str:
    """Return all that can be said of a model file without building it."""
    if artifact.manifest is None:
        return f"{artifact.name}: a pickle, of which nothing is known without running it\nsha256  {artifact.sha256}"
    return _aligned([*_described(artifact.manifest.to_json()), ("sha256", artifact.sha256)])


def artifact_json(artifact: Artifact) -> str:
    """Return the manifest and the file's digest as JSON."""
    return json.dumps(
        {"sha256": artifact.sha256, "manifest": artifact.manifest and artifact.manifest.to_json()}, indent=2
    )


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


def _evaluation_line(name: str, evaluation: Evaluation) -> str:
    accuracy, log_loss, brier = (evaluation.metrics[name] for name in ("accuracy", "log_loss", "brier_score"))
    return f"{name:<26}{evaluation.rows:>6}  {_interval(accuracy):<24}{log_loss.value:>8.4f}{brier.value:>8.4f}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _comparison_line(comparison: Comparison) -> str:
    difference = comparison.difference
    direction = "better" if comparison.is_better else "worse"
    verdict = f"{direction}, and not by chance" if comparison.is_real else "may be chance"
    return (
        f"{comparison.metric.replace('_', ' ')}: {comparison.old:.4f} -> {comparison.new:.4f}, "
        f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}), "
        f"p = {comparison.p_value:.3f}: {verdict}"
    )


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
