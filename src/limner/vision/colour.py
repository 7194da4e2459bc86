"""Colour of a picture or of a part of it: CIE L*, chroma, clipping, what the background is.

In: uint8 (H, W, 3) sRGB, often with a mask (H, W). Out: plain numbers; L* 0-100, chroma
C*ab 0 to about 130, shares 0-1. CIE 15:2004, D65 white, sRGB decoding by IEC 61966-2-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.vision.pictures import RGB8
from limner.vision.quality import CLIP_HIGH, CLIP_LOW

F64 = NDArray[np.float64]
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.95047], [1.0], [1.08883]])


def lab(image: RGB8) -> F64:
    """CIE Lab of every pixel, (..., 3): L* 0-100, a*, b*."""
    xyz = _LINEAR[image] @ _TO_XYZ.T
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@dataclass(frozen=True)
class Tone:
    """Light and colour of a region. lightness: median L*. chroma: mean C*ab; its 95th percentile.

    clipped_dark, clipped_light: share of pixels with every channel at the bottom, any at the top.
    vivid: share of pixels with one channel at the bottom and another well lit.
    """

    lightness: float
    chroma: float
    chroma_high: float
    clipped_dark: float
    clipped_light: float
    vivid: float


VIVID = 40
"""A lit channel, 0-255: beside one at the bottom, the colour lies on the edge of the gamut."""


def tone(image: RGB8) -> Tone:
    """Tone of a picture or crop of any shape (..., 3)."""
    pixels = image.reshape(-1, 3)
    values = lab(pixels)
    chroma = np.hypot(values[:, 1], values[:, 2])
    return Tone(
        float(np.median(values[:, 0])),
        float(chroma.mean()),
        float(np.percentile(chroma, 95)),
        float((pixels <= CLIP_LOW).all(axis=1).mean()),
        float((pixels >= CLIP_HIGH).any(axis=1).mean()),
        float(((pixels.min(axis=1) <= CLIP_LOW) & (pixels.max(axis=1) >= VIVID)).mean()),
    )


@dataclass(frozen=True)
class Ground:
    """What lies behind the person. lab: median colour. structure: share of pixels on an edge."""

    lab: tuple[float, float, float]
    structure: float


EDGE = 12.0
"""Steps of luma (0-255) between neighbours at 128 px that count as an edge (starting value)."""


def ground(small: RGB8, behind: NDArray[np.bool_]) -> Ground | None:
    """Background colour and structure of a small picture (about 128 px); None when hidden.

    behind: where the background shows. Plain studio walls have a structure below about .03.
    """
    if behind.mean() < 0.03:
        return None
    values = np.median(lab(small[behind]), axis=0)
    luma = small.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])
    down, across = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1))
    both = np.zeros_like(luma)
    both[1:] = np.maximum(both[1:], down)
    both[:, 1:] = np.maximum(both[:, 1:], across)
    inner = behind.copy()  # the person's own outline is no structure of the place
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(behind, step, axis)
    chosen = both[inner if inner.any() else behind]
    return Ground(
        (float(values[0]), float(values[1]), float(values[2])), float((chosen > EDGE).mean())
    )
