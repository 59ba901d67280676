import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_language_model

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import DocumentScore, score_documents
from ulmkit.model.language_model import AWDLSTMLanguageModel

V = 11


def language_model() -> AWDLSTMLanguageModel:
    torch.manual_seed(0)
    model = make_language_model(V, embedding_size=8, hidden_size=12, layers=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


MODEL = language_model()


def naive(document: list[int]) -> float:
    """Log-probability of all tokens but the first, in one pass."""
    model = copy.deepcopy(MODEL).double().eval()
    with torch.no_grad():
        logits, _ = model(torch.tensor(document)[:, None])
    log_p = logits[:, 0].log_softmax(dim=-1)
    return sum(log_p[t, token].item() for t, token in enumerate(document[1:]))


@settings(max_examples=12, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, V - 1), max_size=15), max_size=5),
    batch_size=st.integers(1, 5),
    window=st.integers(1, 9),
)
def test_scores_do_not_depend_on_batch_mates_order_or_window(documents, batch_size, window):
    scores = score_documents(MODEL, [np.array(d) for d in documents], batch_size=batch_size, window=window)
    for document, score in zip(documents, scores, strict=True):
        expected = naive(document) if len(document) > 1 else 0.0
        assert score.log_probability == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert score.tokens == max(len(document) - 1, 0)


def test_first_token_is_predicted_from_the_first_context_if_there_is_one():
    document = [4, 0, 7, 0]
    given_first, predicted_first = (
        score_documents(MODEL, [np.array(document)], first_context=context, unk_id=0)[0] for context in (None, 2)
    )
    assert (given_first.tokens, predicted_first.tokens) == (3, 4)
    assert predicted_first.log_probability == pytest.approx(naive([2, *document]), rel=1e-5)
    assert predicted_first.perplexity == pytest.approx(math.exp(-naive([2, *document]) / 4), rel=1e-5)
    assert given_first.unknown_tokens == 2
    assert score_documents(MODEL, [np.array([0, 1])], unk_id=0)[0].unknown_tokens == 0  # given, not predicted


def test_empty_documents_and_json():
    empty, one = score_documents(MODEL, [np.array([]), np.array([3])])
    assert empty == one == DocumentScore(0.0, 0, 0)
    assert math.copysign(1.0, empty.log_probability) == 1.0
    assert empty.to_dict() == {"log_probability": 0.0, "tokens": 0, "unknown_tokens": 0, "perplexity": None}
    assert DocumentScore(-1e6, 1, 0).to_dict()["perplexity"] is None
    assert score_documents(MODEL, []) == []


def test_mode_is_restored():
    MODEL.train()
    score_documents(MODEL, [np.array([1, 2])] * 5, batch_size=2)
    assert MODEL.training


def test_refusals():
    with pytest.raises(DataError, match="document 1: expected token ids 0 to 10, got 11"):
        score_documents(MODEL, [np.array([1]), np.array([1, 11])])
    with pytest.raises(ConfigError, match="first_context: expected a token id from 0 to 10, got 11"):
        score_documents(MODEL, [], first_context=11)
    with pytest.raises(ConfigError, match=r"batch_size: .* got 0"):
        score_documents(MODEL, [], batch_size=0)
    with pytest.raises(ConfigError, match=r"window: .* got 0"):
        score_documents(MODEL, [], window=0)
