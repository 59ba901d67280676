"""Document features: the pooled states of every layer, whatever a document is batched with."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ulmkit.model import document_features as module
from ulmkit.model.awd_lstm import AWDLSTM, Encoder
from ulmkit.model.cells import QRNN, Cell
from ulmkit.model.config import AWDLSTMConfig, feature_count
from ulmkit.model.document_features import FeatureState, document_features
from ulmkit.model.int8_encoder import Int8Encoder

V = 13
LENGTHS = st.lists(st.integers(0, 20), min_size=1, max_size=5)


def tiny(cell: Cell | None = None) -> AWDLSTM:
    torch.manual_seed(0)
    config = AWDLSTMConfig(embedding_size=4, hidden_size=6, layers=3, **({} if cell is None else {"cell": cell}))
    return AWDLSTM(config, V).eval()


ENCODERS = {"lstm": tiny(), "qrnn": tiny(QRNN()), "int8": Int8Encoder(tiny())}


def naive(encoder: Encoder, ids: Tensor) -> Tensor:
    """One document alone, in one piece."""
    output = encoder(ids.unsqueeze(1))
    table = encoder.prepare(1).table
    embedded = torch.nn.functional.embedding(ids, table) if isinstance(table, Tensor) else table.rows(ids)
    pooled = [embedded.mean(0)]
    for layer in output.layers:
        pooled += [layer[-1, 0], layer[:, 0].amax(0), layer[:, 0].mean(0)]
    return torch.cat(pooled)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@given(lengths=LENGTHS, padding=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_features_are_those_of_the_document_alone(
    encoder: Encoder, lengths: list[int], padding: int, seed: int
) -> None:
    ids = torch.randint(0, V, (max(lengths) + padding, len(lengths)), generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_STEPS", 7)
        features = document_features(encoder, ids, torch.tensor(lengths))
    assert features.shape == (len(lengths), feature_count(encoder.config))
    for document, length in enumerate(lengths):
        if length == 0:
            assert not features[document].any()
        else:
            with torch.no_grad():
                torch.testing.assert_close(
                    features[document], naive(encoder, ids[:length, document]), atol=1e-5, rtol=0
                )


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_features_are_alike_wherever_a_document_is_cut(encoder: Encoder) -> None:
    ids = torch.randint(0, V, (12, 2), generator=torch.Generator().manual_seed(0))
    state = FeatureState.begin(encoder, 2)
    assert not state.features().any()
    for start, stop in ((0, 1), (1, 1), (1, 8), (8, 12)):
        state = state.step(encoder, ids[start:stop])
        if stop > start:
            whole = document_features(encoder, ids[:stop], torch.tensor([stop, stop]))
            torch.testing.assert_close(state.features(), whole, atol=1e-6, rtol=0)
