"""Near duplicates by perceptual hash, the mirrored picture too.

In: pictures. Out: 64-bit hashes and pairs with their distance. Crops below 90 % are missed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from limner.errors import MissingExtraError
from limner.vision.pictures import RGB8

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Hashes:
    """64-bit pHash of a picture and of its mirror image, as 16 hex digits each."""

    plain: str
    mirrored: str


def hashes(image: RGB8) -> Hashes:
    """pHash (imagehash: 32 x 32 DCT, 8 x 8 lowest). Raises MissingExtraError."""
    try:
        import imagehash
    except ImportError:
        raise MissingExtraError(
            "Duplicates cannot be measured: imagehash is not installed",
            fix='pip install "limner[vision]"',
        ) from None
    from PIL import Image

    small = Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    mirrored = Image.fromarray(np.asarray(small)[:, ::-1])
    return Hashes(str(imagehash.phash(small)), str(imagehash.phash(mirrored)))


def distance(a: str, b: str) -> int:
    """Bits that differ, 0-64."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


@dataclass(frozen=True)
class Nearest:
    """The most alike other picture: its key, the distance in bits, and whether mirrored."""

    key: object
    bits: int
    mirrored: bool


class Pool:
    """Hashes to look among: 16 bytes and a key each, compared all at once."""

    def __init__(self) -> None:
        self._keys: list[object] = []
        self._bits = np.zeros((64, 2), np.uint64)

    def add(self, key: object, found: Hashes) -> None:
        """One more; of two that are equally near the earlier is named."""
        count = len(self._keys)
        if count == len(self._bits):
            self._bits = np.concatenate([self._bits, np.zeros_like(self._bits)])
        self._bits[count] = int(found.plain, 16), int(found.mirrored, 16)
        self._keys.append(key)

    def nearest(self, of: Hashes) -> Nearest | None:
        """The nearest, plain or mirrored; None in an empty pool."""
        count = len(self._keys)
        if not count:
            return None
        bits = np.bitwise_count(self._bits[:count] ^ np.uint64(int(of.plain, 16)))
        row, flipped = divmod(int(bits.argmin()), 2)
        return Nearest(self._keys[row], int(bits[row, flipped]), bool(flipped))


def nearest(of: Hashes, others: Mapping[Key, Hashes]) -> Nearest | None:
    """The nearest of `others`, plain or mirrored; None when there are none."""
    pool = Pool()
    for key, other in others.items():
        pool.add(key, other)
    return pool.nearest(of)
