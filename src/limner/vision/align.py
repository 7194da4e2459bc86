"""The aligned face crop: 64 px, eyes level, fixed scale, for Limner's own embedder and sharpness.

In: a picture and a `Face`. Out: uint8 (64, 64, 3). Eye line and nose set place and scale, so that
a turned head (eyes close together) keeps its size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limner.vision.face import Face, Point
from limner.vision.pictures import RGB8

CROP = 64
"""Side of the crop in pixels."""
MOST_ROLL = 1.0
"""Radians; nobody tilts the head further."""
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
    if abs(roll) > MOST_ROLL:  # in profile the eyes nearly meet and their line says nothing
        roll = 0.0
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
    """Cut a square of `side` pixels centred on (x, y), turned by `roll`, to `out` pixels.

    Area-filtered when it shrinks; outside the picture the edge is repeated.
    """
    from PIL import Image

    reach = 0.75 * side + 2  # half the diagonal of the turned square, and room for the filter
    left, top = int(np.floor(x - reach)), int(np.floor(y - reach))
    size = int(np.ceil(2 * reach))
    rows = np.clip(np.arange(top, top + size), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + size), 0, image.shape[1] - 1)
    part = Image.fromarray(np.ascontiguousarray(image[np.ix_(rows, columns)]))
    factor = 1.0
    if side > 1.5 * out:  # transform() does not filter
        small = max(1, round(size * out / side))
        factor = small / size
        part = part.resize((small, small), Image.Resampling.LANCZOS)
    step = side * factor / out
    cos, sin = step * np.cos(roll), step * np.sin(roll)
    # transform() maps the centre of output pixel (u, v), at (u + .5, v + .5), to a u + b v + c.
    c = (x - left) * factor - out / 2 * (cos - sin)
    f = (y - top) * factor - out / 2 * (sin + cos)
    coefficients = (cos, -sin, c, sin, cos, f)
    turned = part.transform(
        (out, out), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(turned)
