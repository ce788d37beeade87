"""The words of help, messages and pages about the notebook: constants only, so that help imports nothing else."""

TITLE = "Who survived the Titanic"
TASK = "Predict who survived the Titanic"

ROW = "passenger"
ROWS = "passengers"
LABEL = "Survived"
LABELS = (0, 1)
CLASSIFIER = "forest"
DEFAULT_SEED = 23

DESCRIPTION = (
    "Predicts from class, sex, age, relatives aboard, fare and cabin whether a passenger of the Titanic survived: "
    "the notebook's features, binned and coded, and a random forest."
)
NOT_FOR = (
    "It has learned from passengers of one ship, and says nothing about any other ship, about the crew, or about a "
    "person. Its sharpest distinctions, by sex and class, are those of who was let into the boats in 1912. A "
    "probability is no more certain than the calibration plot shows."
)

# For label 0 and for label 1.
VERDICTS = ("likely did not survive", "likely survived")
THOSE = ("those who died", "those who survived")
# For label 1 alone.
EVENT = "survival"
HAPPENED = "survived"
POSITIVES = "survivors"
