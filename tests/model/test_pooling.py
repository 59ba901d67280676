"""Readings against naive versions over the whole document, however it was cut; every gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ulmkit.model.pooling import PairPoolingState, Pooling, PoolingState, TokenOutputs

CPU = torch.device("cpu")
SIZE = 3


def naive_concat_pool(outputs: Tensor) -> Tensor:
    """(L, E) → (3E,)."""
    if len(outputs) == 0:
        return outputs.new_zeros(3 * outputs.shape[1])
    return torch.cat([outputs[-1], outputs.max(dim=0).values, outputs.mean(dim=0)])


def naive_pair(outputs: Tensor, boundary: int) -> Tensor:
    a, b = naive_concat_pool(outputs[:boundary]), naive_concat_pool(outputs[boundary:])
    return torch.cat([a, b, (a - b).abs(), a * b])


@st.composite
def cut_documents(draw: st.DrawFn) -> tuple[Tensor, list[int], list[list[int]]]:
    """Outputs (T, B, E), lengths, and for each piece the steps it holds of each document."""
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    remaining, pieces = list(lengths), []
    while any(remaining):
        piece = [draw(st.integers(0, left)) for left in remaining]
        pieces.append(piece)
        remaining = [left - taken for left, taken in zip(remaining, piece, strict=True)]
        if len(pieces) > 5:
            pieces.append(remaining)
            break
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    outputs = torch.randn(max(lengths), len(lengths), SIZE, generator=generator, dtype=torch.float64)
    return outputs, lengths, pieces


def read(pooling: Pooling, outputs: Tensor, pieces: list[list[int]]) -> Tensor:
    """Feed the pieces, each document's moved to the front of its column and padded with what must not be read."""
    seen = [0] * outputs.shape[1]
    for piece in pieces:
        padded = torch.full((max(piece), len(piece), SIZE), torch.nan, dtype=outputs.dtype)
        columns = []
        for document, steps in enumerate(piece):
            column = outputs[seen[document] : seen[document] + steps, document]
            columns.append(torch.cat([column, padded[steps:, document]]))
            seen[document] += steps
        pooling = pooling.update(torch.stack(columns, dim=1), torch.tensor(piece))
    return pooling.features()


def gradient(features: Tensor, outputs: Tensor) -> Tensor:
    weights = torch.linspace(-1.0, 2.0, features.numel(), dtype=features.dtype).view(features.shape)
    return torch.autograd.grad((features * weights).sum(), outputs, allow_unused=True)[0]


@settings(max_examples=30, deadline=None)
@given(cut_documents())
def test_concat_pooling_is_that_of_the_whole_document(case: tuple[Tensor, list[int], list[list[int]]]) -> None:
    outputs, lengths, pieces = case
    outputs.requires_grad_()
    features = read(PoolingState.empty(len(lengths), SIZE, device=CPU, dtype=torch.float64), outputs, pieces)
    expected = torch.stack([naive_concat_pool(outputs[:length, i]) for i, length in enumerate(lengths)])
    torch.testing.assert_close(features, expected)
    if pieces:
        torch.testing.assert_close(gradient(features, outputs), gradient(expected, outputs))


@settings(max_examples=30, deadline=None)
@given(cut_documents(), st.data())
def test_pair_pooling_is_that_of_both_whole_texts(
    case: tuple[Tensor, list[int], list[list[int]]], data: st.DataObject
) -> None:
    outputs, lengths, pieces = case
    boundaries = [data.draw(st.integers(0, length + 1)) for length in lengths]
    outputs.requires_grad_()
    features = read(PairPoolingState.empty(torch.tensor(boundaries), SIZE, dtype=torch.float64), outputs, pieces)
    rows = zip(lengths, boundaries, strict=True)
    expected = torch.stack([naive_pair(outputs[:length, i], boundary) for i, (length, boundary) in enumerate(rows)])
    torch.testing.assert_close(features, expected)
    if pieces:
        torch.testing.assert_close(gradient(features, outputs), gradient(expected, outputs))


@settings(max_examples=30, deadline=None)
@given(cut_documents())
def test_token_outputs_are_those_of_the_whole_document(case: tuple[Tensor, list[int], list[list[int]]]) -> None:
    outputs, lengths, pieces = case
    outputs.requires_grad_()
    features = read(TokenOutputs.empty(len(lengths), SIZE, device=CPU, dtype=torch.float64), outputs, pieces)
    valid = torch.arange(max(lengths)).unsqueeze(1) < torch.tensor(lengths)
    expected = torch.where(valid.unsqueeze(2), outputs, 0.0)
    torch.testing.assert_close(features, expected)
    if pieces:
        torch.testing.assert_close(gradient(features, outputs), gradient(expected, outputs))


@pytest.mark.parametrize("kind", ["document", "pair", "tokens"])
def test_an_update_of_the_first_documents_leaves_the_others(kind: str) -> None:
    outputs = torch.randn(6, 3, SIZE, dtype=torch.float64)
    empty: Pooling = {
        "document": PoolingState.empty(3, SIZE, device=CPU, dtype=torch.float64),
        "pair": PairPoolingState.empty(torch.tensor([1, 4, 2]), SIZE, dtype=torch.float64),
        "tokens": TokenOutputs.empty(3, SIZE, device=CPU, dtype=torch.float64),
    }[kind]
    by_prefix = empty.update(outputs[:2]).update(outputs[2:5, :2], torch.tensor([3, 1])).update(outputs[5:, :1])
    by_length = empty.update(outputs, torch.tensor([6, 3, 2]))
    torch.testing.assert_close(by_prefix.features(), by_length.features())


def test_worked_example() -> None:
    outputs = torch.tensor([[[1.0, -4.0]], [[3.0, -2.0]], [[2.0, -3.0]]])  # T 3, B 1, E 2
    features = PoolingState.empty(1, 2, device=CPU, dtype=torch.float32).update(outputs).features()
    assert features.tolist() == [[2.0, -3.0, 3.0, -2.0, 2.0, -3.0]]


def test_no_steps_at_all_is_zero() -> None:
    nothing = torch.zeros(0, 2, SIZE)
    document = PoolingState.empty(2, SIZE, device=CPU, dtype=torch.float32).update(nothing)
    pair = PairPoolingState.empty(torch.tensor([0, 5]), SIZE, dtype=torch.float32).update(nothing)
    assert torch.equal(document.features(), torch.zeros(2, 3 * SIZE))
    assert torch.equal(pair.features(), torch.zeros(2, 12 * SIZE))
    tokens = TokenOutputs.empty(2, SIZE, device=CPU, dtype=torch.float32).update(nothing)
    assert tokens.features().shape == (0, 2, SIZE)


def test_at_a_tie_the_earlier_chunk_has_the_whole_gradient() -> None:
    outputs = torch.tensor([[[5.0]], [[5.0]]], requires_grad=True)
    state = PoolingState.empty(1, 1, device=CPU, dtype=torch.float32).update(outputs[:1]).update(outputs[1:])
    (found,) = torch.autograd.grad(state.features()[0, 1], outputs)
    assert found.flatten().tolist() == [1.0, 0.0]


def test_the_mean_of_bf16_outputs_is_summed_in_fp32() -> None:
    outputs = torch.full((3000, 1, 1), 1.0078125, dtype=torch.bfloat16)  # in bf16 the sum stops growing at 256
    state = PoolingState.empty(1, 1, device=CPU, dtype=torch.bfloat16)
    for chunk in outputs.split(70):
        state = state.update(chunk)
    assert state.features().dtype == torch.float32
    assert state.features()[0, 2].item() == pytest.approx(1.0078125, abs=1e-6)


def test_gradcheck() -> None:
    outputs = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([5, 3])

    def document(x: Tensor) -> Tensor:
        empty = PoolingState.empty(2, 2, device=CPU, dtype=torch.float64)
        return empty.update(x[:2]).update(x[2:], lengths - 2).features()

    def pair(x: Tensor) -> Tensor:
        empty = PairPoolingState.empty(torch.tensor([3, 1]), 2, dtype=torch.float64)
        return empty.update(x[:2]).update(x[2:], lengths - 2).features()

    assert torch.autograd.gradcheck(document, outputs)
    assert torch.autograd.gradcheck(pair, outputs)
