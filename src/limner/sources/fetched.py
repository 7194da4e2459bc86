"""Is this file a whole picture? What every source asks of bytes it did not make itself.

In: bytes. Out: what was found (format, size). A picture that does not decode to its last row is
refused, and one with more pixels than we open is refused from its header.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

from limner.errors import InputError

FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
"""What services send; the suffix each gets."""

MAX_PIXELS = 64_000_000
"""Most pixels decoded, as `limner.vision.pictures` holds it."""


@dataclass(frozen=True)
class Checked:
    """A picture that decodes. Sizes in pixels as stored."""

    format: str
    width: int
    height: int

    @property
    def suffix(self) -> str:
        """File suffix of the format."""
        return FORMATS[self.format]


def check(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Checked:
    """Decode a whole picture. Raises InputError when it is none, broken, cut off or too large."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise InputError(f"the picture is too large ({width} x {height} pixels)")
                picture.load()
                return Checked(str(picture.format), width, height)
    except UnidentifiedImageError:
        raise InputError(f"this is no {', '.join(FORMATS)} picture") from None
    except Image.DecompressionBombError:
        raise InputError("the picture is too large") from None
    except (*(OSError, ValueError, SyntaxError, EOFError), *(struct.error, MemoryError)) as error:
        raise InputError(f"the picture is damaged or cut off ({error})") from None
