"""What a person reads at the end of a command, as lines of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from titanic_batch.artifact import Artifact
    from titanic_batch.fitting import FitReport


def fit_text(report: FitReport) -> str:
    """Return how good a new model is, and where it is."""
    rows = [("10-fold cross-validation", report.cross_validation)]
    if report.holdout is not None:
        rows.append(("holdout", report.holdout))
    lines = [f"{'evaluated by':<26}{'rows':>6}{'accuracy':>10}"]
    lines += [f"{name:<26}{evaluation.rows:>6}{evaluation.accuracy:>10.4f}" for name, evaluation in rows]
    return "\n".join([*lines, f"saved: {report.output}"])


def artifact_text(artifact: Artifact) -> str:
    """Return all that can be said of a model file without building it."""
    if artifact.manifest is None:
        return f"{artifact.name}: a pickle, of which nothing is known without running it\nsha256: {artifact.sha256}"
    return f"{json.dumps(artifact.manifest, indent=2)}\nsha256: {artifact.sha256}"
