"""Rebuild the CSV files of the penguins, byte for byte, from the package ``palmerpenguins`` (0.1.6) on PyPI.

``penguins/train.csv`` has the seasons of 2007 and 2008, without the penguins whose sex is not known;
``penguins_2009.csv`` has the season after them, without the sex, to be scored. Values stay as the source has them, but
for the species, of which only the first word is kept, and the sex, which is in lower case. The key is made of the
season's study, the species and the number of the sample, because the source has no column that is unique.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

COLUMNS = {
    "species": "Species",
    "island": "Island",
    "egg_date": "Date Egg",
    "bill_length_mm": "Culmen Length (mm)",
    "bill_depth_mm": "Culmen Depth (mm)",
    "flipper_length_mm": "Flipper Length (mm)",
    "body_mass_g": "Body Mass (g)",
    "delta_15_n": "Delta 15 N (o/oo)",
    "delta_13_c": "Delta 13 C (o/oo)",
    "sex": "Sex",
}
LABEL = "sex"
SEASON_TO_SCORE = "PAL0910"

Penguin = dict[str, str]


def read_penguins() -> dict[str, list[Penguin]]:
    """Return the penguins in the order of the source, by season."""
    seasons: dict[str, list[Penguin]] = {}
    text = files("palmerpenguins").joinpath("data/penguins-raw.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        penguin = {name: "" if (value := row[column]) == "NA" else value for name, column in COLUMNS.items()}
        penguin["species"] = penguin["species"].partition(" ")[0]
        penguin["sex"] = penguin["sex"].lower()
        season = row["studyName"]
        key = f"{season}-{penguin['species']}-{int(row['Sample Number']):03}"
        seasons.setdefault(season, []).append({"penguin_id": key, **penguin})
    return seasons


def write_csv(path: Path, columns: list[str], penguins: Iterable[Penguin]) -> None:
    """Write the given columns of the penguins, with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(penguins)


def main() -> None:
    """Write both files below the folder named on the command line (default: this file's)."""
    parser = argparse.ArgumentParser(description="Rebuild penguins/train.csv and penguins_2009.csv.")
    parser.add_argument("output", nargs="?", type=Path, default=Path(__file__).resolve().parent, help="their folder")
    output: Path = parser.parse_args().output
    seasons = read_penguins()
    to_score = seasons.pop(SEASON_TO_SCORE)
    labelled = [penguin for season in seasons.values() for penguin in season if penguin[LABEL]]
    columns = ["penguin_id", *COLUMNS]
    write_csv(output / "penguins" / "train.csv", columns, labelled)
    write_csv(output / "penguins_2009.csv", [name for name in columns if name != LABEL], to_score)


if __name__ == "__main__":
    main()
