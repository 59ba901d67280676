"""Text made on the spot and tiny models, each made once and shared by the tests of pipeline, api and command line."""

import csv
import functools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ulmkit import LanguageModel, TextClassifier
from ulmkit.hub import LadderFacts, LadderRow
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.language_model import LanguageModelConfig
from ulmkit.pipeline import ClassifierRecipe, DataOptions, LanguageModelRecipe, RunOptions
from ulmkit.training import Schedule

ENCODER = AWDLSTMConfig(embedding_size=32, hidden_size=32, layers=2)
SIZES = LanguageModelConfig(encoder=ENCODER)
WORDS = DataOptions(tokenizer="whitespace", workers=1)
RUN = RunOptions(precision="fp32", device="cpu", validations=1)
LEARN = LanguageModelRecipe(
    batch_size=8,
    bptt=16,
    peak_rate=4e-2,
    clip=1.0,
    dropout_multiplier=0.1,
    ar=0.0,
    tar=0.0,
    schedule=Schedule("constant"),
)
CLASSIFY = ClassifierRecipe(
    batch_size=16,
    unfreezing="full",
    peak_rate=2e-2,
    factor=1.3,
    dropout_multiplier=0.1,
    input_dropout=0.0,
    hidden_dropout=0.0,
    schedule=Schedule("one_cycle"),
)


LADDER = LadderFacts(
    rows=(
        LadderRow("TF-IDF", ("TF-IDF",), 0.5, 0.8, 0.04, 0.1, is_kept=False),
        LadderRow("linear blend", ("TF-IDF", "NB-SVM"), 0.4, 0.9, 0.03, 0.2, is_kept=True),
    ),
    judged_on="5-fold cross-validation of 80 labelled documents",
    is_cross_validated=True,
    class_names=True,
    word_vectors=True,
)


def data_options(tokenizer: str, pieces: int = 60) -> DataOptions:
    """Options for small data: a number of pieces, or a vocabulary of all words, if the tokenizer takes one."""
    own = {"sentencepiece": {"pieces": pieces}, "bytes": {}}.get(tokenizer, {"min_freq": 1})
    return DataOptions(tokenizer=tokenizer, workers=1, **own)


_GOOD = ["fine", "great", "happy", "lovely", "bright", "warm"]
_BAD = ["poor", "awful", "sad", "ugly", "dull", "cold"]
_PLAIN = [["the", "film", "was"], ["with", "some", "actors"], ["and", "music", "in", "it"], ["a", "story"]]


def review(label: str, seed: int, words: int = 12) -> str:
    """A text of stock phrases, with words between them that tell its label, "pos" or "neg"."""
    draw = random.Random(f"{label} {seed}")
    telling = _GOOD if label == "pos" else _BAD
    text: list[str] = []
    while len(text) < words:
        text += [*draw.choice(_PLAIN), draw.choice(telling)] if draw.random() < 0.6 else draw.choice(_PLAIN)
    return " ".join(text[:words])


@functools.cache
def reviews(count: int = 120, first: int = 0) -> list[tuple[str, str]]:
    """Texts with labels, "pos" and "neg" in turn, of 8 to 15 words; `first` for others."""
    labels = [("pos", "neg")[number % 2] for number in range(count)]
    return [(review(label, first + number, 8 + number % 8), label) for number, label in enumerate(labels)]


@functools.cache
def language_model() -> LanguageModel:
    """A forward language model of the reviews, whitespace tokenizer. Not to be changed."""
    return LanguageModel.pretrain(reviews(), steps=40, sizes=SIZES, recipe=LEARN, data_options=WORDS, run=RUN)


@functools.cache
def backward_language_model() -> LanguageModel:
    """The same, reading backward."""
    return LanguageModel.pretrain(
        reviews(), steps=40, sizes=SIZES, recipe=LEARN, data_options=WORDS, run=RUN, direction="backward"
    )


@functools.cache
def classifier() -> TextClassifier:
    """A classifier of the reviews by their labels, from `language_model`. Not to be changed."""
    return TextClassifier.train(
        reviews(), language_model(), method="finetune", steps=40, recipe=CLASSIFY, data_options=WORDS, run=RUN
    )


def write_csv(path: Path, rows: Iterable[Sequence[Any]], header: Sequence[str] = ("text", "label")) -> Path:
    """A CSV file with a header line."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included, with its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
