"""The shape of the package: who may import whom, and which modules know the notebook."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "titanic_batch"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}

# From the ground up. A wing imports those below it, and never those above.
WINGS = [
    {"errors", "version"},
    {"reading"},
    {"checking", "scoring"},
    {"passenger"},
    {"writing"},
    {"models"},
    {"runs"},
    {"server"},
    {"api"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {wing: floor for floor, wings in enumerate(WINGS) for wing in wings}

COLUMNS = re.compile(r"\b(PassengerId|Pclass|Sex|Age|SibSp|Parch|Fare|Cabin|Embarked|Ticket|Survived)\b")


def wing_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports, at any place in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module is not None and (node.module + ".").startswith("titanic_batch."):
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
    """Return the string constants of a module, but not its docstrings."""
    loose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose
    ]


IMPORTS = {module: imports_of(ast.parse(path.read_text())) for module, path in MODULES.items()}


def test_every_module_is_in_a_wing() -> None:
    assert {wing_of(module) for module in MODULES} == FLOOR_OF.keys()


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


@pytest.mark.parametrize("module", sorted(name for name in MODULES if wing_of(name) != "passenger"))
def test_names_no_passenger_column(module: str) -> None:
    texts = texts_of(ast.parse(MODULES[module].read_text()))
    assert [text for text in texts if COLUMNS.search(text)] == []


def test_the_check_for_columns_finds_them() -> None:
    tree = ast.parse('"""Age"""\nx = "Age"\ny = f"{x} Fare {x}"\nz = "Aged"\nx["Sex"]')
    assert [text for text in texts_of(tree) if COLUMNS.search(text)] == ["Age", " Fare ", "Sex"]
