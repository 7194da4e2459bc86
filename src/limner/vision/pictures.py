"""Opening pictures safely: files of strangers become arrays, or a clear error.

In: a path. Out: uint8 (height, width, 3) sRGB, upright. Size is checked before decoding.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.errors import InputError

RGB8 = NDArray[np.uint8]
"""A picture: uint8 (height, width, 3), sRGB."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
"""Most pixels decoded (ours): 8000 x 8000, about 200 MB as an array."""

_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError, TypeError)


def open_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> RGB8:
    """Decode a picture file, upright by its EXIF mark, transparency on white.

    Raises InputError: missing, no picture, damaged or cut off, or more than `max_pixels` pixels
    (refused from the header, before anything is decoded).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                _refuse_bomb(picture.size, path, max_pixels)
                upright = ImageOps.exif_transpose(picture)
                return _to_rgb(upright)
    except FileNotFoundError:
        raise InputError("The picture is missing", where=str(path)) from None
    except Image.DecompressionBombError:
        raise _too_large(path, max_pixels) from None
    except UnidentifiedImageError:
        raise InputError(
            "This is no picture Limner reads",
            where=str(path),
            fix=f"Use one of {', '.join(FORMATS)}.",
        ) from None
    except _DAMAGE as error:
        raise InputError(
            f"The picture is damaged or cut off ({error})",
            where=str(path),
            fix="Make or copy it again.",
        ) from None


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) as stored, read from the header only. Raises InputError as `open_picture`."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                return picture.size
    except Image.DecompressionBombError:
        raise _too_large(path, MAX_PIXELS) from None
    except _DAMAGE as error:
        raise InputError(f"The picture cannot be read ({error})", where=str(path)) from None


def resize(image: RGB8, width: int, height: int) -> RGB8:
    """Resample: area-like when shrinking (Lanczos with support), bicubic when growing."""
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    grows = width * height > image.shape[0] * image.shape[1]
    how = Image.Resampling.BICUBIC if grows else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def _too_large(path: Path, max_pixels: int, size: tuple[int, int] | None = None) -> InputError:
    said = f"{size[0]} x {size[1]} pixels" if size else "far too many pixels"
    return InputError(
        f"The picture is too large to open: {said}, at most {max_pixels / 1e6:.0f} million",
        where=str(path),
        fix="Scale it down; 2048 pixels a side is more than any trainer uses.",
    )


def _refuse_bomb(size: tuple[int, int], path: Path, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise _too_large(path, max_pixels, size)


def _to_rgb(picture: Any) -> RGB8:
    from PIL import Image

    if picture.mode.startswith(("I", "F")):  # 16-bit greys: convert() would clip them to white
        grey = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if grey.max(initial=0.0) > 255 else 255.0
        grey8 = np.clip(grey / top * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(grey8[:, :, None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, rgba)
    return np.array(picture.convert("RGB"), dtype=np.uint8)
