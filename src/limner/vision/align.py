"""The aligned face crop: 64 px, eyes level, fixed scale, for Limner's own embedder and sharpness.

In: a picture and a `Face`. Out: uint8 (64, 64, 3). Eye line and nose set place and scale, so that
a turned head (eyes close together) keeps its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.vision.faces import Face, Point
from limner.vision.pictures import RGB8

CROP = 64
"""Side of the crop in pixels."""
_EYE_LINE = 0.40
"""Height of the eye midpoint in the crop, as a share of its side."""
_DROP = 0.20
"""Eye midpoint to nose in the crop, as a share of its side, measured across the eye line."""


def aligned_crop(image: RGB8, face: Face, side: int = CROP) -> NDArray[np.uint8]:
    """The upright face, `side` pixels square; outside the picture the edge is repeated.

    The scale comes from the drop between eye line and nose together with the eye distance: the
    first hardly changes with yaw, the second hardly with pitch.
    """
    return warp(image, *frame(face.eyes, face.nose), side)


def frame(eyes: tuple[Point, Point], nose: Point) -> tuple[float, float, float, float]:
    """(x, y of the crop's centre, side in picture pixels, roll in radians) of a face."""
    left, right, tip = (np.array(p, dtype=np.float64) for p in (eyes[0], eyes[1], nose))
    middle = (left + right) / 2
    axis = right - left
    distance = max(float(np.hypot(*axis)), 1e-6)
    roll = float(np.arctan2(axis[1], axis[0]))
    across = np.array([-np.sin(roll), np.cos(roll)])
    along = np.array([np.cos(roll), np.sin(roll)])
    drop = max(float((tip - middle) @ across), 0.25 * distance)
    side = float(np.hypot(distance * _EYE_SHARE, drop / _DROP * _DROP_SHARE))
    # Half-way between eyes and nose along the eye line: the middle of a turned face.
    sideways = 0.5 * float((tip - middle) @ along)
    centre = middle + across * (0.5 - _EYE_LINE) * side + along * sideways
    return float(centre[0]), float(centre[1]), side, roll


_EYE_SHARE = 1.9
_DROP_SHARE = 0.62


def warp(image: RGB8, x: float, y: float, side: float, roll: float, out: int) -> RGB8:
    """Cut a rotated square out of a picture, area-filtered when it shrinks."""
    from PIL import Image

    cos, sin = np.cos(roll), np.sin(roll)
    half = side / 2
    shrink = side / out
    work, origin = image, (0.0, 0.0)
    if shrink > 1.5:  # transform() does not filter: shrink the neighbourhood first
        work, origin, factor = _shrunk(image, x, y, side, shrink)
        x, y, half, side = (
            (x - origin[0]) * factor,
            (y - origin[1]) * factor,
            half * factor,
            side * factor,
        )
    step = side / out
    x0 = x - half * cos + half * sin + 0.5 * step * (cos - sin)
    y0 = y - half * sin - half * cos + 0.5 * step * (sin + cos)
    # PIL maps output pixel centres (u + .5, v + .5) through (a, b, c, d, e, f).
    a, b, d, e = step * cos, -step * sin, step * sin, step * cos
    c = x0 - 0.5 * (a + b)
    f = y0 - 0.5 * (d + e)
    pad = int(np.ceil(max(side, 4.0)))
    padded = np.pad(work, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    coefficients = (a, b, c + pad, d, e, f + pad)
    picture = Image.fromarray(padded).transform(
        (out, out), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(picture)


def _shrunk(
    image: RGB8, x: float, y: float, side: float, shrink: float
) -> tuple[RGB8, Point, float]:
    from PIL import Image

    reach = side  # the rotated square's diagonal half is 0.71 sides; a full side is safe
    x0, y0 = max(0, int(x - reach)), max(0, int(y - reach))
    x1 = min(image.shape[1], int(np.ceil(x + reach)))
    y1 = min(image.shape[0], int(np.ceil(y + reach)))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return image, (0.0, 0.0), 1.0
    part = image[y0:y1, x0:x1]
    width = max(1, round(part.shape[1] / shrink))
    factor = width / part.shape[1]
    height = max(1, round(part.shape[0] * factor))
    small = Image.fromarray(np.ascontiguousarray(part)).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    return np.asarray(small), (float(x0), float(y0)), factor
