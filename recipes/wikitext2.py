"""WikiText-2, word level: trains and evaluates a language model, beside the published perplexities.

    python recipes/wikitext2.py --data PLACE [--out FOLDER] [--recipe modern|readme|paper|qrnn|mos]
        [--minutes N | --epochs N] [--first-stage] [--dropout FACTOR] [--seed N] [--threads N] [--device NAME]
        [--precision NAME] [--evaluate plain cache dynamic both] [--search] [--test] [--json FILE] [--plot FILE]
        [--quick]

The recipes:

modern   AdamW in one cycle (`ulmkit.pipeline.MODERN_WIKITEXT2`), 4 epochs.
readme   The command of awd-lstm-lm's README: 750 epochs, then a second stage of at most 750.
paper    The settings of Merity et al. 2017, arXiv:1708.02182: 750 epochs, then a second stage of at most 750.
qrnn     The README's command for QRNN layers.
mos      Mixture of softmaxes, Yang et al. 2018, arXiv:1711.03953.

Without --minutes or --epochs each recipe runs at full length. A stopped run continues when the same command is given
again.
"""

from published_corpora import WIKITEXT2
from recipe_command import run_main
from tables import PublishedRow
from word_level import WordLevel, run_word_level

from ulmkit.evaluation import CACHE_WIKITEXT2, DYNAMIC_WIKITEXT2, DynamicConfig, convert_printed
from ulmkit.pipeline import (
    AWD_LSTM_WIKITEXT2,
    AWD_LSTM_WIKITEXT2_PAPER,
    AWD_QRNN_WIKITEXT2,
    MODERN_WIKITEXT2,
    MOS_WIKITEXT2,
)

PUBLISHED = [
    PublishedRow("AWD-LSTM paper, first stage alone", "paper", "main", "plain", 69.1, 66.0),
    PublishedRow("AWD-LSTM paper", "paper", "tuning", "plain", 68.6, 65.8),
    PublishedRow("AWD-LSTM paper + continuous cache", "paper", "tuning", "cache", 53.8, 52.0),
    PublishedRow("awd-lstm-lm README, main stage", "readme", "main", "plain", 68.7, 65.6),
    PublishedRow("awd-lstm-lm README, fine-tuned", "readme", "tuning", "plain", 67.4, 64.7),
    PublishedRow("awd-lstm-lm README + cache pointer", "readme", "tuning", "cache", 52.2, 50.6),
    PublishedRow("AWD-LSTM + dynamic evaluation (Krause et al. 2018)", "readme", "tuning", "dynamic", 46.4, 44.3),
    PublishedRow("awd-lstm-lm README, QRNN, main stage", "qrnn", "main", "plain", 69.3, 66.8),
    PublishedRow("awd-lstm-lm README, QRNN, fine-tuned", "qrnn", "tuning", "plain", 68.5, 65.9),
    PublishedRow("awd-lstm-lm README, QRNN + cache pointer", "qrnn", "tuning", "cache", 53.6, 52.1),
    PublishedRow(
        "AWD-QRNN + dynamic evaluation (Krause et al. 2018, their code)", "qrnn", "tuning", "dynamic", 45.9, 44.0
    ),
    PublishedRow("MoS paper (Yang et al. 2018)", "mos", "tuning", "plain", 63.88, 61.45),
    PublishedRow("MoS paper + dynamic evaluation", "mos", "tuning", "dynamic", 42.41, 40.68),
]

STATISTICS_BATCHES = 4177
"""Batches of 100 rows and 5 steps in the training text."""

TASK = WordLevel(
    corpus=WIKITEXT2,
    recipes={
        "modern": MODERN_WIKITEXT2,
        "readme": AWD_LSTM_WIKITEXT2,
        "paper": AWD_LSTM_WIKITEXT2_PAPER,
        "qrnn": AWD_QRNN_WIKITEXT2,
        "mos": MOS_WIKITEXT2,
    },
    caches={},
    other_caches=CACHE_WIKITEXT2,
    dynamics={
        "qrnn": DynamicConfig(learning_rate=1.2e-4, decay=0.008, segment_steps=20),  # README of the authors' code
        "mos": convert_printed(0.002, 0.02, 0.002, statistics_batches=STATISTICS_BATCHES, parameter_tensors=17),
    },
    other_dynamics=DYNAMIC_WIKITEXT2,
    statistics_batches=STATISTICS_BATCHES,
    published=PUBLISHED,
)

if __name__ == "__main__":
    run_main(lambda: run_word_level(TASK, __doc__))
