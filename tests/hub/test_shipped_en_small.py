"""The English language models that the package ships: the default of `finetune` and `train`."""

import random
from pathlib import Path

import pytest
from support.command import ulmkit

from ulmkit import LanguageModel, TextClassifier
from ulmkit.hub import load_language_model, load_pair, shipped_models
from ulmkit.hub.folder_config import DIRECTIONS

ENGLISH = (
    "The river rises in the hills north of the town and flows south through a wide valley. In the nineteenth century "
    "several mills were built along its banks, and a canal joined it to the sea. Most of them were closed after the "
    "war, and the valley is now known for its gardens."
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return shipped_models()["en-small"]


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of labelled documents in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    words = [("a good and moving film", "yes"), ("a poor and boring film", "no")]
    rows = [f"{words[number % 2][0]} number {number},{words[number % 2][1]}" for number in range(40)]
    Path("reviews.csv").write_text("\n".join(["text,label", *rows]))
    return "reviews.csv"


def test_the_default_language_model_is_the_pair_that_is_shipped(folder: Path) -> None:
    model = LanguageModel.load()
    assert [member.direction for member in model.members] == list(DIRECTIONS)
    assert model.parts.facts == load_pair(folder).forward.facts
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 25e6


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_direction_says_how_it_was_made(folder: Path, direction: str) -> None:
    facts = load_language_model(folder / direction).facts
    assert (facts.license, facts.language) == ("cc-by-sa-3.0", "en")
    assert facts.notes["attribution"].startswith("the training text is by the contributors of Wikipedia")
    assert facts.notes["command"].startswith("python recipes/en_small.py ")
    assert 0.5 < facts.notes["bits_per_byte"] < 2.0
    assert facts.notes["rounding_largest_difference"] < 0.1
    assert len(facts.limits) == 3


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_english_is_far_likelier_than_the_same_words_in_disorder(folder: Path, direction: str) -> None:
    words = ENGLISH.split()
    random.Random(0).shuffle(words)
    english, disorder = LanguageModel(load_language_model(folder / direction)).score([ENGLISH, " ".join(words)])
    assert english.perplexity < 100
    assert disorder.perplexity > 4 * english.perplexity


def test_finetune_starts_from_it_where_no_language_model_is_named(reviews: str) -> None:
    done = ulmkit("finetune", reviews, "--out", "lm", "--steps", "2", "--batch-size", "2", "--bptt", "8")
    assert "forward: steps" in done.out
    base = load_pair(Path("lm")).forward.facts.base
    assert base is not None
    assert base.data is not None
    assert base.data.name == "wiki-en"


def test_train_starts_from_it_where_no_language_model_is_named(reviews: str) -> None:
    ulmkit("train", reviews, "--out", "classifier", "--method", "features", "--no-baselines")
    base = TextClassifier.load("classifier").parts.facts.base
    assert base is not None
    assert base.data is not None
    assert base.data.name == "wiki-en"
