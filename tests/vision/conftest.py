"""A handful of drawings, made once a test run: two people, exact labels."""

from __future__ import annotations

import pytest

from limner.atelier import Character, Drawing, identity_from_seed, scene_for

SIZE = 128


def attributes(angle: str, number: int) -> dict[str, str]:
    settings = ("grey_studio", "park", "library", "beach")
    lightings = ("softbox", "overcast", "soft_window", "bright_sun")
    outfits = ("white_tee_jeans", "green_hoodie", "navy_suit", "striped_tee")
    k = number % 4
    return {
        "angle": angle,
        "framing": "close_up",
        "setting": settings[k],
        "lighting": lightings[k],
        "outfit": outfits[k],
        "expression": ("happy", "peaceful", "confident", "playful")[k],
    }


@pytest.fixture(scope="session")
def grace() -> list[Drawing]:
    """Six drawings of one person: four front, two three-quarter."""
    character = Character(identity_from_seed(11))
    angles = ["front"] * 4 + ["three_quarter"] * 2
    return [
        character.draw(scene_for(attributes(a, i), 40 + i), size=SIZE) for i, a in enumerate(angles)
    ]


@pytest.fixture(scope="session")
def stranger() -> list[Drawing]:
    """Three front drawings of another person."""
    character = Character(identity_from_seed(29))
    return [character.draw(scene_for(attributes("front", i), 70 + i), size=SIZE) for i in range(3)]
