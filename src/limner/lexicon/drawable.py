"""The part of the vocabulary that the atelier can draw, with the names of the whole.

In: data/drawable.yaml (axis -> ids, in the atelier's order). Out: the same values as the lexicon's
own, fewer of them; `from limner.lexicon import drawable as lexicon` sees nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from limner.lexicon import (
    AXES,
    RGB,
    Angle,
    Camera,
    Framing,
    Garment,
    Lighting,
    Mood,
    Outfit,
    Pose,
    Setting,
    colors,
    shipped,
    traits,
)
from limner.lexicon.tables import table
from limner.lexicon.vocabulary import Vocabulary

__all__ = [
    "AXES",
    "RGB",
    "Angle",
    "Camera",
    "Framing",
    "Garment",
    "Lighting",
    "Mood",
    "Outfit",
    "Pose",
    "Setting",
    "angles",
    "axis",
    "cameras",
    "colors",
    "framings",
    "lightings",
    "moods",
    "outfits",
    "poses",
    "settings",
    "traits",
]


@cache
def axis(name: str) -> Mapping[str, Any]:
    """What the atelier can draw on one axis, by id; moods with the expressions it has."""
    known = shipped(name)
    found = {key: known[key] for key in table("limner.lexicon", "drawable")[name]}
    if name == "expression":
        return {k: _drawn(mood) for k, mood in found.items()}
    return found


def _drawn(mood: Mood) -> Mood:
    return replace(
        mood, caption=mood.caption[: mood.drawn], expression=mood.expression[: mood.drawn]
    )


_drawable = Vocabulary(axis)
outfits, settings, lightings = _drawable.outfits, _drawable.settings, _drawable.lightings
moods, angles, framings = _drawable.moods, _drawable.angles, _drawable.framings
poses, cameras = _drawable.poses, _drawable.cameras
