"""Pictures as they go into a page or a bundle: thumbnails as data URIs, and marked PNG samples.

In: picture files. Out: WebP data URIs of equal square cells; PNG bytes that say in XMP that a
model drew them. Originals are never changed.
"""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path

from limner.errors import InputError

WEBP_QUALITY = 76
DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC term for pictures drawn by a trained model."""
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE}"/></rdf:RDF></x:xmpmeta>'
)
_PNG = b"\x89PNG\r\n\x1a\n"


def thumbnail(path: Path, side: int) -> str | None:
    """A centred square of `side` px as a WebP data URI; None when the file is gone or broken."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    except (OSError, ValueError):
        return None
    out = io.BytesIO()
    square.save(out, "WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def marked_png(path: Path) -> bytes:
    """The PNG's bytes with an XMP chunk naming its digital source type; pixels untouched.

    Raises InputError when the file is missing or no PNG.
    """
    try:
        data = path.read_bytes()
    except OSError:
        fix = "Draw it again with `limner evaluate`."
        raise InputError("A sample picture is missing", where=str(path), fix=fix) from None
    if not data.startswith(_PNG):
        raise InputError("A sample picture is no PNG", where=str(path))
    head = len(_PNG) + 8 + 13 + 4  # signature, then the IHDR chunk, always 13 bytes of data
    if _XMP.encode() in data:
        return data
    body = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP.encode("utf-8")
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:head] + chunk + data[head:]
