"""The contact sheet: one row a character, equal cells, words beneath, on neutral grey.

In: identities, how many drawings each, cell size in px, seed. Out: events, last a PIL image.
Every sheet says that its pictures are drawings.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from limner.atelier.canvas import Color
from limner.atelier.character import Character
from limner.atelier.identity import Identity, generator
from limner.atelier.labels import RENDERER_VERSION
from limner.atelier.scene import scene_for
from limner.errors import UsageError
from limner.events import Events, Result, Ticker
from limner.lexicon import drawable as lexicon

Attributes = dict[str, str]

# Hueless, so that the surround never tints a skin tone.
GROUND, INK, INK_SOFT, RULE = (243, 243, 243), (23, 23, 23), (99, 99, 99), (218, 218, 218)
ANGLES = ("front", "three_quarter", "side", "front", "three_quarter", "back", "front", "pure_back")
FRAMINGS = ("close_up", "half_body", "close_up", "cowboy", "full_body", "half_body")
ANCHOR: Attributes = {
    "angle": "front",
    "framing": "close_up",
    "expression": "confident",
    "setting": "grey_studio",
    "lighting": "softbox",
    "pose": "relaxed",
}
"""The first drawing of every row, alike for all, so that rows can be compared."""


def sheet_plan(identity: Identity, images: int, seed: int) -> list[Attributes]:
    """Attribute ids of a row: the anchor, then a spread over every axis that goes together."""
    rng = generator(seed, f"sheet-{identity.seed}")
    moods, places = list(lexicon.moods()), list(lexicon.settings())
    rng.shuffle(places)
    rng.shuffle(moods)
    worn: list[str] = []
    rows: list[Attributes] = []
    for k in range(images):
        row = dict(ANCHOR)
        if k:
            row["angle"] = ANGLES[k % len(ANGLES)]
            row["framing"] = FRAMINGS[k % len(FRAMINGS)]
            row["expression"] = moods[k % len(moods)]
            row["setting"] = places[k % len(places)]
            row["lighting"] = str(rng.choice(lexicon.settings()[row["setting"]].lightings))
            fits = [p.id for p in lexicon.poses().values() if row["framing"] in p.framings]
            row["pose"] = str(rng.choice(fits))
        row["outfit"] = _outfit(identity, row["setting"], worn, rng)
        worn.append(row["outfit"])
        rows.append(row)
    return rows


def _outfit(
    identity: Identity, setting_id: str, worn: Sequence[str], rng: np.random.Generator
) -> str:
    """An outfit that goes with person and place, if possible not worn before."""
    place = lexicon.settings()[setting_id]
    other = {"warm": "cold", "cold": "warm"}.get(place.season)
    wear = {"neutral", "feminine" if identity.sex == "female" else "masculine"}
    fits = [
        o.id
        for o in lexicon.outfits().values()
        if o.formality in place.formality and o.season != other and o.wear in wear
    ]
    fresh = [o for o in fits if o not in worn] or fits or list(lexicon.outfits())
    return str(rng.choice(fresh))


def sheet(
    characters: Sequence[Identity],
    images: int = 8,
    size: int = 256,
    seed: int = 0,
    jobs: int | None = None,
) -> Events:
    """Draw `images` pictures of each character and lay them out; `Result` holds the PIL image.

    size: cell side in px, 64-1024. jobs: processes, by default one a core. The same arguments give
    the same bytes whatever `jobs` is. Raises UsageError for an empty sheet or a size out of range.
    """
    if not characters or images < 1:
        raise UsageError("a sheet needs a character and a picture", fix="ask for at least one each")
    if not 64 <= size <= 1024:
        raise UsageError(f"cells of {size} px cannot be drawn", fix="choose a size from 64 to 1024")
    plans = [sheet_plan(identity, images, seed) for identity in characters]
    cells: dict[tuple[int, int], Image.Image] = {}
    ticker = Ticker("draw", len(characters) * images)
    with _workers(jobs) as pool:
        waiting: dict[Future[list[bytes]], tuple[int, int]] = {}
        for row, (identity, plan) in enumerate(zip(characters, plans, strict=True)):
            for first in range(0, images, _BATCH):
                batch = plan[first : first + _BATCH]
                asked = (identity, batch, size, seed * 1009 + first)
                if pool is None:
                    _place(cells, row, first, _draw(*asked), size)
                    yield ticker.tick(len(batch), f"character {row + 1}")
                else:
                    waiting[pool.submit(_draw, *asked)] = (row, first)
        for done in as_completed(waiting):
            row, first = waiting[done]
            pictures = done.result()
            _place(cells, row, first, pictures, size)
            yield ticker.tick(len(pictures), f"character {row + 1}")
    yield Result(_lay_out(characters, plans, cells, size))


_BATCH = 4
"""Drawings a worker makes of one character at once: building a character costs as much as some."""


@contextmanager
def _workers(jobs: int | None) -> Iterator[Executor | None]:
    """A pool of processes, or None to draw here."""
    count = jobs if jobs is not None else len(os.sched_getaffinity(0))
    if count <= 1:
        yield None
        return
    # A fork of a process with threads can lock up; a spawned one must import the main program.
    alone = threading.active_count() == 1 and sys.platform == "linux"
    with ProcessPoolExecutor(count, get_context("fork" if alone else "spawn")) as pool:
        yield pool


@lru_cache(maxsize=2)
def _character(identity: Identity) -> Character:
    return Character(identity)


def _draw(identity: Identity, plan: Sequence[Attributes], size: int, seed: int) -> list[bytes]:
    """The drawings of a batch as raw RGB."""
    person = _character(identity)
    return [
        person.draw(scene_for(row, seed + k), size).image.tobytes() for k, row in enumerate(plan)
    ]


def _place(
    cells: dict[tuple[int, int], Image.Image],
    row: int,
    first: int,
    pictures: Sequence[bytes],
    size: int,
) -> None:
    for k, raw in enumerate(pictures):
        cells[row, first + k] = Image.frombytes("RGB", (size, size), raw)


# -- layout ----------------------------------------------------------------------------------------
def _lay_out(
    characters: Sequence[Identity],
    plans: Sequence[Sequence[Attributes]],
    cells: dict[tuple[int, int], Image.Image],
    size: int,
) -> Image.Image:
    small = max(10, round(size * 0.052))
    gap, margin = max(6, size // 28), max(16, size // 9)
    strip, side = round(small * 2.9), max(150, round(size * 0.72))
    images = len(plans[0])
    head = round(small * 4.4)
    width = 2 * margin + side + images * (size + gap) - gap
    height = 2 * margin + head + len(characters) * (size + strip + gap) + small * 2
    page = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(page)
    _words(pen, margin, margin, "Limner atelier: drawings", round(small * 1.7), INK, width)
    count = f"{len(characters)} characters, {images} drawings each, renderer {RENDERER_VERSION}"
    _words(pen, margin, margin + small * 2.1, count, small, INK_SOFT, width)
    for row, (identity, plan) in enumerate(zip(characters, plans, strict=True)):
        y = margin + head + row * (size + strip + gap)
        pen.line((margin, y - gap / 2, width - margin, y - gap / 2), fill=RULE)
        _name(pen, margin, y, identity, row, small, side - gap)
        for k, attributes in enumerate(plan):
            x = margin + side + k * (size + gap)
            page.paste(cells[row, k], (x, y))
            for n, text in enumerate(_caption(attributes)):
                tone = INK if n == 0 else INK_SOFT
                top = y + size + small * (0.35 + 1.15 * n)
                _words(pen, x, top, text, small, tone, size)
    note = "Drawings made by a program from random numbers. None of them shows a real person."
    _words(pen, margin, height - margin - small * 1.2, note, small, INK_SOFT, width - 2 * margin)
    return page


def _caption(row: Attributes) -> tuple[str, str]:
    angle = row["angle"].replace("_", " ")
    framing = row["framing"].replace("_", " ")
    place = lexicon.settings()[row["setting"]].phrase
    light = row["lighting"].replace("_", " ")
    return f"{angle}, {framing}, {row['expression']}", f"{place}, {light}"


def _name(
    pen: ImageDraw.ImageDraw,
    x: int,
    y: int,
    identity: Identity,
    row: int,
    small: int,
    width: int,
) -> None:
    traits = lexicon.traits()

    def word(trait: str, value: str) -> str:
        return (traits[trait][value] or ("",))[0]

    marks = word("marks", identity.marks) if identity.marks != "none" else ""
    lines = [
        f"{word('sex', identity.sex)}, {identity.age} years",
        f"{word('skin', identity.skin)} skin",
        f"{word('hair_color', identity.hair_color)} hair",
        word("hair_style", identity.hair_style),
        f"{word('eyes', identity.eyes)} eyes",
        f"{word('face', identity.face)} face" + (f", {marks}" if marks else ""),
        f"seed {identity.seed}",
    ]
    _words(pen, x, y, f"Character {row + 1}", round(small * 1.25), INK, width)
    for n, line in enumerate(lines):
        _words(pen, x, y + small * (1.9 + 1.3 * n), line, small, INK_SOFT, width)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _words(
    pen: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, tone: Color, width: float
) -> None:
    """One line of text, shortened to fit."""
    font = _font(size)
    shown = text
    while len(shown) > 1 and pen.textlength(shown, font=font) > width:
        shown = shown[:-1]
    if shown != text:
        shown = shown[:-1].rstrip(" ,") + "…"
    pen.text((x, y), shown, fill=tuple(int(t) for t in tone), font=font)
