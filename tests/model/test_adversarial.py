"""Adversarial training: the shift's norm and direction, whatever the batch and the chunks, and the gradients."""

import pytest
import torch
from support.heads import head_config
from torch import Tensor

from ulmkit.model.adversarial import adversarial_loss
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier

V = 11
NO_DROPOUT = dict.fromkeys([f"{name}_dropout" for name in ("embedding", "input", "hidden", "output", "weight")], 0.0)
SIZE = 3.0


def tiny(chunk_steps: int = 70, gradient_steps: int = 420) -> AWDLSTMClassifier:
    torch.manual_seed(0)
    config = AWDLSTMConfig(embedding_size=5, hidden_size=7, layers=2, **NO_DROPOUT)
    model = AWDLSTMClassifier(
        config, V, head_config("single"), chunk_steps=chunk_steps, gradient_steps=gradient_steps
    ).double()
    model.head.eval()  # batch norm depends on batch mates otherwise
    return model


def batch(*lengths: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids (T, B), lengths (B,), targets (B,)."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, V, (max(lengths), len(lengths)), generator=generator)
    return ids, torch.tensor(lengths), torch.arange(len(lengths)) % 2


def loss_of(
    model: AWDLSTMClassifier, ids: Tensor, lengths: Tensor, targets: Tensor, size: float = SIZE, weight: float = 1.0
) -> Tensor:
    return adversarial_loss(model, lambda: model.head.loss(model(ids, lengths), targets), size, weight)


def gradients(model: AWDLSTMClassifier, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def by_the_formula(model: AWDLSTMClassifier, ids: Tensor, targets: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """The loss for documents of one length, and the shift (T, B, E)."""

    def loss(x: Tensor) -> Tensor:
        return model.head.loss(model.finish(model.step_embedded(x, model.begin(ids.shape[1]))), targets)

    x = model.encoder.embedding.weight[ids]
    plain = loss(x)
    (gradient,) = torch.autograd.grad(plain, x, retain_graph=True)
    shift = (
        size * model.encoder.embedding.weight.detach()[:V].std() * gradient / gradient.norm(dim=(0, 2), keepdim=True)
    )
    return (plain + loss(x + shift)) / 2, shift


@pytest.mark.parametrize("weight", [1.0, 7.0])
def test_loss_and_gradients_are_those_of_the_formula(weight):
    model = tiny()
    ids, lengths, targets = batch(6, 6, 6)
    expected, shift = by_the_formula(model, ids, targets, SIZE)
    spread = model.encoder.embedding.weight.detach()[:V].std()
    torch.testing.assert_close(shift.norm(dim=(0, 2)), (SIZE * spread).expand(3))
    actual = loss_of(model, ids, lengths, targets, weight=weight)
    torch.testing.assert_close(actual, expected)
    of_formula, of_function = gradients(model, expected), gradients(model, actual)
    assert of_function.keys() == of_formula.keys() == dict(model.named_parameters()).keys()
    for name, gradient in of_formula.items():
        torch.testing.assert_close(of_function[name], gradient)


def test_a_shift_raises_the_loss():
    model = tiny()
    ids, lengths, targets = batch(9, 4, 7)
    assert loss_of(model, ids, lengths, targets) > loss_of(model, ids, lengths, targets, size=1e-9)


def test_chunks_and_batch_mates_change_nothing():
    given = batch(9, 4, 7, 0)
    whole = loss_of(tiny(), *given)
    torch.testing.assert_close(loss_of(tiny(chunk_steps=2), *given), whole)
    ids, lengths, targets = given
    alone = [
        loss_of(tiny(), ids[: max(length, 1), [number]], lengths[[number]], targets[[number]])
        for number, length in enumerate(lengths.tolist())
    ]
    torch.testing.assert_close(torch.stack(alone).mean(), whole)


def test_what_gradients_do_not_reach_is_not_shifted():
    model = tiny(chunk_steps=2, gradient_steps=2)
    ids, lengths, targets = batch(8, 5)
    seen: list[Tensor] = []
    encode = model.encoder.encode

    def watch(x: Tensor, *rest: object) -> object:
        seen.append(x.detach().clone())
        return encode(x, *rest)

    model.encoder.encode = watch
    loss_of(model, ids, lengths, targets)
    plain, shifted = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    changed = [(before != after).any(dim=(0, 2)).tolist() for before, after in zip(plain, shifted, strict=True)]
    # Steps 0-1, 2-3, 4-5 and 6-7: the longer document learns from its last chunk alone, the other from its second.
    assert changed == [[False, False], [False, True], [False, True], [True]]


def test_frozen_embeddings_are_shifted_too():
    model = tiny()
    ids, lengths, targets = batch(5, 3)
    expected = loss_of(model, ids, lengths, targets)
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    actual = loss_of(model, ids, lengths, targets)
    torch.testing.assert_close(actual, expected)
    assert set(gradients(model, actual)) == {f"head.{name}" for name, _ in model.head.named_parameters()}


def test_the_encoder_is_left_as_it_was_after_an_error():
    model = tiny()

    def fail() -> Tensor:
        raise ValueError("no loss")

    with pytest.raises(ValueError, match="no loss"):
        adversarial_loss(model, fail, SIZE)
    assert model.encoder.on_embedded is None
