"""Which types a model file may be built of, besides those that the notebook's folder trusts.

skops trusts scikit-learn's estimators by type. But some compiled code of scikit-learn follows what an estimator holds
without looking, so that a file could make it read anywhere in memory. So only those packages are trusted here whose
estimators look themselves, or whose values `node_checks` and `soundness` check: neither ``svm`` nor ``neighbors``, for
instance.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile

TREE = "sklearn.tree._tree.Tree"
TREE_PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
BUNCH = "sklearn.utils._bunch.Bunch"

# Known without asking skops, which imports all of scikit-learn to list what it trusts: a second for each run.
_WELL_KNOWN = frozenset(
    {
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.loss.ExponentialLoss",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.calibration.CalibratedClassifierCV",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.dummy.DummyClassifier",
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._gb.GradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.isotonic.IsotonicRegression",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._classes.ExtraTreeClassifier",
        TREE_PREDICTOR,
        "titanic_batch.scoring.transformers.BinEncoder",
        "titanic_batch.scoring.transformers.CategoryEncoder",
    }
)
# What else of these skops trusts is trusted as well.
_REVIEWED_PACKAGES = (
    "sklearn.compose.",
    "sklearn.decomposition._pca.",
    "sklearn.decomposition._truncated_svd.",
    "sklearn.discriminant_analysis.",
    "sklearn.ensemble._bagging.",
    "sklearn.ensemble._stacking.",
    "sklearn.ensemble._voting.",
    "sklearn.ensemble._weight_boosting.",
    "sklearn.feature_selection.",
    "sklearn.impute.",
    "sklearn.linear_model.",
    "sklearn.naive_bayes.",
    "sklearn.neural_network._multilayer_perceptron.",
    "sklearn.pipeline.",
    "sklearn.preprocessing.",
)
_BUT = frozenset({"sklearn.impute._knn.KNNImputer", "sklearn.preprocessing._polynomial.SplineTransformer"})


def is_trusted(name: str) -> bool:
    """Return whether objects of a class, given by its full name, may be built from attributes, whichever they are."""
    return name in _WELL_KNOWN or (name.startswith(_REVIEWED_PACKAGES) and name not in _BUT and _skops_trusts(name))


@functools.lru_cache
def _skops_trusts(name: str) -> bool:
    """Return what skops says, asked by an archive of one object without attributes; nothing of it is built."""
    from skops.io import get_untrusted_types  # takes a second

    module, _, class_name = name.rpartition(".")
    node = {"__class__": class_name, "__module__": module, "__loader__": "ObjectNode", "protocol": 0}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", json.dumps(node))
    return not get_untrusted_types(data=buffer.getvalue())
