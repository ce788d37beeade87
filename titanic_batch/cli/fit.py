"""``titanic fit``: fit a model on labelled rows, and report how good it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from titanic_batch.cli.console import count_progress, say_passed_over, write_text
from titanic_batch.cli.endings import end_fit
from titanic_batch.cli.options import LogFormat, named, paths, takes_run_options
from titanic_batch.errors import UsageError
from titanic_batch.notebook.fitting import NOTEBOOK_GRID, PARAMETERS
from titanic_batch.notebook.words import CLASSIFIER, DEFAULT_SEED, ROWS
from titanic_batch.reading.sources import Inputs, find_inputs
from titanic_batch.runs.options import RunOptions

if TYPE_CHECKING:
    from titanic_batch.models.cross_validation import Comparison
    from titanic_batch.models.evaluation import Estimate, Evaluation
    from titanic_batch.runs.fit import FitReport


_LEFT_OUT = [*(() if NOTEBOOK_GRID else ("tune", "search")), *(() if PARAMETERS else ("param",))]
"""Options for what the folder of the notebook leaves out."""


@takes_run_options(but=_LEFT_OUT)
def fit(
    *,
    train: Annotated[
        str | None,
        typer.Argument(
            callback=paths, help=f"Labelled {ROWS}. Default: those that the package carries.", show_default=False
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", callback=named, help="The model: a .skops or .joblib file.")
    ] = "model.skops",
    holdout: Annotated[
        str | None,
        typer.Option(
            callback=named, help=f"Labelled {ROWS} to evaluate on that are not fitted on.", show_default=False
        ),
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Search the notebook's grid for the best parameters.")] = False,
    search: Annotated[
        str | None,
        typer.Option(help="With --tune: grid (default) tries all on all rows, halving is faster.", show_default=False),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help=f"Set a parameter of the {CLASSIFIER}: name=value. Repeatable.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**32 - 1, help=f"Seed of the {CLASSIFIER}. Default: {DEFAULT_SEED}.", show_default=False
        ),
    ] = None,
    min_accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="Save nothing if the accuracy is less, 0 to 1.")
    ] = 0,
    compare: Annotated[
        str | None, typer.Option(callback=named, help="Say whether it is better than this model.", show_default=False)
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(callback=named, help="Write a page about the model here: an HTML file.", show_default=False),
    ] = None,
    options: RunOptions,
    log_format: LogFormat = "text",
) -> None:
    """Fit the model, evaluate it by 10-fold cross-validation and on --holdout, and save it."""
    from titanic_batch import api
    from titanic_batch.models import tuning
    from titanic_batch.writing.publishing import check_creatable
    from titanic_batch.writing.streams import STDOUT

    if search is not None and not tune:
        raise UsageError(f"--search {search} says how to search: add --tune.")
    check_creatable(STDOUT)  # before the model is
    with count_progress("{done} of {total} candidates") as tried:
        done = api.fit_file(
            _found(train),
            output,
            holdout=_found(holdout),
            seed=seed,
            parameters=tuning.parse_parameters(param or ()),
            search=(search or "grid") if tune else None,
            min_accuracy=min_accuracy,
            compare=compare,
            html=report,
            tried=tried,
            **options.given(),
        )
    write_text(f"{text_of(done)}\n")
    end_fit(done)


def _found(name: str | None) -> Inputs | None:
    """Return what a name refers to, after a warning of what is passed over."""
    if name is None:
        return None
    inputs = find_inputs([name])
    say_passed_over(inputs)
    return inputs


def text_of(report: FitReport) -> str:
    """Return how good a new model is, and where it is."""
    rows = [("10-fold cross-validation", report.cross_validation)]
    if report.holdout is not None:
        rows.append(("holdout", report.holdout))
    lines = [f"{'evaluated by':<26}{'rows':>6}  {'accuracy':<24}{'log loss':>8}{'Brier':>8}"]
    lines += [_evaluation_line(name, evaluation) for name, evaluation in rows]
    if report.found:
        lines += [f"chosen: {', '.join(f'{name} {value}' for name, value in sorted(report.found.items()))}"]
    if report.comparisons:
        from titanic_batch.models.cross_validation import FOLDS, REPEATS  # help needs no scikit-learn

        lines += [f"the old model and the new, each refitted on the same {FOLDS * REPEATS} folds:"]
        lines += [_comparison_line(comparison) for comparison in report.comparisons]
    if report.failure is None:
        lines += [f"saved: {report.output}"]
        lines += [f"report: {report.html}"] if report.html else []
    return "\n".join(lines)


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
