"""Choosing among wordings by number: the same choice on every machine, slot by slot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pick(slot: str, variant: int, options: Sequence[T]) -> T:
    """One of `options`; slots are independent of each other, the same on every machine."""
    digest = hashlib.blake2b(f"{slot}|{variant}".encode(), digest_size=8).digest()
    return options[int.from_bytes(digest, "big") % len(options)]
