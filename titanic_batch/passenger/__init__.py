"""All that knows the notebook: the one folder to replace. These are the names that the product reads from it.

``words``, imported by help, and so without imports of its own:

    TITLE               heads the web page
    TASK                what the model does, as an order: begins the help of the command
    ROW, ROWS           what a row is called, and several
    LABEL               the column that is predicted, 0 or 1; in predictions too
    CLASSIFIER          what the last step of the pipeline is called
    DESCRIPTION         what the model is for: in the manifest and on its page
    NOT_FOR             what it is not for: on its page
    VERDICTS            what the web page says of a row, for label 0 and label 1: "This passenger likely survived"
    THOSE               the rows of label 0, and of label 1
    EVENT               what label 1 is: "probability of survival"
    HAPPENED            the same as a verb: "share that survived"
    POSITIVES           the rows of label 1, in one word
    NOTEBOOK_CLAIM      how the notebook says how good it is, beside figures taken in the same way

``schema``, imported to check rows, and so without scikit-learn:

    CONTRACT            what a row must be: a pandera schema, its version, and which column is the key
    LABELLED_CONTRACT   the same with the label, for rows to fit on

``pipeline``:

    build_pipeline      returns the unfitted pipeline, whose last step is ``classifier``, of a seed and parameters
    DEFAULT_SEED        the seed where none is given
    PARAMETERS          the parameters of the classifier that ``fit --param`` takes
    CATEGORIES          what the codes of features stand for, by feature: in the manifest
    TRUSTED_TYPES       the classes that a model file may build
    GROUPS              columns by whose values the model's page shows how good the model is
    NOTEBOOK_GRID       what ``fit --tune`` searches, as the notebook does
    NOTEBOOK_PARAMETERS what the notebook's search finds: the model's page compares with it
    NOTEBOOK_HELD_OUT   the share of rows that the notebook holds out, and the seed by which it draws them

``train.csv``: labelled rows that the package carries, on which the reference model is fitted.
"""
