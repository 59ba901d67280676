"""Adversarial training of a network: the loss of embeddings that are shifted to where it rises most.

    g = dL(x) / dx,  r = eps s g / |g|       for each document, over all of its embeddings x
    loss = (L(x) + L(x + r)) / 2

s is the standard deviation of the embedding matrix.

Source: Miyato, Dai & Goodfellow 2017, "Adversarial training methods for semi-supervised text classification",
    arXiv:1605.07725, section 3, equations 5 and 6. Deviation: there, embeddings are scaled to unit variance; here, eps
    is scaled by theirs, so that a language model's embeddings stay as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ulmkit.model.awd_lstm import AWDLSTM
from ulmkit.model.classifier import AWDLSTMClassifier


def adversarial_loss(model: AWDLSTMClassifier, loss: Callable[[], Tensor], size: float, weight: float = 1.0) -> Tensor:
    """The mean of a batch's loss as it is and with its embeddings shifted by `size`.

    It costs two forward and two backward passes; the backward pass of the loss as it is runs in here.

    Args:
        model: The classifier, whose weights are floats.
        loss: Computes the mean loss of the classifier over the documents of a batch, ().
        size: Norm of a document's shift, eps, in standard deviations of the embedding matrix.
        weight: Weight of this loss in the step's, see `StepResult`. It matters where several processes share a step:
            through the head's batch norm, the loss of each depends on the documents of all.

    Source: Miyato, Dai & Goodfellow 2017, arXiv:1605.07725, section 3, equations 5 and 6.
    """
    encoder = model.encoder
    assert isinstance(encoder, AWDLSTM)
    read: list[Tensor] = []

    def record(x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not x.requires_grad:
            x = x.detach().requires_grad_()  # the embedding matrix is frozen
        read.append(x)
        return x

    with _on_embedded(encoder, record):
        plain = loss()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    inputs = [x for x in read if x.requires_grad]
    gradients = torch.autograd.grad(plain * weight, [*parameters, *inputs], allow_unused=True)
    known = _KnownGradients.apply(plain.detach() * weight, gradients[: len(parameters)], *parameters) / weight
    deviation = encoder.embedding.weight.detach()[: encoder.vocab_size].std()
    shifts = iter(_shifts(read, gradients[len(parameters) :], size * deviation))
    with _on_embedded(encoder, lambda x: x if (shift := next(shifts)) is None else x + shift):
        shifted = loss()
    return (known + shifted) / 2.0


def _shifts(read: Sequence[Tensor], gradients: Sequence[Tensor | None], size: Tensor) -> list[Tensor | None]:
    """The shifts of the pieces (T, B, E) in `read`: along the gradient, of norm `size` over a document's pieces."""
    of_inputs = iter(gradients)
    all_gradients = [next(of_inputs) if x.requires_grad else None for x in read]
    squares = torch.zeros(read[0].shape[1], device=read[0].device)  # (B,)
    for gradient in all_gradients:
        if gradient is not None:
            squares[: gradient.shape[1]] += gradient.float().square().sum(dim=(0, 2))
    scales = size / squares.sqrt().clamp_min(torch.finfo(torch.float32).tiny)  # documents without gradient stay
    return [
        None if gradient is None else (gradient.float() * scales[: gradient.shape[1], None]).to(gradient.dtype)
        for gradient in all_gradients
    ]


@contextmanager
def _on_embedded(encoder: AWDLSTM, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let the encoder pass its embedded words through `change` inside the block."""
    encoder.on_embedded = change
    try:
        yield
    finally:
        encoder.on_embedded = None


class _KnownGradients(torch.autograd.Function):
    """A loss whose gradients with respect to some parameters have been computed already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: Sequence[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(None if known is None else gradient * known for known in ctx.gradients)
