"""Options of the commands that abstain, or answer with sets of labels."""

from ulmkit.api.confidence_options import Confidence
from ulmkit.cli.option_groups import Option, OptionGroup

CONFIDENCE = OptionGroup(
    "Confidence",
    Confidence,
    {
        "max_error": Option(
            float | None,
            "Give no label where more than this share of the labels would be wrong, such as 0.05.",
            flag="--abstain-above-error",
        ),
        "certainty": Option(float | None, "Probability that --abstain-above-error holds (default: 0.95)."),
        "miscoverage": Option(
            float | None,
            "Give sets of labels, of which at most this share lack the right one, such as 0.1.",
            flag="--conformal-sets",
        ),
        "held_out": Option(
            str | None,
            "Labelled documents that CLASSIFIER did not learn from, to rest both on (default: those of its training).",
        ),
    },
)
