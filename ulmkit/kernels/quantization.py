"""Symmetric int8 quantization of weights, for inference."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.errors import ConfigError

LARGEST = 127


@dataclass(frozen=True)
class Int8Matrix:
    """An int8 matrix with a scale for each row: w = scales[:, None] * values.

    Attributes:
        values: (R, C) int8, -127 to 127.
        scales: (R,) float32.

    Raises:
        ConfigError: If a type or shape does not fit.
    """

    values: Tensor
    scales: Tensor

    def __post_init__(self) -> None:
        if self.values.dtype != torch.int8 or self.values.dim() != 2:
            raise ConfigError(f"values: expected (R, C) int8, got {tuple(self.values.shape)} {self.values.dtype}")
        if self.scales.dtype != torch.float32 or self.scales.shape != self.values.shape[:1]:
            raise ConfigError(
                f"scales: expected ({len(self.values)},) float32, got {tuple(self.scales.shape)} {self.scales.dtype}"
            )

    def to_float(self) -> Tensor:
        """The dequantized matrix, (R, C) float32."""
        return self.values.float() * self.scales.unsqueeze(1)

    def rows(self, indices: Tensor) -> Tensor:
        """Dequantized rows: indices (...) int64 → (..., C) float32."""
        return self.values[indices].float() * self.scales[indices].unsqueeze(-1)


def quantize_rows(weight: Tensor) -> Int8Matrix:
    """Quantize each row to 255 levels between minus and plus its largest magnitude.

    s = max |w| / 127;  q = round(w / s)

    Args:
        weight: (R, C) float, finite.

    Raises:
        ConfigError: If a value is not finite.

    Source: symmetric quantization, Jacob et al. 2018, arXiv:1712.05877, section 2.1, with zero-point 0.
    """
    weight = weight.detach().float()
    if weight.is_meta:  # arithmetic there would import torch's compiler, which takes seconds
        return Int8Matrix(weight.new_empty(weight.shape, dtype=torch.int8), weight.new_empty(len(weight)))
    if not weight.isfinite().all():
        raise ConfigError("weight: expected finite numbers, got inf or nan; the training has diverged, train again")
    largest = weight.abs().amax(dim=1) if weight.numel() else weight.new_zeros(len(weight))
    scales = largest / LARGEST
    values = torch.round(weight / torch.where(scales > 0, scales, 1.0).unsqueeze(1))
    return Int8Matrix(values.clamp_(-LARGEST, LARGEST).to(torch.int8), scales)
