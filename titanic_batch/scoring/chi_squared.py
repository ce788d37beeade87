"""The chi-squared distribution. SciPy has it too, and takes longer to import than a small file to score."""

from __future__ import annotations

import math


def chi_squared_limit(degrees: int, chance: float) -> float:
    """Return what a chi-squared variable exceeds with a given chance, within 1e-12 of the value.

    Parameters
    ----------
    degrees
        Degrees of freedom, from 1 to 1,000.
    chance
        Between 1e-12 and 0.999.
    """
    low, high = 0.0, float(degrees)
    while chi_squared_tail(degrees, high) > chance:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if chi_squared_tail(degrees, middle) > chance else (low, middle)
    return high


def chi_squared_tail(degrees: int, value: float) -> float:
    """Return the chance that a chi-squared variable exceeds a value.

    For a whole number of degrees it is a finite sum: Abramowitz and Stegun, "Handbook of Mathematical Functions",
    26.4.4 and 26.4.5.
    """
    half = value / 2
    if degrees % 2:
        tail, term, step = math.erfc(math.sqrt(half)), 2 * math.exp(-half) * math.sqrt(half / math.pi), 1.5
    else:
        tail, term, step = 0.0, math.exp(-half), 1.0
    for number in range(degrees // 2):
        tail += term
        term *= half / (number + step)
    return tail
