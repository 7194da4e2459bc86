"""The axes by name, each with its type: one set of accessors for every source of words.

In: a function axis -> values. Out: `outfits()`, `settings()`, ... of just these words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from limner.lexicon.values import (
    Angle,
    Camera,
    Framing,
    Genre,
    Lighting,
    Mood,
    Outfit,
    Pose,
    Setting,
)


class Vocabulary:
    """Values by id, axis by axis, as `axis` gives them at the moment of the call."""

    def __init__(self, axis: Callable[[str], Mapping[str, Any]]) -> None:
        self.axis = axis

    def outfits(self) -> Mapping[str, Outfit]:
        """Every outfit by id."""
        return self.axis("outfit")

    def settings(self) -> Mapping[str, Setting]:
        """Every place by id."""
        return self.axis("setting")

    def lightings(self) -> Mapping[str, Lighting]:
        """Every light by id."""
        return self.axis("lighting")

    def moods(self) -> Mapping[str, Mood]:
        """The five moods by id (values of the expression axis)."""
        return self.axis("expression")

    def angles(self) -> Mapping[str, Angle]:
        """Every angle domain by id; `pure_back` shows no face."""
        return self.axis("angle")

    def framings(self) -> Mapping[str, Framing]:
        """Every framing by id."""
        return self.axis("framing")

    def poses(self) -> Mapping[str, Pose]:
        """Every pose by id."""
        return self.axis("pose")

    def cameras(self) -> Mapping[str, Camera]:
        """Every camera wording by id."""
        return self.axis("camera")

    def genres(self) -> Mapping[str, Genre]:
        """Every kind of photography by id."""
        return self.axis("genre")
