"""The functional LSTM with its backends, recurrent masks, and the blocked softmax cross-entropy.

The other cells' functions are in `ulmkit.kernels.qrnn` and `ulmkit.kernels.mogrifier`.
"""

from ulmkit.kernels.capabilities import bf16_pays, cpu_features
from ulmkit.kernels.dispatch import (
    BACKENDS,
    PRECISIONS,
    BackendStatus,
    backend_statuses,
    choose_backend,
    choose_loop_backend,
    choose_precision,
    fused_on_gpu,
)
from ulmkit.kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_rows, linear_nll
from ulmkit.kernels.masks import draw_keep_bits, mask_recurrent, unpack_keep_bits
from ulmkit.kernels.op import PackedWeights, int8_runs, lstm, pack, pack_int8
from ulmkit.kernels.quantization import Int8Matrix, quantize_rows

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "BackendStatus",
    "Int8Matrix",
    "PackedWeights",
    "backend_statuses",
    "bf16_pays",
    "choose_backend",
    "choose_loop_backend",
    "choose_precision",
    "cpu_features",
    "draw_keep_bits",
    "fused_on_gpu",
    "int8_runs",
    "linear_cross_entropy",
    "linear_cross_entropy_rows",
    "linear_nll",
    "lstm",
    "mask_recurrent",
    "pack",
    "pack_int8",
    "quantize_rows",
    "unpack_keep_bits",
]
