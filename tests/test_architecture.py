"""The shape of the package: who may import whom, and which modules know what a passenger is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "titanic_batch"
MODULES = {path.stem: path for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"}

# From the ground up. A module imports modules of the floors below its own, and none of its own.
FLOORS = [
    {"errors", "rows", "drift", "plots", "stopping"},
    {
        "exit_codes",
        "choices",
        "shards",
        "columns",
        "keys",
        "distinct",
        "publishing",
        "artifact",
        "features",
        "evaluation",
        "server",
    },
    {"column_text"},
    {"csv_blocks", "parquet_blocks", "scoring", "pipeline", "audit", "folder_state", "file_names", "metrics"},
    {"sources", "validation"},
    {"judging", "small_bodies"},
    {"tables"},
    {"batch", "media"},
    {"folders"},
    {"run_record"},
    {"schema"},
    {"model"},
    {"tuning", "model_page", "serving", "page"},
    {"fitting", "reloading", "dialects"},
    {"api", "reports", "validation_report", "refitting", "telemetry"},
    {"openapi"},
    {"app"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}

KNOW_A_PASSENGER = {"schema", "features", "pipeline"}
COLUMNS = re.compile(r"\b(PassengerId|Pclass|Sex|Age|SibSp|Parch|Fare|Cabin|Embarked|Ticket|Survived)\b")


def imports_of(tree: ast.Module) -> set[str]:
    """Return the modules of the package that a module imports, at any place in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "titanic_batch":
                found |= {alias.name for alias in node.names if alias.name in MODULES}
            elif node.module is not None and node.module.startswith("titanic_batch."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("titanic_batch.")}
    return found


def texts_of(tree: ast.Module) -> list[str]:
    """Return the string constants of a module, but not its docstrings."""
    loose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose
    ]


def test_every_module_has_a_floor() -> None:
    assert sorted(FLOOR_OF) == sorted(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module: str) -> None:
    imported = imports_of(ast.parse(MODULES[module].read_text()))
    assert {name for name in imported if FLOOR_OF[name] >= FLOOR_OF[module]} == set()


@pytest.mark.parametrize("module", sorted(MODULES.keys() - KNOW_A_PASSENGER))
def test_names_no_passenger_column(module: str) -> None:
    texts = texts_of(ast.parse(MODULES[module].read_text()))
    assert [text for text in texts if COLUMNS.search(text)] == []


def test_the_check_for_columns_finds_them() -> None:
    tree = ast.parse('"""Age"""\nx = "Age"\ny = f"{x} Fare {x}"\nz = "Aged"\nx["Sex"]')
    assert [text for text in texts_of(tree) if COLUMNS.search(text)] == ["Age", " Fare ", "Sex"]
