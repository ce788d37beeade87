"""The contract of a penguin: which columns a row must have, and what they may contain.

``SCHEMA_VERSION`` is increased whenever a row that was accepted would be rejected, or the other way round, or when a
column changes its type.
"""

from __future__ import annotations

import pandera.pyarrow as pap
import pyarrow as pa

from titanic_batch.checking.contract import Contract

from .words import LABEL, LABELS

SCHEMA_VERSION = 1


def _number(low: float, high: float, description: str) -> pap.Column:
    return pap.Column(pa.float64(), pap.Check.in_range(low, high), nullable=True, description=description)


PENGUIN = pap.DataFrameSchema(
    {
        "penguin_id": pap.Column(pa.string(), unique=True, description="Study, species and number of the sample"),
        "species": pap.Column(pa.string(), pap.Check.isin(["Adelie", "Chinstrap", "Gentoo"]), description="Species"),
        "island": pap.Column(pa.string(), pap.Check.isin(["Biscoe", "Dream", "Torgersen"]), description="Island"),
        "egg_date": pap.Column(pa.date32(), description="Day on which the nest was first seen with an egg"),
        "bill_length_mm": _number(20, 80, "Length of the bill in mm"),
        "bill_depth_mm": _number(5, 30, "Depth of the bill in mm"),
        "flipper_length_mm": _number(100, 300, "Length of a flipper in mm"),
        "body_mass_g": _number(1000, 10000, "Body mass in g"),
        "delta_15_n": _number(0, 20, "Nitrogen isotopes in the blood, δ15N in ‰"),
        "delta_13_c": _number(-40, -10, "Carbon isotopes in the blood, δ13C in ‰"),
    },
    name="Penguin",
)

LABELLED_PENGUIN = PENGUIN.add_columns({LABEL: pap.Column(pa.string(), pap.Check.isin(LABELS), description="Sex")})

CONTRACT = Contract(PENGUIN, SCHEMA_VERSION)
LABELLED_CONTRACT = Contract(LABELLED_PENGUIN, SCHEMA_VERSION)
