"""Control pictures for the edit models, made from what is there: blank, or the character again.

In: pairs and a mode. Out: the same pairs with PNG controls. Nobody has published a controlled test
of the three ways; none is the cheapest, blank teaches the template, self teaches "this person".
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast, get_args

from limner.dataset.layouts import Pair
from limner.errors import InputError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile as PictureFile

Mode = Literal["none", "blank", "self"]
SIZES = (512, 1024)
SIDE = 32
"""Sides are multiples of this: ai-toolkit divides controls by 32, the model by 16."""


def checked_mode(mode: str, size: int) -> Mode:
    """The mode as a value of its type. Raises UsageError for a wrong mode or size."""
    if size not in SIZES:
        raise UsageError(
            "A control is 512 or 1024 px", where="--control-size", fix="Give 512 or 1024."
        )
    if mode not in get_args(Mode):
        raise UsageError(
            f"There is no control mode {mode!r}",
            where="--control",
            fix="Use none, blank (a black picture) or self (another picture of the character).",
        )
    return cast(Mode, mode)


def with_controls(
    pairs: Sequence[Pair], mode: Mode, size: int, *, faces: frozenset[str] = frozenset()
) -> tuple[Pair, ...]:
    """The pairs with one control each. faces: stems whose pictures show the face.

    self: another picture, one with a face first (a back view tells little about who it is), in an
    order that is a hash of both names. Raises UsageError when there is only one picture.
    """
    if mode == "none":
        return tuple(pairs)
    if mode == "blank":
        return tuple(replace(p, controls=(_blank(p, size),)) for p in pairs)
    if len(pairs) < 2:
        raise UsageError(
            "Self-reference needs at least two pictures: one is the reference of the other",
            where="--control self",
            fix="Use --control blank, or add pictures.",
        )
    made = []
    for pair in pairs:
        others = [p for p in pairs if p.stem != pair.stem]
        other = min(others, key=lambda p, own=pair: _rank(own, p, faces))  # type: ignore[misc]
        made.append(replace(pair, controls=(_scaled(other, size),)))
    return tuple(made)


def _rank(pair: Pair, other: Pair, faces: frozenset[str]) -> tuple[bool, str]:
    mixed = hashlib.sha256(f"control|{pair.stem}|{other.stem}".encode()).hexdigest()
    return bool(faces) and other.stem not in faces, mixed


def _sides(width: int, height: int, size: int) -> tuple[int, int]:
    """Sides of the same shape with at most size x size pixels, multiples of 32."""
    scale = min(1.0, (size * size / (width * height)) ** 0.5)
    first, second = (max(SIDE, int(s * scale) // SIDE * SIDE) for s in (width, height))
    return first, second


def _blank(pair: Pair, size: int) -> bytes:
    from PIL import Image

    with _opened(pair) as picture:
        sides = _sides(picture.width, picture.height, size)
    return _png(Image.new("RGB", sides))


def _scaled(pair: Pair, size: int) -> bytes:
    from PIL import Image, ImageOps

    with _opened(pair) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        sides = _sides(upright.width, upright.height, size)
        return _png(ImageOps.fit(upright, sides, Image.Resampling.LANCZOS))


def _opened(pair: Pair) -> PictureFile:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(pair.data))
    except (UnidentifiedImageError, OSError):
        raise InputError(f"{pair.picture} is no picture that can be read") from None


def _png(picture: Picture) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return out.getvalue()
