"""Everything that is specific to the notebook: for another notebook, replace this one folder.

The rest of the package uses only the following names.

``words``, which imports nothing because the command's help imports it:

    TITLE               heading of the web page
    TASK                what the model does, in the imperative: the beginning of the command's help
    ROW, ROWS           noun for a row, singular and plural
    LABEL               name of the column to predict, 0 or 1; also in the predictions
    CLASSIFIER          noun for the last step of the pipeline
    DEFAULT_SEED        seed of the classifier if none is given
    DESCRIPTION         what the model is for: in the manifest and on the model's page
    NOT_FOR             what the model is not for: on its page
    VERDICTS            the web page's statement about a row, for label 0 and label 1: "This passenger likely survived"
    THOSE               noun phrases for the rows with label 0 and with label 1
    EVENT               noun for label 1: "probability of survival"
    HAPPENED            verb for label 1: "share that survived"
    POSITIVES           one noun for the rows with label 1
    NOTEBOOK_CLAIM      how the notebook measures its accuracy; shown next to figures that are measured in the same way

``schema``, which does not import scikit-learn because rows are checked without it:

    CONTRACT            contract of a row: a pandera schema, its version, and which column is the key
    LABELLED_CONTRACT   the same with the label, for rows to fit on

``features``, which does not import scikit-learn because rows are scored without it:

    FEATURES            the steps that make features of columns, in order: what the pipeline begins with
    CATEGORIES          meaning of the codes of each feature: in the manifest
    TRUSTED_TYPES       classes that loading a model file may instantiate

``pipeline``:

    build_pipeline      takes a seed and parameters, returns the unfitted pipeline, whose last step is ``classifier``
    PARAMETERS          names of the classifier's parameters that ``fit --param`` accepts
    GROUPS              columns by whose values the model's page breaks down its performance
    NOTEBOOK_GRID       the notebook's parameter grid, which ``fit --tune`` searches
    NOTEBOOK_PARAMETERS parameters that the notebook's search finds: the model's page compares the model with them
    NOTEBOOK_HELD_OUT   share of rows that the notebook holds out, and the seed with which it draws them

``train.csv``: labelled rows that ship with the package; the reference model is fitted on them.

``reference.skops``, which may be left out: the reference model, so that it need not be fitted by each run that names
none. ``data/refit_reference.py`` makes it.
"""
