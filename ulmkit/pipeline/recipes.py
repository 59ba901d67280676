"""Training settings of language models and classifiers, with one constant for each published recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ulmkit.config import ADDED_LATER, check_choice, check_not_negative, check_positive, check_whole
from ulmkit.errors import ConfigError
from ulmkit.model.config import CHUNK_STEPS, GRADIENT_STEPS
from ulmkit.model.head_options import HeadOptions
from ulmkit.training import Budget, OptimizerConfig, Phase, Schedule, chain_thaw, full, gradual_unfreezing, last

UNFREEZING = ("gradual", "full", "last", "chain-thaw")


@dataclass(frozen=True, kw_only=True)
class LanguageModelRecipe:
    """Settings for training a language model, from scratch or by fine-tuning.

    Attributes:
        batch_size: Batch size (parallel token streams), B.
        bptt: Steps of back-propagation through time.
        bptt_std: Spread of variable lengths (Merity et al. 2017, section 4.1); 0 for a fixed length.
        shuffle: Read the documents in a new order each epoch; word-level corpora keep theirs.
        peak_rate: Peak learning rate.
        schedule: Learning-rate schedule: slanted_triangular, one_cycle, flat_cosine or constant.
        optimizer: Optimizer and its constants.
        clip: Clip the gradient to this norm.
        factor: Ratio of a layer group's learning rate to that of the group below (discriminative fine-tuning).
        frozen_share: Share of the budget, at the start, in which only embedding and decoder train.
        ar: Weight of activation regularization (AR).
        tar: Weight of temporal activation regularization (TAR).
        dropout_multiplier: Multiplier on all dropouts (of the base model, when fine-tuning).
        input_gain: Gain of a new model's first weights, see `draw_input_weights`; None for the published ones.
        reset_probability: Probability that a stream's state is set to zero before a batch. Within an epoch the state is
            carried on otherwise; in a long one the model can come to depend on it, and then fails on a text alone.
        patience: Early stopping: end a phase after this many validations without improvement, and keep the best
            weights.
        patience_rule: See `TrainerConfig`.

    Raises:
        ConfigError: If a value is outside its range.
    """

    batch_size: int = 64
    bptt: int = 70
    bptt_std: float = 0.0
    shuffle: bool = True
    peak_rate: float = 4e-3
    schedule: Schedule = field(default_factory=lambda: Schedule("one_cycle"))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(betas=(0.9, 0.99), weight_decay=0.01))
    clip: float | None = 0.4
    factor: float = 1.0
    frozen_share: float = 0.0
    ar: float = 2.0
    tar: float = 1.0
    dropout_multiplier: float = 1.0
    input_gain: float | None = field(default=None, metadata=ADDED_LATER)
    reset_probability: float = field(default=0.0, metadata=ADDED_LATER)
    patience: int | None = None
    patience_rule: str = "best"

    def __post_init__(self) -> None:
        for name in ("input_gain", "clip"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        if self.patience is not None:
            check_whole("patience", self.patience)
        for name in ("batch_size", "bptt"):
            check_whole(name, getattr(self, name))
        for name in ("peak_rate", "factor"):
            check_positive(name, getattr(self, name))
        for name in ("bptt_std", "ar", "tar", "dropout_multiplier"):
            check_not_negative(name, getattr(self, name))
        for name in ("frozen_share", "reset_probability"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name}: expected 0 <= {name} < 1, got {getattr(self, name)!r}")

    def phases(self, groups: int, budget: Budget) -> list[Phase]:
        """The phases over a model's `groups` within `budget`."""
        if not self.frozen_share:
            return full(groups, budget=budget, peak_rate=self.peak_rate, factor=self.factor, schedule=self.schedule)
        return gradual_unfreezing(
            groups,
            budget=budget,
            peak_rate=self.peak_rate,
            factor=self.factor,
            schedule=self.schedule,
            depths=(1, groups),
            shares=(self.frozen_share, 1.0 - self.frozen_share),
        )


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(HeadOptions):
    """Settings for fine-tuning a classifier.

    Attributes:
        batch_size: Batch size in documents.
        chunk_steps: Steps that the encoder reads at a time, see `AWDLSTMClassifier`.
        gradient_steps: Last steps of a document that gradients flow through, see `AWDLSTMClassifier`.
        unfreezing: Which layers train when: gradual, full, last or chain-thaw.
        depths: Layer groups that train in each phase of gradual unfreezing.
        shares: Share of the budget of each phase of gradual unfreezing or chain-thaw.
        peak_rate: Peak learning rate. One for all phases, or one for each.
        factor: Ratio of a layer group's learning rate to that of the group below (discriminative fine-tuning).
        schedule: Learning-rate schedule: slanted_triangular, one_cycle, flat_cosine or constant.
        optimizer: Optimizer and its constants.
        clip: Clip the gradient to this norm.
        dropout_multiplier: Multiplier on all dropouts of the encoder.
        adversarial: Adversarial training, which takes twice the time: norm of the shift of a document's embeddings, in
            standard deviations of the embedding matrix (5 in Miyato et al. 2017); 0 for none. See `adversarial_loss`.
        patience: Early stopping: end a phase after this many validations without improvement, and keep the best
            weights.

    Raises:
        ConfigError: If a choice is unknown or a value is outside its range.
    """

    batch_size: int = 32
    chunk_steps: int = CHUNK_STEPS
    gradient_steps: int = GRADIENT_STEPS
    unfreezing: str = "gradual"
    depths: Sequence[int] | None = None
    shares: Sequence[float] | None = None
    peak_rate: float | Sequence[float] = 1e-2
    factor: float = 2.6
    schedule: Schedule = field(default_factory=Schedule)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(betas=(0.7, 0.99), weight_decay=0.01))
    clip: float | None = 1.0
    dropout_multiplier: float = 0.5
    adversarial: float = field(default=0.0, metadata=ADDED_LATER)
    patience: int | None = None
    patience_rule: ClassVar[str] = "best"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("unfreezing", self.unfreezing, UNFREEZING)
        for name in ("batch_size", "chunk_steps", "gradient_steps"):
            check_whole(name, getattr(self, name))
        if self.patience is not None:
            check_whole("patience", self.patience)
        for name in ("dropout_multiplier", "adversarial"):
            check_not_negative(name, getattr(self, name))
        for rate in self.peak_rate if isinstance(self.peak_rate, Sequence) else [self.peak_rate]:
            check_positive("peak_rate", rate)
        check_positive("factor", self.factor)
        if self.clip is not None:
            check_positive("clip", self.clip)

    def phases(self, groups: int, budget: Budget) -> list[Phase]:
        """Plan the phases that unfreeze a model's layer groups within a budget.

        Args:
            groups: Number of layer groups.
            budget: Budget of all phases together.

        Raises:
            ConfigError: If rates, depths or shares do not fit the kind of unfreezing.
        """
        if self.unfreezing == "gradual":
            return gradual_unfreezing(
                groups,
                budget=budget,
                peak_rate=self.peak_rate,
                factor=self.factor,
                schedule=self.schedule,
                depths=self.depths,
                shares=self.shares,
            )
        if self.unfreezing == "chain-thaw":
            return chain_thaw(
                groups, budget=budget, peak_rate=self.peak_rate, schedule=self.schedule, shares=self.shares
            )
        if not isinstance(self.peak_rate, int | float):
            raise ConfigError(f"peak_rate: expected one number for unfreezing {self.unfreezing!r}, got several")
        if self.unfreezing == "last":
            return last(groups, budget=budget, peak_rate=self.peak_rate, schedule=self.schedule)
        return full(groups, budget=budget, peak_rate=self.peak_rate, factor=self.factor, schedule=self.schedule)


PRETRAIN = LanguageModelRecipe()
"""A language model from scratch: AdamW with one cycle, as fastai trains AWD-LSTM."""

FINETUNE = LanguageModelRecipe(factor=2.6, frozen_share=0.1)
"""A language model on the target text: discriminative rates (Howard & Ruder 2018, section 3.2).

In the first tenth of the budget only embedding and decoder train.
"""

FINETUNE_PLAIN = LanguageModelRecipe(batch_size=32, peak_rate=5e-3, ar=0.0, tar=0.0)
"""A language model without dropout, such as `en-small`, on the target text: one rate and no regularization.

After 1.6 million tokens of IMDb, forward `en-small` has a validation perplexity of 68.2 with these settings, and 78.4
with `FINETUNE`. A rate of 8e-3 reaches 67.0, but longer trainings were not tried with it.
"""

CLASSIFY = ClassifierRecipe()
"""A classifier: gradual unfreezing, slanted triangular rates, factor 2.6 (Howard & Ruder 2018, section 3.3)."""

ALL_LAYERS = replace(
    CLASSIFY,
    unfreezing="full",
    peak_rate=5e-3,
    factor=1.0,
    schedule=Schedule("one_cycle"),
    dropout_multiplier=0.2,
    adversarial=5.0,
)
"""A network of the ladder: all layers train from the start, at one rate, with little dropout and adversarial shifts.

Without shifts, three passes over IMDb reach an accuracy of 90.1 %, six by `CLASSIFY` 86.3 % (recipes/README.md): in a
short training, gradual unfreezing keeps the lower layers frozen for most of the time, and then trains them slowly. With
shifts, half as many passes, in the same time, raise the accuracy on docstrings from 55.2 to 60.8 % with 100 labels, and
lower the log-loss from 0.88 to 0.78 with 1,000, where the accuracy stays at 75 %.
"""

GO_ON = replace(CLASSIFY, unfreezing="full", peak_rate=2.5e-3)
"""A classifier that starts from another one: all layers at once, since none is new, at a quarter of the rate."""
