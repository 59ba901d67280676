"""Penn Treebank, word level: an AWD-LSTM trained and judged, beside the published figures.

    python recipes/ptb.py --data PLACE [--out FOLDER] [--recipe modern|readme|paper] [--minutes N | --epochs N]
        [--first-stage] [--dropout FACTOR] [--seed N] [--threads N] [--device NAME] [--precision NAME]
        [--evaluate plain cache dynamic both] [--search] [--test] [--json FILE] [--plot FILE] [--quick]

modern: AdamW in one cycle (`ulmkit.pipeline.MODERN_PTB`). readme: the command of awd-lstm-lm's README, 500 epochs and
as many at most of the second stage. paper: the settings of Merity et al. 2017, arXiv:1708.02182, 750 epochs. Without
--minutes or --epochs each runs at full length. --dropout: trainings of more than a few epochs want more than the modern
recipe's; 1.4 was taken for two hours on two cores, which still overfitted. The same command goes on where it was
stopped.
"""

from published_corpora import PTB
from recipe_command import run_main
from tables import PublishedRow
from word_level import WordLevel, run_word_level

from ulmkit.evaluation import CACHE_PTB, CACHE_PTB_PAPER, DYNAMIC_PTB
from ulmkit.pipeline import AWD_LSTM_PTB, AWD_LSTM_PTB_PAPER, MODERN_PTB

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
    )
]

TASK = WordLevel(
    corpus=PTB,
    recipes={"modern": MODERN_PTB, "readme": AWD_LSTM_PTB, "paper": AWD_LSTM_PTB_PAPER},
    caches={"modern": CACHE_PTB, "readme": CACHE_PTB, "paper": CACHE_PTB_PAPER},
    dynamic=DYNAMIC_PTB,
    published=PUBLISHED,
)

if __name__ == "__main__":
    run_main(lambda: run_word_level(TASK, __doc__))
