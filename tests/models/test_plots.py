"""Plots lie inside their frames, and what they say is text."""

from __future__ import annotations

import re

import pytest

from titanic_batch.models.page import ENVIRONMENT
from titanic_batch.models.plots import HEIGHT, WIDTH, Bar, BarPlot, Histogram, LinePlot, Scale, Series

PLOTS = ENVIRONMENT.get_template("plots.html").module
NASTY = '<b a="\'">&'
ESCAPED = "&lt;b a=&#34;&#39;&#34;&gt;&amp;"


def drawn(macro: str, plot: object) -> str:
    return str(getattr(PLOTS, macro)(plot))


def numbers(svg: str, *attributes: str) -> list[float]:
    return [float(value) for name in attributes for value in re.findall(rf' {name}="([^"]*)"', svg)]


def test_a_scale_maps_its_ends_and_what_lies_between() -> None:
    scale = Scale((0, 50), (46, 348))
    assert (scale(0), scale(50), scale(25)) == (46, 348, 197)
    upwards = Scale((0, 1), (256, 12))
    assert (upwards(0), upwards(1), upwards(0.5)) == (256, 12, 134)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ((0, 0.35), [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]),
        ((-0.02, 0.24), [0, 0.05, 0.1, 0.15, 0.2]),
        ((0, 197.3), [0, 50, 100, 150]),
        ((0, 8000), [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]),
    ],
)
def test_ticks_are_round_and_few(values: tuple[float, float], ticks: list[float]) -> None:
    assert Scale(values, (0, 1)).ticks == ticks


def test_lines_are_drawn_over_the_diagonal() -> None:
    series = [Series("a", "one", [0, 0.5, 1], [0, 1, 1]), Series("b", "two", [0, 1], [0, 1])]
    svg = drawn("line_plot", LinePlot("A plot", "x", "y", series))
    assert re.findall(r'class="([a-z ]*)" points="([^"]*)"', svg) == [
        ("guide", "46.0,256.0 348.0,12.0"),
        ("line one", "46.0,256.0 197.0,12.0 348.0,12.0"),
        ("line two", "46.0,256.0 348.0,12.0"),
    ]
    assert "<circle" not in svg
    dotted = drawn("line_plot", LinePlot("A plot", "x", "y", series, dots=True))
    assert re.findall(r'<circle class="dot (one|two)" cx="([^"]*)"', dotted)[1] == ("one", "197.0")
    assert dotted.count("<circle") == 5


def test_bars_of_a_histogram_stand_side_by_side() -> None:
    series = [Series("a", "two", [0, 0.5], [10, 20]), Series("b", "one", [0, 0.5], [0, 5])]
    svg = drawn("histogram", Histogram("Counts", "x", "rows", [0, 0.5, 1], series))
    bars = re.findall(r'class="bar (\w+)" x="([^"]*)" y="([^"]*)" width="([^"]*)" height="([^"]*)"', svg)[:4]
    assert [bar[:2] for bar in bars] == [("two", "46.0"), ("two", "197.0"), ("one", "121.5"), ("one", "272.5")]
    assert {bar[3] for bar in bars} == {"74.5"}
    heights = [float(bar[4]) for bar in bars]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.1)
    assert heights[2] == 0
    assert all(float(bar[2]) + float(bar[4]) == pytest.approx(256, abs=0.1) for bar in bars)


def test_a_histogram_may_be_empty() -> None:
    svg = drawn("histogram", Histogram("Counts", "x", "rows", [0, 1], [Series("a", "one", [0], [0])]))
    assert "nan" not in svg


def test_bars_begin_at_zero_and_end_inside_the_plot() -> None:
    bars = [Bar("up", 0.4, 0.2, 0.6), Bar("down", -0.1, -0.2, 0.0)]
    svg = drawn("bar_plot", BarPlot("Bars", "x", bars))
    scale = BarPlot("Bars", "x", bars).x
    assert (scale.values, scale(0)) == ((-0.2, 0.6), 169.5)
    (up, down) = re.findall(r'<rect class="bar one" x="([^"]*)" y="[^"]*" width="([^"]*)"', svg)
    assert up == ("169.5", "119.0")
    assert down == ("139.8", "29.8")
    narrow = drawn("bar_plot", BarPlot("Bars", "x", bars, span=(0.0, 0.5)))
    assert all(0 <= x <= WIDTH for x in numbers(narrow, "x", "x1", "x2"))
    assert all(0 <= y <= HEIGHT for y in numbers(narrow, "y", "y1", "y2"))


@pytest.mark.parametrize(
    ("macro", "plot"),
    [
        ("line_plot", LinePlot(NASTY, NASTY, NASTY, [Series(NASTY, "one", [0, 1], [0, 1])])),
        ("histogram", Histogram(NASTY, NASTY, NASTY, [0, 1], [Series(NASTY, "one", [0], [3])])),
        ("bar_plot", BarPlot(NASTY, NASTY, [Bar(NASTY, 1, 0, 2)])),
    ],
)
def test_words_are_escaped(macro: str, plot: object) -> None:
    svg = drawn(macro, plot)
    assert NASTY not in svg
    assert f"<title>{ESCAPED}</title>" in svg
    assert f'aria-label="{ESCAPED}"' in svg
    assert svg.count(ESCAPED) >= 4
