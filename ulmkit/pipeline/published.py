"""Published recipes of word-level language models, with the settings of papers and of their code's READMEs.

All use SGD at a constant rate with weights averaged from NT-ASGD's trigger on, windows of variable length, L2 decay,
and a second stage of plain ASGD that starts from the best weights and ends when the validation loss is not monotone.

Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 5; README and defaults of salesforce/awd-lstm-lm.
    Mixtures of softmaxes: Yang et al. 2018, arXiv:1711.03953; README and defaults of zihangdai/mos.
Deviation: Window lengths are drawn once and shuffled each epoch; the original draws them anew (see
    `LanguageModelBatches`). Training is in bf16 on processors where that is faster, unless fp32 is asked for; the
    original is in fp32. Validations during training read 32 parallel streams in the training's precision; the original
    reads 10. While the original averages, a step's rate scales with the length of the previous window.
"""

from dataclasses import dataclass, replace

from ulmkit.model.cells import QRNN
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline.recipes import LanguageModelRecipe
from ulmkit.training import OptimizerConfig, Schedule


@dataclass(frozen=True, kw_only=True)
class PublishedRecipe:
    """A published language model and its training in two stages.

    Both stages need a validation an epoch and end with the best weights, which are those of the first stage if the
    second does not improve on them: `RunOptions(validations=Budget(epochs=1), restore_best=True)`.

    Attributes:
        sizes: Config of the model.
        main: Settings of the first stage.
        tuning: Settings of the second stage, which starts from the best weights of the first.
        epochs: Length of the first stage.
        tuning_epochs: Largest length of the second stage; None for `epochs`.
        seed: Published random seed; None if there is none.
        validation_batch_size: Parallel streams behind the published validation perplexity.
        test_batch_size: Parallel streams behind the published test perplexity.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 5.
    """

    sizes: LanguageModelConfig
    main: LanguageModelRecipe
    tuning: LanguageModelRecipe
    epochs: int
    tuning_epochs: int | None = None
    seed: int | None = None
    validation_batch_size: int = 10
    test_batch_size: int = 1


_LSTM = AWDLSTMConfig(
    embedding_size=400,
    hidden_size=1150,
    layers=3,
    embedding_dropout=0.1,
    input_dropout=0.4,
    hidden_dropout=0.25,
    output_dropout=0.4,
    weight_dropout=0.5,
)
_QRNN = replace(_LSTM, cell=QRNN(), hidden_size=1550, layers=4, hidden_dropout=0.3, weight_dropout=0.1)


def _two_stages(
    encoder: AWDLSTMConfig,
    *,
    batch_size: int,
    epochs: int,
    seed: int | None = None,
    rates: tuple[float, float] = (30.0, 30.0),
    clip: float = 0.25,
    experts: int = 1,
    latent_dropout: float = 0.0,
) -> PublishedRecipe:
    """Settings that all recipes share; `rates` are the learning rates of the two stages."""
    main = LanguageModelRecipe(
        batch_size=batch_size,
        bptt=70,
        bptt_std=5.0,
        shuffle=False,
        peak_rate=rates[0],
        schedule=Schedule("constant"),
        optimizer=OptimizerConfig(name="nt_asgd", weight_decay=1.2e-6, decay="l2", window=5),
        clip=clip,
        ar=2.0,
        tar=1.0,
    )
    plain = replace(main.optimizer, name="asgd")
    return PublishedRecipe(
        sizes=LanguageModelConfig(encoder=encoder, softmax_experts=experts, latent_dropout=latent_dropout),
        main=main,
        tuning=replace(main, peak_rate=rates[1], optimizer=plain, patience=5, patience_rule="non_monotone"),
        epochs=epochs,
        seed=seed,
    )


AWD_LSTM_PTB = _two_stages(_LSTM, batch_size=20, epochs=500, seed=141)
"""Penn Treebank, README: 61.2 / 58.8, after the second stage 58.8 / 56.5 (validation / test perplexity)."""

AWD_LSTM_PTB_PAPER = _two_stages(replace(_LSTM, hidden_dropout=0.3), batch_size=40, epochs=750)
"""Penn Treebank, paper: 60.0 / 57.3."""

AWD_LSTM_WIKITEXT2 = _two_stages(
    replace(_LSTM, input_dropout=0.65, hidden_dropout=0.2), batch_size=80, epochs=750, seed=1882
)
"""WikiText-2, README: 68.7 / 65.6, after the second stage 67.4 / 64.7."""

AWD_LSTM_WIKITEXT2_PAPER = _two_stages(
    replace(_LSTM, input_dropout=0.65, hidden_dropout=0.3), batch_size=80, epochs=750
)
"""WikiText-2, paper: 68.6 / 65.8."""

AWD_QRNN_PTB = replace(_two_stages(_QRNN, batch_size=20, epochs=550, seed=9001, clip=0.2), tuning_epochs=300)
"""Penn Treebank with QRNN layers, README: 60.6 / 58.3, after the second stage (there with seed 404) 59.1 / 56.7."""

AWD_QRNN_WIKITEXT2 = _two_stages(replace(_QRNN, hidden_dropout=0.2), batch_size=40, epochs=500, seed=4002)
"""WikiText-2 with QRNN layers, README: 69.3 / 66.8, after the second stage 68.5 / 65.9."""

MOS_PTB = _two_stages(
    replace(_LSTM, embedding_size=280, hidden_size=960, last_hidden_size=620, hidden_dropout=0.225),
    batch_size=12,
    epochs=1000,
    seed=28,
    rates=(20.0, 25.0),
    experts=15,
    latent_dropout=0.29,
)
"""Penn Treebank, mixture of 15 softmaxes, README of zihangdai/mos: 58.34 / 56.18, after the second stage 56.83 / 54.64.

Deviation: Windows there have 110 steps at most (8 standard deviations); here they have no limit.
"""

MOS_WIKITEXT2 = _two_stages(
    replace(_LSTM, embedding_size=300, last_hidden_size=650, input_dropout=0.55, hidden_dropout=0.2),
    batch_size=15,
    epochs=1000,
    seed=1882,
    rates=(15.0, 20.0),
    experts=15,
    latent_dropout=0.29,
)
"""WikiText-2, mixture of 15 softmaxes, README of zihangdai/mos; the paper has 63.88 / 61.45 after the second stage.

Deviation: Windows there have 90 steps at most (4 standard deviations), and a step's 15 rows are three batches of 5 with
    embedding and weight masks of their own, whose gradients are added; here all 15 rows share their masks.
"""
