"""Predict who survived the Titanic, as a batch job: fit, validate, score and serve over one pipeline."""

__version__ = "0.1.0"
