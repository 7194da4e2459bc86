"""NormalFloat 4: weights in half a byte, as QLoRA stores them, packed and unpacked by torch alone.

In: a matrix. Out: packed codes and the scale of every 64 weights, and back. No CUDA library needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Weights that share a scale (Dettmers et al. 2023, arXiv 2305.14314, section 3)."""

LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values: quantiles of N(0, 1) scaled to -1..1, with an exact 0 (ibid., appendix E)."""


def pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, in) -> codes (out, in / 2) uint8 and scales (out, in / 64) bfloat16.

    Raises ValueError when `in` is no multiple of 64.
    """
    rows, width = weight.shape
    if width % BLOCK:
        raise ValueError(f"{width} inputs are no multiple of {BLOCK}")
    groups = weight.float().view(rows, width // BLOCK, BLOCK)
    scale = groups.abs().amax(dim=2).clamp_min(1e-12).to(torch.bfloat16)
    level = torch.tensor(LEVELS, device=weight.device)
    between = (level[1:] + level[:-1]) / 2
    codes = torch.bucketize(groups / scale.float()[..., None], between).to(torch.uint8)
    codes = codes.view(rows, width // 2, 2)
    return (codes[..., 0] | (codes[..., 1] << 4)).contiguous(), scale


def unpack(codes: Tensor, scale: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """The matrix (out, width) that `pack` was given, to NF4's precision."""
    level = torch.tensor(LEVELS, device=codes.device, dtype=dtype)
    pairs = torch.stack([codes & 15, codes >> 4], dim=-1).view(codes.shape[0], -1, BLOCK)
    return (level[pairs.int()] * scale.to(dtype)[..., None]).view(codes.shape[0], width)
