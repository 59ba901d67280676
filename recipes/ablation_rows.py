"""The rows of the ablation table, and the scales at which it can be run.

Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, table 4.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from stages import Stage

from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.language_model import LanguageModelConfig
from ulmkit.pipeline import AWD_LSTM_PTB, AWD_LSTM_PTB_PAPER, LanguageModelRecipe, PublishedRecipe
from ulmkit.training import Budget

HALVINGS = 5
"""Halvings of the rate where SGD trains without averaging: from 30 to about 1, where perplexity no longer falls."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Size of the models and of their training text.

    Attributes:
        recipe: Recipe of the full model.
        text_fraction: Share of the training text that is read.
        epochs: Epochs of each stage, at most.
        patience: Validations without improvement that end the first stage; None reads all epochs.
    """

    recipe: PublishedRecipe
    text_fraction: float
    epochs: int
    patience: int | None


Plan = tuple[LanguageModelConfig, list[Stage]]


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """The full model without one of its parts.

    Attributes:
        name: The part.
        valid: Validation perplexity in the paper.
        test: Test perplexity in the paper.
        sizes: Changes the encoder's sizes and dropouts.
        settings: Changes the training of both stages.
        is_averaged: True if NT-ASGD trains the model.
        run: Row whose runs hold the perplexity; by default the row itself.
        is_first_stage: True if the perplexity is that of the run's first stage.
    """

    name: str
    valid: float
    test: float
    sizes: Callable[[AWDLSTMConfig], AWDLSTMConfig] = lambda sizes: sizes
    settings: Callable[[LanguageModelRecipe], LanguageModelRecipe] = lambda recipe: recipe
    is_averaged: bool = True
    run: str = ""
    is_first_stage: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", self.run or self.name)

    def plan(self, scale: Scale) -> Plan:
        """Sizes of the model, and the stages of its training."""
        recipe = scale.recipe
        sizes = replace(recipe.sizes, encoder=self.sizes(recipe.sizes.encoder))
        budget = Budget(epochs=scale.epochs)
        main = replace(self.settings(recipe.main), patience=scale.patience)
        if not self.is_averaged:
            return sizes, _halving_stages(main, budget)
        tuning = self.settings(recipe.tuning)
        stages = [Stage(name="main", recipe=main, budget=budget), Stage(name="tuning", recipe=tuning, budget=budget)]
        return sizes, stages


def _halving_stages(main: LanguageModelRecipe, budget: Budget) -> list[Stage]:
    """Stages of SGD whose rate is halved where NT-ASGD would begin to average, without the second, averaging stage.

    Deviation: each rate starts from the best weights of the rate before it.
    """
    optimizer = replace(main.optimizer, name="sgd")
    sgd = replace(main, optimizer=optimizer, patience=main.optimizer.window, patience_rule="non_monotone")
    rates = [main.peak_rate / 2**number for number in range(HALVINGS + 1)]
    return [
        Stage(name=f"sgd-{number}", recipe=replace(sgd, peak_rate=rate), budget=budget)
        for number, rate in enumerate(rates, start=1)
    ]


def _without_decay(recipe: LanguageModelRecipe) -> LanguageModelRecipe:
    return replace(recipe, optimizer=replace(recipe.optimizer, weight_decay=0.0))


FULL = "full model"

ROWS: dict[str, AblationRow] = {
    row.name: row
    for row in (
        AblationRow(name=FULL, valid=60.0, test=57.3),
        AblationRow(name="fine-tuning", valid=60.7, test=58.8, run=FULL, is_first_stage=True),
        AblationRow(name="NT-ASGD", valid=66.3, test=63.7, is_averaged=False),
        AblationRow(name="variable lengths", valid=61.3, test=58.9, settings=lambda r: replace(r, bptt_std=0.0)),
        AblationRow(name="embedding dropout", valid=65.1, test=62.7, sizes=lambda s: replace(s, embedding_dropout=0.0)),
        AblationRow(name="weight decay", valid=63.7, test=61.0, settings=_without_decay),
        AblationRow(name="AR/TAR", valid=62.7, test=60.3, settings=lambda r: replace(r, ar=0.0, tar=0.0)),
        AblationRow(
            name="full-size embedding",
            valid=68.0,
            test=65.6,
            sizes=lambda s: replace(s, embedding_size=s.hidden_size),
        ),
        AblationRow(name="weight drop", valid=71.1, test=68.9, sizes=lambda s: replace(s, weight_dropout=0.0)),
    )
}
"""Rows by the part that they leave out. The row "full-size embedding" has embeddings as large as the hidden state."""


def _scaled(embedding_size: int, hidden_size: int, layers: int = 3, **settings: int) -> PublishedRecipe:
    """The README's recipe, whose batches are smaller than the paper's, for another model."""
    recipe = AWD_LSTM_PTB
    encoder = replace(recipe.sizes.encoder, embedding_size=embedding_size, hidden_size=hidden_size, layers=layers)
    sizes = replace(recipe.sizes, encoder=encoder)
    return replace(
        recipe, sizes=sizes, main=replace(recipe.main, **settings), tuning=replace(recipe.tuning, **settings)
    )


REDUCED = Scale(recipe=_scaled(200, 400), text_fraction=0.1, epochs=40, patience=10)
"""The README's settings (rate 30, clip 0.25, all dropouts) on a tenth of the text, for a few hours on two cores.

Batches have the README's 20 rows, which makes 68 batches an epoch; the paper's 40 rows would make 34. A trial of the
full model's first stage (in bf16) showed that the settings suit the smaller model: validation perplexity was 579 after
one epoch, 186 after 24, when it no longer fell steadily and averaging began, 164 after 34 and 161.5 after 41, and then
fell by 0.3 an epoch. So 40 epochs come close to the minimum. A model that overfits ends sooner, by patience; the second
stage ends by its own rule, or after as many epochs."""

SCALES = {
    "reduced": REDUCED,
    "full": Scale(recipe=AWD_LSTM_PTB_PAPER, text_fraction=1.0, epochs=AWD_LSTM_PTB_PAPER.epochs, patience=None),
    "tiny": Scale(recipe=_scaled(16, 24, 2, batch_size=8, bptt=12), text_fraction=0.5, epochs=2, patience=2),
}
