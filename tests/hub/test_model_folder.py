import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from support.heads import head_config
from support.models import language_model_config

from ulmkit.arrays import save_arrays
from ulmkit.config import to_dict
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.files import fingerprint
from ulmkit.hub import (
    FORMAT_VERSION,
    ClassifierParts,
    DataFacts,
    LanguageModelParts,
    SplitFacts,
    TrainingFacts,
    load_classifier,
    load_language_model,
    load_model,
    load_pair,
    read_config,
    save_pair,
)
from ulmkit.hub import save_classifier as save_classifier_parts
from ulmkit.hub import save_language_model as save_language_model_parts
from ulmkit.members.word_vectors import WordVectors
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.cells import QRNN, Mogrifier
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.tasks import TASKS
from ulmkit.text.tokens.tokenizers import TOKENIZERS, ByteTokenizer, SpacyTokenizer, WhitespaceTokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

WORDS = Vocabulary(["<unk>", "<eos>", *(f"w{k}" for k in range(9))])  # 11 tokens: 5 rows of padding
ENCODER = AWDLSTMConfig(embedding_size=6, hidden_size=8, layers=2)
MODEL = LanguageModelConfig(encoder=ENCODER)
DESCRIBED = to_dict(ENCODER)
SOFTMAX = {"decoder_bias": True, "softmax_experts": 1, "latent_dropout": 0.0}
FACTS = TrainingFacts(
    data=DataFacts(name="made up", splits=(SplitFacts(name="train", use="training", documents=12),)),
    validation={"perplexity": 91.25},
)
NO_FACTS = TrainingFacts()
ENTRY = {"bytes": 1, "sha256": "x"}
NEEDED = ("vocabulary.json", "tokenizer/tokenizer.json", "model.safetensors")
LISTED = dict.fromkeys(NEEDED, ENTRY)
FILES = {"config.json", "vocabulary.json", "tokenizer/tokenizer.json", "model.safetensors", "README.md"}


def language_model(seed: int = 0, vocab_size: int = len(WORDS), **options) -> AWDLSTMLanguageModel:
    torch.manual_seed(seed)
    return AWDLSTMLanguageModel(language_model_config(MODEL, **options), vocab_size)


def classifier(kind: str = "single", classes: int = 3, **options) -> AWDLSTMClassifier:
    torch.manual_seed(1)
    head = head_config(kind, classes, hidden_size=4, **options)
    return AWDLSTMClassifier(ENCODER, len(WORDS), head, chunk_steps=5, gradient_steps=20)


def save_language_model(
    folder, model, vocabulary, tokenizer, facts=NO_FACTS, *, direction="forward", log=(), overwrite=False
):
    parts = LanguageModelParts(model, vocabulary, tokenizer, direction, facts, list(log))
    return save_language_model_parts(folder, parts, overwrite=overwrite)


def save_classifier(folder, model, vocabulary, tokenizer, labels, facts=NO_FACTS, *, direction="forward"):
    task = next(task for task in TASKS.values() if task.head_type is type(model.head.config))
    return save_classifier_parts(folder, ClassifierParts(task, model, vocabulary, tokenizer, labels, direction, facts))


@pytest.fixture
def lm_folder(tmp_path) -> Path:
    return save_language_model(tmp_path / "lm", language_model(), WORDS, WhitespaceTokenizer(), FACTS)


@pytest.fixture
def classifier_folder(tmp_path) -> Path:
    return save_classifier(tmp_path / "c", classifier(), WORDS, WhitespaceTokenizer(), ("a", "b", "c"), FACTS)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def edit_config(folder: Path, without: tuple[str, ...] = (), **changes) -> None:
    """Change config.json as another program might write it: with a fingerprint that fits."""
    config = json.loads((folder / "config.json").read_text()) | changes
    for name in ("fingerprint", *without):
        del config[name]
    (folder / "config.json").write_text(json.dumps({**config, "fingerprint": fingerprint(config)}))


def test_a_language_model_comes_back_the_same_after_the_folder_moved(lm_folder, tmp_path):
    model = language_model()
    moved = Path(shutil.move(lm_folder, tmp_path / "elsewhere"))
    random_state = torch.get_rng_state()
    loaded = load_language_model(moved)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert files_in(moved) == FILES
    assert (loaded.vocabulary, loaded.direction, loaded.facts, loaded.history) == (WORDS, "forward", FACTS, [])
    assert loaded.model.config == MODEL
    assert not loaded.model.training
    ids = torch.tensor([[1, 2], [3, 4], [5, 6]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids)[0], model.eval()(ids)[0])
    assert loaded.tokenizer.tokenize("w1 w2\n") == ["w1", "w2", "<eos>"]


VERSION_1 = {
    "vocab_size": len(WORDS),
    "embedding_size": 6,
    "hidden_size": 8,
    "layers": 2,
    "embedding_dropout": 0.02,
    "input_dropout": 0.25,
    "hidden_dropout": 0.15,
    "output_dropout": 0.1,
    "weight_dropout": 0.2,
    "decoder_bias": True,
}
"""The encoder in config.json of format version 1, from before there were other cells and softmaxes."""


@pytest.mark.parametrize(
    ("added", "options"),
    [
        ({}, {}),
        ({"decoder_bias": False}, {"decoder_bias": False}),
        ({"cell": "qrnn", "mogrifier_rounds": 5, "mogrifier_rank": 84}, {"cell": QRNN()}),
        ({"cell": "mogrifier"}, {"cell": Mogrifier()}),
        (
            {"cell": "mogrifier", "mogrifier_rounds": 2, "mogrifier_rank": None},
            {"cell": Mogrifier(rounds=2, rank=None)},
        ),
        (
            {"softmax_experts": 3, "latent_dropout": 0.2, "last_hidden_size": 7},
            {"softmax_experts": 3, "latent_dropout": 0.2, "last_hidden_size": 7},
        ),
    ],
    ids=str,
)
def test_folders_of_format_version_1_are_read(added, options, tmp_path):
    model = language_model(**options)
    folder = save_language_model(tmp_path / "lm", model, WORDS, WhitespaceTokenizer(), FACTS)
    edit_config(folder, without=("softmax",), format_version=1, encoder=VERSION_1 | added)
    loaded = load_language_model(folder)
    assert loaded.model.config == model.config
    ids = torch.tensor([[1, 2], [3, 4], [5, 6]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids)[0], model.eval()(ids)[0])


def test_a_classifier_of_format_version_1_is_read(classifier_folder):
    """Its head has the options of the heads of all tasks."""
    before = load_classifier(classifier_folder)
    of_other_tasks = {"positive_weights": None, "value_range": None, "number_loss": "mse", "number_mean": 0.0}
    head = {"kind": "single", **to_dict(before.model.head.config), **of_other_tasks, "number_deviation": 1.0}
    edit_config(classifier_folder, without=("task",), format_version=1, encoder=VERSION_1, head=head)
    loaded = load_classifier(classifier_folder)
    assert (loaded.task, loaded.model.config) == (before.task, ENCODER)
    assert loaded.model.head.config == before.model.head.config


@pytest.mark.parametrize("cell", [QRNN(), Mogrifier(rank=None)], ids=str)
def test_a_model_of_another_cell_comes_back_the_same(cell, tmp_path):
    model = language_model(cell=cell)
    folder = save_language_model(tmp_path / "lm", model, WORDS, WhitespaceTokenizer(), FACTS)
    loaded = load_language_model(folder).model
    assert loaded.config == model.config
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


def test_the_tied_tensor_is_saved_once_and_padding_never(lm_folder):
    with safe_open(lm_folder / "model.safetensors", framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    with_vocabulary = {name: shape for name, shape in shapes.items() if 11 in shape or 16 in shape}
    assert with_vocabulary == {"encoder.embedding.weight": (11, 6), "decoder.weight": (11,)}


@pytest.mark.parametrize(
    ("kind", "classes", "labels", "options"),
    [
        ("single", 3, ("a", "b", "c"), {"class_weights": (1.0, 2.0, 3.0), "label_smoothing": 0.1}),
        ("multi", 2, ("a", "b"), {"positive_weights": (1.0, 2.0)}),
        ("number", 1, (), {"value_range": (0.0, 5.5)}),
        ("tokens", 2, ("O", "B-x"), {}),
        ("pair", 2, ("yes", "no"), {}),
    ],
)
def test_a_classifier_of_each_kind_comes_back_the_same(tmp_path, kind, classes, labels, options):
    model = classifier(kind, classes, **options)
    model.head.train()
    folder = save_classifier(tmp_path / "c", model, WORDS, WhitespaceTokenizer(), labels, FACTS, direction="backward")
    loaded = load_classifier(folder)
    assert (loaded.label_names, loaded.direction) == (labels, "backward")
    assert (loaded.task.name, loaded.model.head.config) == (kind, model.head.config)
    assert (loaded.model.chunk_steps, loaded.model.gradient_steps) == (5, 20)
    expected, found = model.state_dict(), loaded.model.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert found["encoder.embedding.weight"].shape == (11, 6)
    assert model.head.training


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), SpacyTokenizer("en")])
def test_other_tokenizers_travel_along(tmp_path, tokenizer):
    vocabulary = tokenizer.closed_vocabulary() or WORDS
    folder = save_language_model(
        tmp_path / "lm", language_model(vocab_size=len(vocabulary)), vocabulary, tokenizer, FACTS
    )
    assert load_language_model(folder).tokenizer.tokenize("A b.") == tokenizer.tokenize("A b.")


def test_a_decoder_without_bias(tmp_path):
    model = language_model(decoder_bias=False)
    folder = save_language_model(tmp_path / "lm", model, WORDS, WhitespaceTokenizer(), FACTS)
    assert load_language_model(folder).model.decoder is None


def test_a_mixture_of_softmaxes_comes_back_the_same(tmp_path):
    model = language_model(softmax_experts=3, latent_dropout=0.2, last_hidden_size=7)
    folder = save_language_model(tmp_path / "lm", model, WORDS, WhitespaceTokenizer(), FACTS)
    loaded = load_language_model(folder).model
    assert loaded.config == model.config
    ids = torch.tensor([[1, 2], [3, 4], [5, 6]])
    with torch.no_grad():
        assert torch.equal(loaded(ids)[0], model.eval()(ids)[0])
    card = (folder / "README.md").read_text()
    assert "- layers: 2 of 8 units, 7 in the last\n" in card
    assert "- softmax: mixture of 3\n" in card
    edit_config(folder, softmax=SOFTMAX, encoder=DESCRIBED)
    with pytest.raises(FolderError, match=r"missing: none; unexpected: mixture\.latent\.bias, mixture\.latent\.weight"):
        load_language_model(folder)


def test_a_model_is_described_whole(lm_folder, classifier_folder):
    config = read_config(lm_folder)
    assert config["encoder"] == {
        "embedding_size": 6,
        "hidden_size": 8,
        "layers": 2,
        "last_hidden_size": None,
        "cell": {"name": "lstm"},
        "embedding_dropout": 0.02,
        "input_dropout": 0.25,
        "hidden_dropout": 0.15,
        "output_dropout": 0.1,
        "weight_dropout": 0.2,
    }
    assert config["softmax"] == {"decoder_bias": True, "softmax_experts": 1, "latent_dropout": 0.0}
    assert read_config(classifier_folder)["encoder"] == config["encoder"]
    assert "softmax" not in read_config(classifier_folder)


def test_the_training_log(tmp_path):
    rows = [{"step": 1, "rates": [0.1, 0.2]}, {"step": 2, "rates": [0.1, 0.2], "valid": 3, "loss": None}]
    folder = save_language_model(tmp_path / "a", language_model(), WORDS, WhitespaceTokenizer(), log=rows)
    assert (folder / "training_log.csv").read_text() == "step,rates,valid,loss\n1,0.1 0.2,,\n2,0.1 0.2,3,\n"
    load_language_model(folder)


def test_overwriting_is_asked_for(lm_folder):
    with pytest.raises(FolderError, match="already exists"):
        save_language_model(lm_folder, language_model(5), WORDS, WhitespaceTokenizer())
    save_language_model(lm_folder, language_model(5), WORDS, WhitespaceTokenizer(), overwrite=True)
    assert load_language_model(lm_folder).facts == TrainingFacts()


def test_config_records_what_is_needed(lm_folder):
    config = read_config(lm_folder)
    assert config["format_version"] == FORMAT_VERSION
    assert set(config["files"]) == FILES - {"config.json", "README.md"}
    assert all(set(record) == {"sha256", "bytes"} for record in config["files"].values())
    assert config["vocabulary"] == {"size": 11, "fingerprint": WORDS.fingerprint}
    assert config["tokenizer"]["name"] == "whitespace"
    assert "torch" in config["versions"]
    assert config["parameters"] == 11 * 6 + 11 + 4 * 8 * (6 + 8 + 2) + 4 * 6 * (8 + 6 + 2)


def test_the_card_may_be_edited(lm_folder):
    (lm_folder / "README.md").write_text("my own words")
    load_language_model(lm_folder)


# What cannot be saved


def test_refusals_on_saving_leave_nothing_behind(tmp_path):
    target, model, tokenizer = tmp_path / "m", language_model(), WhitespaceTokenizer()
    with pytest.raises(DataError, match="vocabulary: expected 11 tokens, as the model has, got 2"):
        save_language_model(target, model, Vocabulary(["<unk>", "<eos>"]), tokenizer)
    with pytest.raises(DataError, match="the 265 tokens of the bytes tokenizer, got 11"):
        save_language_model(target, model, WORDS, ByteTokenizer())
    for notes, message in (
        ({"figures": [1, float("nan")]}, r"facts\.notes\.figures\[1\]: expected a finite number, got nan"),
        ({"path": Path("/")}, r"facts\.notes\.path: expected a JSON value, got PosixPath"),
        ({"by": {1: 2}}, r"facts\.notes\.by: expected text as keys, got 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            save_language_model(target, model, WORDS, tokenizer, TrainingFacts(notes=notes))
    with pytest.raises(ConfigError, match="direction: got 'forwards'; did you mean 'forward'"):
        save_language_model(target, model, WORDS, tokenizer, direction="forwards")
    with pytest.raises(DataError, match="label_names: expected 3 for task 'single', got 2"):
        save_classifier(target, classifier(), WORDS, tokenizer, ("a", "b"))
    assert list(tmp_path.iterdir()) == []


def test_word_vectors_travel_with_a_language_model(tmp_path):
    ones = np.ones(2, dtype=np.float32)
    known = WordVectors(("a", "b"), np.array([[1, -2], [3, 127]], dtype=np.int8), ones / 3, ones)
    parts = LanguageModelParts(language_model(), WORDS, WhitespaceTokenizer(), "forward", NO_FACTS, word_vectors=known)
    folder = save_language_model_parts(tmp_path / "lm", parts)
    again = save_language_model_parts(tmp_path / "again", load_language_model(folder))
    loaded = load_language_model(again).word_vectors
    assert loaded.words == ("a", "b")
    assert loaded.vectors.tolist() == known.vectors.tolist()
    assert loaded.keep.tolist() == [1.0, 1.0]


def test_altered_word_vectors_are_refused(tmp_path):
    ones = np.ones(2, dtype=np.float32)
    known = WordVectors(("a", "b"), np.array([[1, -2], [3, 127]], dtype=np.int8), ones, ones)
    parts = LanguageModelParts(language_model(), WORDS, WhitespaceTokenizer(), "forward", NO_FACTS, word_vectors=known)
    folder = save_language_model_parts(tmp_path / "lm", parts)
    files = json.loads((folder / "config.json").read_text())["files"]
    name = "word_vectors/vectors.safetensors"
    save_arrays(folder / name, {"codes": known.codes, "scales": -ones, "keep": ones})
    content = (folder / name).read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_config(folder, files={**files, name: entry})
    with pytest.raises(FolderError, match="scales: expected positive numbers"):
        load_language_model(folder)
    del files["word_vectors/words.json"]
    edit_config(folder, files={**files, name: entry})
    with pytest.raises(FolderError, match="word_vectors: expected word_vectors/words.json and"):
        load_language_model(folder)


# What cannot be loaded


def test_every_file_is_checked(lm_folder):
    for name in FILES - {"README.md", "config.json"}:
        content = (lm_folder / name).read_bytes()
        (lm_folder / name).write_bytes(content[:-1])
        with pytest.raises(FolderError, match=rf"{name}: expected {len(content)} bytes, got {len(content) - 1}"):
            load_language_model(lm_folder)
        (lm_folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(FolderError, match=rf"{name}: its SHA-256 is not the recorded one"):
            load_language_model(lm_folder)
        (lm_folder / name).unlink()
        with pytest.raises(FolderError, match=rf"{name}: no such file, but the folder lists it"):
            load_language_model(lm_folder)
        (lm_folder / name).write_bytes(content)
    load_language_model(lm_folder)


def test_weights_are_matched_by_name_and_shape(lm_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    from ulmkit.hub.model_folder import read_weights

    weights = load_file(lm_folder / "model.safetensors")
    path = tmp_path / "w.safetensors"
    renamed = {name.replace("layers.0.bias_ih", "layers.0.bias"): tensor for name, tensor in weights.items()}
    save_file(renamed, path)
    with pytest.raises(
        FolderError, match=r"missing: encoder\.layers\.0\.bias_ih; unexpected: encoder\.layers\.0\.bias$"
    ):
        read_weights(path, language_model())
    save_file({}, path)
    with pytest.raises(FolderError, match=r"missing: decoder\.weight, .* and 5 more; unexpected: none"):
        read_weights(path, language_model())
    save_file({**weights, "decoder.weight": torch.zeros(3)}, path)
    with pytest.raises(FolderError, match=r"decoder\.weight \(3,\) in place of \(11,\)"):
        read_weights(path, language_model())
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(FolderError, match=r"w\.safetensors: not valid safetensors"):
        read_weights(path, language_model())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format_version": FORMAT_VERSION + 1},
            f"has format version {FORMAT_VERSION + 1}, this ulmkit reads up to {FORMAT_VERSION}; upgrade",
        ),
        ({"format_version": 0}, "format_version: expected a whole number of at least 1, got 0"),
        ({"format_version": "1"}, "format_version: expected a whole number of at least 1, got '1'"),
        ({"kind": "cat"}, "kind: got 'cat'; there are: language_model, classifier, pair"),
        ({"direction": "up"}, "direction: got 'up'; there are: forward, backward"),
        ({"facts": 3}, "facts: expected an object, got 3"),
        ({"facts": {"runs": {}}}, "facts: unknown key 'runs'; did you mean 'run'.*it was altered"),
        ({"files": None}, "files: expected an object, got None"),
        ({"files": {"../secret": ENTRY, **LISTED}}, r"expected names of files inside the folder, got '\.\./secret'"),
        ({"files": {"/etc/passwd": ENTRY, **LISTED}}, "expected names of files inside the folder, got '/etc/passwd'"),
        ({"files": {"vocabulary.json": {}}}, r"files\.vocabulary\.json: missing key 'bytes'"),
        ({"encoder": None}, "encoder: expected an object, got None"),
        ({"encoder": {**DESCRIBED, "hiden": 3}}, "unknown key 'hiden'"),
        (
            {"encoder": {**DESCRIBED, "layers": "two"}},
            r"config\.json: .*layers: expected int, got 'two'.*was altered",
        ),
        ({"encoder": {**DESCRIBED, "layers": 1.5}}, "layers: expected int, got 1.5"),
        ({"encoder": {**DESCRIBED, "cell": {"name": "gru"}}}, "cell: got 'gru'; there are: lstm, qrnn, mogrifier"),
        ({"encoder": {**DESCRIBED, "cell": "lstm"}}, "cell: expected an object, got 'lstm'"),
        ({"encoder": {**DESCRIBED, "cell": {"name": "lstm", "rank": 3}}}, "encoder: cell: unknown key 'rank'"),
        ({"softmax": None}, "softmax: expected an object, got None"),
        ({"softmax": {"softmax_experts": 0}}, "softmax_experts: expected a whole number of at least 1, got 0"),
        ({"encoder": {**DESCRIBED, "hidden_size": 9}}, r"shapes do not match .* in place of \(36, 6\)"),
        ({"softmax": {**SOFTMAX, "decoder_bias": False}}, r"missing: none; unexpected: decoder\.weight"),
        ({"vocabulary": {"size": 11, "fingerprint": "x"}}, r"vocabulary\.json: expected the vocabulary x .*, got"),
        ({"tokenizer": {"name": "spacy"}}, r"tokenizer\.json: expected 'spacy', got 'whitespace'"),
    ],
)
def test_an_altered_config_is_refused(lm_folder, changes, message):
    edit_config(lm_folder, **changes)
    with pytest.raises(FolderError, match=message):
        load_language_model(lm_folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": {"classes": 1}}, "classes: expected a whole number of at least 2"),
        ({"task": "singel"}, "task: got 'singel'; did you mean 'single'"),
        ({"label_names": None}, "label_names: expected list, got None"),
        ({"label_names": ["a"]}, "label_names: expected 3 different names, got 1"),
        ({"reading": {"chunk": 3}}, "does not describe a model"),
        ({"reading": {"chunk_steps": 0}}, "does not describe a model"),
    ],
)
def test_an_altered_classifier_config_is_refused(classifier_folder, changes, message):
    edit_config(classifier_folder, **changes)
    with pytest.raises(FolderError, match=message):
        load_classifier(classifier_folder)


def test_labels_in_another_order_are_noticed(classifier_folder):
    path = classifier_folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"label_names": config["label_names"][::-1]}))
    with pytest.raises(FolderError, match=r"config\.json: its fingerprint is wrong"):
        load_classifier(classifier_folder)


def test_folders_that_are_none(tmp_path, lm_folder, classifier_folder):
    with pytest.raises(FolderError, match="nowhere: no such folder"):
        load_language_model(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match=r"expected config\.json in a model folder, found none"):
        load_model(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text('{"format_version": 1, "ki')
    with pytest.raises(FolderError, match="not valid JSON"):
        load_model(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("[]")
    with pytest.raises(FolderError, match="expected a JSON object, got list"):
        load_model(tmp_path / "empty")
    with pytest.raises(FolderError, match="expected a folder of kind 'language_model', got 'classifier'"):
        load_language_model(classifier_folder)
    with pytest.raises(FolderError, match="expected a folder of kind 'classifier', got 'language_model'"):
        load_classifier(lm_folder)


def test_another_version_of_the_tokenizer_is_told_not_refused(lm_folder):
    edit_config(lm_folder, tokenizer={"name": "whitespace", "fingerprint": "of another version"})
    with pytest.warns(UserWarning, match="may split some texts differently .* rules that clean text up are of another"):
        load_language_model(lm_folder)


def test_packages_of_the_tokenizer_that_differ_are_named_alone(lm_folder, monkeypatch):
    edit_config(
        lm_folder, tokenizer={"name": "whitespace", "fingerprint": "other"}, versions={"spacy": "1", "torch": "1"}
    )
    kind = dataclasses.replace(TOKENIZERS["whitespace"], packages=("spacy",))
    monkeypatch.setitem(TOKENIZERS, "whitespace", kind)
    with pytest.warns(UserWarning, match=r"it had spacy 1 \(installed: [\d.]+\); install that to get the same tokens$"):
        load_language_model(lm_folder)


# Pairs


@pytest.fixture
def pair_folder(tmp_path) -> Path:
    for direction in ("forward", "backward"):
        save_classifier(
            tmp_path / direction,
            classifier(),
            WORDS,
            WhitespaceTokenizer(),
            ("a", "b", "c"),
            TrainingFacts(description=direction),
            direction=direction,
        )
    return save_pair(
        tmp_path / "pair", tmp_path / "forward", tmp_path / "backward", TrainingFacts(validation={"accuracy": 0.5})
    )


def test_a_pair_holds_two_complete_folders(pair_folder):
    assert files_in(pair_folder) == {"config.json", "README.md"} | {
        f"{direction}/{name}" for direction in ("forward", "backward") for name in FILES
    }
    pair = load_pair(pair_folder)
    assert (pair.forward.facts.description, pair.backward.facts.description) == ("forward", "backward")
    assert (pair.forward.direction, pair.backward.direction) == ("forward", "backward")
    assert pair.facts == TrainingFacts(validation={"accuracy": 0.5})
    assert load_classifier(pair_folder / "backward").direction == "backward"
    assert type(load_model(pair_folder)) is type(pair)


def test_load_model_reads_each_kind(lm_folder, classifier_folder):
    assert isinstance(load_model(lm_folder).model, AWDLSTMLanguageModel)
    assert isinstance(load_model(classifier_folder).model, AWDLSTMClassifier)


def test_a_pair_of_language_models(tmp_path):
    for direction in ("forward", "backward"):
        save_language_model(tmp_path / direction, language_model(), WORDS, WhitespaceTokenizer(), direction=direction)
    save_pair(tmp_path / "pair", tmp_path / "forward", tmp_path / "backward")
    pair = load_pair(save_pair(tmp_path / "pair", tmp_path / "forward", tmp_path / "backward", overwrite=True))
    assert isinstance(pair.backward.model, AWDLSTMLanguageModel)


def test_pairs_that_do_not_match(pair_folder, lm_folder, tmp_path):
    forward, backward, target = tmp_path / "forward", tmp_path / "backward", tmp_path / "new"
    with pytest.raises(DataError, match="expected a backward model, got 'forward'"):
        save_pair(target, forward, forward)
    with pytest.raises(DataError, match="expected a forward model, got 'pair'"):
        save_pair(target, pair_folder, backward)
    with pytest.raises(DataError, match="expected kind 'language_model', as the forward model has, got 'classifier'"):
        save_pair(target, lm_folder, backward)
    with pytest.raises(ConfigError, match=r"facts\.validation\.x: expected a finite number, got inf"):
        save_pair(target, forward, backward, TrainingFacts(validation={"x": float("inf")}))
    edit_config(pair_folder / "backward", label_names=["c", "b", "a"])
    with pytest.raises(FolderError, match=r"expected label_names \['a', 'b', 'c'\]"):
        load_pair(pair_folder)
    with pytest.raises(FolderError, match="expected a folder of kind 'pair', got 'classifier'"):
        load_pair(forward)
    assert not target.exists()
