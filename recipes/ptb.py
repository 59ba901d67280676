"""Penn Treebank, word level: an AWD-LSTM trained and judged, beside the published figures.

    python recipes/ptb.py --data PLACE [--out FOLDER] [--recipe modern|readme|paper|qrnn|mos]
        [--minutes N | --epochs N] [--first-stage] [--dropout FACTOR] [--seed N] [--threads N] [--device NAME]
        [--precision NAME] [--evaluate plain cache dynamic both] [--search] [--test] [--json FILE] [--plot FILE]
        [--quick]

modern: AdamW in one cycle (`ulmkit.pipeline.MODERN_PTB`), 4 epochs. readme: the command of awd-lstm-lm's README, 500
epochs and as many at most of the second stage; qrnn: its command for QRNN layers. paper: the settings of Merity et al.
2017, arXiv:1708.02182, 750 epochs. mos: mixture of softmaxes, Yang et al. 2018, arXiv:1711.03953. Without --minutes or
--epochs each runs at full length. --dropout: longer trainings want more than the modern recipe's 0.5; 1.4 was taken for
16 epochs, which still overfitted. The same command goes on where it was stopped.
"""

from published_corpora import PTB
from recipe_command import run_main
from tables import PublishedRow
from word_level import WordLevel, run_word_level

from ulmkit.evaluation import CACHE_PTB, CACHE_PTB_PAPER, DYNAMIC_PTB, DynamicConfig, convert_printed
from ulmkit.pipeline import AWD_LSTM_PTB, AWD_LSTM_PTB_PAPER, AWD_QRNN_PTB, MODERN_PTB, MOS_PTB

PUBLISHED = [
    PublishedRow(what=what, recipe=recipe, stage=stage, way=way, valid=valid, test=test)
    for what, recipe, stage, way, valid, test in (
        ("AWD-LSTM paper, first stage alone", "paper", "main", "plain", 60.7, 58.8),
        ("AWD-LSTM paper", "paper", "tuning", "plain", 60.0, 57.3),
        ("AWD-LSTM paper + continuous cache", "paper", "tuning", "cache", 53.9, 52.8),
        ("awd-lstm-lm README, main stage", "readme", "main", "plain", 61.2, 58.8),
        ("awd-lstm-lm README, fine-tuned", "readme", "tuning", "plain", 58.8, 56.5),
        ("awd-lstm-lm README + cache pointer", "readme", "tuning", "cache", 53.2, 52.5),
        ("AWD-LSTM + dynamic evaluation (Krause et al. 2018)", "readme", "tuning", "dynamic", 51.6, 51.1),
        ("awd-lstm-lm README, QRNN, main stage", "qrnn", "main", "plain", 60.6, 58.3),
        ("awd-lstm-lm README, QRNN, fine-tuned", "qrnn", "tuning", "plain", 59.1, 56.7),
        ("awd-lstm-lm README, QRNN + cache pointer", "qrnn", "tuning", "cache", 53.4, 52.6),
        ("AWD-QRNN + dynamic evaluation (Krause et al. 2018, their code)", "qrnn", "tuning", "dynamic", 51.4, 50.5),
        ("MoS paper (Yang et al. 2018)", "mos", "tuning", "plain", 56.54, 54.44),
        ("MoS paper + dynamic evaluation", "mos", "tuning", "dynamic", 48.33, 47.69),
    )
]

STATISTICS_BATCHES = 1859
"""Of 100 rows and 5 steps: the training text."""

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
