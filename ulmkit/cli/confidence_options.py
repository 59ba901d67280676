"""Options of the commands that abstain, or answer with sets of labels."""

from ulmkit.api.confidence_options import Confidence
from ulmkit.cli.option_groups import Option, OptionGroup

CONFIDENCE = OptionGroup(
    "Confidence",
    Confidence,
    {
        "max_error": Option(
            float | None,
            "Give no label where unsure, so that at most this share of the labels given are wrong, such as 0.05.",
            flag="--abstain-above-error",
        ),
        "certainty": Option(float | None, "Probability that --abstain-above-error holds (default: 0.95)."),
        "miscoverage": Option(
            float | None,
            "Give a set of labels for each text; at most this share of the sets, such as 0.1, lack the true label.",
            flag="--conformal-sets",
        ),
        "held_out": Option(
            str | None,
            "Labelled documents on which both are based, and which the classifier did not learn from (default: those "
            "held out in its training).",
        ),
    },
)
