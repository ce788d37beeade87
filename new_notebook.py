"""Make a package for another notebook out of this repository, with a name, a command and variables of its own.

    python new_notebook.py penguins --folder examples/penguins -o ../penguins-batch

What `COMES_ALONG` lists is copied, the notebook's folder takes the place of the passengers', and every name is replaced
by the rules in `Renaming`. This repository stays a program that runs and is tested: there is no template of it that
could fall behind. The result is looked through before anything is written: nothing in it speaks of the Titanic, but for
LICENSE, which is kept as it is because the licence asks for that. Only Python's standard library is needed.
"""

from __future__ import annotations

import argparse
import keyword
import os
import re
import runpy
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "titanic_batch"
FOLDER = PACKAGE / "passenger"
TEMPLATE = ROOT / "examples" / "template"
"""Files for the new package alone, such as its README, in the words of this one."""

COMES_ALONG = (
    ".dockerignore",
    ".gitattributes",
    ".gitignore",
    "Dockerfile",
    "LICENSE",
    "build-requirements.lock",
    "docs/serving.md",
    "jobs",
    "pyproject.toml",
    "requirements.lock",
    "tests/__init__.py",
    "tests/notebook",
    "tests/serving.py",
    "titanic_batch",
)
NEEDED = ("__init__.py", "words.py", "schema.py", "pipeline.py")
NOT_COPIED = ("__pycache__", ".ipynb_checkpoints", ".DS_Store")
KEPT_AS_IT_IS = "LICENSE"

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 30  # with it, names of Linux users and of Kubernetes objects are short enough
LEFT_OVER = re.compile(r"titanic|passenger|surviv|Pclass|SibSp|Embarked|Kaggle", re.IGNORECASE)

# Of pyproject.toml, what is for tests and data that don't come along.
OF_THIS_PROJECT = (
    (
        r"^test = \[.*?^dev = .*?$",
        'test = ["pytest>=8.4"]\ndev = ["titanic-batch[test]", "mypy", "pandas-stubs", "ruff"]',
    ),
    (r"^(ignore = \[\n)", r'\1    "E501",  # lines were written, and imports sorted, with other names\n    "I001",\n'),
    (r'^"data/rebuild.py" = .*?\n"new_notebook.py" = .*?\n', ""),
    (r', "examples", "new_notebook"\]', "]"),
    (r"^filterwarnings = .*?\n", ""),
    (r'^    "machine: .*?\n', ""),
)


class NewPackageError(Exception):
    """The package can't be made, for a reason that whoever asked for it can mend."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """How the names of this package become those of another.

    Attributes
    ----------
    name
        Name of the new one, with underscores.
    folder
        Name of its notebook's folder.
    task, rows
        The notebook's words for what the model does, and for its rows.
    """

    name: str
    folder: str
    task: str
    rows: str

    @property
    def package(self) -> str:
        """The package that is imported."""
        return f"{self.name}_batch"

    @property
    def command(self) -> str:
        """The command, and what else may have no underscore: images, users, objects of Kubernetes."""
        return self.name.replace("_", "-")

    def ours(self, text: str, path: str) -> str:
        """Return a text of this repository by the new names."""
        task = self.task
        if path in ("pyproject.toml", "Dockerfile"):
            task = task.replace("\\", r"\\").replace('"', r"\"")
        if path == "Dockerfile":
            task = task.replace("$", r"\$")
        text = text.replace(OLD_WORDS["TASK"], task)
        for pattern, replacement in (
            (r"import passenger as\b", f"import {self.folder} as"),
            # files and names in jobs
            (r"passengers\.csv\b", "rows.csv"),
            (r"(name: |namespace: |/)passengers(?![\w.])", rf"\1{self.command}"),
            (r"PassengerId\b", "key"),
            (r"passengers\b", self.rows.replace("\\", r"\\")),
        ):
            text = re.sub(pattern, replacement, text)
        return self.theirs(text)

    def theirs(self, text: str) -> str:
        """Return a text of the notebook's folder, in which only the product has another name."""
        for pattern, replacement in (
            (r"(?<=titanic_batch[./])passenger\b", self.folder),
            (r"TitanicError\b", f"{self.name.title().replace('_', '')}Error"),
            (r"TITANIC(?=_)", self.name.upper()),
            (r"titanic(?=_)", self.name),
            (r"titanic\b", self.command),
        ):
            text = re.sub(pattern, replacement, text)
        return text

    def path(self, path: str) -> str:
        """Return where a file of this repository stands in the new one."""
        return self.ours(path, path)


def words_of(folder: Path) -> Mapping[str, str]:
    """Return the words of a notebook's folder."""
    file = folder / "words.py"
    try:
        words = runpy.run_path(str(file))
    except Exception as error:  # whatever the author's own code raises
        raise NewPackageError(f"{file} can't be run: {type(error).__name__}: {error}") from None
    for name in ("TASK", "ROWS"):
        if not isinstance(words.get(name), str) or not words[name].strip():
            raise NewPackageError(f"{file} has no {name}, a text.")
    return {name: " ".join(words[name].split()) for name in ("TASK", "ROWS")}


OLD_WORDS = words_of(FOLDER)
NEUTRAL = Renaming("example", "example", "Predict", "rows")


def new_package(name: str, folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the files of a new package by their paths, each with its content and its mode.

    Raises
    ------
    NewPackageError
        The name or the folder can't be taken, or a word of the Titanic would be left.
    """
    require_name(name)
    require_folder(folder)
    words = words_of(folder)
    renaming = Renaming(name, folder.name, words["TASK"], words["ROWS"])
    files = {}
    left = []
    for path, file in [*files_of(ROOT, COMES_ALONG), *files_of(TEMPLATE, (".",))]:
        if file.is_relative_to(FOLDER):
            continue
        content = file.read_bytes()
        if path != KEPT_AS_IT_IS:
            text = content.decode()
            if path == "pyproject.toml":
                text = without_this_project(text)
            # What the author calls things is not looked at, only what remains of us.
            left += remains(path, NEUTRAL.path(path), NEUTRAL.ours(text, path))
            content = renaming.ours(text, path).encode()
        files[renaming.path(path)] = content, file.stat().st_mode
    for path, file in files_of(folder, (".",)):
        content = file.read_bytes()
        if file.suffix == ".py":
            text = renaming.theirs(content.decode())
            left += [each for each in remains(f"{folder.name}/{path}", text) if "titanic" in each.lower()]
            content = text.encode()
        if file.suffix != ".skops":  # it names the classes of this package
            files[f"{renaming.package}/{renaming.folder}/{path}"] = content, file.stat().st_mode
    if left:
        raise NewPackageError(f"words of the Titanic would be left: {'; '.join(left)}.")
    return files


def files_of(root: Path, names: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Yield files, and those in folders, each with its path below a root."""
    for name in names:
        for file in sorted((root / name).rglob("*")) if (root / name).is_dir() else [root / name]:
            path = file.relative_to(root)
            if file.is_file() and not set(path.parts) & set(NOT_COPIED):
                yield path.as_posix(), file


def without_this_project(text: str) -> str:
    """Return pyproject.toml without what is for this repository alone."""
    for pattern, replacement in OF_THIS_PROJECT:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE | re.DOTALL)
        if count != 1:
            raise NewPackageError(f"pyproject.toml has {count} places like {pattern!r}, not 1: mend new_notebook.py.")
    return text


def remains(path: str, *texts: str) -> list[str]:
    """Return the places in a file that still speak of the Titanic."""
    return [
        f"{path}:{number}: {found[0]}"
        for text in texts
        if LEFT_OVER.search(text)
        for number, line in enumerate(text.splitlines(), start=1)
        if (found := LEFT_OVER.search(line))
    ]


def require_name(name: str) -> None:
    """Raise an exception for a name that the package, its command or its variables can't have."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise NewPackageError(f"{name!r} is no name for a package: take small letters, digits and single underscores.")
    if len(name) > LONGEST_NAME:
        raise NewPackageError(f"{name} is longer than {LONGEST_NAME} characters: take a shorter name.")
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    libraries = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in requirements} | {"sklearn"}
    taken = {*sys.stdlib_module_names, *libraries, PACKAGE.name.removesuffix("_batch")}
    if {name, f"{name}_batch"} & taken:
        raise NewPackageError(
            f"{name} is the name of a module of Python, of a library, or of this package: take another."
        )
    if shutil.which(name.replace("_", "-"), path=os.defpath):
        raise NewPackageError(f"{name} is a command of the system: take another name.")


def require_folder(folder: Path) -> None:
    """Raise an exception for a folder that can't be the notebook's."""
    if not folder.is_dir():
        raise NewPackageError(f"{folder} is no folder.")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise NewPackageError(
            f"{folder} lacks {', '.join(missing)}: {FOLDER.relative_to(ROOT)}/__init__.py says what is in it."
        )
    if not folder.name.isidentifier() or keyword.iskeyword(folder.name):
        raise NewPackageError(
            f"{folder.name} can't be imported: rename the folder, with letters, digits and underscores."
        )
    if folder.name in {path.stem for path in PACKAGE.iterdir() if path != FOLDER}:
        raise NewPackageError(
            f"the package has its own {folder.name} already: rename the folder, after one of its rows, say."
        )


def write(files: Mapping[str, tuple[bytes, int]], output: Path) -> None:
    """Write the files into a folder that does not exist yet, or is empty."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise NewPackageError(f"{output} exists already: name another folder, or remove it.")
    for path, (content, mode) in files.items():
        target = output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if mode & 0o100:
            target.chmod(target.stat().st_mode | 0o111)


def main() -> None:
    """Make the package that the command line asks for."""
    parser = argparse.ArgumentParser(
        description="Make a package for another notebook, with its own name, command and variables.",
        epilog="Example: python new_notebook.py penguins --folder examples/penguins -o ../penguins-batch",
    )
    parser.add_argument("name", help="the command, and the beginning of all other names, such as credit_risk")
    parser.add_argument("--folder", type=Path, required=True, help="the notebook's folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="where to write the package")
    given = parser.parse_args()
    try:
        write(new_package(given.name, given.folder.resolve()), given.output)
    except (NewPackageError, OSError) as error:
        sys.exit(f"new_notebook.py: {error}")
    print(f"made {given.output}: next, cd {given.output}, pip install -e '.[test]' and pytest")


if __name__ == "__main__":
    main()
