"""The one vocabulary of shots, captions, review and atelier.

1. `data/*.yaml` holds every attribute value and trait word; nothing else spells one out.
2. An axis (angle, framing, expression, outfit, setting, lighting, pose, camera) is id -> value.
3. A value knows its words (caption phrase, prompt detail) and what it goes with.
4. Traits are the constants of a person: words that prompts and captions must leave out.
5. Reading is lazy and cached; importing this package reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, cast

AXES = ("angle", "framing", "expression", "outfit", "setting", "lighting", "pose", "camera")
"""The axes of a shot, in the order they are shown."""

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Garment:
    """One piece of clothing: a cut the atelier knows and a word of colors.yaml (or "denim")."""

    kind: str
    color: str


@dataclass(frozen=True)
class Outfit:
    """A set of clothes with its words and what it goes with."""

    id: str
    phrase: str
    detail: str
    formality: str
    wear: str
    season: str
    top: Garment | None = None
    over: Garment | None = None
    bottom: Garment | None = None
    dress: Garment | None = None


@dataclass(frozen=True)
class Setting:
    """A place. `lightings`: ids that can happen there; `formality`: what may be worn there."""

    id: str
    phrase: str
    detail: str
    props: str
    mix: str
    formality: tuple[str, ...]
    season: str
    lightings: tuple[str, ...]


@dataclass(frozen=True)
class Lighting:
    """A light. `detail`: wordings that can open a prompt."""

    id: str
    phrase: str
    detail: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Mood:
    """One of the five moods of the expression quota. `gaze`: camera | away | down."""

    id: str
    caption: tuple[str, ...]
    expression: tuple[str, ...]
    mood: tuple[str, ...]
    gaze: tuple[str, ...]


@dataclass(frozen=True)
class Angle:
    """An angle domain. `yaw`, `body_yaw`: degrees, absolute, lowest and highest."""

    id: str
    domain: int
    title: str
    phrase: tuple[str, ...]
    yaw: tuple[float, float]
    body_yaw: tuple[float, float]
    face: bool


@dataclass(frozen=True)
class Framing:
    """How much of the person is in the picture. `face_share`: face height over picture height."""

    id: str
    phrase: str
    prompt: tuple[str, ...]
    face_share: tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """What the body does. `pitch`, `roll`: extra degrees of the head (pitch down positive)."""

    id: str
    phrase: tuple[str, ...]
    framings: tuple[str, ...]
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Camera:
    """Camera words of a prompt; captions drop them."""

    id: str
    detail: str
    framings: tuple[str, ...] = field(default_factory=tuple)


def _read(name: str) -> dict[str, Any]:
    from ruamel.yaml import YAML

    text = (resources.files(__package__) / "data" / f"{name}.yaml").read_text(encoding="utf-8")
    return cast(dict[str, Any], YAML(typ="safe").load(text))


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}


@cache
def colors() -> dict[str, RGB]:
    """Colour word -> sRGB (0-255)."""
    return {k: (v[0], v[1], v[2]) for k, v in _read("colors").items()}


@cache
def outfits() -> dict[str, Outfit]:
    """Every outfit by id."""
    found = {}
    for key, entry in _read("outfits").items():
        parts: dict[str, Any] = {
            part: Garment(**value) if isinstance(value, dict) else value
            for part, value in entry.items()
        }
        found[key] = Outfit(id=key, **parts)
    return found


@cache
def settings() -> dict[str, Setting]:
    """Every place by id."""
    return {k: Setting(id=k, **_tuples(v)) for k, v in _read("settings").items()}


@cache
def lightings() -> dict[str, Lighting]:
    """Every light by id."""
    return {k: Lighting(id=k, **_tuples(v)) for k, v in _read("lightings").items()}


@cache
def moods() -> dict[str, Mood]:
    """The five moods by id (values of the expression axis)."""
    return {k: Mood(id=k, **_tuples(v)) for k, v in _read("moods").items()}


@cache
def angles() -> dict[str, Angle]:
    """Every angle domain by id; `pure_back` shows no face."""
    return {k: Angle(id=k, **_tuples(v)) for k, v in _read("angles").items()}


@cache
def framings() -> dict[str, Framing]:
    """Every framing by id."""
    return {k: Framing(id=k, **_tuples(v)) for k, v in _read("framings").items()}


@cache
def poses() -> dict[str, Pose]:
    """Every pose by id."""
    return {k: Pose(id=k, **_tuples(v)) for k, v in _read("poses").items()}


@cache
def cameras() -> dict[str, Camera]:
    """Every camera wording by id."""
    return {k: Camera(id=k, **_tuples(v)) for k, v in _read("cameras").items()}


@cache
def traits() -> dict[str, dict[str, tuple[str, ...]]]:
    """Trait -> value -> words that name it; the constants of a person."""
    return {t: {v: tuple(w) for v, w in values.items()} for t, values in _read("traits").items()}


def axis(name: str) -> Mapping[str, Any]:
    """The values of one axis by its name in `AXES`."""
    tables = {
        "angle": angles,
        "framing": framings,
        "expression": moods,
        "outfit": outfits,
        "setting": settings,
        "lighting": lightings,
        "pose": poses,
        "camera": cameras,
    }
    return cast(Mapping[str, Any], tables[name]())
