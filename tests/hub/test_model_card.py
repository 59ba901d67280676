import re

import pytest
from support import tiny

from ulmkit import DataOptions, LanguageModel, TextClassifier
from ulmkit.hub import model_card, save_pair
from ulmkit.text import Document

BYTES = {"data_options": DataOptions(tokenizer="bytes", workers=1), "run": tiny.RUN, "sizes": tiny.SIZES}

CONFIG = {
    "format_version": 2,
    "kind": "classifier",
    "direction": "forward",
    "encoder": {
        "embedding_size": 400,
        "hidden_size": 1152,
        "layers": 3,
        "last_hidden_size": None,
        "cell": {"name": "lstm"},
    },
    "softmax": {"softmax_experts": 1},
    "head": {"kind": "single"},
    "label_names": ["neg", "p|s"],
    "parameters": 24_000_000,
    "weights": "float32",
    "tokenizer": {"name": "spacy"},
    "vocabulary": {"size": 60_000},
    "versions": {"torch": "2.0"},
    "facts": {
        "description": "Tells good from bad.",
        "license": "cc0-1.0",
        "language": "en",
        "data": [{"name": "reviews", "documents": 25_000}, {"name": "more", "labelled_share": 0.12345}],
        "splits": {"policy": "random", "kind": "transductive"},
        "seed": 7,
        "budget": {"minutes": 15, "reached": None, "early_stop": False, "phases": ["head", 2], "tokens": 1234.56},
        "figures": {"valid": {"accuracy": 0.91234}},
        "baselines": {"NB-SVM": {"accuracy": 0.9}},
        "limits": ["Only short texts."],
    },
}


def section(card: str, title: str) -> str:
    return re.split(r"^## ", card.split(f"## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_a_full_card():
    card = model_card("mine", CONFIG)
    assert card.startswith("---\nlibrary_name: ulmkit\npipeline_tag: text-classification\n")
    assert "license: cc0-1.0\nlanguage: en\n---\n\n# mine\n\nTells good from bad.\n\n" in card
    assert "that gives one label to a text." in card
    assert "| parameters | 24,000,000 |" in section(card, "Model")
    assert "neg, p\\|s" in section(card, "Model")
    assert "| cell | lstm |" in section(card, "Model")
    assert "| name | documents | labelled share |" in section(card, "Data")
    assert "| more | not known | 0.1235 |" in section(card, "Data")
    assert "| budget, reached | not known |" in section(card, "Training")
    assert "| budget, early stop | no |" in section(card, "Training")
    assert "| budget, phases | head, 2 |" in section(card, "Training")
    assert "| budget, tokens | 1,234.6 |" in section(card, "Training")
    assert "| seed | 7 |" in section(card, "Training")
    assert "description" not in section(card, "Training")
    assert "| valid, accuracy | 0.9123 |" in section(card, "Figures")
    assert "| NB-SVM, accuracy | 0.9 |" in section(card, "Other models on the same data")
    limits = section(card, "Limits")
    assert "Only short texts." in limits
    assert "Transductive" in limits
    assert "TextClassifier.load" in section(card, "Use")


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("mixed", "Mixed splits: a language model that this one started from"),
        ("other data", "Other data: a language model that this one started from"),
        ("unknown", "Splits not compared: what a language model that this one started from"),
    ],
)
def test_a_card_of_splits_not_known_to_be_clean_says_so(kind, limit):
    card = model_card("mine", {**CONFIG, "facts": {"splits": {"policy": "group", "kind": kind}}})
    assert limit in section(card, "Limits")


def test_the_data_of_the_model_started_from_is_readable():
    rows = [{"name": "wiki", "split": "train", "documents": 12_000}, {"name": "wiki", "split": "valid"}]
    card = model_card("mine", {**CONFIG, "facts": {"base": {"stage": "pretraining", "data": rows}}})
    row = "| base, data | name wiki split train documents 12,000, name wiki split valid |"
    assert row in section(card, "Training")


@pytest.mark.parametrize("kind", ["language_model", "classifier"])
def test_a_card_without_facts_says_so(kind):
    card = model_card("mine", {**CONFIG, "kind": kind, "facts": {}})
    assert section(card, "Data").strip() == section(card, "Training").strip() == "Not recorded."
    assert "not evaluated" in section(card, "Figures")
    assert "Other models" not in card
    assert "Transductive" not in card


def test_a_language_model_card():
    card = model_card("mine", {**CONFIG, "kind": "language_model"})
    assert "reads forward and predicts the next token" in card
    assert "LanguageModel.load" in card
    assert "not true" in section(card, "Limits")
    assert "pipeline_tag: text-generation" in card


def test_a_pair_card():
    facts = {"data": {"name": "reviews"}, "figures": {"accuracy": 0.9}}
    card = model_card("both", {"kind": "pair", "members": "language_model", "versions": {}, "facts": facts})
    assert "| forward | forward/ |" in card
    assert "| name | reviews |" in section(card, "Data")
    assert 'LanguageModel.load("FOLDER/forward")' in card
    assert "pipeline_tag: text-generation" in card
    assert "mean of both" not in card


def test_a_card_of_a_pair_of_classifiers():
    config = {"kind": "pair", "members": "classifier", "task": "pair", "versions": {}, "facts": {}}
    card = model_card("both", config)
    assert "text classifier that gives one label to a pair of texts: the mean of both" in card
    assert "pipeline_tag: text-classification" in card


def _run_code(folder):
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    exec(code.replace("FOLDER", str(folder)), {})


@pytest.mark.parametrize("task", ["single", "multi", "number", "tokens", "pair"])
def test_the_code_of_a_classifiers_card_runs(task, tmp_path):
    documents = {
        "single": [("a text", "a"), ("b", "b")],
        "multi": [("a text", ("a",)), ("b", ("b",))],
        "number": [("a text", 1.0), ("b", 2.0)],
        "tokens": [Document("a text", ("a", "b"), tokens=("a", "text"))],
        "pair": [(("a text", "another"), "a"), (("b", "c"), "b")],
    }[task]
    for direction in ("forward", "backward"):
        language_model = LanguageModel.pretrain(["a text"] * 40, steps=1, direction=direction, **BYTES)
        TextClassifier.train(documents * 20, language_model, task=task, steps=4, **BYTES).save(tmp_path / direction)
        _run_code(tmp_path / direction)
    _run_code(save_pair(tmp_path / "pair", tmp_path / "forward", tmp_path / "backward", {}))


def test_the_code_of_a_language_models_card_runs(tmp_path):
    for direction in ("forward", "backward"):
        LanguageModel.pretrain(["a text"] * 40, steps=1, direction=direction, **BYTES).save(tmp_path / direction)
        _run_code(tmp_path / direction)
    _run_code(save_pair(tmp_path / "pair", tmp_path / "forward", tmp_path / "backward", {}))


def test_versions_of_what_is_installed(monkeypatch):
    from ulmkit.hub import facts

    monkeypatch.setattr(facts, "_PACKAGES", ("torch", "no-such-package-anywhere"))
    assert set(facts.package_versions()) == {"python", "torch"}


@pytest.mark.parametrize(
    ("cell", "name", "row"),
    [
        ({"name": "lstm"}, "AWD-LSTM", "lstm"),
        ({"name": "qrnn"}, "AWD-QRNN", "qrnn"),
        (
            {"name": "mogrifier", "rounds": 4, "rank": 32},
            "AWD-LSTM with Mogrifier cells",
            "mogrifier, 4 rounds of rank 32",
        ),
        (
            {"name": "mogrifier", "rounds": 4, "rank": None},
            "AWD-LSTM with Mogrifier cells",
            "mogrifier, 4 rounds",
        ),
    ],
)
def test_the_cell_is_named(cell, name, row):
    card = model_card("mine", {**CONFIG, "encoder": {**CONFIG["encoder"], "cell": cell}})
    assert f"({name} encoder, reads forward)" in card
    assert f"| cell | {row} |" in section(card, "Model")
