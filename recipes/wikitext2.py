"""WikiText-2, word level: an AWD-LSTM trained and judged, beside the published figures.

    python recipes/wikitext2.py --data PLACE [--out FOLDER] [--recipe modern|readme|paper] [--minutes N | --epochs N]
        [--first-stage] [--dropout FACTOR] [--seed N] [--threads N] [--device NAME] [--precision NAME]
        [--evaluate plain cache dynamic both] [--search] [--test] [--json FILE] [--plot FILE] [--quick]

modern: AdamW in one cycle (`ulmkit.pipeline.MODERN_WIKITEXT2`). readme: the command of awd-lstm-lm's README, paper: the
settings of Merity et al. 2017, arXiv:1708.02182; 750 epochs each, and as many at most of the second stage. Without
--minutes or --epochs each runs at full length. The same command goes on where it was stopped.
"""

from published_corpora import WIKITEXT2
from recipe_command import run_main
from tables import PublishedRow
from word_level import WordLevel, run_word_level

from ulmkit.evaluation import CACHE_WIKITEXT2, DYNAMIC_WIKITEXT2
from ulmkit.pipeline import AWD_LSTM_WIKITEXT2, AWD_LSTM_WIKITEXT2_PAPER, MODERN_WIKITEXT2

PUBLISHED = [
    PublishedRow(what=what, recipe=recipe, stage=stage, way=way, valid=valid, test=test)
    for what, recipe, stage, way, valid, test in (
        ("AWD-LSTM paper, first stage alone", "paper", "main", "plain", 69.1, 66.0),
        ("AWD-LSTM paper", "paper", "tuning", "plain", 68.6, 65.8),
        ("AWD-LSTM paper + continuous cache", "paper", "tuning", "cache", 53.8, 52.0),
        ("awd-lstm-lm README, main stage", "readme", "main", "plain", 68.7, 65.6),
        ("awd-lstm-lm README, fine-tuned", "readme", "tuning", "plain", 67.4, 64.7),
        ("awd-lstm-lm README + cache pointer", "readme", "tuning", "cache", 52.2, 50.6),
        ("AWD-LSTM + dynamic evaluation (Krause et al. 2018)", "readme", "tuning", "dynamic", 46.4, 44.3),
    )
]

TASK = WordLevel(
    corpus=WIKITEXT2,
    recipes={"modern": MODERN_WIKITEXT2, "readme": AWD_LSTM_WIKITEXT2, "paper": AWD_LSTM_WIKITEXT2_PAPER},
    caches=dict.fromkeys(("modern", "readme", "paper"), CACHE_WIKITEXT2),
    dynamic=DYNAMIC_WIKITEXT2,
    published=PUBLISHED,
)

if __name__ == "__main__":
    run_main(lambda: run_word_level(TASK, __doc__))
