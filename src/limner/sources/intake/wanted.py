"""What a shot leads one to expect of its picture: head, size, colours of clothes and place, light.

In: a shot's attributes. Out: `Wanted`, from the lexicon's own numbers and words; an axis that a
shot lacks, or whose words call up no colour, is None and counts neither way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from limner import lexicon
from limner.lexicon import RGB
from limner.lexicon.hues import hues, hues_in
from limner.project.records import Shot
from limner.sources.intake.looks import Lab
from limner.vision import colour


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WARM = _set("warm amber golden honey-coloured candle orange tungsten sodium fire ember")
_COOL = _set("cool cold blue bluish cyan twilight dusk north")
_DARK = _set("dark low-key night deep dusk twilight dim shadow neon rim")
_BRIGHT = _set("bright midday sunlight sun snow white clear clean airy softbox")


@dataclass(frozen=True)
class Wanted:
    """One shot. yaw, share: lowest and highest. face: whether one can be seen at all.

    clothes, legs, place: expected colours (n, 3) in CIE Lab, None when no word names one. studio:
    a plain wall behind. warmth, lightness: -1 to 1, from the words of the light.
    """

    shot_id: str
    yaw: tuple[float, float] | None
    share: tuple[float, float] | None
    face: bool
    clothes: Lab | None
    legs: Lab | None
    place: Lab | None
    studio: bool | None
    warmth: float
    lightness: float


def wanted(shot: Shot) -> Wanted:
    """Read one shot; values that the vocabulary no longer has are passed over."""
    asked = shot.attributes
    angle = lexicon.angles().get(asked.get("angle", ""))
    framing = lexicon.framings().get(asked.get("framing", ""))
    setting = lexicon.settings().get(asked.get("setting", ""))
    light = lexicon.lightings().get(asked.get("lighting", ""))
    outfit = lexicon.outfits().get(asked.get("outfit", ""))
    upper, lower = _worn(outfit) if outfit else ((), ())
    said = " ".join((light.phrase, *light.detail, *light.source, *light.manner)) if light else ""
    around = _text_of(setting) if setting else ""
    return Wanted(
        shot_id=shot.id,
        yaw=angle.yaw if angle else None,
        share=framing.face_share if framing else None,
        face=angle.face if angle else shot.face_visible,
        clothes=_lab(upper),
        legs=_lab(lower),
        place=_lab((*hues_in(around), *(hues_in(said) if setting else ()))),
        studio=setting.mix == "neutral" if setting else None,
        warmth=_lean(said, _WARM, _COOL),
        lightness=_lean(f"{said} {around}", _BRIGHT, _DARK),
    )


def _text_of(setting: lexicon.Setting) -> str:
    return " ".join(
        (setting.phrase, setting.detail, setting.props, *setting.names, *setting.objects)
    )


def _worn(outfit: lexicon.Outfit) -> tuple[tuple[RGB, ...], tuple[RGB, ...]]:
    """Colours above and below the waist: of the garments, else of the words before and after."""
    known = hues()
    upper = [g.color for g in (outfit.top, outfit.over, outfit.dress) if g]
    lower = [g.color for g in (outfit.bottom, outfit.dress) if g]
    if upper:
        named = [tuple(known[c] for c in part if c in known) for part in (upper, lower)]
        return named[0], named[1]
    pieces = [" ".join(piece) for piece in outfit.pieces] or outfit.phrase.split(" and ")
    below = [p for p in pieces if _BELOW.search(p)]
    above = [p for p in pieces if p not in below or _WHOLE.search(p)] or pieces
    return hues_in(" ".join(above)), hues_in(" ".join(below or pieces))


_WHOLE = re.compile(r"dress|gown|suit|jumpsuit|dungarees|overalls|robe|kimono|sari|coat")
_BELOW = re.compile(rf"trouser|jeans|skirt|shorts|legging|chino|culotte|{_WHOLE.pattern}")


def _lab(colors: tuple[RGB, ...]) -> Lab | None:
    if not colors:
        return None
    return colour.lab(np.array(colors, dtype=np.uint8))


def _lean(text: str, more: frozenset[str], less: frozenset[str]) -> float:
    """-1 to 1: which of two kinds of words a text has more of."""
    said = re.findall(r"[a-z-]+", text.lower())
    up, down = sum(w in more for w in said), sum(w in less for w in said)
    return 0.0 if up == down == 0 else (up - down) / (up + down)
