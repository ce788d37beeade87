"""The shape of the package: its wings, who may import whom, and which of them knows the notebook."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from titanic_batch.notebook import folder

PACKAGE = Path(__file__).resolve().parents[1] / "titanic_batch"
FILES = [path for path in sorted(PACKAGE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in FILES
    if path.suffix == ".py" and path.stem != "__init__"
}

# From the ground up. A wing imports those below it, and never those above or beside it.
WINGS = [
    {"errors", "version"},
    {"reading"},
    {"checking", "scoring"},
    {"passenger"},
    {"notebook"},
    {"writing"},
    {"models"},
    {"runs"},
    {"server"},
    {"api"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {wing: floor for floor, wings in enumerate(WINGS) for wing in wings}

MOST_MODULES_AT_THE_TOP = 8
MOST_LINES_OF_A_MODULE = 450
MOST_LINES_OF_A_FUNCTION = 70

# What only the folder of the notebook may say. The product's own name is lower case, but in TitanicError and TITANIC_…
OF_THE_NOTEBOOK = re.compile(
    r"passenger|surviv|\bforest\b|Pclass|SibSp|\bParch\b|Cabin|Embarked|1912|\bTitanic(?!Error\b)|TITANIC(?!_)",
    re.IGNORECASE,
)
PRODUCT = re.compile(r"\btitanic\b|titanic[_-]\w+|TITANIC_\w+|TitanicError")
COLUMNS = re.compile(r"\b(PassengerId|Pclass|Sex|Age|SibSp|Parch|Fare|Cabin|Embarked|Ticket|Survived)\b")


def wing_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports, at any place in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module is not None and f"{node.module}.".startswith("titanic_batch."):
                base = node.module.removeprefix("titanic_batch").removeprefix(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}".removeprefix(".")
                    found.add(inner if inner in MODULES else base)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("titanic_batch.")
                for alias in node.names
                if alias.name.startswith("titanic_batch.")
            }
    return found


def texts_of(tree: ast.Module) -> list[str]:
    """Return the string constants of a module, its docstrings too."""
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def said_in(path: Path) -> list[str]:
    """Return what a file of the package says: a module's strings, and all lines of a template, a script or a style."""
    text = path.read_text(encoding="utf-8")
    return texts_of(ast.parse(text)) if path.suffix == ".py" else text.splitlines()


def of_the_notebook(texts: list[str]) -> Iterator[str]:
    """Yield the texts that speak of the notebook, or name the product otherwise than it is called."""
    for text in texts:
        without_product = PRODUCT.sub("", text)
        if OF_THE_NOTEBOOK.search(without_product) or COLUMNS.search(without_product):
            yield text


TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}
IMPORTS = {module: imports_of(tree) for module, tree in TREES.items()}


def test_every_module_is_in_a_wing() -> None:
    assert {wing_of(module) for module in MODULES} == FLOOR_OF.keys()
    assert len([module for module in MODULES if "." not in module]) <= MOST_MODULES_AT_THE_TOP


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module: str) -> None:
    floor = FLOOR_OF[wing_of(module)]
    wings = {wing_of(imported) for imported in IMPORTS[module] if imported} - {wing_of(module)}
    assert {wing for wing in wings if FLOOR_OF[wing] >= floor} == set()


def test_no_circle_is_inside_a_wing() -> None:
    left = {module: {name for name in imported if name in MODULES} for module, imported in IMPORTS.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert left == {}


def test_the_file_that_makes_a_folder_a_wing_is_empty() -> None:
    made = {path.parent.name: path.read_text() for path in PACKAGE.glob("*/__init__.py")}
    assert made.keys() == {wing_of(module) for module in MODULES if "." in module}
    assert {name for name, text in made.items() if text} == {"passenger"}
    assert [type(node) for node in ast.parse(made["passenger"]).body] == [ast.Expr], "a docstring and nothing else"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_are_read_at_a_glance(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_A_MODULE
    lines = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: count for name, count in lines.items() if count > MOST_LINES_OF_A_FUNCTION} == {}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.name != "passenger" and path.suffix != ".typed"], ids=str
)
def test_only_the_folder_of_the_notebook_speaks_of_it(path: Path) -> None:
    assert list(of_the_notebook(said_in(path))) == []


@pytest.mark.parametrize("contents", [PACKAGE / "passenger", PACKAGE.parent / "examples" / "penguins"], ids=str)
def test_the_folder_of_the_notebook_lists_each_name_that_is_read_from_it(contents: Path) -> None:
    listed: dict[str, dict[str, bool]] = {}
    for line in (contents / "__init__.py").read_text(encoding="utf-8").splitlines():
        if part := re.match(r"``(\w+)\.py``", line):
            listed[part[1]] = {}
        elif listed and (found := re.match(r" {4}(\w+(?:, \w+)*)( \*)? +\S", line)):
            listed[list(listed)[-1]] |= dict.fromkeys(found[1].split(", "), found[2] is None)
    assert listed == {
        part: {name: about.required for name, about in names.items()} for part, names in folder.NAMES.items()
    }


def test_each_name_of_the_notebook_is_used() -> None:
    used = "".join(
        path.read_text(encoding="utf-8") for path in FILES if path.parent.name not in ("passenger", "notebook")
    )
    names = [name for names in folder.NAMES.values() for name in names]
    assert {name for name in names if not re.search(rf"\b{name}\b", used)} == set()


@pytest.mark.parametrize("module", [module for module in MODULES if wing_of(module) not in ("passenger", "notebook")])
def test_the_folder_of_the_notebook_is_read_in_one_place(module: str) -> None:
    assert {imported for imported in IMPORTS[module] if wing_of(imported) == "passenger"} == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("titanic score: see titanic_batch.errors, TITANIC_MODEL or titanic-batch", []),
        ("a TitanicError", []),
        ("Passengers", ["Passengers"]),
        ("who has survived", ["who has survived"]),
        ("a forest", ["a forest"]),
        ("RandomForestClassifier", []),
        ("the Titanic", ["the Titanic"]),
        ("an Age in years", ["an Age in years"]),
        ("aged", []),
    ],
)
def test_the_check_for_the_notebooks_words_finds_them(text: str, expected: list[str]) -> None:
    assert list(of_the_notebook(texts_of(ast.parse(repr(text))))) == expected
    assert list(of_the_notebook(texts_of(ast.parse(f'f"{{x}} {text}"')))) == [f" {text}" for text in expected]


@pytest.mark.parametrize("module", ["errors", "version", "reading.formats", "reading.sources", "runs.options"])
def test_what_help_and_usage_errors_need_imports_no_library(module: str) -> None:
    program = f"import sys, titanic_batch.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"joblib", "numpy", "pandas", "pyarrow", "sklearn"}
