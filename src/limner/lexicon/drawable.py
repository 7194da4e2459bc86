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
    _plain_yaml,
    colors,
    shipped,
    traits,
)

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
    found = {key: known[key] for key in _plain_yaml("drawable")[name]}
    if name == "expression":
        return {k: _drawn(mood) for k, mood in found.items()}
    return found


def _drawn(mood: Mood) -> Mood:
    return replace(
        mood, caption=mood.caption[: mood.drawn], expression=mood.expression[: mood.drawn]
    )


def outfits() -> Mapping[str, Outfit]:
    """Outfits it has a cut for."""
    return axis("outfit")


def settings() -> Mapping[str, Setting]:
    """Places it can build."""
    return axis("setting")


def lightings() -> Mapping[str, Lighting]:
    """Lights it can set."""
    return axis("lighting")


def moods() -> Mapping[str, Mood]:
    """Moods, each with the expressions it can draw."""
    return axis("expression")


def angles() -> Mapping[str, Angle]:
    """Angle domains."""
    return axis("angle")


def framings() -> Mapping[str, Framing]:
    """Framings."""
    return axis("framing")


def poses() -> Mapping[str, Pose]:
    """Poses of its body."""
    return axis("pose")


def cameras() -> Mapping[str, Camera]:
    """Camera words of its prompts."""
    return axis("camera")
