"""Who is drawn: the constants of a person and the face shape that a seed stands for.

In: a seed, a description, or two identities to blend. Out: `Identity` and its morph weights.
Every concern draws from its own random generator, so a new feature never changes an old character.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from limner.errors import InputError
from limner.lexicon import traits

TRAITS = ("sex", "skin", "hair_color", "hair_style", "eyes", "marks", "face")
AGES = (22, 65)
"""Years: everybody the atelier draws is an adult."""


@dataclass(frozen=True)
class Identity:
    """One person. Traits are ids of `lexicon.traits()`; `seed` is the face shape.

    age: years, 22 to 65. amplitude: how far the face leaves the average, 0 (average) to 1.5.
    toward, toward_face, share: a second face mixed in (see `blend`), share 0 to 1.
    """

    sex: str
    age: int
    skin: str
    hair_color: str
    hair_style: str
    eyes: str
    marks: str
    face: str
    seed: int
    amplitude: float = 0.7
    toward: int | None = None
    toward_face: str | None = None
    share: float = 0.0

    def __post_init__(self) -> None:
        for trait in TRAITS:
            value = getattr(self, trait)
            if value not in traits()[trait]:
                known = ", ".join(traits()[trait])
                raise InputError(f"no {trait} {value!r}", where=trait, fix=f"use one of: {known}")
        if not AGES[0] <= self.age <= AGES[1]:
            raise InputError(f"age {self.age} is outside {AGES[0]} to {AGES[1]}", where="age")
        if not (0 <= self.share <= 1 and 0 <= self.amplitude <= 1.5):
            raise InputError(
                "share must lie in 0..1 and amplitude in 0..1.5", where="share, amplitude"
            )

    def in_words(self) -> str:
        """Who this is, in the lexicon's words: "a woman of 25, fair skin, ..."."""
        said = {t: next(iter(traits()[t][getattr(self, t)]), "") for t in TRAITS}
        parts = [
            f"a {said['sex']} of {self.age}",
            f"{said['skin']} skin",
            f"hair {said['hair_color']} and {said['hair_style']}",
            f"{said['eyes']} eyes",
            f"face {said['face']}",
            said["marks"],
        ]
        return ", ".join(part for part in parts if part)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Identity:
        """The identity written by `as_dict`; unknown keys are an InputError."""
        known = {f.name for f in fields(Identity)}
        extra = set(values) - known
        if extra:
            raise InputError(
                f"unknown identity fields: {', '.join(sorted(extra))}", where="identity"
            )
        return Identity(**values)


def generator(seed: int, concern: str) -> np.random.Generator:
    """The random generator of one concern of one seed."""
    return np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32(concern.encode())])


_SHARES: dict[str, dict[str, dict[str, float]]] = {
    "hair_style": {
        "female": {
            "long_straight": 2, "long_wavy": 2, "bob": 2, "bun": 1.3, "ponytail": 1.5, "short": 0.8,
            "crop": 0.2, "side_part": 0.3, "curly": 1.5, "afro": 0.3,
        },
        "male": {
            "long_straight": 0.25, "long_wavy": 0.3, "bob": 0.1, "bun": 0.3, "ponytail": 0.3,
            "short": 3, "crop": 2, "side_part": 2.5, "curly": 1.3, "afro": 0.3,
        },
    },
    "marks": {
        "female": {"none": 3, "freckles": 1, "beard": 0},
        "male": {"none": 2, "freckles": 0.7, "beard": 1.5},
    },
    "hair_color": {
        "light": {"black": 1, "dark_brown": 2, "brown": 2, "auburn": 1.2, "blonde": 2, "grey": 0.4},
        "deep": {"black": 3, "dark_brown": 2, "brown": 0.8, "auburn": 0.3, "blonde": 0.2,
                 "grey": 0.4},
    },
    "eyes": {
        "light": {"brown": 2, "dark": 1, "blue": 2, "green": 1.3, "grey": 1},
        "deep": {"brown": 3, "dark": 3, "blue": 0.2, "green": 0.4, "grey": 0.2},
    },
}  # fmt: skip
"""How often a seed picks a value: starting values that keep the cast varied and plausible."""


def _pick(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    weights = np.array(list(shares.values()), dtype=float)
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def identity_from_seed(seed: int, **overrides: Any) -> Identity:
    """A plausible person for a seed; `overrides` fix any field and the rest adapts to them."""
    rng = {concern: generator(seed, concern) for concern in (*TRAITS, "age", "curls")}
    sex = overrides.get("sex") or _pick(rng["sex"], dict.fromkeys(traits()["sex"], 1.0))
    skin = overrides.get("skin") or _pick(rng["skin"], dict.fromkeys(traits()["skin"], 1.0))
    tone = "light" if skin in ("fair", "medium") else "deep"
    styles = dict(_SHARES["hair_style"][sex])
    if skin in ("brown", "dark"):
        styles["afro"] += 1.2
        styles["curly"] += 1.0
    drawn: dict[str, Any] = {
        "sex": sex,
        "age": int(np.clip(round(22 + 43 * rng["age"].beta(1.3, 2.0)), *AGES)),
        "skin": skin,
        "hair_color": _pick(rng["hair_color"], _SHARES["hair_color"][tone]),
        "hair_style": _pick(rng["hair_style"], styles),
        "eyes": _pick(rng["eyes"], _SHARES["eyes"][tone]),
        "marks": _pick(rng["marks"], _SHARES["marks"][sex]),
        "face": _pick(rng["face"], dict.fromkeys(traits()["face"], 1.0)),
        "seed": seed,
    }
    return Identity(**{**drawn, **{k: v for k, v in overrides.items() if v is not None}})


# A trait's words count only near the noun they belong to: "brown" is hair, eyes or skin.
_NOUNS = {
    "hair_color": ("hair", "bun", "ponytail", "bob", "afro", "curls", "beard", "crop"),
    "hair_style": ("hair", "cut", "haircut"),
    "eyes": ("eyes", "eye", "eyed"),
    "skin": ("skin", "skinned", "complexion"),
    "face": ("face", "faced"),
}
_FREE = {
    "bob",
    "bobbed",
    "chin-length",
    "bun",
    "updo",
    "ponytail",
    "afro",
    "curly",
    "buzz cut",
    "cropped",
}
_FREE |= {"side-parted", "side part", "beard", "bearded", "stubble", "freckles", "freckled"}
_REACH = 45
"""Characters before a noun in which its adjective may stand; commas and other nouns end it."""


def _near(text: str, words: tuple[str, ...], nouns: tuple[str, ...]) -> int | None:
    """Length of the longest word found in the clause before one of the nouns."""
    best: int | None = None
    for noun in re.finditer(rf"\b({'|'.join(nouns)})\b", text):
        clause = text[max(0, noun.start() - _REACH) : noun.start()]
        clause = re.split(r"[,.;]|\b(?:with|eyes|skin|hair|face|and a)\b", clause)[-1]
        for word in words:
            if re.search(rf"\b{re.escape(word)}\b", clause.replace("-", " ")) or re.search(
                rf"\b{re.escape(word)}\b", clause
            ):
                best = max(best or 0, len(word))
    return best


def _read_trait(text: str, trait: str) -> str | None:
    found: dict[str, int] = {}
    for value, words in traits()[trait].items():
        score = _near(text, words, _NOUNS[trait]) if trait in _NOUNS else None
        for word in words:
            if (word in _FREE or trait in ("sex", "age", "marks")) and re.search(
                rf"\b{re.escape(word)}\b", text
            ):
                score = max(score or 0, len(word))
        if score is not None:
            found[value] = score
    return max(found, key=lambda v: found[v]) if found else None


_DECADES = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties")
_OLD = re.compile(
    r"\belderly\b|\b(?:old|aged|senior)\s+(?:[\w-]+\s+){0,2}?"
    r"(?:woman|man|lady|gentleman|person|female|male)\b"
)


def _read_age(text: str) -> int | None:
    number = re.search(r"\b(\d{2})[- ]?(?:years?|yo\b|y/o)", text) or re.search(
        r"\b(?:age|aged) (\d{2})\b", text
    )
    decade = re.search(
        rf"\b(?:in (?:her|his|their) )?(early|mid|late)?[- ]?({'|'.join(_DECADES)})", text
    )
    if number:
        return int(np.clip(int(number.group(1)), *AGES))
    if decade:
        tens = _DECADES.index(decade.group(2))
        years = 20 + 10 * tens + {"early": 3, "mid": 5, "late": 8}.get(decade.group(1) or "mid", 5)
        return int(np.clip(years, *AGES))
    if _OLD.search(text):
        return AGES[1]
    trait = _read_trait(text, "age")
    return {"young": 27, "middle_aged": 48}.get(trait or "")


_DENIED = re.compile(
    r"\b(?:no|not|never|without)\s+(?:(?:a|an|any|visible|much)\s+)?[\w-]+(?:\s+or\s+[\w-]+)?"
)
_BARE = re.compile(r"freckle|beard|stubble|clean[- ]shaven")


def identity_from_description(text: str, seed: int) -> Identity:
    """The person a description names: its trait words win, the seed fills in the rest.

    English words are read. What is denied ("no beard") is not drawn; ages are held within `AGES`.
    """
    whole = " ".join(text.lower().split())
    lowered = _DENIED.sub(" ", whole)
    found: dict[str, Any] = {t: _read_trait(lowered, t) for t in TRAITS}
    if found["marks"] is None and _BARE.search(whole):
        found["marks"] = "none"
    found["age"] = _read_age(lowered)
    if found["sex"] is None:
        pronouns = {
            "female": r"\b(she|her|girl|gal|girlfriend|mother)\b",
            "male": r"\b(he|his|guy|boy|father)\b",
        }
        found["sex"] = next((s for s, p in pronouns.items() if re.search(p, lowered)), None)
    return identity_from_seed(seed, **{k: v for k, v in found.items() if v is not None})


def blend(a: Identity, b: Identity, t: float) -> Identity:
    """A look-alike of `a`: same hair, skin, sex and age, face shape moved by `t` (0..1) toward
    `b`.
    """
    return replace(a, toward=b.seed, toward_face=b.face, share=float(t))


# Two-sided features (…-incr / …-decr) and features with named ends, with the largest weight of
# each.
_SCALED: tuple[tuple[str, float], ...] = (
    ("nose/nose-scale-vert", 0.6), ("nose/nose-scale-horiz", 0.7), ("nose/nose-scale-depth", 0.6),
    ("nose/nose-hump", 0.7), ("nose/nose-width1", 0.6), ("nose/nose-width2", 0.7),
    ("nose/nose-width3", 0.8), ("nose/nose-volume", 0.6), ("nose/nose-greek", 0.5),
    ("mouth/mouth-scale-horiz", 0.7), ("mouth/mouth-scale-vert", 0.5),
    ("mouth/mouth-lowerlip-volume", 0.7), ("mouth/mouth-upperlip-volume", 0.7),
    ("mouth/mouth-upperlip-height", 0.5), ("mouth/mouth-lowerlip-height", 0.5),
    ("mouth/mouth-cupidsbow", 0.7), ("chin/chin-height", 0.6), ("chin/chin-width", 0.7),
    ("chin/chin-prominent", 0.6), ("chin/chin-jaw-drop", 0.5), ("head/head-scale-horiz", 0.4),
    ("head/head-scale-vert", 0.5), ("head/head-fat", 0.5), ("cheek/*-cheek-bones", 0.7),
    ("cheek/*-cheek-volume", 0.7), ("cheek/*-cheek-inner", 0.5), ("eyes/*-eye-scale", 0.6),
    ("eyes/*-eye-height1", 0.5), ("eyes/*-eye-height2", 0.6), ("eyes/*-eye-height3", 0.5),
    ("eyes/*-eye-bag", 0.4), ("ears/*-ear-scale", 0.6), ("forehead/forehead-temple", 0.5),
    ("forehead/forehead-scale-vert", 0.5),
)  # fmt: skip
_ENDS: tuple[tuple[str, str, str, float], ...] = (
    ("eyes/*-eye-trans", "in", "out", 0.6), ("eyes/*-eye-trans", "up", "down", 0.4),
    ("eyes/*-eye-corner1", "up", "down", 0.6), ("eyes/*-eye-corner2", "up", "down", 0.7),
    ("nose/nose-trans", "up", "down", 0.5), ("nose/nose-point", "up", "down", 0.8),
    ("nose/nose-curve", "concave", "convex", 0.7), ("mouth/mouth-trans", "up", "down", 0.4),
    ("mouth/mouth-angles", "up", "down", 0.3), ("eyebrows/eyebrows-trans", "up", "down", 0.5),
    ("eyebrows/eyebrows-angle", "up", "down", 0.6), ("eyes/*-eye-eyefold", "up", "down", 0.6),
    ("eyes/*-eye-push1", "in", "out", 0.5),
)  # fmt: skip
_FACES: dict[str, dict[str, float]] = {
    "oval": {"head/head-oval": 0.55},
    "round": {"head/head-round": 0.75},
    "square": {"head/head-square": 0.8},
    "long": {"head/head-rectangular": 0.7, "head/head-scale-vert-incr": 0.35},
    "heart": {"head/head-invertedtriangular": 0.6, "chin/chin-width-decr": 0.4},
}
"""Face trait -> targets: what makes the trait visible whatever the seed does."""

_PLEASANT = {
    "eyes/*-eye-scale-incr": 0.42,
    "eyes/*-eye-height2-incr": 0.6,
    "mouth/mouth-angles-up": 0.4,
}
"""For everybody: eyes a little larger than life, so that iris and gaze read at 128 px, and a mouth
that does not frown at rest."""

_ORIGINS: dict[str, tuple[float, float, float]] = {
    "fair": (4.0, 0.1, 1.0),
    "medium": (2.2, 0.2, 2.2),
    "tan": (2.2, 0.7, 1.6),
    "brown": (1.2, 2.2, 0.8),
    "dark": (0.2, 5.0, 0.2),
}
"""Skin trait -> Dirichlet weights of MakeHuman's (caucasian, african, asian) macro shapes."""

Weights = dict[str, float]


@cache
def _face_of(seed: int, face: str, skin: str) -> tuple[tuple[str, float], ...]:
    """Morph weights of a face at amplitude 1, without sex and age."""
    weights: Weights = {}
    rng = generator(seed, "features")
    for name, most in _SCALED:
        value = float(np.clip(rng.normal(), -1.6, 1.6)) * most * 0.6
        weights[name + ("-incr" if value > 0 else "-decr")] = abs(value)
    rng = generator(seed, "places")
    for name, up, down, most in _ENDS:
        value = float(np.clip(rng.normal(), -1.6, 1.6)) * most * 0.6
        weights[f"{name}-{up if value > 0 else down}"] = abs(value)
    origin = generator(seed, "origin").dirichlet(_ORIGINS[skin])
    for name, value in zip(("caucasian", "african", "asian"), origin, strict=True):
        weights["origin:" + name] = float(value)
    for name, value in (*_FACES[face].items(), *_PLEASANT.items()):
        weights["face:" + name] = value
    return tuple(weights.items())


def morphs(identity: Identity) -> Weights:
    """Target name -> weight that turns the base mesh into this person.

    MakeHuman's macro targets hold origin x sex x age; the face is mixed before they are expanded.
    """
    own = dict(_face_of(identity.seed, identity.face, identity.skin))
    if identity.toward is not None and identity.share:
        face = identity.toward_face or identity.face
        other = dict(_face_of(identity.toward, face, identity.skin))
        t = identity.share
        own = {k: (1 - t) * own.get(k, 0) + t * other.get(k, 0) for k in {**own, **other}}
    old = float(np.clip((identity.age - 22) / 48, 0, 1)) * 0.85
    result: Weights = {}
    for name, weight in own.items():
        if name.startswith("origin:"):
            macro = f"macrodetails/{name[7:]}-{identity.sex}"
            result[macro + "-young"] = weight * (1 - old)
            result[macro + "-old"] = weight * old
        elif name.startswith("face:"):
            result[name[5:]] = result.get(name[5:], 0) + weight
        else:
            result[name] = result.get(name, 0) + weight * identity.amplitude
    result.update(_build(identity))
    return result


def _build(identity: Identity) -> Weights:
    """Weight and muscle of the body: their own concern."""
    rng = generator(identity.seed, "build")
    weight, muscle = float(rng.uniform(-0.45, 0.4)), float(rng.uniform(0, 0.5))
    universal = f"macrodetails/universal-{identity.sex}-young-"
    end = "averagemuscle-maxweight" if weight > 0 else "averagemuscle-minweight"
    share = 0.6 if identity.sex == "male" else 0.2
    return {universal + end: abs(weight), universal + "maxmuscle-averageweight": muscle * share}


def feature_targets() -> set[str]:
    """Every morph target that some identity can use, one name a side ("l-", "r-")."""
    names = {f"{name}-{end}" for name, _ in _SCALED for end in ("incr", "decr")}
    names |= {f"{name}-{end}" for name, up, down, _ in _ENDS for end in (up, down)}
    names |= {name for targets in (*_FACES.values(), _PLEASANT) for name in targets}
    for sex in ("female", "male"):
        for origin in ("caucasian", "african", "asian"):
            names |= {f"macrodetails/{origin}-{sex}-{age}" for age in ("young", "old")}
        universal = f"macrodetails/universal-{sex}-young-"
        ends = ("averagemuscle-minweight", "averagemuscle-maxweight", "maxmuscle-averageweight")
        names |= {universal + end for end in ends}
    return {n.replace("*", side) for n in names for side in (("l", "r") if "*" in n else ("",))}
