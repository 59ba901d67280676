"""A classifier as a torch.export program, which needs torch alone; inputs and outputs as in `onnx_graph`."""

import copy
import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ulmkit.model.aligned import AlignedRows
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import MultiLabelHead, NumberHead
from ulmkit.model.lstm_layer import LSTMLayer
from ulmkit.portable.state import StateLayout

_EXAMPLE = (3, 7)
"""Documents and tokens of the example that is traced; both are free in the program."""

_SHUT = 1e4
"""Input of a gate at which its sigmoid is 0 or 1 in float32, whatever is added to it."""


class PortableClassifier(nn.Module):
    """A classifier that reads documents piece by piece, of torch's own operators alone.

    Args:
        model: The classifier, with float weights, which are copied to the CPU.
        temperature: Divides the logits before the softmax.
    """

    embedding: Tensor

    @property
    def state_size(self) -> int:
        """Values of a document's state."""
        return self._layout.total

    def __init__(self, model: AWDLSTMClassifier, temperature: float) -> None:
        super().__init__()
        self._layout = StateLayout.of(model.config)
        rows = cast(AlignedRows, model.encoder.embedding).weight[: model.encoder.vocab_size]
        self.register_buffer("embedding", _copied(rows))
        for number, layer in enumerate(cast(list[LSTMLayer], model.encoder.layers)):
            self.register_buffer(f"weight_ih_{number}", _marked_weight(_copied(layer.weight_ih)))
            self.register_buffer(f"weight_hh_{number}", _copied(layer.weight_hh))
            self.register_buffer(f"bias_{number}", _copied(layer.bias()))
        self.head = copy.deepcopy(model.head).cpu().float().eval().requires_grad_(False)
        self._temperature = temperature
        self.eval()

    def forward(self, ids: Tensor, lengths: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Read the next piece of each document.

        Args:
            ids: (B, T) int64, T >= 1, padded with any id.
            lengths: (B,) int64, valid ids of each document.
            state: (B, S) float32; zeros before the first token.

        Returns:
            Predictions (B, C) or (B,); logits (B, C) unless it is a number; the new state (B, S).
        """
        before = dict(zip(self._layout.sizes, state.split(list(self._layout.sizes.values()), dim=1), strict=True))
        after: dict[str, Tensor] = {}
        x = nn.functional.embedding(ids.t(), self.embedding)  # (T, B, E)
        valid = (torch.arange(ids.shape[1], device=ids.device).unsqueeze(1) < lengths).unsqueeze(2)  # (T, B, 1)
        for number in range(len(self._layout.hidden_sizes)):
            hidden, cell = before[f"hidden_{number}"], before[f"cell_{number}"]
            weights = (getattr(self, f"{name}_{number}") for name in ("weight_ih", "weight_hh", "bias"))
            x, after[f"hidden_{number}"], after[f"cell_{number}"] = _lstm(x, valid, hidden, cell, *weights)
        count = before["count"] + lengths.unsqueeze(1).to(x.dtype)
        newest = x.masked_fill(~valid, -torch.inf).amax(dim=0)  # (B, E)
        maximum = torch.maximum(torch.where(before["count"] > 0, before["maximum"], -torch.inf), newest)
        after["maximum"] = torch.where(count > 0, maximum, 0.0)
        after["total"] = before["total"] + x.sum(dim=0)
        after["count"] = count
        last = after[f"hidden_{len(self._layout.hidden_sizes) - 1}"]
        outputs = self.head(torch.cat([last, after["maximum"], after["total"] / count.clamp(min=1)], dim=1))
        new_state = torch.cat([after[name] for name in self._layout.sizes], dim=1)
        if isinstance(self.head, NumberHead):
            return outputs, new_state
        scaled = outputs if isinstance(self.head, MultiLabelHead) else outputs / self._temperature
        return self.head.predict(scaled), outputs, new_state


def export_program(module: PortableClassifier) -> torch.export.ExportedProgram:
    """Trace the program, for any number of documents and tokens."""
    documents, tokens = _EXAMPLE
    state = torch.zeros(documents, module.state_size)
    example = (torch.zeros(_EXAMPLE, dtype=torch.int64), torch.full((documents,), tokens), state)
    batch, length = torch.export.Dim("documents", min=1), torch.export.Dim("tokens", min=1)
    shapes = ({0: batch, 1: length}, {0: batch}, {0: batch})
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        if node.target is _opaque_lstm():
            node.target = torch.ops.aten.lstm.input
    program.graph_module.recompile()
    return program


def _lstm(
    x: Tensor, valid: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer by torch's kernels, whose state stays as it is at steps that are not valid.

    The kernels know no lengths. Each step has one more input, 1 where it is not valid, with weights that shut the
    input gate and open the forget gate all the way: the cell state passes through unchanged.

    Args:
        x: (T, B, E).
        valid: (T, B, 1) bool; true up to a document's length.
        h0: (B, H).
        c0: (B, H).
        w_ih: (4H, E + 1), with the weights of the additional input.
        w_hh: (4H, H).
        bias: (4H,).

    Returns:
        y (T, B, H), zero where it is not valid, and the hidden and cell state (B, H) after the last valid step.
    """
    marked = torch.cat([x, (~valid).to(x.dtype)], dim=2)
    states = [h0.unsqueeze(0).contiguous(), c0.unsqueeze(0).contiguous()]
    weights = [w_ih, w_hh, bias, torch.zeros_like(bias)]
    y, _, c = _opaque_lstm()(marked, states, weights, True, 1, 0.0, False, False, False)
    y = y.masked_fill(~valid, 0.0)
    steps = valid.sum(dim=0)  # (B, 1)
    last = (steps - 1).clamp(min=0).expand(h0.shape).unsqueeze(0)  # (1, B, H)
    return y, torch.where(steps > 0, y.gather(0, last).squeeze(0), h0), c.squeeze(0)


def _marked_weight(weight: Tensor) -> Tensor:
    """Input weight (4H, E + 1) of an LSTM layer, the last column for the input that says that a step is not valid."""
    hidden = len(weight) // 4
    shut = weight.new_tensor([-_SHUT, _SHUT, 0.0, 0.0]).repeat_interleave(hidden).unsqueeze(1)  # gates i, f, g, o
    return torch.cat([weight, shut], dim=1)


def _opaque_lstm() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """An operator that computes torch.lstm, and takes its place while a program is traced.

    torch.export would unroll torch.lstm itself into as many steps as the example has.
    """
    _define_opaque_lstm()
    return cast(Callable[..., tuple[Tensor, Tensor, Tensor]], torch.ops.ulmkit_export.lstm.default)


@functools.cache
def _define_opaque_lstm() -> torch.library.Library:
    """Define the operator, which is there as long as the library that this returns."""
    library = torch.library.Library("ulmkit_export", "FRAGMENT")
    library.define(
        "lstm(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
        "bool bidirectional, bool batch_first) -> (Tensor, Tensor, Tensor)"
    )

    def shapes(x: Tensor, states: list[Tensor], *_: object) -> tuple[Tensor, Tensor, Tensor]:
        hidden, cell = states
        return x.new_empty(*x.shape[:2], hidden.shape[2]), torch.empty_like(hidden), torch.empty_like(cell)

    library.impl("lstm", shapes, "Meta")
    library.impl("lstm", lambda *arguments: torch.ops.aten.lstm.input(*arguments), "CPU")
    return library


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu().clone()
