"""Yes/no questions to the user's vision endpoint: is it what the prompt asks, and is it whole?

In: a picture, its shot, another shot that must not fit. Out: answers; a model that also agrees with
the wrong prompt is not believed. Answers are cached by picture, model and questions.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from limner.llm import Client, EndpointError, picture, user
from limner.project.files import write_text
from limner.project.records import Shot
from limner.review.case import Judgement
from limner.review.rules import Rule

Kind = Literal["prompt", "control", "artefact"]
ARTEFACTS = (
    ("hands", "Does every visible hand have five fingers, none missing, extra or fused?"),
    ("face", "Are eyes, mouth, teeth and ears free of errors, as on a real person?"),
)
"""Asked of every picture; "yes" is right. No packaged model sees these."""
NONSENSE = "Is the person in the picture made of blue glass and floating above an open sea?"
"""The control where no prompt is known: nobody's pictures show it."""
CACHE = "answers"
TOKENS = 200


@dataclass(frozen=True)
class Question:
    """What is asked; `about` is the axis or the part."""

    kind: Kind
    about: str
    text: str


@dataclass(frozen=True)
class Answers:
    """What the model said: question -> True, False, None (no clear word). fault: why nothing."""

    said: tuple[tuple[Question, bool | None], ...] = ()
    model: str = ""
    fault: str = ""
    cached: bool = field(default=False, compare=False)

    def of(self, kind: Kind) -> list[tuple[Question, bool]]:
        """Clear answers of one kind."""
        return [(q, a) for q, a in self.said if q.kind == kind and a is not None]


def questions_for(shot: Shot, others: Sequence[Shot]) -> list[Question]:
    """Four to six questions on the prompt, two on artefacts, two of a prompt that does not fit."""
    found = [Question("prompt", axis, text) for axis, text in _asked(shot.attributes)]
    wrong = _mismatched(shot, others)
    found += [Question("control", axis, text) for axis, text in wrong]
    found += [Question("artefact", about, text) for about, text in ARTEFACTS]
    # A model that always says yes, or yes to the first ones, must not look good: mix them.
    return sorted(found, key=lambda q: zlib.crc32(f"{shot.id} {q.text}".encode()))


def _asked(attributes: Mapping[str, str]) -> list[tuple[str, str]]:
    from limner import lexicon

    forms = (
        ("setting", "Is the place {}?"),
        ("outfit", "Is the person wearing {}?"),
        ("lighting", "Is the light like this: {}?"),
        ("expression", "Does the person look {}?"),
        ("framing", "Is this a {}?"),
        ("angle", "Is the person seen in a {}?"),
    )
    found = []
    for axis, form in forms:
        value = lexicon.axis(axis).get(attributes.get(axis, ""))
        phrase = _phrase(value)
        face = axis != "expression" or attributes.get("angle") != "pure_back"
        if phrase and face:
            found.append((axis, form.format(phrase)))
    return found


def _phrase(value: Any) -> str:
    if value is None:
        return ""
    said = value.caption if hasattr(value, "caption") else value.phrase
    return str(said if isinstance(said, str) else said[0])


CONTROLLED = ("setting", "outfit")
"""Axes of the control: what a picture shows of them cannot be mistaken."""


def _mismatched(shot: Shot, others: Sequence[Shot]) -> list[tuple[str, str]]:
    """Place and clothes of the nearest later shot where both differ (round the plan)."""
    order = sorted(others, key=lambda o: ((o.position - shot.position) % 10_000, o.id))
    for axis_pair in (CONTROLLED, CONTROLLED[:1], CONTROLLED[1:]):
        for other in order:
            differ = [other.attributes.get(a, "") != shot.attributes.get(a, "") for a in axis_pair]
            if other.id != shot.id and all(differ):
                return [(a, t) for a, t in _asked(other.attributes) if a in axis_pair]
    return []


def ask(client: Client, path: Path, digest: str, asked: Sequence[Question], cache: Path) -> Answers:
    """One request a picture. An endpoint that fails is a fault in words, never an answer."""
    model = client.model()
    key = json.dumps([digest, model, [q.text for q in asked]])
    file = cache / CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    if file.is_file():
        said = json.loads(file.read_text(encoding="utf-8"))
        return Answers(tuple(zip(asked, said, strict=True)), model, cached=True)
    lines = "\n".join(f"{i}. {q.text}" for i, q in enumerate(asked, 1))
    text = (
        "Look at the picture and answer each question by what you see. "
        "Answer with one line a question: its number, a colon, and yes or no.\n" + lines
    )
    try:
        reply = client.chat([user(text, picture(path))], temperature=0.0, max_tokens=TOKENS)
    except EndpointError as error:
        return Answers(fault=error.what, model=model)
    answers = parse(reply.text, len(asked))
    if not any(a is not None for a in answers):
        return Answers(fault="the model answered with neither yes nor no", model=model)
    write_text(file, json.dumps(answers))
    return Answers(tuple(zip(asked, answers, strict=True)), model)


def parse(text: str, count: int) -> list[bool | None]:
    """`1: yes` lines (also `1. No,` or `**1)** Yes`) -> answers; what is unclear is None."""
    found: list[bool | None] = [None] * count
    for match in re.finditer(r"(\d+)\W{1,6}(yes|no)\b", text, re.IGNORECASE):
        number = int(match[1])
        if 1 <= number <= count and found[number - 1] is None:
            found[number - 1] = match[2].lower() == "yes"
    return found


def judge(one: Judgement, answers: Answers | None, table: Mapping[str, Rule]) -> None:
    """Findings and measures of one picture's answers; None: nobody was asked."""
    if answers is None or answers.fault:
        why = answers.fault if answers else "no vision endpoint was asked (limner review --ask)"
        for name in ("prompt_yes", "control_yes", "artefacts"):
            one.put(name, None, "share" if name != "artefacts" else "found", why)
        if table["artefacts_pile"].at(one.case.kind) > 0:
            one.found("artefacts", "look", f"artefacts were not measured: {why}")
        return
    control, prompt = answers.of("control"), answers.of("prompt")
    agreed = sum(a for _, a in control) / len(control) if control else None
    one.put("control_yes", agreed, "share", "no other shot differs enough")
    if agreed is None or agreed > table["control_max"].value:
        why = "the model agrees with a wrong prompt too" if control else "there was no control"
        one.put("prompt_yes", None, "share", why)
        one.put("artefacts", None, "found", why)
        return
    if prompt:
        share = sum(a for _, a in prompt) / len(prompt)
        one.put("prompt_yes", share, "share")
        missed = ", ".join(q.about for q, a in prompt if not a)
        if share < table["prompt_min"].value:
            said = f"the model misses what the prompt asks ({missed})"
            one.found("prompt", "look", said)
    broken = [q.about for q, a in answers.of("artefact") if not a]
    asked = answers.of("artefact")
    one.put("artefacts", float(len(broken)) if asked else None, "found", "no clear answer")
    if broken:
        one.found("artefacts", "look", f"the model sees a fault in: {', '.join(broken)}")
