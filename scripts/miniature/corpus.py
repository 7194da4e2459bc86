"""The drawings the miniature and the identity embedder are trained on.

In: the number of people. Out: a folder of shards, `people_0000.npy` (pictures, uint8) and
`people_0000.json` (who and what), 50 people x 10 pictures each. A shard is written whole, so a
killed run goes on where it was; shard k is the same on every machine (up to the last bits).
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from limner.atelier import (
    RENDERER_VERSION,
    Character,
    Identity,
    Scene,
    identity_from_seed,
    scene_for,
)
from limner.lexicon import drawable as lexicon

SIZE = 128
PEOPLE_A_SHARD = 50
SCENES, LOOKS = 5, 2  # a person: five scenes (geometry), each in two looks (colours, place, light)
FIRST_SEED = 1_000_000  # characters a user names get seeds below
ANGLES = {"front": 36, "three_quarter": 32, "side": 15, "back": 14, "pure_back": 3}
FRAMINGS = {"close_up": 46, "half_body": 30, "cowboy": 12, "full_body": 12}
RECOLOUR_SHARE = 0.5
Look = tuple[lexicon.Outfit, str, str, int]


def draw_attributes(rng: random.Random) -> dict[str, str]:
    """One combination; every place only in a light that can happen there."""
    framing = rng.choices(list(FRAMINGS), FRAMINGS.values())[0]
    setting = rng.choice(list(lexicon.settings().values()))
    poses = [p.id for p in lexicon.poses().values() if framing in p.framings]
    return {
        "angle": rng.choices(list(ANGLES), ANGLES.values())[0],
        "framing": framing,
        "expression": rng.choice(list(lexicon.moods())),
        "expression_variant": str(rng.randrange(3)),
        "outfit": rng.choice(list(lexicon.outfits())),
        "setting": setting.id,
        "lighting": rng.choice(setting.lightings),
        "pose": "relaxed" if rng.random() < 0.5 else rng.choice(poses),
        "camera": "canon_85",
        "gaze": rng.choices(["camera", "away", "down"], [70, 20, 10])[0],
    }


def unrelated(person: int) -> Identity:
    """Who has a number: everybody by chance."""
    return identity_from_seed(FIRST_SEED + person)


@dataclass(frozen=True)
class Cast:
    """Who is drawn under which number, and what a scene may ask for."""

    identity: Callable[[int], Identity] = unrelated
    asked: Callable[[random.Random], dict[str, str]] = draw_attributes


ANYBODY = Cast()


def recoloured(outfit: lexicon.Outfit, rng: random.Random) -> lexicon.Outfit:
    """The same garments in other colours, the phrase changed with them."""
    phrase, swaps = outfit.phrase, {}
    for garment in (outfit.top, outfit.over, outfit.bottom, outfit.dress):
        if garment is None or garment.color in swaps or garment.color == "denim":
            continue
        if re.search(rf"\b{garment.color}\b", phrase):
            swaps[garment.color] = rng.choice(list(lexicon.colors()))
    for old, new in swaps.items():
        phrase = re.sub(rf"\b{old}\b", f"<{new}>", phrase)
    parts: dict[str, Any] = {}
    for part in ("top", "over", "bottom", "dress"):
        garment = getattr(outfit, part)
        if garment is not None:
            parts[part] = replace(garment, color=swaps.get(garment.color, garment.color))
    return replace(outfit, phrase=re.sub("[<>]", "", phrase), **parts)


def scenes_of(
    person: int, cast: Cast = ANYBODY
) -> Iterator[tuple[Scene, list[Look], list[dict[str, Any]]]]:
    """A person's scenes, each with its looks and one row of meta data a look. Draws nothing."""
    rng = random.Random(f"corpus {person}")
    identity = cast.identity(person)
    for number in range(SCENES):
        attributes = cast.asked(rng)
        while identity.sex == "male" and lexicon.outfits()[attributes["outfit"]].wear == "feminine":
            attributes["outfit"] = rng.choice(list(lexicon.outfits()))
        scene = scene_for(attributes, rng.randrange(1 << 30))
        looks: list[Look] = []
        rows = []
        for _ in range(LOOKS):
            place = draw_attributes(rng)
            outfit = lexicon.outfits()[attributes["outfit"]]
            if rng.random() < RECOLOUR_SHARE:
                outfit = recoloured(outfit, rng)
            looks.append((outfit, place["setting"], place["lighting"], rng.randrange(1 << 30)))
            said = {
                **attributes,
                "expression_variant": str(scene.expression_variant),  # words follow the drawing
                "setting": place["setting"],
                "lighting": place["lighting"],
                "outfit_phrase": outfit.phrase,
            }
            rows.append(
                {
                    "person": person,
                    "scene": number,
                    "identity": identity.as_dict(),
                    "attributes": said,
                }
            )
        yield scene, looks, rows


def draw_shard(number: int, cast: Cast = ANYBODY) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Pictures (500, 128, 128, 3) and their rows of meta data."""
    pictures, rows = [], []
    for person in range(number * PEOPLE_A_SHARD, (number + 1) * PEOPLE_A_SHARD):
        character = Character(cast.identity(person))
        for scene, looks, found in scenes_of(person, cast):
            for drawing, row in zip(
                character.draw_variants(scene, looks, SIZE), found, strict=True
            ):
                pictures.append(drawing.image)
                rows.append({**row, "labels": drawing.labels.as_dict()})
    return np.stack(pictures), rows


def make(
    folder: Path,
    people: int,
    worker: int = 0,
    workers: int = 1,
    cast: Cast = ANYBODY,
    first: int = 0,
) -> None:
    """Draw every missing shard of persons `first` to `first + people` whose number is `worker`
    modulo `workers`."""
    folder.mkdir(parents=True, exist_ok=True)
    start = first // PEOPLE_A_SHARD
    for number in range(start + worker, start + -(-people // PEOPLE_A_SHARD), workers):
        file = folder / f"people_{number:04d}.json"
        if file.exists():
            continue
        pictures, rows = draw_shard(number, cast)
        temp = folder / f".people_{number:04d}.{os.getpid()}.npy"
        np.save(temp, pictures)
        temp.replace(folder / f"people_{number:04d}.npy")
        text = json.dumps({"renderer": RENDERER_VERSION, "size": SIZE, "rows": rows})
        part = file.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)
        print(f"shard {number}: {len(rows)} drawings", flush=True)


def shards(folder: Path) -> list[Path]:
    """Finished shards, in order."""
    return sorted(f.with_suffix(".npy") for f in folder.glob("people_*.json"))
