"""Penn Treebank, word level: trains and evaluates a language model, beside the published perplexities.

    python recipes/ptb.py --data PLACE [--out FOLDER] [--recipe modern|readme|paper|qrnn|mos]
        [--minutes N | --epochs N] [--first-stage] [--dropout FACTOR] [--seed N] [--threads N] [--device NAME]
        [--precision NAME] [--evaluate plain cache dynamic both] [--search] [--test] [--json FILE] [--plot FILE]
        [--quick]

The recipes:

modern   AdamW in one cycle (`ulmkit.pipeline.MODERN_PTB`), 4 epochs.
readme   The command of awd-lstm-lm's README: 500 epochs, then a second stage of at most 500.
paper    The settings of Merity et al. 2017, arXiv:1708.02182: 750 epochs, then a second stage of at most 750.
qrnn     The README's command for QRNN layers.
mos      Mixture of softmaxes, Yang et al. 2018, arXiv:1711.03953.

Without --minutes or --epochs each recipe runs at full length. --dropout multiplies the dropouts of the recipe's sizes:
longer trainings need more than the modern recipe's 0.5, and with 1.4 a training of 16 epochs still overfitted. A
stopped run continues when the same command is given again.
"""

from published_corpora import PTB
from recipe_command import run_main
from tables import PublishedRow
from word_level import WordLevel, run_word_level

from ulmkit.evaluation import CACHE_PTB, CACHE_PTB_PAPER, DYNAMIC_PTB, DynamicConfig, convert_printed
from ulmkit.pipeline import AWD_LSTM_PTB, AWD_LSTM_PTB_PAPER, AWD_QRNN_PTB, MODERN_PTB, MOS_PTB

PUBLISHED = [
    PublishedRow("AWD-LSTM paper, first stage alone", "paper", "main", "plain", 60.7, 58.8),
    PublishedRow("AWD-LSTM paper", "paper", "tuning", "plain", 60.0, 57.3),
    PublishedRow("AWD-LSTM paper + continuous cache", "paper", "tuning", "cache", 53.9, 52.8),
    PublishedRow("awd-lstm-lm README, main stage", "readme", "main", "plain", 61.2, 58.8),
    PublishedRow("awd-lstm-lm README, fine-tuned", "readme", "tuning", "plain", 58.8, 56.5),
    PublishedRow("awd-lstm-lm README + cache pointer", "readme", "tuning", "cache", 53.2, 52.5),
    PublishedRow("AWD-LSTM + dynamic evaluation (Krause et al. 2018)", "readme", "tuning", "dynamic", 51.6, 51.1),
    PublishedRow("awd-lstm-lm README, QRNN, main stage", "qrnn", "main", "plain", 60.6, 58.3),
    PublishedRow("awd-lstm-lm README, QRNN, fine-tuned", "qrnn", "tuning", "plain", 59.1, 56.7),
    PublishedRow("awd-lstm-lm README, QRNN + cache pointer", "qrnn", "tuning", "cache", 53.4, 52.6),
    PublishedRow(
        "AWD-QRNN + dynamic evaluation (Krause et al. 2018, their code)", "qrnn", "tuning", "dynamic", 51.4, 50.5
    ),
    PublishedRow("MoS paper (Yang et al. 2018)", "mos", "tuning", "plain", 56.54, 54.44),
    PublishedRow("MoS paper + dynamic evaluation", "mos", "tuning", "dynamic", 48.33, 47.69),
]

STATISTICS_BATCHES = 1859
"""Batches of 100 rows and 5 steps in the training text."""

TASK = WordLevel(
    corpus=PTB,
    recipes={
        "modern": MODERN_PTB,
        "readme": AWD_LSTM_PTB,
        "paper": AWD_LSTM_PTB_PAPER,
        "qrnn": AWD_QRNN_PTB,
        "mos": MOS_PTB,
    },
    caches={"paper": CACHE_PTB_PAPER},
    other_caches=CACHE_PTB,
    dynamics={
        "qrnn": DynamicConfig(learning_rate=1.2e-4, decay=0.02, segment_steps=20),  # README of the authors' code
        "mos": convert_printed(0.002, 0.075, 0.001, statistics_batches=STATISTICS_BATCHES, parameter_tensors=17),
    },
    other_dynamics=DYNAMIC_PTB,
    statistics_batches=STATISTICS_BATCHES,
    published=PUBLISHED,
)

if __name__ == "__main__":
    run_main(lambda: run_word_level(TASK, __doc__))
