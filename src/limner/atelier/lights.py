"""The eleven light rigs: what falls on the figure and how bright its surroundings are.

In: an id of lightings.yaml. Out: a `Rig` for the shader (figure) and for `scenery` (background).
Colours are linear RGB; 1.0 is a white card under the grey studio's key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from limner.errors import LimnerError

Vec = tuple[float, float, float]


@dataclass(frozen=True)
class Rig:
    """One light set-up, fixed to the camera.

    key_dir: unit vector from the figure to the key light; x right in the picture, y up, z to the
        camera. key_rgb: key strength. sky_rgb, ground_rgb: ambient light from above and below.
    rim, rim_rgb: strength (0-2) and colour of the light from behind that traces the outline.
    shadow_softness: radius of the shadow's penumbra as a share of the figure's visible height.
    background_gain: factor on the background's linear colour. exposure: factor on all of the
        picture.
    """

    key_dir: Vec
    key_rgb: Vec
    sky_rgb: Vec
    ground_rgb: Vec
    rim: float
    rim_rgb: Vec
    shadow_softness: float
    background_gain: Vec
    exposure: float = 1.0


# Colours are held back on purpose: a skin tone must stay readable under every one of them.
_RIGS: dict[str, Rig] = {
    "soft_window": Rig(
        (-0.92, 0.26, 0.36), (2.75, 2.7, 2.62), (0.29, 0.32, 0.37), (0.13, 0.125, 0.12),
        0.15, (1.0, 1.0, 1.05), 0.03, (0.86, 0.88, 0.92),
    ),
    "morning_light": Rig(
        (0.72, 0.2, 0.62), (2.6, 2.4, 1.98), (0.44, 0.55, 0.74), (0.26, 0.25, 0.24),
        0.35, (1.3, 1.25, 1.05), 0.015, (1.02, 1.03, 1.0), 1.04,
    ),
    "bright_sun": Rig(
        (0.38, 0.84, 0.5), (3.2, 3.0, 2.65), (0.48, 0.57, 0.72), (0.32, 0.29, 0.23),
        0.5, (1.6, 1.5, 1.3), 0.004, (1.2, 1.15, 1.04),
    ),
    "golden_hour": Rig(
        (-0.7, 0.24, 0.52), (2.9, 2.05, 1.25), (0.44, 0.42, 0.5), (0.29, 0.23, 0.18),
        1.1, (2.6, 1.6, 0.75), 0.008, (1.08, 0.84, 0.58),
    ),
    "overcast": Rig(
        (0.05, 0.86, 0.5), (0.95, 0.98, 1.02), (0.95, 0.98, 1.03), (0.45, 0.45, 0.45),
        0.15, (0.9, 0.95, 1.0), 0.06, (0.72, 0.75, 0.78),
    ),
    "blue_hour": Rig(
        (0.25, 0.62, 0.66), (0.88, 0.98, 1.25), (0.4, 0.48, 0.68), (0.2, 0.2, 0.25),
        0.6, (1.5, 1.0, 0.6), 0.04, (0.25, 0.32, 0.52),
    ),
    "softbox": Rig(
        (0.46, 0.4, 0.84), (2.2, 2.15, 2.1), (0.6, 0.6, 0.62), (0.36, 0.35, 0.34),
        0.35, (1.1, 1.1, 1.1), 0.025, (1.0, 1.0, 1.0),
    ),
    "warm_lamp": Rig(
        (0.62, 0.3, 0.66), (2.45, 1.82, 1.2), (0.33, 0.26, 0.2), (0.24, 0.18, 0.12),
        0.3, (1.6, 1.0, 0.5), 0.02, (0.72, 0.5, 0.3),
    ),
    "dramatic_side": Rig(
        (0.97, 0.14, 0.16), (3.1, 3.0, 2.85), (0.11, 0.115, 0.125), (0.06, 0.06, 0.06),
        0.1, (1.0, 1.0, 1.0), 0.004, (0.32, 0.32, 0.35),
    ),
    "rim_light": Rig(
        (-0.3, 0.35, 0.88), (0.95, 0.95, 0.98), (0.4, 0.41, 0.44), (0.22, 0.22, 0.22),
        2.0, (3.8, 3.7, 3.5), 0.03, (0.34, 0.35, 0.38),
    ),
    "neon": Rig(
        (0.76, 0.18, 0.6), (1.8, 1.28, 1.68), (0.26, 0.38, 0.52), (0.17, 0.19, 0.3),
        1.3, (0.5, 1.7, 2.2), 0.02, (0.42, 0.3, 0.55),
    ),
}  # fmt: skip


def rig(lighting_id: str, mirrored: bool = False) -> Rig:
    """The rig of one lighting; `mirrored` puts the key on the other side of the picture.

    Raises LimnerError for an unknown id.
    """
    try:
        found = _RIGS[lighting_id]
    except KeyError:
        raise LimnerError(
            f"no light rig {lighting_id!r}", fix=f"use one of: {', '.join(_RIGS)}"
        ) from None
    x, y, z = found.key_dir
    length = math.sqrt(x * x + y * y + z * z)
    side = -1.0 if mirrored else 1.0
    return replace(found, key_dir=(side * x / length, y / length, z / length))
