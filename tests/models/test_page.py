"""The page about a model is one whole HTML file with all figures in it, and asks for nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from titanic_batch.cli.command import app
from titanic_batch.models.artifact import read_artifact

Titanic = Callable[..., Result]
SECTIONS = [
    "What it is for, and what it is not",
    "How good it is",
    "Figures",
    "By group",
    "The notebook's own protocol",
    "Data",
    "The pipeline",
    "How to score with it",
]  # fmt: skip
EMPTY = {"meta", "rect", "line", "circle", "polyline", "br", "input"}


class Page(HTMLParser):
    """Checks that elements are closed in their order, and gathers what is asked of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.headings: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.sources += [value or "" for name, value in attributes if name in ("src", "data") or tag == "link"]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A model of few trees, and the page about it."""
    folder = tmp_path_factory.mktemp("page")
    result = CliRunner().invoke(
        app, ["fit", "-o", str(folder / "model.skops"), "--report", str(folder / "page.html"), "--param",
              "n_estimators=5", "--jobs", "1"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"saved: {folder / 'model.skops'}\nreport: {folder / 'page.html'}\n")
    return folder / "model.skops", (folder / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_is_whole_and_needs_nothing_else(written: tuple[Path, str]) -> None:
    page = Page(written[1])
    assert page.open == []
    assert page.headings == SECTIONS
    assert page.counts["svg"] >= 5
    assert page.sources == []
    assert "script" not in page.counts
    assert re.findall(r"url\((?!['\"]?data:)|@import", written[1]) == []
    assert all(f"<title>{name}</title>" in written[1] for name in ("ROC curve", "Calibration", "Score distribution"))
    assert "nan" not in re.findall(r'points="[^"]*"|width="[^"]*"', written[1])


@pytest.mark.slow
def test_the_page_tells_of_the_model_beside_it(written: tuple[Path, str]) -> None:
    path, page = written
    artifact = read_artifact(str(path))
    assert artifact.manifest is not None
    assert page.count(artifact.sha256) == 2
    fit = artifact.manifest.fit_record
    assert fit.training.digest in page
    metrics = fit.metrics["repeated_cross_validation"]
    assert set(metrics) == {"rows", "accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier_score"}
    for name, metric in metrics.items():
        if name != "rows":
            interval = f"({metric['low']:.3f} to {metric['high']:.3f})"
            assert f'{metric["value"]:.4f} <span class="interval">{interval}</span>' in page
    assert re.search(r"too timid: this model \d\.\d\d, the notebook's forest \d\.\d\d\.<", page)
    assert all(f"<th>{group}</th>" in page for group in ("Sex female", "Sex male", "Pclass 1", "Pclass 3"))


def test_a_page_is_called_html(titanic: Titanic) -> None:
    result = titanic("fit", "-o", "model.skops", "--report", "page.pdf")
    assert result.exit_code == 2
    assert result.stderr == "titanic: the report is an HTML page, and page.pdf is called otherwise: name it .html.\n"


def test_a_page_that_cannot_be_written_is_noticed_before_fitting(titanic: Titanic, tmp_path: Path) -> None:
    result = titanic("fit", "-o", "model.skops", "--report", "nowhere/page.html")
    assert result.exit_code == 73
    assert list(tmp_path.iterdir()) == []
