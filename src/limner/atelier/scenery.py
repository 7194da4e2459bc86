"""Backgrounds: twenty-two places painted procedurally behind a person, out of focus.

In: setting, lighting, size, seed, horizon, blur. Out: float32 (H, W, 3) scene-linear RGB, which the
shader's tone curve turns into the colours painted here.
"""

from __future__ import annotations

import zlib

import numpy as np

from limner.atelier import places_indoor, places_outdoor
from limner.atelier.canvas import Array, Canvas
from limner.atelier.lights import Rig, rig
from limner.errors import LimnerError

_PAINTERS = {**places_indoor.PAINTERS, **places_outdoor.PAINTERS}

# Canvas sides in pixels: below the low one shapes alias, above the high one blur hides the gain.
_SMALLEST, _LARGEST = 176, 640
_FLOOR_DROP, _FLOOR_PER_BLUR = 0.25, 12.0


def paint(
    setting_id: str,
    lighting_id: str,
    height: int,
    width: int,
    seed: int,
    horizon: float = 0.45,
    blur: float = 0.012,
    floor: float | None = None,
    light: Rig | None = None,
) -> Array:
    """The background of one picture; the same arguments give the same bytes.

    horizon: eye level, share of the height from the top. blur: radius of the depth blur, share of
    the height (close-up 0.016, full body 0.006 read well). floor: where the back wall meets the
    floor, share of the height, beyond 1 when out of the picture; by default lower the nearer the
    camera is, as told by `blur`. light: the rig in use if it was mirrored.
    Raises LimnerError for an unknown setting or lighting.
    """
    if setting_id not in _PAINTERS:
        raise LimnerError(
            f"no scenery for setting {setting_id!r}", fix=f"use one of: {', '.join(_PAINTERS)}"
        )
    lamp = light if light is not None else rig(lighting_id)
    if floor is None:
        floor = horizon + _FLOOR_DROP + _FLOOR_PER_BLUR * blur
    scale = min(max(1.0, _SMALLEST / max(height, width)), 2.0)
    scale = min(scale, _LARGEST / max(height, width))
    h, w = max(8, round(height * scale)), max(8, round(width * scale))
    rng = np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32(setting_id.encode())])
    canvas = Canvas(h, w, rng, lighting_id, lamp, horizon, floor, blur)
    _PAINTERS[setting_id](canvas)
    canvas.soften()
    return canvas.develop(height, width)
