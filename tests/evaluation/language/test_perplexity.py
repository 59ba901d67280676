import copy
import math

import numpy as np
import pytest
import torch
from support.streams import CONTEXT, V, ids

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import Perplexity, approximate_perplexity, first_context, perplexity
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.text.tokens.vocabulary import Vocabulary


def naive_nll(model: AWDLSTMLanguageModel, inputs: list[int], targets: list[int]) -> list[float]:
    """One token at a time, softmax written out, in evaluation mode, in float64."""
    model = copy.deepcopy(model).double().eval()
    nll, state = [], None
    for token, target in zip(inputs, targets, strict=True):
        with torch.no_grad():
            logits, state = model(torch.tensor([[token]]), state)
        p = logits[0, 0].exp()
        nll.append(-math.log(p[target] / p.sum()))
    return nll


@pytest.mark.parametrize("window", [1, 7, 70, 500])
def test_exact_perplexity_predicts_every_token_once_whatever_the_window(model, window):
    stream = ids(111)
    expected = naive_nll(model, [CONTEXT, *stream[:-1].tolist()], stream.tolist())
    result = perplexity(model, stream, first_context=CONTEXT, window=window)
    assert (result.tokens, result.denominator, result.method) == (111, 111, "exact")
    assert result.nll == pytest.approx(sum(expected), rel=1e-6)
    assert result.perplexity == pytest.approx(math.exp(sum(expected) / 111), rel=1e-6)


def test_one_token_is_predicted_from_the_first_context(model):
    one = perplexity(model, np.array([5]), first_context=CONTEXT)
    assert one.nll == pytest.approx(naive_nll(model, [CONTEXT], [5])[0], rel=1e-6)
    assert one.nll != pytest.approx(perplexity(model, np.array([5]), first_context=4).nll, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("window", [5, 70])
def test_published_arithmetic_trims_skips_first_tokens_and_divides_by_one_row_too_many(model, rows, window):
    stream = ids(109)
    length = 109 // rows
    total = 0.0
    for row in range(rows):
        part = stream[row * length : (row + 1) * length].tolist()
        total += sum(naive_nll(model, part[:-1], part[1:]))
    result = perplexity(model, stream, published=True, batch_size=rows, window=window)
    assert result.nll == pytest.approx(total, rel=1e-6)
    assert result.tokens == rows * (length - 1)
    assert result.perplexity == pytest.approx(math.exp(total / rows / length), rel=1e-6)  # len(data_source) = length


def test_published_arithmetic_has_ten_rows_by_default(model):
    stream = ids(45)
    assert perplexity(model, stream, published=True) == perplexity(model, stream, published=True, batch_size=10)


@pytest.mark.parametrize(("length", "rows"), [(41, 4), (7, 10), (40, 1), (9, 4)])
def test_approximate_perplexity_predicts_every_token_once_from_the_token_before(model, length, rows):
    stream = ids(length)
    inputs = [CONTEXT, *stream[:-1].tolist()]
    part = -(-length // rows)
    expected = [
        nll
        for start in range(0, length, part)
        for nll in naive_nll(model, inputs[start : start + part], stream[start : start + part].tolist())
    ]
    result = approximate_perplexity(model, stream, first_context=CONTEXT, batch_size=rows, window=6)
    assert result.tokens == length == len(expected)
    assert result.nll == pytest.approx(sum(expected), rel=1e-6)


def test_the_approximation_with_one_stream_is_exact(model):
    stream = ids(60)
    exact = perplexity(model, stream, first_context=CONTEXT)
    approximation = approximate_perplexity(model, stream, first_context=CONTEXT, batch_size=1, window=7)
    assert approximation.nll == pytest.approx(exact.nll, rel=1e-6)
    assert approximation.method == "approximate"


def test_model_mode_and_weights_are_left_as_they_were(model):
    model.encoder.layers.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    perplexity(model, ids(20), first_context=CONTEXT)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_auto_precision_is_fp32_for_exact_perplexity(model, monkeypatch):
    seen = []
    prepare = model.encoder.prepare
    monkeypatch.setattr(model.encoder, "prepare", lambda rows: (seen.append(model.encoder.precision), prepare(rows))[1])
    for precision in ("auto", "bf16"):
        model.encoder.precision = precision
        perplexity(model, ids(5), first_context=CONTEXT)
        approximate_perplexity(model, ids(5), first_context=CONTEXT)
        assert model.encoder.precision == precision
    assert seen == ["fp32", "auto", "bf16", "bf16"]


def test_streams_are_read_in_parts_and_progress_is_reported(model):
    reads: list[tuple[int, int]] = []

    class Recorder:
        def __len__(self) -> int:
            return 25

        def read(self, start: int, stop: int) -> np.ndarray:
            reads.append((start, stop))
            return ids(25)[start:stop]

    progress_calls: list[tuple[int, int]] = []
    result = perplexity(
        model,
        Recorder(),
        first_context=CONTEXT,
        window=10,
        progress=lambda done, total: progress_calls.append((done, total)),
    )
    assert result == perplexity(model, ids(25), first_context=CONTEXT, window=10)
    assert max(stop - start for start, stop in reads) <= 11
    assert progress_calls == [(10, 25), (20, 25), (25, 25)]


def test_values_that_compare_tokenizers():
    result = Perplexity(nll=12.0, tokens=8, denominator=8, method="exact", words=4, characters=24)
    assert result.perplexity == pytest.approx(math.exp(1.5))
    assert result.perplexity_per_word == pytest.approx(math.exp(3.0))
    assert result.bits_per_character == pytest.approx(0.5 / math.log(2))
    assert "bits per character" in result.table()
    plain = Perplexity(nll=1e6, tokens=2, denominator=2, method="exact")
    assert plain.perplexity == math.inf
    assert plain.to_dict()["perplexity"] is None
    assert plain.to_dict()["bits_per_character"] is None
    assert "bits per character" not in plain.table()


def test_first_context():
    assert first_context(Vocabulary(["<unk>", "<eos>", "a"])) == 1
    assert first_context(Vocabulary(["xxunk", "xxpad", "xxbos", "xxeos"])) == 2
    with pytest.raises(DataError, match="xxbos, xxeos or <eos>"):
        first_context(Vocabulary(["a", "b"]))


@pytest.mark.parametrize(
    ("error", "stream", "options", "message"),
    [
        (DataError, np.array([], dtype=np.int64), {"first_context": 1}, "at least 1 tokens, got 0"),
        (DataError, ids(19), {"published": True}, "at least 20 tokens, got 19"),
        (DataError, np.array([1, 99]), {"first_context": 1}, "expected token ids 0 to 12, got 99"),
        (DataError, np.array([1, -1]), {"first_context": 1}, "expected token ids 0 to 12, got -1"),
        (ConfigError, ids(9), {}, "first_context: expected a token id from 0 to 12, got None"),
        (ConfigError, ids(9), {"first_context": V}, "first_context: .* got 13"),
        (ConfigError, ids(9), {"first_context": 1, "window": 0}, "window: .* got 0"),
        (ConfigError, ids(9), {"first_context": 1, "batch_size": 4}, "batch_size: .* got 4; .*approximate_perplexity"),
        (ConfigError, ids(9), {"published": True, "batch_size": 0}, "batch_size: .* got 0"),
    ],
)
def test_refusals(model, error, stream, options, message):
    with pytest.raises(error, match=message):
        perplexity(model, stream, **options)


def test_refusals_of_the_approximation(model):
    with pytest.raises(ConfigError, match=r"batch_size: .* got 0"):
        approximate_perplexity(model, ids(9), first_context=1, batch_size=0)
    with pytest.raises(DataError, match="at least 1 tokens, got 0"):
        approximate_perplexity(model, ids(0), first_context=1)
