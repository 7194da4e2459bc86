"""What a light does to a face: by how many stops and how many times its chroma, light by light.

In: a judgement with its face's L* and chroma and the light its shot asks. Out: both with that taken
out, so that dusk is not held to be underexposed and a lamp not to be oversaturated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limner.review.case import Judgement
from limner.review.rules import WARM, Rule


@dataclass(frozen=True)
class Light:
    """Against the median of a set under all lights. stops: of the face. chroma: times."""

    stops: float = 0.0
    chroma: float = 1.0


DRAWN: dict[str, Light] = {
    "blue_hour": Light(-0.47, 0.67),
    "bright_sun": Light(0.26, 1.09),
    "dramatic_side": Light(-0.73, 0.96),
    "golden_hour": Light(0.46, 1.63),
    "morning_light": Light(0.34, 0.99),
    "neon": Light(-0.20, 0.97),
    "overcast": Light(0.02, 0.91),
    "rim_light": Light(-0.15, 0.92),
    "soft_window": Light(0.13, 1.05),
    "softbox": Light(0.44, 1.02),
    "warm_lamp": Light(-0.04, 1.76),
}
"""The atelier's lights: medians over the six calibrating characters, 5 to 12 faces each
(`bench/planted_faults.py --group calibrating --lights` prints them again)."""


def light_of(one: Judgement, warm: Rule) -> Light:
    """What the light that the shot asks does; nothing where it is not known."""
    light = one.case.shot.attributes.get("lighting", "")
    if one.case.kind == "drawing" and light in DRAWN:
        return DRAWN[light]
    return Light(chroma=warm.at(one.case.kind) if light in WARM else 1.0)


def stops(lightness: float) -> float:
    """L* (0-100) as log2 of luminance over white: CIE's cube root, its linear foot left out."""
    return 3 * float(np.log2((lightness + 16) / 116))


def lightness(stop: float) -> float:
    """The L* that `stops` gives this for."""
    return float(116 * 2 ** (stop / 3) - 16)
