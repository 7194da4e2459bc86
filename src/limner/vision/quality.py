"""Sharpness, noise and exposure of a face crop of one fixed size.

In: a crop (uint8 side x side x 3). Out: plain numbers. Laplacian variance alone is fooled by noise
and contrast, the spectral slope by neither, so both are measured; compare within one set only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.vision.pictures import RGB8

LUMA = np.array([0.2126, 0.7152, 0.0722])
"""Rec. 709 weights on sRGB values."""
CLIP_LOW, CLIP_HIGH = 2, 253
"""A pixel is clipped when a channel is at or beyond these (starting value)."""


def grey(image: RGB8) -> NDArray[np.float64]:
    """Luma 0-255 (H, W)."""
    luma: NDArray[np.float64] = image.astype(np.float64) @ LUMA
    return luma


def laplacian_variance(image: RGB8) -> float:
    """Variance of the 4-neighbour Laplacian of the luma; higher is sharper (or noisier)."""
    g = grey(image)
    inner = g[1:-1, 1:-1]
    laplacian = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * inner
    return float(laplacian.var())


def spectral_slope(image: RGB8) -> float:
    """Slope of log power against log frequency, 0.06 to 0.45 cycles a pixel; blur lowers it.

    About -2.4 for natural texture; -4 after a blur of one pixel (derived on a 1/f field).
    """
    g = grey(image)
    height, width = g.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((g - g.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    edges = np.geomspace(0.06, 0.45, 13)
    which = np.digitize(radius, edges)
    means = np.array([power[which == i].mean() for i in range(1, len(edges))])
    middles = np.sqrt(edges[:-1] * edges[1:])
    return float(np.polyfit(np.log(middles), np.log(means + 1e-9), 1)[0])


def noise_level(image: RGB8) -> float:
    """Standard deviation of pixel noise, 0-255, robust to edges.

    Immerkaer 1996's mask (difference of two Laplacians) with the median in place of the mean.
    """
    g = grey(image)
    h = g[:, :-2] - 2 * g[:, 1:-1] + g[:, 2:]
    residual = h[:-2] - 2 * h[1:-1] + h[2:]
    return float(np.median(np.abs(residual)) / 0.6745 / 6.0)


def clipped_share(image: RGB8) -> float:
    """Share 0-1 of pixels with any channel clipped."""
    top = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])
    return float(((top <= CLIP_LOW) | (top >= CLIP_HIGH)).mean())


def lightness(image: RGB8) -> float:
    """Median CIE L* (0-100) of the crop."""
    linear = np.where(image <= 10, image / 255 / 12.92, ((image / 255 + 0.055) / 1.055) ** 2.4)
    y = float(np.median(linear @ LUMA))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y
