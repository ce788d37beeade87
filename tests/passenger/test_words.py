"""What the notebook is about is said in its own folder, and nowhere in the wings that serve any notebook."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from titanic_batch.passenger import words

PACKAGE = Path(__file__).resolve().parents[2] / "titanic_batch"
SUFFIXES = ("*.py", "*.html", "*.css")
FILES = [
    PACKAGE / "runs" / "fit.py",
    *sorted(path for wing in ("models", "scoring") for suffix in SUFFIXES for path in (PACKAGE / wing).rglob(suffix)),
]
OF_THE_NOTEBOOK = re.compile(r"(?i:passenger|surviv|\bforest\b)|Pclass|SibSp|Cabin|1912|Titanic")


def texts_of(path: Path) -> list[str]:
    """Return what a file says: the string constants and docstrings of a module, or a whole template."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [text]
    nodes = ast.walk(ast.parse(text))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_other_file_speaks_of_the_notebook(path: Path) -> None:
    assert [text for text in texts_of(path) if OF_THE_NOTEBOOK.search(text)] == []


@pytest.mark.parametrize("text", ["a passenger", "Survivors", "the forest.", "SibSp", "in 1912", "the Titanic"])
def test_the_check_for_words_finds_them(text: str) -> None:
    assert OF_THE_NOTEBOOK.search(text)
    assert not OF_THE_NOTEBOOK.search("RandomForestClassifier, made by titanic fit")


def test_words_are_strings_that_the_list_describes() -> None:
    from titanic_batch import passenger

    assert passenger.__doc__ is not None
    described = set(re.findall(r"\b[A-Z_]{3,}\b", passenger.__doc__))
    defined = {name: value for name, value in vars(words).items() if name.isupper()}
    assert defined.keys() <= described
    for value in defined.values():
        assert all(isinstance(part, str) and part for part in ([value] if isinstance(value, str) else value))
