"""Pictures as they go into a page or a bundle: thumbnails as data URIs, and marked PNG samples.

In: picture files. Out: WebP data URIs of equal square cells; PNG bytes that say in XMP that a
model drew them. Originals are never changed.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from limner import look
from limner.errors import InputError

WEBP_QUALITY = 76
JPEG_QUALITY = 82
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
    return look.data_uri(square, "WEBP", WEBP_QUALITY)


def marked_png(path: Path, parameters: str = "") -> bytes:
    """The PNG's bytes with an XMP chunk naming its digital source type; pixels untouched.

    parameters: generation data, as `parameters` in the PNG's text, where sites look for it.
    Raises InputError when the file is missing or no PNG.
    """
    try:
        data = path.read_bytes()
    except OSError:
        fix = "Draw it again with `limner evaluate`."
        raise InputError("A sample picture is missing", where=str(path), fix=fix) from None
    if not data.startswith(_PNG):
        fix = "Draw it again: delete the file, then `limner evaluate`."
        raise InputError("A sample picture is no PNG", where=str(path), fix=fix)
    head = len(_PNG) + 8 + 13 + 4  # signature, then the IHDR chunk, always 13 bytes of data
    new = b"" if _XMP.encode() in data else _text_chunk("XML:com.adobe.xmp", _XMP)
    if parameters:
        new += _text_chunk("parameters", parameters)
    return data[:head] + new + data[head:]


def _text_chunk(keyword: str, text: str) -> bytes:
    """An iTXt chunk, uncompressed UTF-8 (PNG specification 11.3.3.4)."""
    body = b"iTXt" + keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8")
    return (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def cover(path: Path, side: int) -> str | None:
    """A JPEG data URI of at most `side` px, as ModelSpec wants a thumbnail; None without a file."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
    except (OSError, ValueError):
        return None
    return look.data_uri(small, "JPEG", JPEG_QUALITY)
