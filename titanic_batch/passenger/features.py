"""The notebook's features: which columns they are made of, and how.

``FEATURES`` is the one list that both the pipeline and the reader of model files are made of. Nothing here imports
scikit-learn, since a model file of this form is scored without it.
"""

from __future__ import annotations

from titanic_batch.scoring.encoders import Bins, Categories, FeatureStep, Passthrough

MISSING_NUMBER = -0.5  # stands for a missing number in the notebook, and lies in the first bin of Age and of Fare

AGE_EDGES = (-1, 0, 5, 12, 18, 25, 35, 60, 120)
AGE_BINS = ("Unknown", "Baby", "Child", "Teenager", "Student", "Young Adult", "Adult", "Senior")
FARE_EDGES = (-1, 0, 8, 15, 31, 1000)
FARE_BINS = ("Unknown", "1_quartile", "2_quartile", "3_quartile", "4_quartile")
DECKS = ("A", "B", "C", "D", "E", "F", "G", "T", "N")
MISSING_DECK = "N"
SEXES = ("female", "male")

# Columns that no step names are no features; where there are such, model files are scored by scikit-learn.
FEATURES = (
    FeatureStep("age", Bins(AGE_EDGES, MISSING_NUMBER), ("Age",)),
    FeatureStep("fare", Bins(FARE_EDGES, MISSING_NUMBER), ("Fare",)),
    FeatureStep("cabin", Categories(DECKS, MISSING_DECK, first_letter=True), ("Cabin",)),
    FeatureStep("sex", Categories(SEXES), ("Sex",)),
    FeatureStep("as_is", Passthrough(), ("Pclass", "SibSp", "Parch")),
)

# The code of a category is its position; any other value has the next code.
CATEGORIES: dict[str, list[str]] = {
    "Age": list(AGE_BINS),
    "Fare": list(FARE_BINS),
    "Cabin": list(DECKS),
    "Sex": list(SEXES),
}

# The classes in a file of the notebook's pipeline, besides NumPy's and Python's own.
TRUSTED_TYPES = (
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._function_transformer.FunctionTransformer",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._tree.Tree",
    "titanic_batch.scoring.transformers.BinEncoder",
    "titanic_batch.scoring.transformers.CategoryEncoder",
)
