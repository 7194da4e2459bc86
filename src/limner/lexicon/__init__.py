"""The one vocabulary of shots, captions, review and atelier.

1. `data/*.yaml` holds every attribute value and trait word; nothing else spells one out.
2. An axis (angle, framing, expression, outfit, setting, lighting, pose, camera) is id -> value.
3. A value knows its words (caption phrase, prompt detail) and what it goes with.
4. `learn(folder)` adds a project's own words, for the thread or task that asks (`confined`: for a
   generator); `lexicon.drawable` holds what the atelier can draw.
5. Traits are the constants of a person: words that prompts and captions must leave out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, cast

from limner.errors import InputError
from limner.lexicon.tables import table
from limner.lexicon.values import (
    RGB,
    Angle,
    Camera,
    Framing,
    Garment,
    Genre,
    Lighting,
    Mood,
    Outfit,
    Pose,
    Setting,
)
from limner.lexicon.vocabulary import Vocabulary

__all__ = [
    "AXES",
    "OWN_FOLDER",
    "RGB",
    "Angle",
    "Camera",
    "Framing",
    "Garment",
    "Genre",
    "Lighting",
    "Mood",
    "Outfit",
    "Pose",
    "Setting",
    "Vocabulary",
    "angles",
    "axis",
    "cameras",
    "colors",
    "confined",
    "framings",
    "genres",
    "learn",
    "lightings",
    "lights_at",
    "moods",
    "outfits",
    "poses",
    "remembered",
    "settings",
    "shipped",
    "traits",
]

AXES = ("angle", "framing", "expression", "outfit", "setting", "lighting", "pose", "camera")
"""The axes of a shot, in the order they are shown."""

OWN_FOLDER = "vocabulary"
"""Folder of a project with its own outfits.yaml, settings.yaml, lightings.yaml, ..."""

Args = TypeVarTuple("Args")
T = TypeVar("T")


Asked = ParamSpec("Asked")


@dataclass(frozen=True)
class _Own:
    """A project's words. axes: axis -> Limner's and its own, for axes it adds to.

    edition: digest of its own words, empty without any.
    """

    axes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    edition: str = ""


_own: ContextVar[_Own | None] = ContextVar("limner_own_words", default=None)
_last = _Own()
"""What was learned last by anyone: it counts for a thread or task that learned nothing itself."""


def _known() -> _Own:
    return _own.get() or _last


@cache
def shipped(name: str) -> Mapping[str, Any]:
    """Limner's own values of one axis (or `genre`), without a project's."""
    from limner.lexicon.reading import FILES, make

    return {
        key: make(name, key, entry) for key, entry in table("limner.lexicon", FILES[name]).items()
    }


def axis(name: str) -> Mapping[str, Any]:
    """The values of one axis by its name in `AXES` (or `genre`), the project's own included."""
    return _known().axes.get(name) or shipped(name)


def remembered(work: Callable[[*Args], T]) -> Callable[[*Args], T]:
    """`functools.cache` for what is made from the vocabulary: apart for each project's words."""

    @lru_cache(maxsize=512)
    def kept(_edition: str, *args: *Args) -> T:
        return work(*args)

    @wraps(work)
    def answer(*args: *Args) -> T:
        return kept(_known().edition, *args)

    return answer


def learn(folder: Path | None) -> dict[str, int]:
    """Know a project's own words from now on, instead of another project's; None forgets them.

    For this thread or task (and for those that never learn any): two projects can be worked on
    side by side. folder: holds any of outfits.yaml, settings.yaml, lightings.yaml, poses.yaml,
    cameras.yaml; it may be missing. Returns axis -> how many were learned. Raises InputError with
    file, line and field for a wrong entry; then nothing is learned.
    """
    from limner.lexicon.reading import FILES, OWN_AXES, check_links

    found: dict[str, dict[str, Any]] = {}
    if folder is not None and folder.is_dir():
        names = {f"{FILES[a]}.yaml": a for a in OWN_AXES}
        for file in sorted(folder.glob("*.y*ml")):
            if file.name not in names:
                raise InputError(
                    f"no vocabulary is read from {file.name}",
                    where=str(file),
                    fix=f"Name it one of: {', '.join(names)}.",
                )
            found[names[file.name]] = _read_own(file, names[file.name])
    merged = {a: {**shipped(a), **words} for a, words in found.items()}
    tables = {a: merged.get(a) or shipped(a) for a in ("setting", "lighting")} if found else {}
    check_links(tables, {a: tuple(words) for a, words in found.items()})
    global _last
    said = repr({a: [*words.values()] for a, words in found.items()}).encode()
    _last = _Own(merged, hashlib.sha256(said).hexdigest()) if found else _Own()
    _own.set(_last)
    return {a: len(words) for a, words in found.items()}


def confined(work: Callable[Asked, Iterator[T]]) -> Callable[Asked, Iterator[T]]:
    """For a generator that learns: its words stay its own, from the first step to the last.

    Other generators may run between its steps, and each step may run in another thread.
    """

    @wraps(work)
    def run(*args: Asked.args, **kwargs: Asked.kwargs) -> Iterator[T]:
        context = copy_context()
        steps = work(*args, **kwargs)
        end = object()
        try:
            while (step := context.run(next, steps, end)) is not end:
                yield cast(T, step)
        finally:
            if isinstance(steps, Generator):
                context.run(steps.close)

    return run


def _read_own(file: Path, name: str) -> dict[str, Any]:
    """A project's file; an id that Limner has already is an error, so that no word changes."""
    from limner.lexicon.constants import find_constants
    from limner.lexicon.reading import read

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} cannot be read: {error}", where=str(file)) from None
    words = read(text, name, str(file))
    for key, value in words.items():
        if key in shipped(name):
            raise InputError(
                f"{key} is one of Limner's own words",
                where=f"{file}: {key}",
                fix="Give yours another id.",
            )
        for said in _said(value):
            if found := find_constants(said):
                raise InputError(
                    f'"{found[0].words}" names a constant of a person ({found[0].trait})',
                    where=f"{file}: {key}",
                    fix="Say what varies; the person comes from the trigger word.",
                )
    return words


def _said(value: Any) -> list[str]:
    """Every string of a value, inner lists too."""
    found: list[str] = []
    stack = [v for k, v in vars(value).items() if k != "id"]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, tuple):
            stack += item
    return found


@cache
def colors() -> dict[str, RGB]:
    """Colour word -> sRGB (0-255)."""
    return {k: (v[0], v[1], v[2]) for k, v in table("limner.lexicon", "colors").items()}


@cache
def traits() -> dict[str, dict[str, tuple[str, ...]]]:
    """Trait -> value -> words that name it; the constants of a person."""
    raw = table("limner.lexicon", "traits")
    return {t: {v: tuple(w) for v, w in values.items()} for t, values in raw.items()}


_all = Vocabulary(axis)
outfits, settings, lightings = _all.outfits, _all.settings, _all.lightings
moods, angles, framings = _all.moods, _all.angles, _all.framings
poses, cameras, genres = _all.poses, _all.cameras, _all.genres


def lights_at(setting: Setting) -> tuple[str, ...]:
    """Lights that can happen at a place: its own list, then lights that name it or its kind."""
    more = (
        key
        for key, light in lightings().items()
        if key not in setting.lightings and {setting.id, setting.mix} & set(light.places)
    )
    return (*setting.lightings, *more)
