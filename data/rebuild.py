"""Rebuild the CSV files of this project, byte for byte, from OpenML data set 40945 ("Titanic").

The source is the copy of that data set inside scikit-learn's wheel, so no download is needed. Its MD5 is
checked against the one in OpenML's metadata: the parsing below is right for exactly that file, in which no
quote is escaped, no quoted value is a bare question mark and every number is already in its shortest form.

Decisions: values stay as the source has them, and a missing one (``?``) becomes an empty field; the columns
are those of Kaggle's challenge, so ``boat`` and ``body`` (known only after the sinking) and ``home.dest`` are
left out; the split has Kaggle's sizes, is stratified on survival, and numbers the passengers in shuffled
order because the source is sorted by class and name.
"""

import argparse
import csv
import gzip
import hashlib
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from sklearn.model_selection import train_test_split

SOURCE = "tests/data/openml/id_40945/data-v1-dl-16826755.arff.gz"
SOURCE_MD5 = "60ac7205eee0ba5045c90b3bba95b1c4"
TRAIN_SIZE = 891
SEED = 1912
FEATURES = ["Pclass", "Name", "Sex", "Age", "SibSp", "Parch", "Ticket", "Fare", "Cabin", "Embarked"]
UNLABELLED = ["PassengerId", *FEATURES]
LABELLED = ["PassengerId", "Survived", *FEATURES]

Passenger = dict[str, str]


def read_passengers() -> list[Passenger]:
    """Return the passengers in the order of the source, keyed by Kaggle's column names, without an id."""
    arff = gzip.decompress(files("sklearn.datasets").joinpath(SOURCE).read_bytes())
    if hashlib.md5(arff, usedforsecurity=False).hexdigest() != SOURCE_MD5:
        raise SystemExit(f"{SOURCE} in scikit-learn is not the file these data were made from")
    header, _, body = arff.decode("utf-8").partition("@data\n")
    attributes = re.findall(r"^@attribute '([^']+)'", header, flags=re.MULTILINE)
    records = csv.DictReader(body.splitlines(), fieldnames=attributes)
    return [
        {column: "" if (value := record[column.lower()]) == "?" else value for column in LABELLED[1:]}
        for record in records
    ]


def split_passengers(passengers: list[Passenger]) -> tuple[list[Passenger], list[Passenger]]:
    """Return the train and the holdout passengers, numbered from 1 through both."""
    survived = [passenger["Survived"] for passenger in passengers]
    train, holdout = train_test_split(passengers, train_size=TRAIN_SIZE, random_state=SEED, stratify=survived)
    numbered = [{"PassengerId": str(i), **p} for i, p in enumerate([*train, *holdout], start=1)]
    return numbered[:TRAIN_SIZE], numbered[TRAIN_SIZE:]


def write_csv(path: Path, columns: list[str], passengers: Iterable[Passenger]) -> None:
    """Write the given columns of the passengers, with a header, quoting only where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(passengers)


def main() -> None:
    """Write the four files below the folder named on the command line (default: this repository)."""
    parser = argparse.ArgumentParser(description="Rebuild data/*.csv and titanic_batch/passenger/train.csv.")
    parser.add_argument(
        "output",
        nargs="?",
        type=Path,
        default=Path(__file__).resolve().parents[1],
        help="folder that gets data/ and titanic_batch/ (default: the repository)",
    )
    output: Path = parser.parse_args().output
    train, holdout = split_passengers(read_passengers())
    write_csv(output / "data" / "train.csv", LABELLED, train)
    write_csv(output / "data" / "test.csv", UNLABELLED, holdout)
    write_csv(output / "data" / "holdout.csv", LABELLED, holdout)
    write_csv(output / "titanic_batch" / "passenger" / "train.csv", LABELLED, train)


if __name__ == "__main__":
    main()
