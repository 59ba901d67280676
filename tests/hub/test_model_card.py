"""The model card: sections that a person wants to read, and code that runs."""

import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard, ModelCardData
from support import tiny

from ulmkit import DataOptions, LanguageModel, TextClassifier
from ulmkit.evaluation import PairedComparison
from ulmkit.hub import (
    ClassifierParts,
    DataFacts,
    LanguageModelParts,
    MachineFacts,
    RunFacts,
    SplitFacts,
    TrainingFacts,
    model_card,
    pair_card,
    save_pair,
)
from ulmkit.model.cells import LSTM, QRNN, Mogrifier
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.transfer_report import TransferReport
from ulmkit.tasks import TASKS
from ulmkit.text import Document, SplitPolicy, Vocabulary, WhitespaceTokenizer
from ulmkit.text.corpus.facts import SharedDocuments
from ulmkit.training import Budget

BYTES = {"data_options": DataOptions(tokenizer="bytes", workers=1), "run": tiny.RUN, "sizes": tiny.SIZES}
WORDS = Vocabulary(["<unk>", "<eos>", *(f"w{k}" for k in range(9))])
ENCODER = AWDLSTMConfig(embedding_size=6, hidden_size=8, layers=2)

WIKI = TrainingFacts(
    stage="pretraining",
    data=DataFacts(name="wiki.txt"),
    run=RunFacts(budget=Budget(epochs=10), minutes=600.0),
    validation={"loss": 4.1, "perplexity": 61.25},
)
FACTS = TrainingFacts(
    stage="classification",
    description="Tells good from bad.",
    license="cc0-1.0",
    language="en",
    data=DataFacts(
        name="reviews.csv",
        splits=(
            SplitFacts(
                name="train", use="training", documents=25_000, labelled=24_000, tokens=900, unknown_rate=0.0123
            ),
            SplitFacts(name="valid", use="held out", documents=2_500),
        ),
        cleanness="clean",
        split_policy=SplitPolicy(kind="random", valid_fraction=0.1, seed=7),
        near_duplicates={"valid": {"train": SharedDocuments(documents=2_500, exact=12, near=30)}},
    ),
    run=RunFacts(
        budget=Budget(minutes=15),
        minutes=14.97,
        steps=1_234,
        epochs=3.25,
        tokens_per_second=12_000,
        stopped_because="patience",
        weights_of_step=1_000,
        seed=7,
        machine=MachineFacts(
            device="cpu", precision="bf16", backend="fused", architecture="x86_64", processors=8, threads=4
        ),
    ),
    recipe={"batch_size": 32},
    base=replace(WIKI, stage="fine-tuning", data=DataFacts(name="reviews.csv"), base=WIKI),
    vocabulary_transfer=TransferReport(vocabulary_size=11, matched=9, corpus_share=0.98765),
    labelled_documents=500,
    validation={"loss": 0.25, "accuracy": 0.91234},
    validation_documents=2_500,
    baselines={"NB-SVM": {"accuracy": 0.9}},
    limits=("Only short texts.",),
)


def language_model(facts: TrainingFacts = FACTS, **options) -> LanguageModelParts:
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=replace(ENCODER, **options)), len(WORDS))
    return LanguageModelParts(model, WORDS, WhitespaceTokenizer(), "forward", facts)


def classifier(facts: TrainingFacts = FACTS, **options) -> ClassifierParts:
    model = AWDLSTMClassifier(replace(ENCODER, **options), len(WORDS), SingleLabelConfig(classes=2))
    return ClassifierParts(TASKS["single"], model, WORDS, WhitespaceTokenizer(), ("neg", "pos"), "forward", facts)


def section(card: str, title: str) -> str:
    return re.split(r"^## ", card.split(f"## {title}\n\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_a_full_card():
    card = model_card("mine", classifier())
    assert card.startswith("---\nlanguage: en\nlibrary_name: ulmkit\nlicense: cc0-1.0\n")
    assert "pipeline_tag: text-classification\n" in card
    assert (
        "\n---\n\n# mine\n\nTells good from bad.\n\nA text classifier (AWD-LSTM encoder, reads forward) that " in card
    )
    assert "that predicts one label per text: neg, pos. It reads text as words between white space (11 tokens)." in card
    assert "TextClassifier.load" in section(card, "Use")
    data = section(card, "Training data")
    assert data.startswith("Trained on reviews.csv.\n")
    assert "| train | training | 25,000 | 24,000 | 900 | 1.23% |\n| valid | held out | 2,500 |  |  |  |\n" in data
    assert "It learned from the labels of 500 documents." in data
    assert "The validation split is 10% of the documents: a random part (seed 7) of each class. Clean: " in data
    assert "30 of the 2,500 documents in valid have a near-duplicate in train; 12 of these are exact." in data
    evaluation = section(card, "Evaluation")
    assert evaluation.startswith("On 2,500 documents of the validation split.\n")
    assert "| model | loss | accuracy |\n" in evaluation
    assert "| this model | 0.25 | 0.9123 |\n| NB-SVM |  | 0.9 |\n" in evaluation
    training = section(card, "Training")
    assert "Budget: 15 minutes. It took 15.0 minutes for 1,234 steps, 3.25 epochs (stopped early by " in training
    assert "The weights are those of step 1,000." in training
    assert "Machine: cpu, bf16, fused backend, x86_64, 8 processors, 4 threads. Seed: 7." in training
    assert (
        "It started from a language model fine-tuned on reviews.csv for 10 epochs (validation perplexity 61.2); "
        "a language model pretrained on wiki.txt for 10 epochs (validation perplexity 61.2)."
    ) in training
    assert "9 of its 11 tokens were known to the base model (98.8% of the text)." in training
    assert "- vocabulary: 11 tokens of the whitespace tokenizer\n" in section(card, "Model")
    limits = section(card, "Limits")
    assert limits.startswith("- Only short texts.\n")
    assert "transductive" not in limits


def test_class_names_with_a_comma_are_in_quotes():
    parts = replace(classifier(), label_names=("price, delivery", "quality"))
    assert 'one label per text: "price, delivery", quality. It reads' in model_card("mine", parts)


def test_the_header_has_the_metrics_as_the_hub_reads_them():
    def header(**changes) -> ModelCardData:
        content = model_card("mine", classifier(replace(FACTS, **changes)))
        return ModelCard(content, ignore_metadata_errors=False).data

    data = header()
    results = {result.metric_type: result for result in data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {"loss": 0.25, "accuracy": 0.91234}
    assert results["accuracy"].dataset_name == results["accuracy"].dataset_type == "reviews.csv"
    assert (results["accuracy"].task_type, results["accuracy"].dataset_split) == ("text-classification", "validation")
    assert (data.model_name, data.datasets) == ("mine", None)
    known = header(data=DataFacts(name="stanfordnlp/imdb:plain_text"))
    assert known.datasets == known.eval_results[0].dataset_type == "stanfordnlp/imdb"
    assert header(validation={"loss": float("nan")}).eval_results is None
    assert header(data=None).eval_results is None


@pytest.mark.parametrize(
    ("cleanness", "limit"),
    [
        ("transductive", "The text of evaluated documents, not their labels, was used in training"),
        ("mixed", "trained on the same data under another split"),
        ("other data", "was also trained on other data"),
        ("unknown", "does not record its training data"),
    ],
)
def test_a_card_of_splits_not_known_to_be_clean_says_so(cleanness, limit):
    card = model_card("mine", classifier(replace(FACTS, data=replace(FACTS.data, cleanness=cleanness))))
    assert limit in section(card, "Limits")
    assert "Not known to be clean: see the limits below." in section(card, "Training data")
    assert "Clean: " not in card


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (SplitPolicy(kind="given"), "The data names its splits."),
        (SplitPolicy(kind="given", column="part"), "The data names its splits, in the column `part`."),
        (SplitPolicy(kind="time", column="day"), "10% of the documents: the latest documents by the column `day`."),
        (SplitPolicy(kind="group", seed=2), "10% of the documents: whole groups (seed 2)."),
    ],
)
def test_a_card_says_how_validation_was_chosen(policy, sentence):
    assert sentence in model_card("mine", classifier(TrainingFacts(data=DataFacts(name="a", split_policy=policy))))


@pytest.mark.parametrize("make", [language_model, classifier])
def test_a_card_without_facts_says_so(make):
    card = model_card("mine", make(TrainingFacts()))
    assert section(card, "Evaluation").strip() == "Not evaluated."
    assert "## Training" not in card
    assert "## Limits" in card
    assert "license" not in card


def test_a_classifier_from_random_weights_says_so():
    assert "It started from random weights" in model_card("mine", classifier(replace(FACTS, base=None)))
    assert "random weights" not in model_card("mine", classifier())


def test_a_language_model_card():
    facts = replace(WIKI, stage="fine-tuning", validation_before={"loss": 5.0, "perplexity": 148.4}, base=WIKI)
    card = model_card("mine", language_model(facts))
    assert "A language model (AWD-LSTM) that reads forward and predicts the next token." in card
    assert "LanguageModel.load" in card
    assert "not true" in section(card, "Limits")
    assert "pipeline_tag: text-generation" in card
    evaluation = section(card, "Evaluation")
    assert "| before this training | 5 | 148.4 |\n| this model | 4.1 | 61.25 |\n" in evaluation
    assert "Perplexity is an estimate" in evaluation


def test_an_int8_card_says_what_int8_costs():
    int8 = PairedComparison("accuracy", 200, 0.9, 0.895, -0.005, (-0.02, 0.01), 1, 2, 0.5)
    card = model_card("mine", classifier(replace(FACTS, int8=int8)))
    assert "accuracy 0.9000 before, 0.8950 after (difference -0.0050, 95% interval -0.0200 to +0.0100)." in card


def test_a_pair_card():
    card = pair_card("both", TrainingFacts(validation={"accuracy": 0.9}), None)
    assert "A forward and a backward language model, each complete; together they give features of texts." in card
    assert "[forward](forward/README.md)" in card
    assert "| this model | 0.9 |" in section(card, "Evaluation")
    assert 'LanguageModel.load("FOLDER")' in card
    assert "pipeline_tag: text-generation" in card
    assert "mean of both" not in card


def test_notes_that_are_texts_numbers_or_groups_of_them_are_in_the_card():
    notes = {"made_by": "hand", "hours": 1.25, "forward": {"bits": 2, "odd": False}, "pages": [1], "empty": {}}
    card = pair_card("both", TrainingFacts(notes=notes), None)
    assert section(card, "Notes").strip().splitlines() == [
        "- made by: hand",
        "- hours: 1.25",
        "- forward: bits 2; odd no",
    ]
    assert "## Notes" not in pair_card("both", TrainingFacts(notes={"pages": [1]}), None)


def test_a_card_of_a_pair_of_classifiers():
    card = pair_card("both", TrainingFacts(), TASKS["pair"])
    assert "text classifier, averaged, that predict one label per pair of texts" in card
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
        TextClassifier.train(documents * 20, language_model, method="finetune", task=task, steps=4, **BYTES).save(
            tmp_path / direction
        )
        _run_code(tmp_path / direction)
    _run_code(save_pair(tmp_path / "pair", tmp_path / "forward", tmp_path / "backward"))


def test_the_code_of_a_language_models_card_runs(tmp_path):
    for direction in ("forward", "backward"):
        LanguageModel.pretrain(["a text"] * 40, steps=1, direction=direction, **BYTES).save(tmp_path / direction)
        _run_code(tmp_path / direction)
    _run_code(save_pair(tmp_path / "pair", tmp_path / "forward", tmp_path / "backward"))


def test_versions_of_what_is_installed(monkeypatch):
    from ulmkit.hub import facts

    monkeypatch.setattr(facts, "_PACKAGES", ("torch", "no-such-package-anywhere"))
    assert set(facts.package_versions()) == {"python", "torch", "spacy", "sentencepiece"}


@pytest.mark.parametrize(
    ("cell", "name", "row"),
    [
        (LSTM(), "AWD-LSTM", "lstm"),
        (QRNN(), "AWD-QRNN", "qrnn"),
        (
            Mogrifier(rounds=4, rank=32),
            "AWD-LSTM with Mogrifier cells",
            "mogrifier, 4 rounds of rank 32",
        ),
        (
            Mogrifier(rounds=4, rank=None),
            "AWD-LSTM with Mogrifier cells",
            "mogrifier, 4 rounds",
        ),
    ],
)
def test_the_cell_is_named(cell, name, row):
    card = model_card("mine", classifier(cell=cell))
    assert f"({name} encoder, reads forward)" in card
    assert f"- cell: {row}\n" in section(card, "Model")
