"""A tailor's chart of the body: where a canonical point lies along arm, neck, torso and leg.

In: canonical coordinates, (N, 3) in dm (the base mesh at rest: arms half lowered, y up, z front).
Out: a `Chart`, and signed distances in dm, positive inside the cloth: necklines, armholes, fronts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Joints of the base mesh at rest (left side), dm.
SHOULDER = (1.68, 5.25)
ELBOW = (3.13, 3.49, 0.13)
UPPER = (0.636, -0.772)
FOREARM = (0.520, -0.459, 0.719)
UPPER_LENGTH = 2.28
WRIST = 4.5
"""Arm length from shoulder to wrist, dm."""

# The neck leans forward: points of equal collar height have equal y + NECK_LEAN z.
NECK_LEAN = 0.54
_ARMPIT_REACH = -0.62


@dataclass(frozen=True)
class Chart:
    """Canonical points measured for cutting cloth; every field is (N,).

    x: distance from the middle; side: -1 or 1; along: distance down the arm from the shoulder;
    around: way round the trunk or the arm from the middle of its front, dm; arm: on the arm or
    hand; front: on the chest side; collar: height along the leaning neck, falling off sideways.
    """

    x: Array
    y: Array
    z: Array
    side: Array
    along: Array
    around: Array
    arm: Mask
    front: Mask
    collar: Array


def chart(canonical: Array) -> Chart:
    """Measure canonical points, (N, 3) dm."""
    points = np.asarray(canonical, np.float32)
    side = np.where(points[:, 0] < 0, np.float32(-1), np.float32(1))
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    upper = (x - SHOULDER[0]) * UPPER[0] + (y - SHOULDER[1]) * UPPER[1]
    ex, ey, ez = x - ELBOW[0], y - ELBOW[1], z - ELBOW[2]
    fore = ex * FOREARM[0] + ey * FOREARM[1] + ez * FOREARM[2]
    past = ex * (FOREARM[0] + UPPER[0]) + ey * (FOREARM[1] + UPPER[1]) + ez * FOREARM[2] > 0
    along = np.where(past, fore + UPPER_LENGTH, upper)
    across = -(x - SHOULDER[0]) * UPPER[1] + (y - SHOULDER[1]) * UPPER[0]
    arm = ((across > _ARMPIT_REACH) & (upper > 0.3)) | ((x > 2.3) & (y > 0.8))
    trunk = x + np.maximum(0.9 - z, 0) * smooth((x - 1.1) / 0.35)
    around = np.where(arm, 0.5 * np.arctan2(across, z - 0.13 - np.maximum(fore, 0) * 0.72), trunk)
    return Chart(x, y, z, side, along, around, arm, z > 0.16, collar_height(x, y, z))


def collar_height(x: Array, y: Array, z: Array) -> Array:
    """Height along the leaning neck; beyond its width it falls, so that collars stay round it."""
    fall = np.maximum(x - 0.2, 0) ** 2
    return np.asarray(y + NECK_LEAN * np.minimum(z, 0.95) - fall, np.float32)


def over_torso(c: Chart, hem: float, sleeve: float | None) -> Array:
    """Torso above `hem`, arms down to `sleeve` dm from the shoulder (None: no sleeve)."""
    arms = np.full_like(c.x, -1.0) if sleeve is None else sleeve - c.along
    return np.where(c.arm, arms, np.minimum(c.y - hem, 6.15 - c.y))


def crew(c: Chart, height: float) -> Array:
    """A round neckline at collar height `height` (5.7 lies at the base of the neck)."""
    return (height - c.collar) * np.float32(0.88)


def notch(c: Chart, low: float, slope: float) -> Array:
    """A V opening in front from height `low` upward, `slope` wide per dm of height."""
    edge = (c.x - np.maximum(c.y - low, 0) * slope) / np.float32(np.hypot(1, slope))
    return np.where(c.front & (c.y > low), edge, np.float32(1.0))


def scoop(c: Chart, width: float, depth: float, back: float) -> Array:
    """A rounded neckline between straps: half `width`, `depth` in front and `back` behind, dm."""
    down = np.where(c.front, depth, back)
    ring = np.sqrt((c.x / width) ** 2 + ((5.85 - c.y) / down) ** 2) - 1
    edge = np.where(c.y > 5.85, c.x - width, ring * min(width, back))
    return np.asarray(edge, np.float32)


def armhole(c: Chart, strap: float) -> Array:
    """Sleeveless: cloth ends at an oval round the shoulder; `strap` is its outer edge on top."""
    centre = strap + 0.62
    ring = np.sqrt(((c.x - centre) / 0.62) ** 2 + ((c.y - 5.05) / 1.05) ** 2) - 1
    out = np.where((c.x > centre) & (c.y > 3.9), np.float32(-0.5), (ring * 0.62).astype(np.float32))
    return np.where(c.arm, np.float32(-1), out)


def legs(c: Chart, waist: float, hem: float) -> Array:
    """Between waist and hem, arms and hands left out."""
    return np.where(c.arm, np.float32(-1), np.minimum(waist - c.y, c.y - hem))


def opening(c: Chart, half: Array) -> Array:
    """An open front: nothing within `half` dm of the middle line."""
    return np.where(c.front, c.x - half, np.float32(1.0))


def smooth(t: NDArray[Any]) -> Array:
    """Smoothstep of t clipped to 0..1."""
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def band(distance: NDArray[Any], width: float) -> Array:
    """1 where 0 <= distance < width with soft ends, else 0: hems, cuffs, collars, belts."""
    soft = 0.02
    rise = np.clip(distance / soft + 0.5, 0, 1)
    return np.asarray(rise * np.clip((width - distance) / soft + 0.5, 0, 1), np.float32)


def seam(distance: NDArray[Any], width: float = 0.03) -> Array:
    """A soft line of half `width` dm where distance is 0."""
    return np.asarray(np.clip(1.5 - np.abs(distance) / width, 0, 1), np.float32)


def strapped(c: Chart, top: float, strap: float, width: float, back: float) -> Array:
    """A straight neckline at height `top` (`back` behind) held by two straps at `strap` dm."""
    level = np.where(c.front, top, back) + 0.1 * np.cos(c.x * 3.2)
    hold = width / 2 - np.abs(c.x - strap)
    return np.where(c.arm, np.float32(-1), np.maximum(level - c.y, hold)).astype(np.float32)
