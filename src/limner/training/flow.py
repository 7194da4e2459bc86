"""Flow matching as pure functions: which noise level, what the model sees, what it should say.

Names as in diffusers: sigma in (0, 1] is the share of noise, velocity = noise - latents.
All tensors (B, tokens, channels) unless said otherwise; nothing here draws a random number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def time_shift_mu(tokens: int, scheduler: Mapping[str, Any]) -> float:
    """The resolution's time shift `mu`, linear in the picture's tokens.

    As `calculate_shift` of diffusers' Qwen-Image pipelines; with that scheduler's values
    mu = 0.5 + 0.4 (tokens - 256) / 7936, so 0.49 at 64 tokens and 0.69 at 4,096.
    """
    low, high = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 8192)
    base, top = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 0.9)
    return float(base + (top - base) * (tokens - low) / (high - low))


def sample_sigmas(normal: Tensor, mu: float) -> Tensor:
    """Standard normal draws (B,) -> noise levels sigma (B,) in (0, 1).

    Logit-normal density with location 0 and scale 1 (Esser et al. 2024, "Scaling Rectified Flow
    Transformers", arXiv 2403.03206, section 3.1), then the timestep shift of its equation 23 with
    alpha = exp(mu): sigma' = alpha sigma / (1 + (alpha - 1) sigma). musubi-tuner calls the same
    choice `qwen_shift`. In logits the shift is an addition, which is how it is computed here.
    """
    return (normal + mu).sigmoid()


def quantile_sigmas(count: int, mu: float) -> list[float]:
    """`count` fixed noise levels: midpoints of equal-probability bins of `sample_sigmas`."""
    from statistics import NormalDist

    normal = NormalDist()
    return [1 / (1 + math.exp(-normal.inv_cdf((i + 0.5) / count) - mu)) for i in range(count)]


def interpolate(latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """x_sigma = (1 - sigma) latents + sigma noise, the straight path of rectified flow."""
    sigma = sigmas.view(-1, 1, 1).to(latents.dtype)
    return (1 - sigma) * latents + sigma * noise


def flow_loss(
    velocity: Tensor, latents: Tensor, noise: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Mean squared error per picture (B,) against the target velocity noise - latents, in fp32.

    weights: (B, tokens, 1), mean 1 over a picture's tokens; None: every token counts alike.
    """
    error = (velocity.float() - (noise - latents)).square()
    return (error if weights is None else error * weights).mean(dim=(1, 2))
