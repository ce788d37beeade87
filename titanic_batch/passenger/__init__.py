"""All that knows the notebook: the one folder to replace. These are the names that the product imports from it.

``words`` is imported by help, and imports nothing itself:

    TITLE               the heading of the web page
    TASK                what the model does, in the imperative: begins the help of the command
    ROW, ROWS           what a row is called, in the singular and in the plural
    LABEL               the predicted column, 0 or 1; in predictions too
    CLASSIFIER          what the last step of the pipeline is called
    DESCRIPTION         what the model is for: in the manifest and on the model's page
    NOT_FOR             what it is not for: on the model's page
    VERDICTS            what the web page says of a row, for labels 0 and 1: "This passenger likely survived"
    THOSE               the rows with label 0, and those with label 1
    EVENT               what label 1 means, as a noun: "probability of survival"
    HAPPENED            the same as a verb: "share that survived"
    POSITIVES           the rows with label 1, as a noun
    NOTEBOOK_CLAIM      how the notebook measures how good it is: on the model's page, beside figures measured so

``schema`` is imported to check rows, and does not import scikit-learn:

    CONTRACT            what a row must be: a pandera schema, its version, and which column is the key
    LABELLED_CONTRACT   the same with the label, for rows to fit on

``pipeline``:

    build_pipeline      returns the unfitted pipeline for a seed and parameters; its last step is ``classifier``
    DEFAULT_SEED        the seed where none is given
    PARAMETERS          the parameters of the classifier that ``fit --param`` takes
    CATEGORIES          what the codes of features stand for, by feature: in the manifest
    TRUSTED_TYPES       the classes that may be built from a model file
    GROUPS              the columns by whose values the model's page shows how good the model is
    NOTEBOOK_GRID       the grid that ``fit --tune`` searches, as the notebook does
    NOTEBOOK_PARAMETERS what the notebook's search finds: the model's page compares with it
    NOTEBOOK_HELD_OUT   which share of the rows the notebook holds out, and the seed that draws them

``train.csv`` contains the labelled rows that the reference model is fitted on.
"""
