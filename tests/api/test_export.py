"""Export to int8: as accurate, smaller, complete; refused where it is not."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from support import tiny

from ulmkit import TextClassifier, export_int8
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.hub import facts_from_json, read_config
from ulmkit.kernels.cpu import library as library_module
from ulmkit.kernels.cpu.library import load_library
from ulmkit.model.int8_encoder import Int8Encoder

pytestmark = pytest.mark.skipif(isinstance(load_library(), str), reason="the kernel library is not built")

HELD_OUT = tiny.reviews(200, first=1000)
TEXTS = [text for text, _ in HELD_OUT[:20]]


def test_the_folder_is_complete_smaller_and_says_what_it_cost(tmp_path):
    before = tiny.classifier()
    found = export_int8(before, tmp_path / "int8", HELD_OUT, split=None, data_options=tiny.WORDS)
    assert found.documents == 200
    assert found.before > 0.9
    after = TextClassifier.load(tmp_path / "int8")
    assert isinstance(after.parts.model.encoder, Int8Encoder)
    np.testing.assert_allclose(after.predict_proba(TEXTS), before.predict_proba(TEXTS), atol=0.05)
    np.testing.assert_array_equal(after.predict_proba(TEXTS), before.to_int8().predict_proba(TEXTS))
    config = read_config(tmp_path / "int8")
    assert config["weights"] == "int8"
    assert facts_from_json(config["facts"]).int8 == found
    before.save(tmp_path / "float")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("int8", "float")]
    assert sizes[0] < sizes[1] / 2
    stream = after.stream()
    stream.feed(TEXTS[0])
    np.testing.assert_allclose(stream.finish(), after.predict_proba(TEXTS[:1])[0], atol=1e-6)


def test_a_pair_is_exported_whole(tmp_path):
    backward = TextClassifier.train(
        tiny.reviews(),
        tiny.backward_language_model(),
        method="finetune",
        steps=10,
        recipe=tiny.CLASSIFY,
        data_options=tiny.WORDS,
        run=tiny.RUN,
    )
    pair = TextClassifier(tiny.classifier().parts, backward.parts)
    export_int8(pair, tmp_path / "pair", HELD_OUT, split=None, data_options=tiny.WORDS)
    after = TextClassifier.load(tmp_path / "pair")
    assert after.backward is not None
    assert isinstance(after.backward.model.encoder, Int8Encoder)
    np.testing.assert_allclose(after.predict_proba(TEXTS), pair.predict_proba(TEXTS), atol=0.05)


def test_a_drop_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    def spoilt(classifier: TextClassifier) -> TextClassifier:
        model = copy.deepcopy(classifier.parts.model).to_int8()
        for layer in model.encoder.layers:
            layer.weight_ih.values.zero_()
        return TextClassifier(replace(classifier.parts, model=model))

    monkeypatch.setattr(TextClassifier, "to_int8", spoilt)
    with pytest.raises(
        DataError, match=r"export: int8 weights cost accuracy: [\d.]+ before, [\d.]+ after, on 200 docum"
    ):
        export_int8(tiny.classifier(), tmp_path / "int8", HELD_OUT, split=None, data_options=tiny.WORDS)
    assert not (tmp_path / "int8").exists()


def test_int8_weights_are_not_quantized_again(tmp_path):
    with pytest.raises(ConfigError, match="export: the classifier's weights are int8 already"):
        export_int8(tiny.classifier().to_int8(), tmp_path / "int8", HELD_OUT, data_options=tiny.WORDS)


def test_without_kernels_there_is_nothing_to_compare_with(tmp_path, monkeypatch):
    monkeypatch.setattr(library_module, "load_library", lambda: "not built: no compiler")
    with pytest.raises(ConfigError, match=r"export: expected kernels for int8, .*none \(not built: no compiler\)"):
        export_int8(tiny.classifier(), tmp_path / "int8", HELD_OUT, data_options=tiny.WORDS)


def test_a_type_of_weights_that_is_not_known(tmp_path):
    tiny.classifier().save(tmp_path / "model")
    from ulmkit.hub import folder_config

    config = folder_config.read_config(tmp_path / "model")
    folder_config.write_config(tmp_path / "model", {**config, "weights": "int4"})
    with pytest.raises(FolderError, match="weights: got 'int4'.*there are: float32, bfloat16, int8.*upgrade"):
        TextClassifier.load(tmp_path / "model")
