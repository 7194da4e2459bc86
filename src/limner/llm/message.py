"""Messages of a chat: plain mappings in OpenAI's shape, pictures as data URIs.

In: texts and pictures. Out: mappings for `Client.chat`, and the same shortened for showing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.llm.endpoint import LIMITS

Message = dict[str, Any]
"""{"role": ..., "content": text, or a list of parts}."""

JPEG_QUALITY = 92
"""High enough that compression is no part of what a model judges (starting value)."""


def system(text: str) -> Message:
    """What the model shall be."""
    return {"role": "system", "content": text}


def assistant(text: str) -> Message:
    """What the model said before."""
    return {"role": "assistant", "content": text}


def user(text: str, *pictures: Mapping[str, Any]) -> Message:
    """What is asked; `pictures` are parts made by `picture` and stand before the text."""
    if not pictures:
        return {"role": "user", "content": text}
    return {"role": "user", "content": [*map(dict, pictures), {"type": "text", "text": text}]}


def picture(source: bytes | Path, longest: int | None = None) -> dict[str, Any]:
    """A picture as a message part: scaled down to `longest` px, as JPEG without metadata.

    Raises InputError for what is no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    where = str(source) if isinstance(source, Path) else None
    side = longest or int(LIMITS["picture_side"].value)
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        with Image.open(io.BytesIO(data)) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The picture cannot be read ({type(error).__name__})",
            where=where,
            fix="Use a whole PNG, JPEG or WebP file.",
        ) from None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    code = base64.b64encode(out.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{code}"}}


def shown(value: Any) -> Any:
    """A request body with pictures shortened to their size, for people and for records."""
    if isinstance(value, str) and value.startswith("data:"):
        head, _, code = value.partition(",")
        return f"{head},<{len(code) * 3 // 4} bytes>"
    if isinstance(value, Mapping):
        return {k: shown(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [shown(v) for v in value]
    return value
