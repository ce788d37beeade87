"""The contract of a passenger: which columns a row must have, and what they may contain.

``PASSENGER`` is the pandera schema that every command checks rows against; ``LABELLED_PASSENGER`` is the same with the
label, for rows to fit on. ``SCHEMA_VERSION`` is increased whenever a row that was accepted would be rejected, or the
other way round, or when a column changes its type.
"""

from __future__ import annotations

import pandera.pyarrow as pap
import pyarrow as pa

from titanic_batch.checking.contract import Contract
from titanic_batch.passenger.words import LABEL, LABELS

SCHEMA_VERSION = 2
KEY = "PassengerId"

PASSENGER = pap.DataFrameSchema(
    {
        KEY: pap.Column(
            pa.int64(), unique=True, description="Identifies the passenger; comes back with the prediction"
        ),
        "Pclass": pap.Column(pa.int64(), pap.Check.isin([1, 2, 3]), description="Class of the ticket"),
        "Sex": pap.Column(pa.string(), pap.Check.isin(["male", "female"]), description="Sex"),
        "Age": pap.Column(
            pa.float64(), pap.Check.in_range(0, 120), nullable=True, description="Age in years, fractions below 1"
        ),
        "SibSp": pap.Column(pa.int64(), pap.Check.in_range(0, 20), description="Siblings and spouses aboard"),
        "Parch": pap.Column(pa.int64(), pap.Check.in_range(0, 20), description="Parents and children aboard"),
        "Fare": pap.Column(
            pa.float64(), pap.Check.in_range(0, 1000), nullable=True, description="Fare of the ticket in pounds"
        ),
        "Cabin": pap.Column(
            pa.string(),
            pap.Check.str_matches(r"^[A-GT][0-9]*( [A-GT][0-9]*)*$"),
            nullable=True,
            description="Cabin, or several: C85, B57 B59",
        ),
    },
    name="Passenger",
)

LABELLED_PASSENGER = PASSENGER.add_columns(
    {LABEL: pap.Column(pa.int64(), pap.Check.isin(LABELS), description="1 who survived, 0 who did not")}
)

CONTRACT = Contract(PASSENGER, SCHEMA_VERSION)
LABELLED_CONTRACT = Contract(LABELLED_PASSENGER, SCHEMA_VERSION)
