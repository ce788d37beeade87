"""What may be chosen when the notebook's model is fitted: constants only, since help reads them without a model."""

PARAMETERS = ("C", "class_weight")
GROUPS = ("species", "island")
