"""Fit the reference model that the package contains: ``python data/refit_reference.py``.

It is fitted on the packaged rows with the default seed and parameters, by the versions that requirements.lock pins, so
run this where those are installed; a test does, and compares. The date is fixed, so that equal versions give equal
files. It is not evaluated: whoever needs figures fits a model of their own.
"""

import argparse
import os
from pathlib import Path

from titanic_batch.models.model import Model
from titanic_batch.models.training_data import packaged_rows
from titanic_batch.notebook.folder import REFERENCE_FILE

FITTED_AT = "1795824000"  # 2026-11-28


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    folder = Path(__file__).resolve().parents[1] / "titanic_batch" / "passenger"
    parser.add_argument("-o", "--output", type=Path, default=folder / REFERENCE_FILE)
    output = parser.parse_args().output
    os.environ["SOURCE_DATE_EPOCH"] = FITTED_AT
    Model().fit(packaged_rows()).save(output)


if __name__ == "__main__":
    main()
