"""The cache of prepared weights: threads, copies and pickles."""

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.prepared import PreparedCache

V = 50
CONFIG = AWDLSTMConfig(embedding_size=24, hidden_size=40, layers=2)
THREADS = 8


def classifier() -> AWDLSTMClassifier:
    torch.manual_seed(0)
    return AWDLSTMClassifier(CONFIG, V, SingleLabelConfig(classes=3, hidden_size=6)).eval()


def batches() -> list[tuple[Tensor, Tensor]]:
    """Ids (T, B) and lengths (B,) of batches of several shapes."""
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for number in range(24):
        steps, batch = 5 + number % 7, 1 + number % 4
        lengths = torch.randint(steps + 1, (batch,), generator=generator)
        drawn.append((torch.randint(V, (steps, batch), generator=generator), lengths))
    return drawn


def in_threads(work: Callable[[int], object]) -> list:
    """Results of `work(0)` to `work(7)`, all begun at once, each in its own thread."""
    begin = threading.Barrier(THREADS)

    def wait_and_work(number: int) -> object:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(wait_and_work, range(THREADS)))


@pytest.mark.parametrize("is_int8", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_with_one_classifier_predict_what_one_thread_does(is_int8, precision):
    expected_from = classifier()
    model = copy.deepcopy(expected_from)
    if is_int8:
        expected_from, model = expected_from.to_int8(), model.to_int8()
    else:
        expected_from.encoder.precision = model.encoder.precision = precision
    documents = batches()

    def predict(reader: AWDLSTMClassifier, number: int) -> list[Tensor]:
        turned = documents[number:] + documents[:number]
        with torch.no_grad():
            outputs = [reader(ids, lengths) for ids, lengths in turned]
        return outputs[len(outputs) - number :] + outputs[: len(outputs) - number]

    expected = predict(expected_from, 0)
    for outputs in in_threads(lambda number: predict(model, number)):
        assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))


def test_threads_lay_the_weights_out_once():
    model = classifier()

    def prepare(_: int) -> object:
        with torch.no_grad():
            return model.encoder.prepare(1)

    assert len({id(prepared) for prepared in in_threads(prepare)}) == 1


def test_a_thread_with_gradients_does_not_disturb_the_others():
    model, documents = classifier(), batches()
    with torch.no_grad():
        expected = [model(ids, lengths) for ids, lengths in documents]

    def predict(number: int) -> list[Tensor]:
        with torch.set_grad_enabled(number % 2 == 0):
            return [model(ids, lengths).detach() for ids, lengths in documents]

    for outputs in in_threads(predict):
        for a, b in zip(outputs, expected, strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_prepares_its_own_weights(duplicate):
    torch.manual_seed(0)
    model, ids = AWDLSTM(CONFIG, V).eval(), torch.randint(V, (5, 2))
    with torch.no_grad():
        before, kept = model(ids).raw, model.prepare(2)
        twin = duplicate(model)
        assert torch.equal(twin(ids).raw, before)
        assert twin.prepare(2) is not kept
        twin.layers[0].weight_hh.mul_(2.0)
        assert not torch.equal(twin(ids).raw, before)
        assert model.prepare(2) is kept


def test_a_pass_with_gradients_or_in_training_is_not_kept():
    cache, module, made = PreparedCache(), torch.nn.Linear(2, 2), []

    def prepare() -> object:
        made.append(object())
        return made[-1]

    with torch.no_grad():
        assert cache.get(module, "options", prepare) is not cache.get(module, "options", prepare)
        module.eval()
        first = cache.get(module, "options", prepare)
        assert cache.get(module, "options", prepare) is first
        assert cache.get(module, "others", prepare) is not first
    assert cache.get(module, "others", prepare) is not cache.get(module, "others", prepare)
