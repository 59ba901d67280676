"""Model folders that somebody altered, with checksums made right again: refused at once, with a clear error."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_model_folder import (
    DESCRIBED,
    SOFTMAX,
    WORDS,
    classifier,
    edit_config,
    language_model,
    save_classifier,
    save_language_model,
)

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import FolderError, TrainingError, UlmkitError
from ulmkit.files import list_files
from ulmkit.hub import load_classifier, load_language_model, load_model
from ulmkit.model.cells import Mogrifier
from ulmkit.text.tokens.tokenizers import SpacyTokenizer, WhitespaceTokenizer

DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5000


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_language_model(tmp_path / "lm", language_model(), WORDS, WhitespaceTokenizer())


@pytest.fixture
def classifier_folder(tmp_path) -> Path:
    return save_classifier(tmp_path / "c", classifier(), WORDS, WhitespaceTokenizer(), ("a", "b", "c"))


def sign(folder: Path) -> None:
    """List the folder's files anew, as after a change of one of them."""
    names = json.loads((folder / "config.json").read_text())["files"]
    edit_config(folder, files={name: vars(entry) for name, entry in list_files(folder).items() if name in names})


def change_weights(folder: Path, name: str, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[-1] = value
    save_file(weights, folder / "model.safetensors")
    sign(folder)


@pytest.mark.parametrize(
    "encoder",
    [
        {"layers": 10**6},
        {"layers": 900},
        {"hidden_size": 20_000},
        {"hidden_size": 10**9},
        {"hidden_size": 2**62},
        {"embedding_size": 10**8},
        {"last_hidden_size": 10**30},
        {"cell": {"name": "mogrifier", "rounds": 10**6, "rank": 84}},
        {"cell": {"name": "mogrifier", "rounds": 5, "rank": 10**12}},
    ],
)
def test_sizes_are_compared_with_the_weights_before_memory_is_taken(folder, encoder, monkeypatch):
    def allocate(*_, **__):
        raise AssertionError("weights were drawn")

    edit_config(folder, encoder={**DESCRIBED, **encoder})
    draw = torch.nn.init.uniform_
    monkeypatch.setattr(torch.nn.init, "uniform_", lambda tensor, *bounds: tensor.is_meta or allocate())
    with pytest.raises(FolderError, match="config"):
        load_language_model(folder)
    monkeypatch.setattr(torch.nn.init, "uniform_", draw)
    edit_config(folder, encoder=DESCRIBED)
    load_language_model(folder)


def test_other_counts_are_compared_too(folder, classifier_folder, tmp_path):
    edit_config(folder, softmax={**SOFTMAX, "softmax_experts": 10**7})
    with pytest.raises(FolderError, match="weights do not match"):
        load_language_model(folder)
    edit_config(folder, softmax=SOFTMAX, vocabulary={"size": 10**8, "fingerprint": WORDS.fingerprint})
    with pytest.raises(FolderError, match="vocabulary: expected 100000000 tokens"):
        load_language_model(folder)
    head = json.loads((classifier_folder / "config.json").read_text())["head"]
    edit_config(classifier_folder, head={**head, "hidden_size": 10**8})
    with pytest.raises(FolderError, match="shapes do not match"):
        load_classifier(classifier_folder)
    model = language_model(cell=Mogrifier(rounds=2))
    mogrifier = save_language_model(tmp_path / "mogrifier", model, WORDS, WhitespaceTokenizer())
    assert load_language_model(mogrifier).model.config == model.config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_names": [1, 2, 3]}, r"label_names\[0\]: expected str, got 1"),
        ({"label_names": ["a", "a", "b"]}, "label_names: expected 3 different names"),
        ({"label_names": {"a": 1, "b": 2, "c": 3}}, "label_names: expected list, got"),
        ({"reading": {"chunk_steps": "5", "gradient_steps": 20}}, r"reading\.chunk_steps: expected int, got '5'"),
        ({"reading": {"chunk_steps": 5, "gradient_steps": True}}, r"reading\.gradient_steps: expected int, got True"),
        ({"tokenizer": {"name": ["spacy"]}}, r"tokenizer\.name: expected str"),
        ({"tokenizer": {"name": "space"}}, "tokenizer: got 'space'; did you mean"),
        (
            {"vocabulary": {"size": 11.0, "fingerprint": WORDS.fingerprint}},
            r"vocabulary\.size: expected int, got 11\.0",
        ),
        ({"weights": "int4"}, "weights: got 'int4'; "),
        ({"head": {"classes": "3"}}, r"head\.classes: expected int, got '3'"),
        ({"head": {"classes": 3, "class_weights": [1, "x", 1]}}, r"head\.class_weights\[1\]: expected float"),
        ({"head": {"classes": 3, "label_smoothing": None}}, r"head\.label_smoothing: expected float, got None"),
        ({"facts": {"description": 3}}, r"facts\.description: expected str, got 3"),
        ({"versions": {"torch": 2}}, r"versions\.torch: expected str, got 2"),
        (
            {"files": {"vocabulary.json": {"bytes": "3", "sha256": "x"}}},
            r"files\.vocabulary\.json\.bytes: expected int",
        ),
    ],
)
def test_types_of_entries_are_checked(classifier_folder, changes, message):
    edit_config(classifier_folder, **changes)
    with pytest.raises(FolderError, match=message):
        load_classifier(classifier_folder)


@pytest.mark.parametrize("values", [{"number_mean": "2"}, {"number_mean": float("inf")}, {"number_mean": 1e300}])
def test_a_mean_that_is_no_usual_number(tmp_path, values):
    folder = save_classifier(tmp_path / "n", classifier("number", 1), WORDS, WhitespaceTokenizer(), ())
    head = json.loads((folder / "config.json").read_text())["head"]
    edit_config(folder, head={**head, **values})
    with pytest.raises(FolderError, match="number_mean"):
        load_classifier(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(folder, value):
    change_weights(folder, "encoder.layers.1.weight_hh", value)
    with pytest.raises(FolderError, match=r"got NaN or infinity in 'encoder\.layers\.1\.weight_hh'"):
        load_language_model(folder)


def test_int8_scales_that_are_not_finite_are_refused(tmp_path):
    folder = save_classifier(tmp_path / "c", classifier().to_int8(), WORDS, WhitespaceTokenizer(), ("a", "b", "c"))
    change_weights(folder, "encoder.embedding.scales", float("nan"))
    with pytest.raises(FolderError, match=r"NaN or infinity in 'encoder\.embedding\.scales'"):
        load_classifier(folder)


def test_negative_variances_are_refused(classifier_folder):
    change_weights(classifier_folder, "head.layers.0.running_var", -1.0)
    with pytest.raises(FolderError, match=r"running_var: expected variances of at least 0, got -1"):
        load_classifier(classifier_folder)


def test_answers_that_overflow_are_refused(folder, classifier_folder):
    change_weights(classifier_folder, "head.layers.6.weight", 3e38)
    change_weights(classifier_folder, "head.layers.6.bias", -3e38)
    change_weights(classifier_folder, "head.layers.4.bias", 3e38)
    with pytest.raises(TrainingError, match="answers are not finite"):
        TextClassifier.load(classifier_folder).predict(["w1 w2"])
    weights = load_file(folder / "model.safetensors")
    weights["decoder.weight"].fill_(-3e38)
    weights["decoder.weight"][0] = 3e38
    save_file(weights, folder / "model.safetensors")
    sign(folder)
    model = LanguageModel.load(folder)
    with pytest.raises(TrainingError, match="not finite"):
        model.score(["w1 w2"])
    with torch.no_grad():
        model.parts.model.decoder.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        model.generate("w1", max_tokens=3)


@pytest.mark.parametrize("name", ["vocabulary.json", "tokenizer/tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop"])
def test_only_regular_files_are_opened(folder, name, kind):
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)
    with pytest.raises(FolderError, match=rf"{name}: (expected a regular file|no such file)"):
        load_language_model(folder)


@pytest.mark.parametrize("name", ["vocabulary.json", "tokenizer/tokenizer.json", "model.safetensors"])
def test_files_that_are_not_listed_are_not_opened(folder, name):
    files = json.loads((folder / "config.json").read_text())["files"]
    del files[name]
    edit_config(folder, files=files)
    with pytest.raises(FolderError, match=f"{name}: expected it in the list of the folder's files, got none"):
        load_language_model(folder)


@pytest.mark.parametrize("name", ["\ud800", "x" * 5000, "a\0b", "", "."])
def test_names_that_no_file_has_are_refused(folder, name):
    files = json.loads((folder / "config.json").read_text())["files"]
    edit_config(folder, files={**files, name: {"bytes": 1, "sha256": "x"}})
    with pytest.raises(FolderError, match="expected names of files inside the folder, got"):
        load_language_model(folder)


@pytest.mark.parametrize(
    "content", [DEEP, f'{{"a": {DIGITS}}}', "[" * 500 + "]" * 500, b"\xff\xfe", '"\xe9"'.encode("latin-1")]
)
@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "tokenizer/tokenizer.json"])
def test_json_that_is_deep_endless_or_not_utf_8(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if name != "config.json":
        sign(folder)
    with pytest.raises(FolderError, match=f"{name}: not valid JSON"):
        load_model(folder)


def test_a_tensor_under_a_name_that_is_not_there(folder):
    weights = load_file(folder / "model.safetensors")
    save_file(weights, folder / "model.safetensors", metadata={"alias:x": "y"})
    sign(folder)
    with pytest.raises(FolderError, match=r"'x' is another name of 'y', which is not there"):
        load_language_model(folder)


@pytest.mark.parametrize("settings", [{"language": 1}, {"language": []}, {"language": "en", "x": "y"}])
def test_settings_of_a_tokenizer_have_types(tmp_path, settings):
    vocabulary = WORDS
    folder = save_language_model(tmp_path / "lm", language_model(), vocabulary, SpacyTokenizer("en"))
    path = folder / "tokenizer" / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "settings": settings}))
    sign(folder)
    with pytest.raises(UlmkitError, match="settings of a spacy tokenizer"):
        load_language_model(folder)
