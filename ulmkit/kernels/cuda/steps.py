"""The LSTM step by step, a product and a launch each, in launches that are recorded once and done again."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from ctypes import Structure, c_float, c_int64, c_void_p, sizeof
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ulmkit.kernels.cuda.arguments import Backward, Forward
from ulmkit.kernels.cuda.plan import TILE, round_up

if TYPE_CHECKING:
    from ulmkit.kernels.cuda.launcher import Kernels

MOST_SHAPES = 16
"""Whose recordings are kept: those used last."""

_LONGEST = 64  # steps of a recording: sequences are put together from recordings of powers of two


class Recordings:
    """Runs sequences, and keeps the recordings of the shapes used last. Args: kernels: of a device."""

    def __init__(self, kernels: "Kernels") -> None:
        self._kernels = kernels
        self._kept: OrderedDict[tuple[object, ...], _StepByStep] = OrderedDict()
        self._masked: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()
        self._lock = threading.Lock()

    def run(
        self,
        direction: str,
        like: Tensor,
        arguments: Structure,
        w_hh: Tensor,
        keep_bits: Tensor | None,
        keep_scale: float,
        first: Tensor | None = None,
    ) -> None:
        """All steps of sequences.

        Args: direction: "forward" or "backward". like: of the products' type, on their device. arguments: `Forward` or
            `Backward`. w_hh: (4H, H) fp32. keep_bits: (4H, ceil(H / 8)) or None. first: (B, H) state before the first
            step, None for zeros.
        """
        batch, hidden = arguments.sequences.batch, w_hh.shape[1]
        if self._kernels.is_recording():  # of the caller: whose recording needs places of its own
            _StepByStep(self._kernels, direction, like, batch, hidden, _room(like, hidden), records=False).run(
                arguments, w_hh, keep_bits, keep_scale, first
            )
            return
        with self._lock:  # what two threads start on one stream must not be mixed
            self._of_shape(direction, like, batch, hidden).run(arguments, w_hh, keep_bits, keep_scale, first)

    def _of_shape(self, direction: str, like: Tensor, batch: int, hidden: int) -> "_StepByStep":
        stream = self._kernels.stream()
        key, masked_key = (stream, like.dtype, direction, batch, hidden), (stream, like.dtype, hidden)
        found = self._kept.pop(key, None)
        if found is None:
            masked = self._masked.get(masked_key)
            if masked is None:
                masked = self._masked[masked_key] = _room(like, hidden)
            found = _StepByStep(self._kernels, direction, like, batch, hidden, masked, records=True)
        self._kept[key] = found
        if len(self._kept) > MOST_SHAPES:
            self._kept.popitem(last=False)
        return found


def _room(like: Tensor, hidden: int) -> Tensor:
    """For masked weights, (4H, K)."""
    return like.new_empty(4 * hidden, round_up(hidden, TILE))


class _StepByStep:
    """All steps of sequences of any length in one direction, for one shape and one stream.

    The states between the steps, the products and the call's arguments have fixed places, so that a recording of some
    steps serves all calls.

    Args: kernels: that are launched. direction: "forward" or "backward". like: of the products' type, on their device.
        masked: (4H, K) room for the weights, which may be shared with others of the same stream. records: whether
        launches are recorded where they are done for a second time; if not, each is done at once.
    """

    def __init__(
        self, kernels: "Kernels", direction: str, like: Tensor, batch: int, hidden: int, masked: Tensor, records: bool
    ) -> None:
        self._kernels, self._direction, self._hidden, self._records = kernels, direction, hidden, records
        forward = direction == "forward"
        columns = hidden if forward else 4 * hidden
        self._masked = masked
        self._state = like.new_zeros(batch, round_up(columns, TILE))
        self._product = like.new_empty(batch, 4 * hidden if forward else hidden, dtype=torch.float32)
        # a word for the steps that are done, then the arguments
        room = sizeof(c_int64) + sizeof(Forward if forward else Backward)
        self._call = like.new_empty(room, dtype=torch.uint8)
        self._recorded: dict[int, Callable[[], None] | None] = {}

    def run(
        self, arguments: Structure, w_hh: Tensor, keep_bits: Tensor | None, keep_scale: float, first: Tensor | None
    ) -> None:
        """Do all steps. Args: as `Recordings.run`."""
        rows, width = self._masked.shape
        pointers = c_void_p(w_hh.data_ptr()), c_void_p(None if keep_bits is None else keep_bits.data_ptr())
        numbers = c_float(keep_scale), c_int64(self._hidden), c_int64(width), c_void_p(self._masked.data_ptr())
        # the backward goes once more: to the state before the first step
        left = arguments.sequences.steps + (self._direction == "backward")
        self._launch("mask_weights", rows * width, *pointers, *numbers)
        self._state.zero_()
        if first is not None:
            self._state[:, : self._hidden] = first
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
            if self._direction == "forward":
                product_into(self._product, self._state, self._masked.T)
            else:
                product_into(self._product, self._state[:, : 4 * self._hidden], self._masked[:, : self._hidden])
            elements = self._state.shape[0] * self._hidden
            self._launch(f"{self._direction}_step", elements, call, c_int64(number), product, state)
        self._launch("advance", 1, call, c_int64(steps))

    def _launch(self, name: str, elements: int, *arguments: object) -> None:
        self._kernels.pointwise("lstm_steps.cu", name, self._state.dtype, elements, *arguments)


def product_into(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a b, summed in float32 and kept so in `out`."""
    if a.dtype == torch.float32:
        return torch.mm(a, b, out=out)
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32, out=out)
    return torch.mm(a.float(), b.float(), out=out)
