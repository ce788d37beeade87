"""The words of help, messages and pages about the notebook: constants only, so that help imports nothing else."""

TITLE = "Which sex is the penguin"
TASK = "Predict the sex of Palmer penguins"

ROW = "penguin"
ROWS = "penguins"
LABEL = "sex"
LABELS = ("female", "male")
PROBABILITY = "probability_male"
CLASSIFIER = "logistic regression"

DESCRIPTION = (
    "Predicts the sex of an adult penguin of the Palmer Archipelago from its species, its island, four measurements "
    "and two isotope ratios of its blood: missing numbers filled in, all scaled, and a logistic regression."
)
NOT_FOR = (
    "It has learned from adults of three species that bred on three islands in 2007 and 2008. It says nothing about "
    "chicks, nor about other species or colonies. Where a blood test is to be had, take that."
)

VERDICTS = ("is probably female", "is probably male")
THOSE = ("females", "males")
EVENT = "being male"
HAPPENED = "are male"
POSITIVES = "males"
