"""Whether the pictures show what captions say: by recorded attributes, pixels, or a model's word.

In: a phrase, the sheet. Out: `Seen`: in how many of the pictures the phrase holds, and how that is
known; or "not measured" with the way to measure it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.captions.asking import Look
from limner.captions.counting import content
from limner.captions.folder import Sheet
from limner.errors import InputError

WAY = "let a model look (`limner captions check --ask 8`), or look at them yourself and waive it"
SAMPLE = 48
"""Most pictures whose pixels are read for one check (about 20 ms each; evenly spread)."""
PLAIN_DELTA = 24.0
"""CIELAB distance within which a border pixel belongs to the named colour (starting value)."""
GREY_CHROMA = 4.0
"""Mean CIELAB chroma below which a picture counts as black and white (starting value)."""
_GROUND = frozenset(("background", "backdrop", "wall", "studio", "sky", "seamless"))
_GREYSCALE = re.compile(r"\b(?:black[- ]and[- ]white|monochrome|gr[ae]yscale)\b")


@dataclass(frozen=True)
class Seen:
    """How many of the `of` pictures show a phrase; None: not measured, `how` says the way.

    `how`: what that rests on. `absent`: keys of captions whose picture is known not to show it.
    """

    shown: int | None
    of: int
    how: str
    absent: frozenset[str] = frozenset()

    def verdict(self, least: float) -> str:
        """both | text only | partly | not measured."""
        if self.shown is None:
            return "not measured"
        if self.shown >= least * self.of:
            return "both"
        return "text only" if self.shown <= (1 - least) * self.of else "partly"

    def words(self, least: float) -> str:
        """One sentence for a person."""
        if self.shown is None:
            return f"whether the pictures show it was not measured: {self.how}"
        count = f"{self.shown} of {self.of}"
        return {
            "both": f"the pictures show it too ({count}; {self.how})",
            "partly": f"the pictures show it in {count} only ({self.how})",
            "text only": f"only the text says it: the pictures show it in {count} ({self.how})",
        }[self.verdict(least)]


class Pictures:
    """What is known about the pictures of a sheet; pixels are read once, when first asked for.

    look: a model to ask about `asked` pictures a phrase, where nothing else can tell.
    """

    def __init__(self, sheet: Sheet, look: Look | None = None, asked: int = 0) -> None:
        self._sheet = sheet
        self._look, self._asked = look, asked
        self._attributes = _attributes(sheet)
        self._pixels: dict[str, Pixels] | None = None

    def show(self, words: str, keys: Sequence[str], *, ask: bool = True) -> Seen:
        """Whether the pictures of the captions `keys` show `words`; `ask`: a model may be asked."""
        said = set(map(_stem, content(words)))
        if self._attributes and said and said <= _speakable():
            return self._by_attributes(said, keys)
        if _GREYSCALE.search(words):
            return self._by_pixels(keys, lambda p: p.grey, "measured: mean chroma of the picture")
        color = next((c for c in sorted(_colors(), key=len, reverse=True) if c in words), None)
        if color is not None and _GROUND & set(words.split()):
            name = _colors()[color]
            how = "measured: colour of the upper border"
            return self._by_pixels(keys, lambda p: name in p.ground, how)
        if self._look is not None and ask:
            return self._by_asking(self._look, words, keys)
        return Seen(None, len(keys), WAY)

    def _by_asking(self, look: Look, words: str, keys: Sequence[str]) -> Seen:
        paths = {i.key: self._sheet.root / i.picture for i in self._sheet.items if i.picture}
        having = [k for k in keys if k in paths]
        n = min(self._asked, len(having))
        chosen = [having[i * len(having) // n] for i in range(n)]
        said = {k: look(paths[k], words) for k in chosen}
        known = {k for k, answer in said.items() if answer is not None}
        if not known:
            return Seen(None, len(keys), "the model gave no answer of yes or no")
        absent = frozenset(k for k in known if not said[k])
        how = f"a model was asked about {len(chosen)} of {len(keys)}"
        return Seen(len(known) - len(absent), len(known), how, absent)

    def _by_attributes(self, said: set[str], keys: Sequence[str]) -> Seen:
        known = [k for k in keys if k in self._attributes]
        absent = frozenset(k for k in known if not said <= self._attributes[k].words)
        drawn = all(self._attributes[k].drawn for k in known)
        how = "labels of the drawings" if drawn else "as the shots ask for, not measured"
        return Seen(len(known) - len(absent), len(known), how, absent)

    def _by_pixels(self, keys: Sequence[str], holds: Any, how: str) -> Seen:
        if self._pixels is None:
            self._pixels = _read_pixels(self._sheet)
        known = [k for k in keys if k in self._pixels]
        if not known:
            return Seen(None, len(keys), "No picture could be read")
        absent = frozenset(k for k in known if not holds(self._pixels[k]))
        more = "" if len(known) == len(keys) else f", {len(known)} of {len(keys)} read"
        return Seen(len(known) - len(absent), len(known), how + more, absent)


# ---- recorded attributes


@dataclass(frozen=True)
class _Known:
    """Words that hold for a picture; `drawn`: the atelier drew by them, so they are sure."""

    words: frozenset[str]
    drawn: bool


def _attributes(sheet: Sheet) -> dict[str, _Known]:
    if sheet.project is None:
        return {}
    from limner.captions.stage import shown

    found = {}
    for key, take in sheet.takes.items():
        values = shown(sheet.project, take)
        found[key] = _Known(_words_of(values), take.source == "atelier")
    return found


def _stem(word: str) -> str:
    """A word without its commonest ending, so that smile, smiles and smiling are one."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word.removesuffix("e")


def _spoken(value: Any) -> set[str]:
    """Every content word in the words of one lexicon value."""
    names = ("phrase", "prompt", "detail", "caption", "expression", "mood", "title", "mix", "kind")
    texts: list[str] = []
    for name in names:
        said = getattr(value, name, None)
        texts += [said] if isinstance(said, str) else list(said or ())
    return {_stem(w) for text in texts for w in content(text)}


_GAZES = {
    "camera": "looking glancing back at the camera",
    "away": "looking away into the distance over the shoulder",
    "down": "looking down gaze lowered",
}


def _words_of(values: Mapping[str, str]) -> frozenset[str]:
    found: set[str] = set()
    for axis in lexicon.AXES:
        value = lexicon.axis(axis).get(values.get(axis, ""))
        if value is not None and axis != "camera":
            found |= _spoken(value)
    gaze = values.get("gaze", "camera")
    return frozenset(found | {_stem(w) for w in content(_GAZES.get(gaze, ""))})


@lexicon.remembered
def _speakable() -> frozenset[str]:
    """Every word the attributes could say: about these they can tell whether it holds."""
    found: set[str] = set()
    for axis in lexicon.AXES:
        if axis != "camera":
            for value in lexicon.axis(axis).values():
                found |= _spoken(value)
    return frozenset(found | {_stem(w) for t in _GAZES.values() for w in content(t)})


# ---- pixels


@dataclass(frozen=True)
class Pixels:
    """What a picture's pixels say. `ground`: colours that fill the border; `grey`: no colours."""

    ground: frozenset[str]
    grey: bool


@cache
def _colors() -> dict[str, str]:
    """Colour word -> its name in the lexicon."""
    also = {"gray": "grey", "cream": "beige", "tan": "camel", "crimson": "red", "violet": "purple"}
    return {**{c: c for c in lexicon.colors()}, **also}


def _read_pixels(sheet: Sheet) -> dict[str, Pixels]:
    """Pixels of up to `SAMPLE` pictures, evenly spread; unreadable ones are left out."""
    having = [i for i in sheet.items if i.picture is not None]
    n = min(SAMPLE, len(having))
    found = {}
    for i in range(n):
        item = having[i * len(having) // n]
        pixels = read_pixels(sheet.root / str(item.picture))
        if pixels is not None:
            found[item.key] = pixels
    return found


def read_pixels(path: Path) -> Pixels | None:
    """The border's colours and whether the picture has colour at all; None when unreadable.

    Border: the upper eighth and, of the upper two thirds, a tenth at each side, where a person
    rarely stands. A colour fills it when half of its pixels lie within `PLAIN_DELTA` of it.
    """
    import numpy as np

    from limner.vision.colour import lab as lab_of
    from limner.vision.pictures import open_picture, resize

    try:
        image = resize(open_picture(path), 96, 96)
    except InputError:
        return None
    lab = lab_of(image)
    border = np.concatenate(
        [part.reshape(-1, 3) for part in (lab[:12], lab[12:64, :10], lab[12:64, -10:])]
    )
    names = list(lexicon.colors())
    paints = lab_of(np.array([lexicon.colors()[n] for n in names], dtype=np.uint8))
    apart = np.linalg.norm(border[:, None] - paints[None], axis=2)
    filled = (apart <= PLAIN_DELTA).mean(axis=0) >= 0.5
    grey = float(np.hypot(lab[..., 1], lab[..., 2]).mean()) < GREY_CHROMA
    return Pixels(frozenset(n for n, f in zip(names, filled, strict=True) if f), grey)
