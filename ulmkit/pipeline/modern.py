"""Modern recipes of word-level language models: AdamW, one cycle, small batches, bf16 where it pays.

The settings that make it fast were chosen on validation text: initial weights that let the layers see their input
(`input_gain`), a low momentum, and the highest learning rate that still works after an epoch; AR and TAR keep that rate
stable. The dropouts suit trainings of a few epochs, which end before they overfit much; longer ones need a higher
`dropout_multiplier`.

Source: Model: Merity, Keskar & Socher 2017, arXiv:1708.02182. Schedule: Smith 2018, arXiv:1803.09820.
"""

from dataclasses import dataclass

from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline.recipes import LanguageModelRecipe
from ulmkit.training import OptimizerConfig, Schedule


@dataclass(frozen=True, kw_only=True)
class ModernRecipe:
    """A language model and its training in one stage.

    Attributes:
        sizes: Config of the model.
        main: Settings of the stage.
        epochs: Length if no budget is given; one cycle fits any.
    """

    sizes: LanguageModelConfig
    main: LanguageModelRecipe
    epochs: int


MODERN_PTB = ModernRecipe(
    sizes=LanguageModelConfig(
        encoder=AWDLSTMConfig(
            embedding_dropout=0.05,
            input_dropout=0.25,
            hidden_dropout=0.15,
            output_dropout=0.2,
            weight_dropout=0.3,
        )
    ),
    main=LanguageModelRecipe(
        batch_size=20,
        bptt=35,
        shuffle=False,
        peak_rate=4e-3,
        schedule=Schedule("one_cycle", {"rise_fraction": 0.1, "high_momentum": 0.5, "low_momentum": 0.5}),
        optimizer=OptimizerConfig(betas=(0.5, 0.999), weight_decay=0.01),
        clip=0.25,
        ar=2.0,
        tar=1.0,
        dropout_multiplier=0.5,
        input_gain=0.8,
    ),
    epochs=4,
)
"""Penn Treebank; chosen on trainings of up to 30 minutes on two cores, which is about its length."""

MODERN_WIKITEXT2 = MODERN_PTB
"""WikiText-2: the settings of Penn Treebank, not chosen for it."""
