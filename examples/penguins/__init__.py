"""A notebook that predicts the sex of a penguin, as the folder that the product reads.

``words.py``
    TITLE, TASK, ROW, ROWS, LABEL, LABELS, DESCRIPTION, NOT_FOR, VERDICTS, THOSE, EVENT, HAPPENED, POSITIVES, CLASSIFIER
``schema.py``
    CONTRACT and LABELLED_CONTRACT
``pipeline.py``
    build_pipeline
``fitting.py``
    PARAMETERS and GROUPS
``train.csv``
    the penguins of two seasons with their sex

What a folder must have, and what it may have besides, is told by the folder of the passengers.
"""
