"""What the miniature is told about a drawing: Limner's captions and prompts, with constants.

In: a row of the corpus. Out: one line of text. The base must know hair, skin and face by words; a
character's LoRA captions leave them out. Invented names teach it that an unknown name says
nothing.
"""

from __future__ import annotations

import random
from typing import Any

from limner import lexicon
from limner.captions import compile_caption
from limner.shots.writer import write_prompt

NAME = "SUBJECTNAME"
SYLLABLES = ("ka", "lo", "mi", "ra", "ve", "so", "ti", "nu", "be", "jo", "gra", "ce", "da", "el")
ENDINGS = ("_char", "_char", "_char", "", "_person", "_xo")
MARKS = {"freckles": "freckles", "beard": "beard"}
FACES = {"oval": "oval face", "round": "round face", "square": "square face"}
FACES |= {"long": "long face", "heart": "heart-shaped face"}


def invented_name(rng: random.Random) -> str:
    """A made-up trigger such as `kalomi_char`."""
    return "".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) + rng.choice(ENDINGS)


def constants(identity: dict[str, Any]) -> list[str]:
    """The phrases that name a person's constants."""
    style = lexicon.traits()["hair_style"][identity["hair_style"]][0]
    color = lexicon.traits()["hair_color"][identity["hair_color"]][0]
    hair = f"{color} {style}" if style in ("bob", "bun", "ponytail", "afro") else ""
    age = "young" if identity["age"] < 38 else "middle-aged"
    words = [
        hair or f"{style} {color} hair",
        f"{identity['skin']} skin",
        f"{identity['eyes']} eyes",
        FACES[identity["face"]],
        age,
    ]
    if identity["marks"] in MARKS:
        words.append(MARKS[identity["marks"]])
    return words


def subject(row: dict[str, Any], rng: random.Random, share_of_constants: float) -> str:
    """Name or class word, then constants: each dropped now and then, all of them sometimes."""
    sex = "woman" if row["identity"]["sex"] == "female" else "man"
    draw = rng.random()
    if draw < 0.45:
        head = invented_name(rng) + (f" {sex}" if rng.random() < 0.6 else "")
    else:
        head = f"a {sex}" if draw < 0.93 else "a person"
    words = []
    if rng.random() < share_of_constants:
        words = [w for w in constants(row["identity"]) if rng.random() < 0.85]
        rng.shuffle(words)
    return ", ".join([head, *words])


def say(row: dict[str, Any], rng: random.Random, kind: str) -> str:
    """kind `caption` | `prompt` | `edit` (a reference shows the person) | `plain` (name kept)."""
    attributes = dict(row["attributes"])
    variant = rng.randrange(1 << 30)
    if kind == "prompt":
        text = write_prompt(attributes, NAME, variant)
    else:
        text = compile_caption(attributes, NAME, variant=variant).text
    phrase = lexicon.outfits()[attributes["outfit"]].phrase
    if attributes["outfit_phrase"] != phrase:
        if kind == "prompt" and phrase not in text:
            return say(row, rng, "caption")
        text = text.replace(phrase, attributes["outfit_phrase"])
    if kind == "caption" and rng.random() < 0.25:
        head, *parts = text.split(", ")
        kept = [p for p in parts if rng.random() < 0.85]
        text = ", ".join([head, *kept])
    if kind == "plain":
        return text
    return text.replace(NAME, subject(row, rng, 0.1 if kind == "edit" else 0.85))
