"""Wordings: chosen by number, the same on every machine, slot by slot; and counted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pick(slot: str, variant: int, options: Sequence[T]) -> T:
    """One of `options`; slots are independent of each other, the same on every machine."""
    digest = hashlib.blake2b(f"{slot}|{variant}".encode(), digest_size=8).digest()
    return options[int.from_bytes(digest, "big") % len(options)]


_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Kana and ideographs: written without spaces between words."""


def count_words(text: str) -> int:
    """Words of a text; two signs of a script without spaces count as one (starting value)."""
    signs = len(_UNSPACED.findall(text))
    return len(_UNSPACED.sub(" ", text).split()) - _lone(text) + -(-signs // 2)


def _lone(text: str) -> int:
    """Pieces that hold punctuation alone once the signs are gone."""
    pieces = _UNSPACED.sub(" ", text).split() if _UNSPACED.search(text) else []
    return sum(not any(c.isalnum() for c in piece) for piece in pieces)
