"""Passages of the user's manual that fit a question.

In: a question. Out: the few sections that share most of its rarer words; the manual lies in the
package (`limner/manual`), in a checkout in `docs/`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

LONGEST = 1800
"""Characters a passage is cut to: six of them and the facts fit a context of 8,000 tokens
(starting value)."""
GENERATED = ("cli.md", "config.md", "notebook.md")  # tables and history, not explanations
_WORD = re.compile(r"[a-z][a-z0-9_]{2,}")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "the and for are was were has have not with that this from what why how does did can will "
        "should would could but you your its when which who than then them they one two all any "
        "more most into out over under only also about each per use used limner",
    )
)
"""Words that stand in every text and say nothing about its subject."""


@dataclass(frozen=True)
class Passage:
    """One section of a page. `place`: `training.md: How long`."""

    place: str
    text: str


@cache
def passages() -> tuple[Passage, ...]:
    """All sections of the manual; empty when it was not installed."""
    found = []
    for name, text in _pages():
        title = name
        for part in re.split(r"(?m)^(?=#{1,3} )", text):
            head, _, body = part.partition("\n")
            if body.strip():
                title = head.lstrip("# ").strip() or name
                found.append(Passage(f"{name}: {title}", body.strip()[:LONGEST]))
    return tuple(found)


def _pages() -> list[tuple[str, str]]:
    inside = Path(str(resources.files("limner"))) / "manual"
    beside = Path(__file__).parents[3] / "docs"
    folder = inside if inside.is_dir() else beside
    return [
        (path.name, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.md"))
        if path.name not in GENERATED
    ]


def words(text: str) -> set[str]:
    """The words that say something, plural s cut off."""
    return {w.rstrip("s") for w in _WORD.findall(text.lower()) if w not in _COMMON}


def search(question: str, most: int = 4) -> list[Passage]:
    """The passages that share most with a question, rarer words counting more (inverse document
    frequency); none when no word is shared."""
    pages = passages()
    asked = words(question)
    inside = [words(f"{p.place} {p.text}") for p in pages]
    weight = {
        w: math.log(len(pages) / n) for w in asked if (n := sum(w in mine for mine in inside))
    }
    scored = [(sum(weight.get(w, 0.0) for w in asked & mine), i) for i, mine in enumerate(inside)]
    best = sorted((s, -i) for s, i in scored if s > 0)[::-1][:most]
    return [pages[-i] for _, i in best]
