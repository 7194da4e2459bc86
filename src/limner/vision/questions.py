"""Yes/no questions about a picture to the user's vision endpoint, with a control that must fail.

In: a picture file, questions on what its prompt asks and on what another prompt asks. Out: answers,
cached by picture, model and questions: nothing is asked twice. Review and evaluation ask alike.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from limner.llm import Client, EndpointError, picture, user
from limner.project.files import write_text

Kind = Literal["prompt", "control", "artefact", "content"]
CACHE = "answers"
TOKENS = 200

FORMS = (
    ("setting", "Is the place {}?"),
    ("outfit", "Is the person wearing {}?"),
    ("lighting", "Is the light like this: {}?"),
    ("expression", "Does the person look {}?"),
    ("framing", "Is this a {}?"),
    ("angle", "Is the person seen in a {}?"),
)
CONTROLLED = ("setting", "outfit")
"""Axes of the control: what a picture shows of them cannot be mistaken."""


@dataclass(frozen=True)
class Question:
    """What is asked; `about` is the axis or the part. No is right for control and content."""

    kind: Kind
    about: str
    text: str


@dataclass(frozen=True)
class Answers:
    """What the model said: question -> True, False, None (no clear word). fault: why nothing;
    heard: whether the endpoint replied at all, so that asking again would bring the same."""

    said: tuple[tuple[Question, bool | None], ...] = ()
    model: str = ""
    fault: str = ""
    heard: bool = field(default=True, compare=False)
    cached: bool = field(default=False, compare=False)

    def of(self, kind: Kind) -> list[tuple[Question, bool]]:
        """Clear answers of one kind."""
        return [(q, a) for q, a in self.said if q.kind == kind and a is not None]

    def share(self, kind: Kind) -> float | None:
        """Share of yes among the clear answers of one kind; None without any."""
        found = self.of(kind)
        return sum(a for _, a in found) / len(found) if found else None


def about_attributes(attributes: Mapping[str, str]) -> list[Question]:
    """A question for every axis whose value the lexicon knows, at most six."""
    from limner import lexicon

    found = []
    for axis, form in FORMS:
        phrase = _phrase(lexicon.axis(axis).get(attributes.get(axis, "")))
        face = axis != "expression" or attributes.get("angle") != "pure_back"
        if phrase and face:
            found.append(Question("prompt", axis, form.format(phrase)))
    return found


def _phrase(value: Any) -> str:
    if value is None:
        return ""
    said = value.caption if hasattr(value, "caption") else value.phrase
    return str(said if isinstance(said, str) else said[0])


def of_another(
    attributes: Mapping[str, str], others: Iterable[Mapping[str, str]]
) -> list[Question]:
    """The control: place and clothes of the first other picture where both differ, else one."""
    order = list(others)
    for axes in (CONTROLLED, CONTROLLED[:1], CONTROLLED[1:]):
        for other in order:
            if all(other.get(axis, "") != attributes.get(axis, "") for axis in axes):
                asked = [q for q in about_attributes(other) if q.about in axes]
                if asked:
                    return [Question("control", q.about, q.text) for q in asked]
    return []


def mixed(questions: Iterable[Question], salt: str) -> list[Question]:
    """In an order of its own for every picture: a model that always says yes, or yes to the first
    ones, must not look good."""
    return sorted(questions, key=lambda q: zlib.crc32(f"{salt} {q.text}".encode()))


def ask(client: Client, path: Path, digest: str, asked: Sequence[Question], cache: Path) -> Answers:
    """One request a picture. An endpoint that fails is a fault in words, never an answer.

    digest: SHA-256 of the picture; cache: folder whose `answers` keep what was said.
    """
    model = client.model()
    key = json.dumps([digest, model, [q.text for q in asked]])
    file = cache / CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    said = _cached(file, len(asked))
    if said is not None:
        return Answers(tuple(zip(asked, said, strict=True)), model, cached=True)
    lines = "\n".join(f"{i}. {q.text}" for i, q in enumerate(asked, 1))
    text = (
        "Look at the picture and answer each question by what you see. "
        "Answer with one line a question: its number, a colon, and yes or no.\n" + lines
    )
    try:
        reply = client.chat([user(text, picture(path))], temperature=0.0, max_tokens=TOKENS)
    except EndpointError as error:
        return Answers(fault=error.what, model=model, heard=False)
    answers = parse(reply.text, len(asked))
    if not any(a is not None for a in answers):
        return Answers(fault="the model answered with neither yes nor no", model=model)
    write_text(file, json.dumps(answers))
    return Answers(tuple(zip(asked, answers, strict=True)), model)


def _cached(file: Path, count: int) -> list[bool | None] | None:
    """What was answered before; a damaged file is no answer."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(said, list) and len(said) == count
    return said if fits and all(a in (True, False, None) for a in said) else None


def parse(text: str, count: int) -> list[bool | None]:
    """`1: yes` lines (also `1. No,` or `**1)** Yes`) -> answers; what is unclear is None."""
    found: list[bool | None] = [None] * count
    for match in re.finditer(r"(\d+)\W{1,6}(yes|no)\b", text, re.IGNORECASE):
        number = int(match[1])
        if 1 <= number <= count and found[number - 1] is None:
            found[number - 1] = match[2].lower() == "yes"
    return found
