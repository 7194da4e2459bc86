"""The prompt sets beside the planned ones: the guide's five tests, prompts far from the captions,
the user's own, the strengths 0.6 to 1.0, one prompt again and again.

In: trigger and class word. Out: prompts, and which arms draw them; the winner is already chosen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import InputError, UsageError
from limner.evaluation.prompt import EvalPrompt

TEST_SEED = 40_000
"""First seed of the tests: choosing, claiming and calibrating never use these."""
STRENGTHS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""The guide's band (community)."""
VARIETY_SEEDS = 8
"""Fewest pictures of one prompt that say how much they vary (starting value of the protocol)."""
NAMES = ("guide", "far", "own", "strengths", "variety")
NONE = "none"
"""In place of names: the tests of the evaluation before are not drawn again."""
PHASE = "test:"

GUIDE: tuple[tuple[str, str, bool], ...] = (
    ("basic", "{trigger}, portrait, smiling, soft lighting, high quality", True),
    ("outfit", "{trigger}, full body, wearing red cocktail dress, elegant pose", True),
    (
        "setting",
        "{trigger}, outdoor, forest background, natural daylight, contemplative",
        True,
    ),
    ("action", "{trigger}, dancing, dynamic movement, joyful expression", True),
    ("style", "{trigger}, artistic portrait, dramatic lighting, cinematic mood", True),
)
"""The guide's five tests, word for word."""

FAR: tuple[tuple[str, str], ...] = (
    ("astronaut", "close-up of {person} in a white spacesuit with the visor open, inside a cabin"),
    ("underwater", "portrait of {person} under water, hair floating, blue light from above"),
    ("knight", "half-body shot of {person} in steel armour on a castle wall under grey clouds"),
    ("neon", "close-up of {person} in a rainy street at night, pink and green neon signs"),
    ("desert", "portrait of {person} with a headscarf among sand dunes, low sun"),
    ("kitchen", "half-body shot of {person} in a chef's jacket behind steaming pots"),
    ("snow", "close-up of {person} in a fur hood, snow falling, pine trees behind"),
    ("stage", "half-body shot of {person} singing on a stage, spotlight and smoke"),
)
"""Prompts unlike any caption of a character data set (ours): clothes, places and light that no shot
plan asks for; every face is asked for in view."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "guide_basic": (
        "Is this a portrait of one person?",
        "Is the person smiling?",
        "Is the light soft?",
        "Is the picture sharp and clean?",
    ),
    "guide_outfit": (
        "Is the person wearing a red cocktail dress?",
        "Is the whole body in view, from head to feet?",
        "Is the person in an elegant pose?",
        "Is exactly one person in the picture?",
    ),
    "guide_setting": (
        "Is the person outdoors?",
        "Is there a forest behind the person?",
        "Is it daylight?",
        "Does the person look thoughtful?",
    ),
    "guide_action": (
        "Is the person dancing?",
        "Does the body show movement?",
        "Does the person look joyful?",
        "Is exactly one person in the picture?",
    ),
    "guide_style": (
        "Is this a portrait of one person?",
        "Is the lighting dramatic, with deep shadows?",
        "Does the picture look like a film still?",
        "Does it look artistic rather than like a snapshot?",
    ),
    "far_astronaut": (
        "Is the person wearing a white spacesuit?",
        "Is the visor open, so that the face is seen?",
        "Is the person inside a cabin?",
        "Is this a close-up?",
    ),
    "far_underwater": (
        "Is the person under water?",
        "Is the hair floating?",
        "Is there blue light from above?",
        "Is this a portrait?",
    ),
    "far_knight": (
        "Is the person wearing steel armour?",
        "Is the person on a castle wall?",
        "Is the sky grey with clouds?",
        "Is the upper half of the body in view?",
    ),
    "far_neon": (
        "Are there pink and green neon signs?",
        "Is it night?",
        "Is it a rainy street?",
        "Is this a close-up?",
    ),
    "far_desert": (
        "Is the person among sand dunes?",
        "Is the person wearing a headscarf?",
        "Is the sun low?",
        "Is this a portrait?",
    ),
    "far_kitchen": (
        "Is the person wearing a chef's jacket?",
        "Are there steaming pots?",
        "Is the place a kitchen?",
        "Is the upper half of the body in view?",
    ),
    "far_snow": (
        "Is the person wearing a fur hood?",
        "Is snow falling?",
        "Are there pine trees behind?",
        "Is this a close-up?",
    ),
    "far_stage": (
        "Is the person singing?",
        "Is the person on a stage?",
        "Is there a spotlight, or smoke?",
        "Is the upper half of the body in view?",
    ),
}
"""Prompt id -> what a picture of it shows; yes is right."""
WRONG = tuple(QUESTIONS[f"far_{name}"][0] for name, _ in FAR)
"""What hardly any picture shows: the control where a prompt has no attributes."""


@dataclass(frozen=True)
class TestSet:
    """One set. `base`: the base model draws it too, at the same seeds."""

    __test__ = False  # no test of pytest's
    name: str
    prompts: tuple[EvalPrompt, ...]
    seeds: int
    base: bool = True

    @property
    def phase(self) -> str:
        """As the renders call it."""
        return f"{PHASE}{self.name}"

    def cells(self, first: int) -> list[tuple[str, int]]:
        """(prompt, seed): no two share a seed."""
        each = len(self.prompts)
        return [
            (p.id, first + s * each + k)
            for s in range(self.seeds)
            for k, p in enumerate(self.prompts)
        ]


@dataclass(frozen=True)
class Tests:
    """What is drawn of the winner after its claim. `strengths`: the sweep; `styles`: other LoRAs
    stacked with it, each (file, strength), one by one and all together."""

    __test__ = False
    sets: tuple[TestSet, ...] = ()
    strengths: tuple[float, ...] = ()
    styles: tuple[tuple[Path, float], ...] = field(default=())

    @property
    def stacks(self) -> list[tuple[tuple[Path, float], ...]]:
        """What is laid on the winner at once: each style alone, then all of them."""
        alone = [(style,) for style in self.styles]
        return [*alone, self.styles] if len(alone) > 1 else [*alone]

    def cells(self) -> dict[str, list[tuple[str, int]]]:
        """Phase -> cells of the sets, each set with seeds of its own."""
        found, first = {}, TEST_SEED
        for one in self.sets:
            found[one.phase] = one.cells(first)
            first += 1000
        return found

    def prompts(self) -> list[EvalPrompt]:
        """Of all sets."""
        return [p for one in self.sets for p in one.prompts]

    def pictures(self, first: int) -> dict[str, int]:
        """Phase -> pictures at most. first: prompts of the claim, each once."""
        found = {one.phase: len(one.cells(0)) * (2 if one.base else 1) for one in self.sets}
        if self.strengths:
            found[f"{PHASE}strengths"] = first * len(self.strengths)
        if self.styles:
            found[f"{PHASE}styles"] = first * len(self.stacks)
        return found

    def record(self, shas: Sequence[str]) -> dict[str, Any]:
        """For the grid's record. shas: of the style files. A stack of several is called by all but
        its last strength, which stands beside it as that of a single one does."""
        known = dict(zip(self.styles, shas, strict=True))
        styles = [
            [
                " + ".join([*(f"{p.name} at {s:g}" for p, s in stack[:-1]), stack[-1][0].name]),
                " ".join(known[style] for style in stack),
                stack[-1][1],
            ]
            for stack in self.stacks
        ]
        prompts = [[p.id, p.text, p.attributes] for p in self.prompts()]
        return {
            "prompts": prompts,
            "cells": {phase: [list(c) for c in cells] for phase, cells in self.cells().items()},
            "base": [one.phase for one in self.sets if one.base],
            "strengths": list(self.strengths),
            "styles": styles,
        }


def make_tests(
    names: Sequence[str],
    *,
    trigger: str,
    class_word: str,
    planned: Sequence[EvalPrompt] = (),
    own: Path | tuple[EvalPrompt, ...] | None = None,
    styles: Sequence[tuple[Path, float]] = (),
) -> Tests:
    """The tests of these names (`all`: every one that can be had). own: a file of prompts, or
    prompts. Raises UsageError for another name, InputError for a prompt file without prompts or
    more than three style LoRAs."""
    wanted = [n for n in NAMES if n != "own"] if "all" in names else list(dict.fromkeys(names))
    if own is not None and "own" not in wanted:
        wanted.append("own")
    for name in wanted:
        if name not in NAMES:
            raise UsageError(
                f"There is no test {name!r}", fix=f"The tests are: all, none, {', '.join(NAMES)}."
            )
    if len(styles) > MOST_STYLES:
        raise InputError(
            f"{len(styles)} style LoRAs at once",
            fix=f"Give at most {MOST_STYLES}; test more later.",
        )
    sets = []
    if "guide" in wanted:
        prompts = [
            EvalPrompt(
                f"guide_{name}",
                text.format(trigger=trigger),
                {},
                face,
                QUESTIONS[f"guide_{name}"],
            )
            for name, text, face in GUIDE
        ]
        sets.append(TestSet("guide", tuple(prompts), 2))
    if "far" in wanted:
        person = f"{trigger} {class_word}"
        prompts = [
            EvalPrompt(f"far_{n}", text.format(person=person), questions=QUESTIONS[f"far_{n}"])
            for n, text in FAR
        ]
        sets.append(TestSet("far", tuple(prompts), 2))
    if "own" in wanted:
        if own is None:
            raise UsageError("The test `own` needs your prompts", fix="Add --prompts FILE.")
        mine = tuple(read_prompts(own, trigger)) if isinstance(own, Path) else own
        sets.append(TestSet("own", mine, 2))
    if "variety" in wanted and planned:
        one = next((p for p in planned if p.face_visible), planned[0])
        again = EvalPrompt(f"variety_{one.id}", one.text, one.attributes, one.face_visible)
        sets.append(TestSet("variety", (again,), VARIETY_SEEDS))
    sweep = STRENGTHS if "strengths" in wanted else ()
    return Tests(tuple(sets), sweep, tuple(styles))


MOST_STYLES = 3
WHAT = {
    "guide": "the guide's five test prompts",
    "far": "prompts far from the captions",
    "strengths": "the strengths 0.6 to 1.0",
    "variety": "one prompt from 8 seeds",
    "own": "your own prompts",
}
"""Name of a test -> what it draws, as a sentence calls it."""


def asking_for(name: str, have: Collection[str]) -> str:
    """The command that draws one more test. --tests names all that are wanted, so those there are
    stand in it again; prompts and styles of one's own are kept unless others are given."""
    if name == "own":
        return "limner evaluate --prompts FILE"
    return f"limner evaluate --tests {','.join(n for n in NAMES if n in {*have, name} - {'own'})}"


def left_out(
    tests: Tests,
    trigger: str,
    class_word: str,
    planned: Sequence[EvalPrompt],
    compared: Collection[float] = (),
) -> Rows:
    """The tests that were not asked for: {test, what, pictures at most, command}. compared: the
    strengths that all checkpoints are drawn at; where these are the guide's no sweep is missing."""
    have = {one.name for one in tests.sets} | ({"strengths"} if tests.strengths else set())
    swept = {"strengths"} if set(STRENGTHS) <= set(compared) else set()
    found = []
    for name in NAMES:
        if name in have | swept:
            continue
        command = asking_for(name, have)
        pictures: int | None = None
        if name != "own":
            alone = make_tests([name], trigger=trigger, class_word=class_word, planned=planned)
            pictures = sum(alone.pictures(len(planned)).values())
        found.append({"test": name, "what": WHAT[name], "pictures": pictures, "command": command})
    return found


Rows = list[dict[str, Any]]


def read_prompts(path: Path, trigger: str) -> list[EvalPrompt]:
    """One prompt a line, `| question?` after it as often as wished; empty lines and lines with #
    are passed over; `{trigger}` or `[trigger]` stands for the trigger word, a line without either
    gets it in front. Raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The prompts cannot be read ({error})", where=str(path), fix="Give a UTF-8 text file."
        ) from None
    texts = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not texts:
        raise InputError("The file holds no prompt", where=str(path), fix="One prompt a line.")
    rows = []
    for text in texts:
        words, *asked = (part.strip() for part in text.split("|"))
        said = words.replace("{trigger}", trigger).replace("[trigger]", trigger)
        said = said if trigger in said else f"{trigger}, {said}"
        rows.append((said, [q for q in asked if q]))
    return list(own_prompts(rows))


def own_prompts(rows: Sequence[tuple[str, Sequence[str]]]) -> tuple[EvalPrompt, ...]:
    """The user's prompts from (text, questions), numbered."""
    return tuple(
        EvalPrompt(f"own_{number:03d}", text, questions=tuple(questions))
        for number, (text, questions) in enumerate(rows, start=1)
    )
