"""Exported networks compute what the classifier computes; one that does not is not kept."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny
from support.heads import head_config

from ulmkit import TextClassifier, export_onnx, export_torch
from ulmkit.errors import ConfigError, DataError, FolderError, MissingPackageError
from ulmkit.hub import ClassifierParts, EnsembleParts, TrainingFacts
from ulmkit.members.combiner import Combiner
from ulmkit.model.cells import QRNN
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.portable import folder as folder_module
from ulmkit.portable import onnx_graph
from ulmkit.portable.formats import FORMATS, output_names
from ulmkit.portable.parity import LENGTHS, TOLERANCE, check_parity
from ulmkit.portable.state import StateLayout
from ulmkit.portable.torch_program import PortableClassifier
from ulmkit.tasks import TASKS

TEXTS = [tiny.review("pos", 7000), "", tiny.review("neg", 7001, 40)]


def network(task: str = "single", *, layers: int = 2, encoder: dict | None = None, **head) -> ClassifierParts:
    """A classifier with random weights, whose batch norm is no identity."""
    base = tiny.classifier().parts
    config = AWDLSTMConfig(embedding_size=5, hidden_size=7, layers=layers, **encoder or {})
    torch.manual_seed(0)
    model = AWDLSTMClassifier(config, len(base.vocabulary), head_config(task, **head), chunk_steps=20).eval()
    for layer in model.encoder.layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    for buffer in (buffer for name, buffer in model.head.named_buffers() if "running" in name):
        torch.nn.init.uniform_(buffer, 0.2, 2.0)
    names = () if task == "number" else ("a", "b", "c")
    return replace(base, task=TASKS[task], model=model, label_names=names, temperature=1.7 if task == "single" else 1.0)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("single", {"layers": 1}),
        ("single", {"layers": 3}),
        ("multi", {}),
        ("number", {"number_mean": 30.0, "number_deviation": 4.0}),
        ("number", {"value_range": (-2.0, 5.0)}),
    ],
)
def test_onnx_computes_the_same(tmp_path, task, options) -> None:
    parts = network(task, **options)
    FORMATS["onnx"].write(parts.model, parts.temperature, tmp_path / "model.onnx")
    run = FORMATS["onnx"].open(tmp_path / "model.onnx", output_names(parts.model))
    parity = check_parity(run, parts, "ONNX")
    assert parity.difference < 1e-5
    assert (parity.documents, parity.longest) == (12, 290)
    layout = StateLayout.of(parts.model.config)
    zeros = np.zeros((2, layout.total), dtype=np.float32)
    ids = np.array([[3, 4, 5], [6, 7, 7]])
    found = run(ids, np.array([3, 1]), zeros)
    with torch.no_grad():
        expected = parts.model.head.predict(parts.model(torch.from_numpy(ids.T.copy()), torch.tensor([3, 1])))
    np.testing.assert_allclose(found["prediction"], parts.calibrated(expected.numpy()), atol=1e-6)
    unread = run(ids, np.array([0, 0]), found["new_state"])
    np.testing.assert_array_equal(unread["new_state"], found["new_state"])
    np.testing.assert_array_equal(unread["prediction"], found["prediction"])
    whole = run(ids[:1], np.array([3]), zeros[:1])["new_state"]
    np.testing.assert_allclose(whole, found["new_state"][:1], atol=1e-6)  # batch mates do not matter
    counts = found["new_state"][:, -1]  # the last part of the layout
    assert list(layout.sizes)[-1] == "count"
    assert counts.tolist() == [3.0, 1.0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The tiny classifier as ONNX."""
    place = tmp_path_factory.mktemp("exported") / "model"
    export_onnx(tiny.classifier(), place)
    return place


def run_readme(place: Path) -> list:
    """Run the block of an exported README on `TEXTS`, where ulmkit cannot be imported; returns the predictions."""
    code = (place / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert '["a text", "another one"]' in code
    code = code.replace('["a text", "another one"]', json.dumps(TEXTS))
    block = "import sys\nsys.modules['ulmkit'] = None\nsys.path.insert(0, '.')\nsys.dont_write_bytecode = True\n"
    report = "\nprint(prediction.tolist(), reader.labels, sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": ""}
    ran = subprocess.run(
        [sys.executable, "-c", block + code + report],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    predictions, labels = ran.stdout.splitlines()
    assert labels == "['neg', 'pos']"
    return json.loads(predictions)


def test_the_readme_serves_without_ulmkit(exported) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        *("README.md", "config.json", "model.onnx", "text_reader", "tokenizer", "vocabulary.json")
    ]
    np.testing.assert_allclose(run_readme(exported), tiny.classifier().predict_proba(TEXTS), atol=1e-5)
    config = json.loads((exported / "config.json").read_text())
    assert config["parity"]["difference"] <= TOLERANCE == config["parity"]["tolerance"]
    assert config["files"]["model.onnx"]["bytes"] == (exported / "model.onnx").stat().st_size


@pytest.mark.parametrize("task", ["single", "multi", "number"])
def test_what_torch_traces_computes_the_same(task) -> None:
    parts = network(task, layers=3)
    module = PortableClassifier(parts.model, parts.temperature)

    def run(*arrays):
        with torch.no_grad():
            found = module(*map(torch.from_numpy, arrays))
        return dict(zip(output_names(parts.model), (tensor.numpy() for tensor in found), strict=True))

    assert check_parity(run, parts, "torch").difference < 1e-5
    layout = StateLayout.of(parts.model.config)
    state = np.random.default_rng(0).standard_normal((2, layout.total)).astype(np.float32)
    state[:, -1] = 4.0
    unread = run(np.array([[3], [4]]), np.array([0, 0]), state)
    np.testing.assert_array_equal(unread["new_state"], state)


@pytest.mark.slow  # loads the compiler
def test_torch_export_serves_without_ulmkit(tmp_path) -> None:
    parity = export_torch(tiny.classifier(), tmp_path / "model")
    assert parity.difference < 1e-5
    assert parity.documents == sum(map(len, LENGTHS))
    np.testing.assert_allclose(run_readme(tmp_path / "model"), tiny.classifier().predict_proba(TEXTS), atol=1e-5)


def test_a_backward_classifier(tmp_path) -> None:
    parts = replace(tiny.classifier().parts, direction="backward")
    export_onnx(TextClassifier(parts), tmp_path / "model")
    np.testing.assert_allclose(run_readme(tmp_path / "model"), TextClassifier(parts).predict_proba(TEXTS), atol=1e-5)


def test_ulmkit_says_that_an_export_is_not_its_own(exported) -> None:
    with pytest.raises(FolderError, match="is an export, to be served without ulmkit; give the classifier"):
        TextClassifier.load(exported)
    with pytest.raises(FolderError, match="already exists"):
        export_onnx(tiny.classifier(), exported)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch) -> None:
    def torch_gates(weight):
        return weight.detach().numpy()

    monkeypatch.setattr(onnx_graph, "_onnx_gates", torch_gates)
    expected = (
        r"outputs of ONNX to differ by at most 0.0001 from the classifier's, got [\d.e-]+ on documents of up to 290"
    )
    with pytest.raises(DataError, match=expected):
        export_onnx(tiny.classifier(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_differences_that_are_no_number_or_of_another_shape_do_not_pass() -> None:
    parts = tiny.classifier().parts
    size = StateLayout.of(parts.model.config).total

    def answer(value: float, classes: int):
        return lambda ids, lengths, state: {
            "prediction": np.full((len(ids), classes), value),
            "new_state": np.zeros((len(ids), size), dtype=np.float32),
        }

    for run in (answer(math.nan, 2), answer(0.5, 1), answer(0.5, 2)):
        with pytest.raises(DataError, match=r"export: expected the outputs of ONNX to differ by at most 0\.0001"):
            check_parity(run, parts, "ONNX")


def test_a_text_reader_that_finds_other_tokens_is_not_kept(tmp_path, monkeypatch) -> None:
    class Other(folder_module.text_reader.TextReader):
        def ids(self, text):
            return super().ids(text)[:-1]

    monkeypatch.setattr(folder_module.text_reader, "TextReader", Other)
    with pytest.raises(DataError, match="expected the text reader to find the tokens of 'whitespace', got others for"):
        export_onnx(tiny.classifier(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": {"cell": QRNN()}}, "expected the cell 'lstm', got 'qrnn'; use ulmkit to serve it"),
        ({"task": "tokens"}, "expected a classifier of whole texts, got one of task 'tokens'"),
        ({"task": "pair"}, "expected a classifier of whole texts, got one of task 'pair'"),
    ],
)
def test_networks_without_a_place_are_refused(tmp_path, options, message) -> None:
    classifier = TextClassifier(network(**options))
    for export in (export_onnx, export_torch):
        with pytest.raises(ConfigError, match=message):
            export(classifier, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_int8_weights_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="export: the classifier's weights are int8 already; give the one that was"):
        export_onnx(tiny.classifier().to_int8(), tmp_path / "model")


def test_pairs_and_blends_are_refused_with_what_to_export(tmp_path) -> None:
    member = tiny.classifier().parts
    pair = TextClassifier(member, replace(member, direction="backward"))
    with pytest.raises(ConfigError, match="got a pair, .*; export its folders `forward` and `backward` one by one"):
        export_onnx(pair, tmp_path / "model")
    blend = EnsembleParts(
        member.task,
        member.vocabulary,
        member.tokenizer,
        member.label_names,
        (member,),
        Combiner(np.ones(1), np.zeros(2)),
        TrainingFacts(),
    )
    two = replace(blend, members=(member, member), combiner=Combiner(np.ones(2), np.zeros(2)))
    with pytest.raises(ConfigError, match="got a blend of fine-tuned forward, fine-tuned forward; give the folder of"):
        export_torch(TextClassifier(two), tmp_path / "model")
    TextClassifier(blend).save(tmp_path / "blend")
    export_onnx(TextClassifier.load(tmp_path / "blend" / "members" / "fine-tuned-forward"), tmp_path / "model")
    with pytest.raises(ConfigError, match="expected a fine-tuned network, got a classifier of bigrams; train one"):
        folder_module.check_single_network([type("Linear", (), {"name": "bigrams"})()], blend)


def test_a_ladder_that_kept_one_network_is_exported_with_its_calibration(tmp_path) -> None:
    member = tiny.classifier().parts
    combiner = Combiner(np.array([0.6]), np.array([0.4, -0.4]))
    texts = (member.task, member.vocabulary, member.tokenizer, member.label_names)
    classifier = TextClassifier(EnsembleParts(*texts, (member,), combiner, TrainingFacts()))
    before = member.model.head.layers[-1].bias.clone()
    export_onnx(classifier, tmp_path / "model")
    torch.testing.assert_close(member.model.head.layers[-1].bias, before, rtol=0, atol=0)
    exported = folder_module.check_single_network(classifier.members, classifier.parts)
    expected = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(TextClassifier(exported).predict_proba(TEXTS), expected, atol=1e-6)
    assert np.abs(TextClassifier(member).predict_proba(TEXTS) - expected).max() > 0.01


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"needs the package onnxruntime, .*pip install 'ulmkit\[onnx\]'"):
        export_onnx(tiny.classifier(), tmp_path / "model")
