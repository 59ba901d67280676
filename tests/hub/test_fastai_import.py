"""Import of fastai's models: the same numbers from the same ids, and clear refusals."""

import functools
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import fastai_files, tiny
from support.fastai_files import EMBEDDING, HIDDEN, TOKENS
from torch import Tensor

from ulmkit import LanguageModel, TextClassifier, import_fastai
from ulmkit.errors import ConfigError, FolderError
from ulmkit.hub.fastai import importer
from ulmkit.pipeline import DataOptions
from ulmkit.text import SpacyTokenizer

LABELS = ["bad", "good", "unsure"]
EXACT = {"atol": 1e-5, "rtol": 0.0}


@pytest.fixture(autouse=True)
def _setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that are the same every time, and one tokenizer for all tests: making one takes longer than a test."""
    torch.manual_seed(1)
    monkeypatch.setattr(importer, "SpacyTokenizer", spacy_tokenizer)


spacy_tokenizer = functools.cache(SpacyTokenizer)


def ids(steps: int = 25, batch: int = 3) -> Tensor:
    return torch.randint(len(TOKENS), (steps, batch))


def our_log_probabilities(model: LanguageModel | TextClassifier, tokens: Tensor) -> Tensor:
    network = model.parts.model
    network.encoder.precision = "fp32"
    with torch.no_grad():
        return network(tokens)[0].log_softmax(dim=-1)


@pytest.mark.parametrize("layout", ["fastai 2", "fastai 1", "fastai 1 with optimizer", "fastai 0.7 names", "no bias"])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_language_model_gives_the_same_log_probabilities(tmp_path: Path, layout: str, layers: int) -> None:
    weights = fastai_files.lstm_weights(layers)
    if layout == "no bias":
        del weights["1.decoder.bias"]
    content = dict(weights)
    if layout.startswith("fastai 1"):
        content = fastai_files.as_fastai_1(weights)
    if layout.startswith("fastai 0"):
        content = {
            name.replace("encoder_dp.emb", "encoder_with_dropout.embed"): value for name, value in content.items()
        }
        content = {name.replace("weight_hh", "module.weight_hh"): value for name, value in content.items()}
    written = {"model": content, "opt": {"state": {}}} if layout.endswith("optimizer") else content
    files = fastai_files.write(tmp_path, written, legacy=layout == "fastai 1")
    model = import_fastai(*files)
    assert isinstance(model, LanguageModel)
    tokens = ids()
    torch.testing.assert_close(
        our_log_probabilities(model, tokens), fastai_files.log_probabilities(weights, tokens), **EXACT
    )
    config = model.parts.model.encoder.config
    assert (config.layers, config.embedding_size) == (layers, EMBEDDING)
    assert layers == 1 or config.hidden_size == HIDDEN
    assert (model.parts.model.decoder is None) == (layout == "no bias")


def test_a_qrnn_gives_the_same_log_probabilities(tmp_path: Path) -> None:
    weights = fastai_files.qrnn_weights(3)
    model = import_fastai(*fastai_files.write(tmp_path, weights))
    tokens = ids()
    torch.testing.assert_close(
        our_log_probabilities(model, tokens), fastai_files.log_probabilities(weights, tokens), **EXACT
    )
    assert model.parts.model.encoder.config.cell.name == "qrnn"


def test_a_model_survives_its_folder_and_knows_its_direction(tmp_path: Path) -> None:
    weights = fastai_files.lstm_weights()
    model = import_fastai(*fastai_files.write(tmp_path, weights), direction="backward")
    model.save(tmp_path / "lm")
    loaded = LanguageModel.load(tmp_path / "lm")
    tokens = ids()
    assert torch.equal(our_log_probabilities(loaded, tokens), our_log_probabilities(model, tokens))
    assert loaded.parts.direction == "backward"
    assert loaded.parts.vocabulary.tokens[:9] == tuple(TOKENS[:9])
    assert "fastai (language model, lm.pth)" in (tmp_path / "lm" / "README.md").read_text()


def test_an_encoder_alone_is_a_language_model_to_finetune(tmp_path: Path) -> None:
    weights = fastai_files.lstm_weights()
    encoder = {name[2:]: tensor for name, tensor in weights.items() if name.startswith("0.")}
    model = import_fastai(*fastai_files.write(tmp_path, encoder))
    weights["1.decoder.bias"] = torch.zeros(len(TOKENS))
    tokens = ids()
    torch.testing.assert_close(
        our_log_probabilities(model, tokens), fastai_files.log_probabilities(weights, tokens), **EXACT
    )
    assert any("without its softmax's bias" in limit for limit in model.parts.facts.limits)
    texts = ["The film was fine.", "The film was poor."] * 8
    recipe = replace(tiny.LEARN, batch_size=2, bptt=5)
    options = DataOptions(workers=1, min_freq=1)
    tuned = model.finetune(texts, steps=3, recipe=recipe, data_options=options, run=tiny.RUN)
    facts = tuned.parts.facts
    assert facts.vocabulary_transfer is not None
    assert facts.vocabulary_transfer.matched == 9 + len({"the", "film", "was", "fine", "poor", "."})
    assert facts.vocabulary_transfer.corpus_share == 1.0
    assert facts.data is not None
    assert facts.data.cleanness == "unknown"
    assert not torch.equal(tuned.parts.model.encoder.layers[1].weight_hh, model.parts.model.encoder.layers[1].weight_hh)


@pytest.mark.parametrize(
    ("layout", "modules"),
    [
        ({}, ("0.0", "0.2", "1.0", "1.2")),
        ({"dropout": False}, ("0.0", "0.1", "1.0", "1.1")),
        ({"flat": True}, ("0", "2", "4", "6")),
    ],
    ids=["fastai 2", "fastai 2 without dropout", "fastai 1"],
)
def test_a_classifier_gives_the_same_logits(tmp_path: Path, layout: dict, modules: tuple[str, ...]) -> None:
    weights = fastai_files.classifier_weights(**layout)
    model = import_fastai(*fastai_files.write(tmp_path, weights, [TOKENS, LABELS]))
    assert isinstance(model, TextClassifier)
    assert model.labels == tuple(LABELS)
    network = model.parts.model
    network.encoder.precision = "fp32"
    tokens = ids()
    with torch.no_grad():
        logits = network(tokens, torch.full((3,), len(tokens)))
    torch.testing.assert_close(logits, fastai_files.classify(weights, tokens, modules), **EXACT)
    model.save(tmp_path / "classifier")
    text = ["The film was fine."]
    tokens = ["xxbos", "xxmaj", "the", "film", "was", "fine", "."]
    expected = fastai_files.classify(weights, torch.tensor([[TOKENS.index(token)] for token in tokens]), modules)
    torch.testing.assert_close(
        torch.from_numpy(TextClassifier.load(tmp_path / "classifier").predict_proba(text)),
        expected.softmax(-1),
        **EXACT,
    )


def test_labels_and_task_of_a_classifier_may_be_given(tmp_path: Path) -> None:
    files = fastai_files.write(tmp_path, fastai_files.classifier_weights())
    model = import_fastai(*files, labels=LABELS, task="multi")
    assert (model.labels, model.task) == (tuple(LABELS), "multi")
    assert model.predict_proba(["fine"]).shape == (1, 3)
    for labels in ((), ("a", "b"), ("a", "b", "b")):
        with pytest.raises(FolderError, match="expected a label for each of the classifier's 3 outputs, got"):
            import_fastai(*files, labels=labels)
    with pytest.raises(ConfigError, match="task: got 'number'"):
        import_fastai(*files, labels=LABELS, task="number")
    with pytest.raises(ConfigError, match="direction: expected forward for a classifier, got backward"):
        import_fastai(*files, labels=LABELS, direction="backward")
    with pytest.raises(ConfigError, match="labels: expected none for a language model, got 3"):
        import_fastai(*fastai_files.write(tmp_path, fastai_files.lstm_weights()), labels=LABELS)


def test_a_vocabulary_of_fastai_2_brings_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = {}
    for name in ("fastcore", "fastai", "fastai.data"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for module_name, name in (("fastcore.foundation", "L"), ("fastai.data.transforms", "CategoryMap")):
        module = types.ModuleType(module_name)
        monkeypatch.setitem(sys.modules, module_name, module)
        classes[name] = type(name, (), {"__module__": module_name, "__qualname__": name})
        setattr(module, name, classes[name])
    both, items, categories = classes["L"](), classes["L"](), classes["CategoryMap"]()
    items.items = [1, 2, 3]
    categories.items, categories.o2i = items, {1: 0, 2: 1, 3: 2}
    both.items = [TOKENS, categories]
    files = fastai_files.write(tmp_path, fastai_files.classifier_weights(), both)
    monkeypatch.undo()
    assert import_fastai(*files).labels == ("1", "2", "3")


def test_a_list_that_holds_itself_is_refused(tmp_path: Path) -> None:
    for content in (b"}X\x05\x00\x00\x00itemsh\x00sb.", b"}X\x05\x00\x00\x00itemsh\x00ub."):
        _, vocabulary = fastai_files.write(tmp_path, fastai_files.lstm_weights())
        vocabulary.write_bytes(b"\x80\x02cfastcore.foundation\nL\n)\x81q\x00" + content)
        with pytest.raises(FolderError, match=r"vocab\.pkl: expected a"):
            import_fastai(vocabulary.parent / "lm.pth", vocabulary)


def test_tokens_get_names_of_their_own(tmp_path: Path) -> None:
    vocabulary = import_fastai(*fastai_files.write(tmp_path, fastai_files.lstm_weights())).parts.vocabulary
    assert vocabulary.tokens[:15] == tuple(TOKENS[:15])
    assert vocabulary.tokens[15] == "\n"
    assert vocabulary.tokens[17] == "xxfake"
    assert len(set(vocabulary.tokens)) == len(TOKENS)
    pieces = [*TOKENS[:2], "xxbos", "xxmaj", "▁xxbos", "▁xxmaj", "▁the", "s"] + [f"▁{n}" for n in range(10)]
    vocabulary = import_fastai(*fastai_files.write(tmp_path, fastai_files.lstm_weights(), pieces)).parts.vocabulary
    assert vocabulary.bos_id == 4
    assert vocabulary.id("xxmaj") == 5
    assert vocabulary.unk_id == 0
    assert vocabulary.tokens[6:] == tuple(pieces[6:])


EMBEDDINGS = ("0.encoder.weight", "0.encoder_dp.emb.weight", "1.decoder.weight")


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: weights.pop(name)


def changed(name: str, *shape: int) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: weights.update({name: torch.zeros(*shape)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("0.encoder.weight"), "expected the weights of fastai's AWD_LSTM or AWD_QRNN, got"),
        (changed("0.layers.0.attention.weight", 3), r"AWD_QRNN, got '0\.layers\.0\.attention\.weight'"),
        (without("0.rnns.0.module.bias_ih_l0"), r"missing: 'encoder\.layers\.0\.bias_ih'"),
        (without("0.rnns.0.module.bias_hh_l0"), "a bias .* in the first layer, got .* and None"),
        (changed("0.rnns.0.module.bias_hh_l0", 41), r"got \(18, 6\) and \(41,\)"),
        (changed("0.rnns.1.weight_hh_l0_raw", 24, 7), r"expected shape \(24, 6\) for 'encoder\.layers\.1\.weight_hh'"),
        (changed("0.rnns.1.module.weight_ih_l0", 24), r"expected shape \(24, 10\) for 'encoder\.layers\.1\.weight_ih'"),
        (changed("0.rnns.3.module.weight_ih_l0", 24, 6), r"expected layers numbered from 0, got \[0, 1, 3\]"),
        (changed("0.rnns.0.weight_hh_l0_reverse_raw", 40, 10), "got a bidirectional model"),
        (changed("0.rnns.0.layers_bwd.0.linear.weight_raw", 40, 10), "got a bidirectional model"),
        (changed("1.decoder.weight", 18, 6), r"expected '1\.decoder\.weight' to be the embedding \(tie_weights=True\)"),
        (changed("1.decoder.bias", 17), r"expected shape \(18,\) for 'decoder\.weight', as the other weights tell"),
        (changed("1.layers.0.0.weight", 18), "got the weights of both"),
        (lambda weights: weights.update(dict.fromkeys(EMBEDDINGS, torch.zeros(18))), r"expected an embedding \(V, E\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, spoil: Callable, message: str) -> None:
    weights = fastai_files.lstm_weights()
    spoil(weights)
    with pytest.raises(FolderError, match=message):
        import_fastai(*fastai_files.write(tmp_path, weights))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("1.layers.1.2.weight"), "expected a head of batch norm, linear, batch norm, linear"),
        (changed("1.layers.2.0.running_mean", 3), "got batch norm, linear, batch norm, linear, batch norm"),
        (changed("1.layers.0.2.weight", 5, 17), r"expected shape \(5, 18\) for 'head\.layers\.2\.weight'"),
        (changed("1.layers.1.2.weight", 3), r"expected a matrix '1\.layers\.1\.2\.weight', got none"),
        (changed("1.layers.0.0.running_var", 17), r"expected shape \(18,\) for 'head\.layers\.0\.running_var'"),
        (lambda weights: weights["1.layers.0.0.running_var"].neg_(), "expected variances of at least 0"),
    ],
)
def test_heads_that_do_not_fit_are_refused(tmp_path: Path, spoil: Callable, message: str) -> None:
    weights = fastai_files.classifier_weights()
    spoil(weights)
    with pytest.raises(FolderError, match=message):
        import_fastai(*fastai_files.write(tmp_path, weights, [TOKENS, LABELS]))


def test_a_classifier_of_one_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="classes: expected a whole number of at least 2, got 1"):
        import_fastai(*fastai_files.write(tmp_path, fastai_files.classifier_weights(classes=1)), labels=["only"])


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (TOKENS[:-1], "expected 18 tokens, as the embedding has rows, got 17"),
        ([*TOKENS[:-1], 3], "expected a list of tokens, got something else"),
        ([], "expected a list of tokens, got something else"),
        ({"xxunk": 0}, "expected a list of tokens, got something else"),
        ("xxunk", "expected a list of tokens, got something else"),
        ([TOKENS, [["a"], ["b"]]], "expected labels as text or numbers"),
        (["_unk_", "_pad_", *TOKENS[2:]], "expected xxunk and xxbos among the tokens"),
    ],
)
def test_vocabularies_that_do_not_fit_are_refused(tmp_path: Path, vocabulary: object, message: str) -> None:
    with pytest.raises(FolderError, match=message):
        import_fastai(*fastai_files.write(tmp_path, fastai_files.lstm_weights(), vocabulary))


def test_sizes_are_compared_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = fastai_files.lstm_weights()
    weights["0.rnns.0.module.bias_hh_l0"] = torch.zeros(4 * 100_000)
    draw = torch.nn.init.uniform_
    monkeypatch.setattr(torch.nn.init, "uniform_", lambda tensor, *bounds: tensor.is_meta or draw(None))
    with pytest.raises(FolderError, match="expected shape|this machine has"):
        import_fastai(*fastai_files.write(tmp_path, weights))


def test_weights_in_place_of_the_vocabulary_are_named(tmp_path: Path) -> None:
    weights, vocabulary = fastai_files.write(tmp_path, fastai_files.lstm_weights())
    with pytest.raises(FolderError, match=r"lm\.pth: expected a vocabulary, got weights; name the weights first"):
        import_fastai(vocabulary, weights)


def test_a_pickle_of_a_vocabulary_is_no_file_of_weights(tmp_path: Path) -> None:
    _, vocabulary = fastai_files.write(tmp_path, fastai_files.lstm_weights())
    with pytest.raises(FolderError, match=r"vocab\.pkl: expected a file of weights, got something else"):
        import_fastai(vocabulary, vocabulary)
    assert pickle.loads(vocabulary.read_bytes()) == TOKENS
