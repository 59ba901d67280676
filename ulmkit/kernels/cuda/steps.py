"""The LSTM step by step, a product and a launch each, in launches that are recorded once and done again."""

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
"""Whose recordings are kept: those used last."""

_LONGEST = 64  # steps of a recording: sequences are put together from recordings of powers of two


class Recordings:
    """Runs sequences, and keeps the recordings of the shapes used last. Args: kernels: of a device."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._kept: OrderedDict[tuple[object, ...], _StepByStep] = OrderedDict()
        self._weights: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()
        self._lock = threading.Lock()

    def run(
        self,
        direction: str,
        like: Tensor,
        arguments: Structure,
        w_hh: Tensor,
        mask: Mask,
        first: Tensor | None = None,
    ) -> None:
        """All steps of sequences.

        Args: direction: "forward" or "backward". like: of the products' type, on their device. arguments: `Forward` or
            `Backward`. w_hh: (4H, H) fp32, contiguous. first: (B, H) state before the first step, None for zeros.
        """
        shape = arguments.sequences.batch, arguments.sequences.hidden_size
        with self._lock:  # what two threads start on one stream must not be mixed
            if self._kernels.is_recording():  # by the caller, whose recording needs places of its own
                room = room_for_weights(direction, like, w_hh.shape[1])
                steps = _StepByStep(self._kernels, direction, like, *shape, room, records=False)
            else:
                steps = self._of_shape(direction, like, *shape)
            lay_out_weights(self._kernels, direction, w_hh, mask, steps.weights)
            steps.run(arguments, first)

    def _of_shape(self, direction: str, like: Tensor, batch: int, hidden: int) -> "_StepByStep":
        weights_key = self._kernels.stream(), like.dtype, direction, hidden
        key = (*weights_key, batch)
        found = self._kept.pop(key, None)
        if found is None:
            weights = self._weights.get(weights_key)
            if weights is None:
                weights = self._weights[weights_key] = room_for_weights(direction, like, hidden)
            found = _StepByStep(self._kernels, direction, like, batch, hidden, weights, records=True)
        self._kept[key] = found
        if len(self._kept) > MOST_SHAPES:
            self._kept.popitem(last=False)
        return found


@functools.cache
def recordings(kernels: Kernels) -> Recordings:
    """Those of a device."""
    return Recordings(kernels)


class _StepByStep:
    """All steps of sequences of any length in one direction, for one shape and one stream.

    The weights, the states between the steps, the products and the call's arguments have fixed places, so that a
    recording of some steps serves all calls.

    Args: kernels: that are launched. direction: "forward" or "backward". like: of the products' type, on their device.
        weights: their place, which may be shared with other shapes of the same stream. records: whether launches are
        recorded where they are done for a second time; if not, each is done at once.
    """

    def __init__(
        self, kernels: Kernels, direction: str, like: Tensor, batch: int, hidden: int, weights: Tensor, records: bool
    ) -> None:
        self.weights = weights
        self._kernels, self._direction, self._records = kernels, direction, records
        self._elements = batch * hidden
        self._state = like.new_zeros(batch, weights.shape[1])
        self._product = like.new_empty(batch, weights.shape[0], dtype=torch.float32)
        # a word for the steps that are done, then the arguments
        room = sizeof(c_int64) + sizeof(Forward if direction == "forward" else Backward)
        self._call = like.new_empty(room, dtype=torch.uint8)
        self._recorded: dict[int, Callable[[], None] | None] = {}

    def run(self, arguments: Structure, first: Tensor | None) -> None:
        """Do all steps. Args: as `Recordings.run`."""
        # the backward goes once more: to the state before the first step
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
        """The next steps: at once the first time, which also loads what a recording must not load."""
        if not self._records or steps not in self._recorded:
            self._recorded[steps] = None
            self._take(steps)
            return
        recorded = self._recorded[steps]
        if recorded is None:
            recorded = self._recorded[steps] = self._kernels.record(lambda: self._take(steps))
        recorded()

    def _take(self, steps: int) -> None:
        call, product, state = (c_void_p(tensor.data_ptr()) for tensor in (self._call, self._product, self._state))
        for number in range(steps):
            product_into(self._product, self._state, self.weights.T)
            self._launch(f"{self._direction}_step", self._elements, call, c_int64(number), product, state)
        self._launch("advance", 1, call, c_int64(steps))

    def _launch(self, name: str, elements: int, *arguments: object) -> None:
        self._kernels.pointwise("lstm_steps.cu", name, self._state.dtype, elements, *arguments)
