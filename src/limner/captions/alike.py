"""Captions that are the same, or almost: found by prefix filtering, not by comparing every pair.

In: captions by key. Out: groups of equal ones, and pairs with the Jaccard likeness of their words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping


def equal_groups(texts: Mapping[str, str]) -> list[list[str]]:
    """Keys of captions that are equal but for case and spaces, groups of two and more."""
    groups: dict[str, list[str]] = {}
    for key, text in texts.items():
        groups.setdefault(" ".join(text.lower().split()), []).append(key)
    return [keys for keys in groups.values() if len(keys) > 1]


def alike_pairs(
    texts: Mapping[str, str], drop: set[str], likeness: float
) -> Iterator[tuple[str, str, float]]:
    """(earlier key, later key, Jaccard of word sets) of pairs at `likeness` or more, not equal.

    Two sets with Jaccard t share one of their |x| - ceil(t |x|) + 1 rarest words (Bayardo et al.,
    Scaling up all pairs similarity search, 2007), so only captions with such a word are compared.
    """
    words = {k: set(re.findall(r"[\w'-]+", t.lower())) - drop for k, t in texts.items()}
    same = {" ".join(t.lower().split()): k for k, t in reversed(list(texts.items()))}
    first_of = {k: same[" ".join(t.lower().split())] for k, t in texts.items()}
    count = Counter(w for spoken in words.values() for w in spoken)
    by_word: dict[str, list[str]] = {}
    for key, spoken in words.items():
        if first_of[key] != key or not spoken:
            continue
        rare = sorted(spoken, key=lambda w: (count[w], w))
        prefix = rare[: len(rare) - -int(-likeness * len(rare) // 1) + 1]
        near = dict.fromkeys(k for w in prefix for k in by_word.get(w, ()))
        for other in near:
            score = len(spoken & words[other]) / len(spoken | words[other])
            if score >= likeness:
                yield other, key, score
                break
        for word in prefix:
            by_word.setdefault(word, []).append(key)
