"""The LSTM's backends, the masks of its recurrent weights, and the blocked softmax cross-entropy.

The functions of the other cells are in `ulmkit.kernels.qrnn` and `ulmkit.kernels.mogrifier`.
"""

from ulmkit.config import BACKENDS, PRECISIONS
from ulmkit.kernels.backend import Backend, Packed
from ulmkit.kernels.capabilities import bf16_pays, cpu_features, fused_on_gpu, int8_runs
from ulmkit.kernels.dispatch import backend_statuses, choose_backend, choose_loop_backend, choose_precision, pack
from ulmkit.kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_rows, linear_nll
from ulmkit.kernels.masks import draw_keep_bits, drop_weights, mask_recurrent, unpack_keep_bits
from ulmkit.kernels.quantization import Int8Matrix, quantize_rows
