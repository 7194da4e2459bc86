"""Phrases that stand in many captions: parts between commas, words, runs of two and three words.

In: captions. Out: `Phrase`s by share, each in its longest form only; trigger and class word aside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limner.captions.mending import FUNCTION_WORDS

SLOT_WORDS = FUNCTION_WORDS | {
    *("wearing", "holding", "featuring", "showing", "shot", "portrait", "background", "setting"),
    *("mood", "view", "expression", "looking", "her", "his", "their", "she", "he", "is", "are"),
}
"""Function words and the grammar's own slot words: expected in most captions, no attribute."""

_WORD = re.compile(r"[^\W_]+(?:[_'’-][^\W_]+)*")


@dataclass(frozen=True)
class Phrase:
    """A phrase and the captions (keys) it stands in; `total` captions were looked at."""

    words: str
    keys: tuple[str, ...]
    total: int

    @property
    def share(self) -> float:
        """Share of the captions, 0 to 1."""
        return len(self.keys) / self.total


def content(words: str) -> list[str]:
    """The words that say something: no function and no slot words."""
    return [w for w in _WORD.findall(words.lower()) if w not in SLOT_WORDS]


def phrases(
    texts: Mapping[str, str], trigger: str, class_word: str, *, least: float
) -> list[Phrase]:
    """Phrases in at least `least` of the captions, commonest first.

    Where a longer phrase stands in exactly the captions of a shorter one inside it, only the
    longer is listed.
    """
    held: dict[tuple[str, ...], set[str]] = {}
    names = {trigger.lower(), *class_word.lower().split()}
    for key, text in texts.items():
        for term in _terms(text, names):
            held.setdefault(term, set()).add(key)
    need = max(least * len(texts), 1)
    often = {t: keys for t, keys in held.items() if len(keys) >= need}
    kept: list[tuple[tuple[str, ...], set[str]]] = []
    for term, keys in sorted(often.items(), key=lambda e: (-len(e[0]), e[0])):
        if not any(len(keys) == len(k) and _inside(term, longer) for longer, k in kept):
            kept.append((term, keys))
    kept.sort(key=lambda e: (-len(e[1]), e[0]))
    return [Phrase(" ".join(t), tuple(sorted(k)), len(texts)) for t, k in kept]


def _terms(text: str, names: set[str]) -> set[tuple[str, ...]]:
    """Every term of one caption, as tuples of words."""
    found: set[tuple[str, ...]] = set()
    for part in re.split(r"[,.;:!?()\n，、。；：！？（）]", text.lower()):
        words = [w for w in _WORD.findall(part) if w not in names]
        runs = [tuple(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)]
        found.update(r for r in runs if _says(r))
        if words and not set(words) <= SLOT_WORDS:
            found.add(tuple(words))
    return found


def _says(run: Sequence[str]) -> bool:
    """Whether a run of words is a phrase of its own: content in it, no joining word at its ends."""
    ends = {run[0], run[-1]}
    return not set(run) <= SLOT_WORDS and not ends & FUNCTION_WORDS


def _inside(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    n = len(short)
    return any(long[i : i + n] == short for i in range(len(long) - n + 1))
