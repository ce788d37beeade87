"""Everything that is specific to the notebook: for another notebook, replace this one folder.

The product reads the following names from it, and no others. Those marked * may be left out, and so may a file of which
every name is; what they are for is then left out of help and pages, or said in general words. Whatever is missing or
wrong is named by one error when a command starts. Add what you like beside them.

``words.py``: constants, which import nothing because the command's help shows them

    TITLE               heading of the web page
    TASK                what the model does, in the imperative: the beginning of the command's help
    ROW, ROWS           noun for a row, singular and plural
    LABEL               name of the column to predict; also in the predictions
    LABELS              its two values, as they stand in the column, of one type: int, float, str or bool. The second is
                        the event: its probability is predicted
    DESCRIPTION         what the model is for: in the manifest and on the model's page
    PROBABILITY *       name of the predictions' column with the probability: "Probability"
    CLASSIFIER *        noun for the last step of the pipeline: "classifier"
    DEFAULT_SEED *      seed of the classifier if none is given: 0
    NOT_FOR *           what the model is not for: on its page
    VERDICTS *          the web page's statement about a row, for each label: "This passenger likely survived"
    THOSE *             noun phrases for the rows with each label
    EVENT *             noun for the second label: "probability of survival"
    HAPPENED *          verb for the second label: "share that survived"
    POSITIVES *         one noun for the rows with the second label

``schema.py``, which does not import scikit-learn because rows are checked without it

    CONTRACT            contract of a row: a pandera schema, its version, and which column is the key
    LABELLED_CONTRACT   the same with the label, for rows to fit on

``pipeline.py``

    build_pipeline      takes a seed and parameters, returns the unfitted pipeline, whose last step is a classifier

``fitting.py`` *: constants, which import nothing because the command's help depends on them

    PARAMETERS *        names of the classifier's parameters that ``fit --param`` accepts
    GROUPS *            columns by whose values the model's page breaks down its performance
    NOTEBOOK_PARAMETERS * parameters that the notebook finds: the model's page compares the model with them
    NOTEBOOK_GRID *     the notebook's parameter grid, which ``fit --tune`` searches
    NOTEBOOK_HELD_OUT * test_size and random_state with which the notebook holds rows out: the model's page does so too
    NOTEBOOK_CLAIM *    how the notebook measures its accuracy; shown next to figures that are measured in the same way

``features.py`` *, which does not import scikit-learn: a random forest on features that are made by these steps alone is
scored without it, and starts in a third of the time

    FEATURES *          the steps that make features of columns, in order: what the pipeline begins with
    CATEGORIES *        meaning of the codes of each feature: in the manifest
    TRUSTED_TYPES *     full names of classes that a model file may contain, besides those of scikit-learn: ``fit``
                        names them

``train.csv`` *: labelled rows that ship with the package; the reference model is fitted on them, and ``fit`` uses them
if no others are named. Without them every command needs a model that is named.

``reference.skops`` *: the reference model, so that it need not be fitted by each run that names none.
``data/refit_reference.py`` makes it.
"""
