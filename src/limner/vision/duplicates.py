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


def nearest(of: Hashes, others: Mapping[Key, Hashes]) -> Nearest | None:
    """The nearest of `others`, plain or mirrored; None when there are none."""
    found: Nearest | None = None
    for key, other in others.items():
        for bits, flipped in (
            (distance(of.plain, other.plain), False),
            (distance(of.plain, other.mirrored), True),
        ):
            if found is None or bits < found.bits:
                found = Nearest(key, bits, flipped)
    return found
