"""A page about a model: what it is for and is not, how good it is and how sure that is, and how to score with it.

One HTML file that needs nothing else: it can be mailed, printed and kept beside the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_curve
from sklearn.utils import estimator_html_repr

from titanic_batch.models.cross_validation import FOLDS, CrossValidation, compare
from titanic_batch.models.evaluation import METRICS, Estimate, Evaluation
from titanic_batch.models.full_evaluation import FullEvaluation
from titanic_batch.models.model import Model
from titanic_batch.models.plots import Bar, Series, histogram, lines, whiskers
from titanic_batch.passenger.pipeline import GROUPS
from titanic_batch.passenger.words import DESCRIPTION, LABEL, NOT_FOR
from titanic_batch.scoring.drift import Reference

_BINS = 20
_NOTEBOOK = "the notebook's forest"
_OURS = "this model"

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #5a6470; --line: #d5dae0; --panel: #f5f7f9;
  --one: #1f6feb; --two: #c4661f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ec; --soft: #9aa5b1; --line: #343b44;
  --panel: #1d2229; --one: #6ea8fe; --two: #e8964f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: .5rem 0; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.key { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.4rem 0; padding: 0; }
.key div { background: var(--panel); border-radius: .5rem; padding: .7rem 1rem; flex: 1 1 10rem; }
.key b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: left; padding: .35rem 1.1rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td, th { white-space: nowrap; } td.digest { white-space: normal; }
td.digest { font-family: ui-monospace, monospace; font-size: .85rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: 1.5rem; }
figure { margin: 0; break-inside: avoid; } figure h3 { font-size: 1rem; margin: .2rem 0; }
figure svg { width: 100%; height: auto; display: block; } figure svg text { fill: var(--ink); font-size: 11px; }
svg .tick, svg .label { fill: var(--soft); } svg .grid { stroke: var(--line); stroke-width: .6; }
svg .axis { stroke: var(--soft); } svg .guide { fill: none; stroke: var(--soft); stroke-dasharray: 3 4; }
svg .line { fill: none; stroke-width: 2; } svg .line.one { stroke: var(--one); } svg .line.two { stroke: var(--two); }
svg .line.two { stroke-dasharray: 6 3; } svg .whisker { stroke: var(--ink); stroke-width: 1.5; }
svg .bar.one, svg .dot.one { fill: var(--one); } svg .bar.two, svg .dot.two { fill: var(--two); }
svg .bar.one { opacity: .85; }
.matrix td, .matrix th { padding: .6rem .7rem; text-align: center; border: 1px solid var(--line); }
.matrix td { background: color-mix(in srgb, var(--one) var(--share), var(--paper)); }
pre { background: var(--panel); padding: .8rem 1rem; border-radius: .5rem; overflow-x: auto; font-size: .85rem; }
.diagram { overflow-x: auto; padding: .6rem; border-radius: .5rem; background: #fff; color: #000;
  color-scheme: light; zoom: .85; }
@media print { :root { --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --panel: #f4f4f4; --one: #1f4fa8;
  --two: #b0571a; color-scheme: light; } body { font-size: 10.5pt; } main { padding: 0; max-width: none; }
  h2 { break-after: avoid; } table, pre, .key { break-inside: avoid; } pre { white-space: pre-wrap; }
  .figures { grid-template-columns: 1fr 1fr; } .diagram { zoom: .7; }
  .scroll table { font-size: 8.5pt; } * { print-color-adjust: exact; } }
"""


def page_of(model: Model, full: FullEvaluation, sha256: str) -> str:
    """Return the page as HTML. ``sha256`` is the digest of the model's file."""
    title = f"{LABEL}: a model of {model.manifest['training']['rows']} passengers"
    parts = [
        _head(model, full, title),
        _section("What it is for, and what it is not", _paragraph(DESCRIPTION), _paragraph(NOT_FOR)),
        _section("How good it is", *_figures_of_merit(full)),
        _section("Figures", _figures(full)),
        _section("By group", *_groups(full)),
        _section("The notebook's own protocol", *_protocol(full)),
        _section("Data", *_data(model)),
        _section("The pipeline", f'<div class="diagram">{_diagram(model)}</div>'),
        _section("How to score with it", *_how_to(sha256)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _head(model: Model, full: FullEvaluation, title: str) -> str:
    evaluation = full.repeated.evaluation()
    shown = ("accuracy", "roc_auc", "log_loss", "brier_score")
    boxes = "".join(
        f'<div>{_name(metric)}<b>{evaluation.metrics[metric].value:.3f}</b><span class="soft">'
        f"{_interval(evaluation.metrics[metric], 3)}</span></div>"
        for metric in shown
    )
    manifest = model.manifest
    return (
        f'<h1>{escape(title)}</h1><p class="soft">Fitted {escape(manifest["fitted_at"])} by titanic_batch '
        f"{escape(manifest['package_version'])} with scikit-learn {escape(manifest['libraries']['scikit-learn'])}.</p>"
        f'<div class="key">{boxes}</div>'
    )


def _figures_of_merit(full: FullEvaluation) -> Iterable[str]:
    repeats = len(full.repeated.folds) // FOLDS
    yield _paragraph(
        f"{FOLDS}-fold cross-validation, {repeats} times with other folds: each fold is predicted by a model that was "
        "fitted on all others. The notebook's forest, with the parameters that its grid search finds, was fitted on "
        "the same folds. Intervals hold the true figure 95% of the time; a difference with p below 0.05 is real. "
        "Log loss and Brier score, which punish probabilities that are wrong, are better the lower they are."
    )
    ours, notebook = full.repeated.evaluation(), full.notebook.evaluation()
    rows = []
    for metric in METRICS:
        comparison = compare(full.notebook, full.repeated, metric)
        direction = "better" if comparison.is_better else "worse"
        rows.append(
            [
                _name(metric),
                _with_interval(ours.metrics[metric]),
                _with_interval(notebook.metrics[metric]),
                f"{comparison.difference.value:+.4f} ({_interval(comparison.difference, 3, '+')})",
                f"{comparison.p_value:.3f}",
                direction if comparison.is_real else f"{direction}, may be chance",
            ]
        )
    yield _table(["", _OURS, _NOTEBOOK, "difference", "p", ""], rows)


def _figures(full: FullEvaluation) -> str:
    both = ((_OURS, "one", full.repeated), (_NOTEBOOK, "two", full.notebook))
    roc, calibration = [], []
    for name, kind, folds in both:
        y, probabilities = folds.pooled()
        false_positives, true_positives, _ = roc_curve(y, probabilities)
        roc.append(Series(name, kind, false_positives.tolist(), true_positives.tolist()))
        share, predicted = calibration_curve(y, probabilities, n_bins=10, strategy="quantile")
        calibration.append(Series(name, kind, predicted.tolist(), share.tolist()))
    repeats = len(full.repeated.folds) // FOLDS
    y, probabilities = full.repeated.pooled()
    edges = np.linspace(0, 1, _BINS + 1)
    counts = [np.histogram(probabilities[y == label], edges)[0] / repeats for label in (0, 1)]
    importances = sorted(
        (
            Bar(name, estimate.value, estimate.low, estimate.high)
            for name, estimate in zip(full.columns, full.repeated.importances(), strict=True)
        ),
        key=lambda bar: -bar.value,
    )
    figures = [
        (
            "ROC",
            lines("ROC curve", "false positive rate", "true positive rate", roc),
            "How many survivors are found for how many false alarms, as the threshold falls. The diagonal is chance.",
        ),
        (
            "Calibration",
            lines("Calibration", "predicted probability", "share that survived", calibration, dots=True),
            "Ten groups of rows by their probability. On the diagonal, a probability means what it says. The slope by "
            "which log-odds must be stretched to fit, 1 where all is right, more where probabilities are too timid: "
            f"{_OURS} {full.repeated.calibration_slope():.2f}, {_NOTEBOOK} {full.notebook.calibration_slope():.2f}.",
        ),
        (
            "Score distribution",
            histogram(
                "Score distribution",
                "predicted probability",
                "rows",
                edges.tolist(),
                [
                    Series(f"{LABEL} 0", "two", [], counts[0].tolist()),
                    Series(f"{LABEL} 1", "one", [], counts[1].tolist()),
                ],
            ),
            "How far apart those who died and those who survived are. The threshold is 0.5.",
        ),
        (
            "Importance",
            whiskers("Permutation importance", "growth of the log loss", importances),
            "How much worse the log loss of held-out rows gets where a column's values are shuffled. Columns that tell "
            "the same share their importance.",
        ),
        ("Confusion", _confusion(full.repeated, repeats), "Held-out rows, mean over the repeats."),
    ]
    drawn = [f"<figure><h3>{title}</h3>{plot}<figcaption>{text}</figcaption></figure>" for title, plot, text in figures]
    return f'<div class="figures">{"".join(drawn)}</div>'


def _confusion(folds: CrossValidation, repeats: int) -> str:
    y, probabilities = folds.pooled()
    matrix = confusion_matrix(y, probabilities > 0.5) / repeats
    rows = "".join(
        f"<tr><th>{LABEL} {label}</th>"
        + "".join(
            f'<td style="--share: {70 * matrix[label, given] / matrix[label].sum():.0f}%">{matrix[label, given]:.1f}'
            f'<br><span class="soft">{100 * matrix[label, given] / matrix[label].sum():.0f}%</span></td>'
            for given in (0, 1)
        )
        + "</tr>"
        for label in (0, 1)
    )
    return f'<table class="matrix"><tr><th></th><th>predicted 0</th><th>predicted 1</th></tr>{rows}</table>'


def _groups(full: FullEvaluation) -> Iterable[str]:
    yield _paragraph("One figure for all rows hides where the model is right and where it is not.")
    bars, rows = [], []
    for column, values in full.groups.items():
        for value, evaluation in values.items():
            accuracy = evaluation.metrics["accuracy"]
            bars.append(Bar(f"{column} {value}", accuracy.value, accuracy.low, accuracy.high))
            rows.append([f"{column} {value}", str(evaluation.rows), *_cells(evaluation)])
    columns = " and ".join(GROUPS)
    drawn = whiskers(f"Accuracy by {columns}", "accuracy", bars, span=(0.0, 1.0))
    yield f'<div class="figures"><figure>{drawn}<figcaption>Accuracy on held-out rows.</figcaption></figure></div>'
    yield _table(["", "rows", "accuracy", "log loss", "Brier score"], rows)


def _protocol(full: FullEvaluation) -> Iterable[str]:
    yield _paragraph(
        "The notebook, with its accuracy of 78%, holds 20% of the rows out, with seed 23, and also takes the mean of "
        "10 folds in the order of the file. Both are single draws; the intervals above show how much they vary."
    )
    yield _table(
        ["accuracy", _OURS, _NOTEBOOK],
        [
            [
                "20% held out with seed 23",
                f"{full.protocol.held_out_accuracy:.4f}",
                f"{full.protocol_of_notebook.held_out_accuracy:.4f}",
            ],
            [
                "10 folds",
                f"{full.protocol.folds_accuracy:.4f}",
                f"{full.protocol_of_notebook.folds_accuracy:.4f}",
            ],
        ],
    )


def _data(model: Model) -> Iterable[str]:
    manifest = model.manifest
    training, schema = manifest["training"], manifest["schema"]
    labels = ", ".join(f"{count} with {LABEL} {label}" for label, count in training["labels"].items())
    yield _paragraph(f"{training['rows']} labelled rows: {labels}. Every row kept the contract of its schema.")
    reference = Reference.from_json(manifest["reference"])
    yield _table(["column", "missing"], [[name, f"{100 * share:.1f}%"] for name, share in reference.missing.items()])
    yield _table(
        [],
        [["digest of the rows", training["digest"]], [f"schema, version {schema['version']}", schema["digest"]]],
        digests=True,
    )


def _diagram(model: Model) -> str:
    """Return scikit-learn's own diagram, without its script, which only copies names to the clipboard."""
    return re.sub(r"<script>.*?</script>", "", estimator_html_repr(model.pipeline), flags=re.DOTALL)


def _how_to(sha256: str) -> Iterable[str]:
    yield (
        f"<pre>titanic score input.csv -o preds.parquet --model model.skops \\\n  --model-sha256 {sha256}</pre>"
        "<pre>from titanic_batch import Model\n\n"
        f'model = Model.load("model.skops", "{sha256}")\nprobabilities = model.predict_proba(frame)[:, 1]</pre>'
    )
    yield _paragraph("The digest pins this very file. A run that finds another one scores nothing and exits with 78.")


def _cells(evaluation: Evaluation) -> list[str]:
    return [_with_interval(evaluation.metrics[name]) for name in ("accuracy", "log_loss", "brier_score")]


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} ({_interval(estimate, 3)})"


def _interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    return f"{estimate.low:{sign}.{digits}f} to {estimate.high:{sign}.{digits}f}"


def _name(metric: str) -> str:
    return {"roc_auc": "ROC AUC", "brier_score": "Brier score"}.get(metric, metric.replace("_", " "))


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, digests: bool = False) -> str:
    top = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    kind = ' class="digest"' if digests else ""
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td{kind}>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return f'<div class="scroll"><table>{top}{body}</table></div>'
