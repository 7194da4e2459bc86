"""What colours the words of a text call up: "navy suit and white shirt" is navy and white.

In: any text. Out: sRGB values of the colour words and of the things named (data/things.yaml). For
telling pictures apart; the atelier paints with `lexicon.colors` only.
"""

from __future__ import annotations

import re
from functools import cache

from limner.lexicon import RGB, colors
from limner.lexicon.tables import table

_WORD = re.compile(r"[a-zà-ÿ][a-zà-ÿ-]*")


@cache
def hues() -> dict[str, RGB]:
    """Word or pair of words -> sRGB (0-255): the colours, then the things."""
    things = {k: (v[0], v[1], v[2]) for k, v in table("limner.lexicon", "things").items()}
    return {**things, **colors()}


def hues_in(text: str) -> tuple[RGB, ...]:
    """The colours a text names, in its order, each once; two words ("light blue") win over one."""
    known = hues()
    said = _WORD.findall(text.lower())
    found: dict[RGB, None] = {}
    at = 0
    while at < len(said):
        pair = " ".join(said[at : at + 2])
        word = pair if pair in known else said[at]
        for name in (word, *word.split("-")) if word not in known else (word,):
            if name in known:
                found[known[name]] = None
        at += 2 if word == pair and " " in pair else 1
    return tuple(found)
