"""The rows of ULMFiT's ablation tables: language models, classifiers, and the paper's errors.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 5, tables 4 to 7, and the paragraph on bidirectionality.
"""

from dataclasses import dataclass, replace

from ulmfit import ULMFIT_CLASSIFIER, ULMFIT_LANGUAGE_MODEL, unfreezing_shares

from ulmkit.pipeline import ClassifierRecipe, LanguageModelRecipe
from ulmkit.training import Budget, Schedule

PAPER_DATA = ("IMDb", "TREC-6", "AG")
"""Data sets of the paper's tables, in the order of their columns."""

SMALL_RATE = 1e-3
"""Rate of the classifiers without discriminative rates; those with them have the paper's 0.01."""

THAWING_RATE = 1e-4
"""Rate of chain-thaw for all layers but the last, and for all together at the end."""

PATIENCE = 3
"""Validations without improvement that end a phase of the classifiers that stop early."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelVariant:
    """A language model that classifiers start from.

    Attributes:
        recipe: Settings of its training; None if it is not trained on the target text.
        direction: Direction in which it reads.
        is_pretrained: False if it starts from random weights.
        has_dropouts: False for the vanilla model, which has none, nor has its classifier's encoder.
    """

    recipe: LanguageModelRecipe | None
    direction: str = "forward"
    is_pretrained: bool = True
    has_dropouts: bool = True


_CONSTANT_RATE = replace(ULMFIT_LANGUAGE_MODEL, schedule=Schedule("constant"))

ULMFIT = "full + discr + stlr"
LANGUAGE_MODELS = {
    ULMFIT: LanguageModelVariant(recipe=ULMFIT_LANGUAGE_MODEL),
    "backward": LanguageModelVariant(recipe=ULMFIT_LANGUAGE_MODEL, direction="backward"),
    "without pretraining": LanguageModelVariant(recipe=replace(ULMFIT_LANGUAGE_MODEL, factor=1.0), is_pretrained=False),
    "vanilla": LanguageModelVariant(recipe=ULMFIT_LANGUAGE_MODEL, has_dropouts=False),
    "not fine-tuned": LanguageModelVariant(recipe=None),
    "full": LanguageModelVariant(recipe=replace(_CONSTANT_RATE, factor=1.0)),
    "full + discr": LanguageModelVariant(recipe=_CONSTANT_RATE),
}
"""Language models by name.

One without pretraining has the same rate in all its layers: those near the input have as much to learn as the others.
"""


@dataclass(frozen=True, kw_only=True)
class ClassifierVariant:
    """A way to train the classifier.

    Attributes:
        recipe: Settings of its training; `plan` fills in what depends on the model and the budget.
        is_from_scratch: True if it starts from random weights and not from the language model's.
    """

    recipe: ClassifierRecipe
    is_from_scratch: bool = False

    def plan(self, layers: int, budget: Budget, dropout: float) -> ClassifierRecipe:
        """Settings for a model.

        Args:
            layers: Recurrent layers of the encoder.
            budget: Length of the training.
            dropout: Factor of the encoder's dropouts.
        """
        recipe = replace(self.recipe, dropout_multiplier=dropout)
        if recipe.unfreezing == "gradual":
            return replace(recipe, shares=unfreezing_shares(layers, budget))
        if recipe.unfreezing == "chain-thaw":
            return replace(recipe, peak_rate=(SMALL_RATE, *[THAWING_RATE] * (layers + 2)))
        return recipe


_FREEZ = replace(ULMFIT_CLASSIFIER, peak_rate=SMALL_RATE, factor=1.0, schedule=Schedule("constant"), patience=PATIENCE)
_FULL = replace(_FREEZ, unfreezing="full")
_DISCRIMINATIVE = {"peak_rate": ULMFIT_CLASSIFIER.peak_rate, "factor": ULMFIT_CLASSIFIER.factor}

FREEZ_ALL = "freez + discr + stlr"
ADVERSARIAL = "freez + discr + stlr + adversarial"
CLASSIFIERS = {
    FREEZ_ALL: ClassifierVariant(recipe=ULMFIT_CLASSIFIER),
    ADVERSARIAL: ClassifierVariant(recipe=replace(ULMFIT_CLASSIFIER, adversarial=5.0)),
    "from scratch": ClassifierVariant(recipe=_FULL, is_from_scratch=True),
    "full": ClassifierVariant(recipe=_FULL),
    "full + discr": ClassifierVariant(recipe=replace(_FULL, **_DISCRIMINATIVE)),
    "last": ClassifierVariant(recipe=replace(_FULL, unfreezing="last")),
    "chain-thaw": ClassifierVariant(recipe=replace(_FULL, unfreezing="chain-thaw")),
    "freez": ClassifierVariant(recipe=_FREEZ),
    "freez + discr": ClassifierVariant(recipe=replace(_FREEZ, **_DISCRIMINATIVE)),
    "freez + stlr": ClassifierVariant(recipe=replace(_FREEZ, schedule=ULMFIT_CLASSIFIER.schedule)),
    "freez + cos": ClassifierVariant(recipe=replace(_FREEZ, schedule=Schedule("flat_cosine", {"flat_fraction": 0.0}))),
}
"""Ways to train the classifier by the paper's names. All but the first two stop early, as in the paper.

The second adds adversarial training (Miyato et al. 2017, arXiv:1605.07725, section 3) to ULMFiT's own.

Deviation: the slanted triangle and the cosine run once over each phase of gradual unfreezing.
"""


@dataclass(frozen=True)
class ClassifierRun:
    """A classifier to train, once for each draw of labels.

    Attributes:
        language_model: Name of the language model in `LANGUAGE_MODELS`.
        classifier: Name of the training in `CLASSIFIERS`.
    """

    language_model: str = ULMFIT
    classifier: str = FREEZ_ALL


@dataclass(frozen=True)
class TableRow:
    """A row of the paper's tables, or of one of ours.

    Attributes:
        table: Title of the table.
        name: Name of the row; no two rows share one.
        paper: Error in percent on each of `PAPER_DATA`; None where the paper has none.
        runs: Classifiers whose predictions are averaged.
    """

    table: str
    name: str
    paper: tuple[float | None, ...]
    runs: tuple[ClassifierRun, ...]


_PRETRAINING = "table 4, pretraining"
_QUALITY = "table 5, quality of the language model"
_TUNING = "table 6, fine-tuning of the language model"
_CLASSIFIER = "table 7, fine-tuning of the classifier"
_ADVERSARIAL = "adversarial training (not in the paper)"
_DIRECTIONS = "directions (the paper's errors are of the test set)"

BEST = (5.00, 5.69, 5.38)
"""Validation errors of the whole method, which is the last row of each table."""

ROWS = {
    row.name: row
    for row in (
        TableRow(_PRETRAINING, "without pretraining", (5.63, 10.67, 5.52), (ClassifierRun("without pretraining"),)),
        TableRow(_PRETRAINING, "with pretraining", BEST, (ClassifierRun(),)),
        TableRow(_QUALITY, "vanilla LM", (5.98, 7.41, 5.76), (ClassifierRun("vanilla"),)),
        TableRow(_QUALITY, "AWD-LSTM LM", BEST, (ClassifierRun(),)),
        TableRow(_TUNING, "no LM fine-tuning", (6.99, 6.38, 6.09), (ClassifierRun("not fine-tuned"),)),
        TableRow(_TUNING, "LM full", (5.86, 6.54, 5.61), (ClassifierRun("full"),)),
        TableRow(_TUNING, "LM full + discr", (5.55, 6.36, 5.47), (ClassifierRun("full + discr"),)),
        TableRow(_TUNING, "LM full + discr + stlr", BEST, (ClassifierRun(),)),
        *(
            TableRow(_CLASSIFIER, name, paper, (ClassifierRun(classifier=name),))
            for name, paper in (
                ("from scratch", (9.93, 13.36, 6.81)),
                ("full", (6.87, 6.86, 5.81)),
                ("full + discr", (5.57, 6.21, 5.62)),
                ("last", (6.49, 16.09, 8.38)),
                ("chain-thaw", (5.39, 6.71, 5.90)),
                ("freez", (6.37, 6.86, 5.81)),
                ("freez + discr", (5.39, 5.86, 6.04)),
                ("freez + stlr", (5.04, 6.02, 5.35)),
                ("freez + cos", (5.70, 6.38, 5.29)),
                (FREEZ_ALL, BEST),
            )
        ),
        TableRow(_ADVERSARIAL, "plain", (None, None, None), (ClassifierRun(),)),
        TableRow(_ADVERSARIAL, "adversarial", (None, None, None), (ClassifierRun(classifier=ADVERSARIAL),)),
        TableRow(_DIRECTIONS, "forward", (5.30, None, None), (ClassifierRun(),)),
        TableRow(_DIRECTIONS, "backward", (None, None, None), (ClassifierRun("backward"),)),
        TableRow(_DIRECTIONS, "both", (4.58, None, None), (ClassifierRun(), ClassifierRun("backward"))),
    )
}
"""All rows by name, in the order of the paper."""

RUNGS = "rungs"
"""Name, beside those of `ROWS`, that asks for the table of the ladder's rungs."""


def needs_backward(row: TableRow) -> bool:
    """True if a row has a classifier that reads backward."""
    return any(LANGUAGE_MODELS[run.language_model].direction == "backward" for run in row.runs)
