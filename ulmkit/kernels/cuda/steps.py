"""Fallback without a persistent kernel: one GEMM and one pointwise kernel per step, replayed as CUDA graphs."""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from ctypes import Structure, c_int64, c_void_p, sizeof
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ulmkit.kernels.cuda.arguments import Backward, Forward
from ulmkit.kernels.cuda.fused_masks import Mask, lay_out_weights, room_for_weights
from ulmkit.kernels.cuda.launcher import Kernels
from ulmkit.kernels.cuda.products import product_into

MOST_SHAPES = 16
"""Number of shapes whose recordings are cached, the latest used."""

_LONGEST = 64  # most steps of a recording; sequences are composed of recordings of powers of two


class Recordings:
    """Runs sequences, and caches the recordings of the latest shapes.

    Args:
        kernels: Kernels of a device.
    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._kept: OrderedDict[tuple[object, ...], _StepByStep] = OrderedDict()
        self._weights: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()
        self._lock = threading.Lock()

    def run(
        self, direction: str, like: Tensor, arguments: Structure, w_hh: Tensor, mask: Mask, first: Tensor | None = None
    ) -> None:
        """Run all steps of a batch of sequences.

        Args:
            direction: "forward" or "backward".
            like: Tensor of the products' type and device.
            arguments: `Forward` or `Backward`.
            w_hh: (4H, H) fp32, contiguous.
            mask: Mask of w_hh.
            first: (B, H) state before the first step, None for zeros.
        """
        shape = arguments.sequences.batch, arguments.sequences.hidden_size
        with self._lock:  # launches of two threads on one stream must not interleave
            if self._kernels.is_recording():  # by the caller, whose recording needs buffers of its own
                room = room_for_weights(direction, like, w_hh.shape[1])
                steps = _StepByStep(self._kernels, direction, like, *shape, room, records=False)
            else:
                steps = self._of_shape(direction, like, *shape)
            lay_out_weights(self._kernels, direction, w_hh, mask, steps.weights)
            steps.run(arguments, first)

    def _of_shape(self, direction: str, like: Tensor, batch: int, hidden: int) -> "_StepByStep":
        weights_key = self._kernels.stream(), like.dtype, direction, hidden
        key = (*weights_key, batch)
        steps = self._kept.pop(key, None)
        if steps is None:
            weights = self._weights.get(weights_key)
            if weights is None:
                weights = self._weights[weights_key] = room_for_weights(direction, like, hidden)
            steps = _StepByStep(self._kernels, direction, like, batch, hidden, weights, records=True)
        self._kept[key] = steps
        if len(self._kept) > MOST_SHAPES:
            self._kept.popitem(last=False)
        return steps


@functools.cache
def recordings(kernels: Kernels) -> Recordings:
    """Return the recordings of a device."""
    return Recordings(kernels)


class _StepByStep:
    """Runs the steps of sequences of any length, for one direction, shape and stream.

    Weights, states, products and arguments have fixed addresses, so that one recording serves all calls.

    Args:
        kernels: Kernels of the device.
        direction: "forward" or "backward".
        like: Tensor of the products' type and device.
        batch: B.
        hidden: H.
        weights: Buffer for the weights, which other shapes of the same stream may share.
        records: Whether to record launches when they are repeated, instead of launching each time.
    """

    def __init__(
        self, kernels: Kernels, direction: str, like: Tensor, batch: int, hidden: int, weights: Tensor, records: bool
    ) -> None:
        self.weights = weights
        self._kernels = kernels
        self._direction = direction
        self._records = records
        self._elements = batch * hidden
        self._state = like.new_zeros(batch, weights.shape[1])
        self._product = like.new_empty(batch, weights.shape[0], dtype=torch.float32)
        # The number of steps done, as one word, then the arguments.
        room = sizeof(c_int64) + sizeof(Forward if direction == "forward" else Backward)
        self._call = like.new_empty(room, dtype=torch.uint8)
        self._recorded: dict[int, Callable[[], None] | None] = {}

    def run(self, arguments: Structure, first: Tensor | None) -> None:
        """Run all steps; see `Recordings.run`."""
        # The backward pass takes one step more, to the state before the first step.
        left = arguments.sequences.steps + (self._direction == "backward")
        self._state.zero_()
        if first is not None:
            self._state[:, : first.shape[1]] = first
        self._launch(f"begin_{self._direction}", 1, arguments, c_void_p(self._call.data_ptr()))
        while left:
            steps = min(_LONGEST, 1 << left.bit_length() - 1)
            self._do(steps)
            left -= steps

    def _do(self, steps: int) -> None:
        """Run the next steps.

        The first time they are launched directly, because loading a kernel is not allowed in a recording.
        """
        if not self._records or steps not in self._recorded:
            self._recorded[steps] = None
            self._take(steps)
            return
        replay = self._recorded[steps]
        if replay is None:
            replay = self._recorded[steps] = self._kernels.record(lambda: self._take(steps))
        replay()

    def _take(self, steps: int) -> None:
        call, product, state = (c_void_p(tensor.data_ptr()) for tensor in (self._call, self._product, self._state))
        for number in range(steps):
            product_into(self._product, self._state, self.weights.T)
            self._launch(f"{self._direction}_step", self._elements, call, c_int64(number), product, state)
        self._launch("advance", 1, call, c_int64(steps))

    def _launch(self, name: str, elements: int, *arguments: object) -> None:
        self._kernels.pointwise("lstm_steps.cu", name, self._state.dtype, elements, *arguments)
