"""Pictures from anywhere made plain: upright, sRGB, 8 bits, opaque, one frame, no private notes.

In: the bytes of a file. Out: bytes of a PNG, JPEG or WebP with what was changed, and the texts that
were embedded. A file that is plain already keeps its pixels bit for bit.
"""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from limner.errors import InputError
from limner.sources.fetched import FORMATS, MAX_PIXELS

READ = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "AVIF", "GIF", "HEIF")
"""Formats that are opened; everything else is refused."""

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif")
) | {".avif", ".heic", ".heif", ".hif"}
"""What looks like a picture in a folder."""

_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_TEXT_KEYS = ("parameters", "prompt", "description", "comment", "title", "caption", "usercomment")
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError, TypeError)
_DAMAGE_TOO = (KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError)
MAX_TEXT = 20_000
"""Characters of one embedded text that are looked at (starting value)."""


@dataclass(frozen=True)
class Plain:
    """A plain picture. changes: what was done to it, in words; texts: embedded prompts."""

    data: bytes
    suffix: str
    width: int
    height: int
    changes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def plain(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Plain:
    """Make a picture plain. Raises InputError: no picture, damaged, too large, needs an extra."""
    from PIL import Image, UnidentifiedImageError

    _ready_for_heic(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_readable()) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise InputError(
                        f"The picture is too large: {width} x {height} pixels, at most "
                        f"{max_pixels / 1e6:.0f} million"
                    )
                return _plain(data, picture)
    except UnidentifiedImageError:
        raise InputError("This is no picture, or of a kind that is not read here") from None
    except Image.DecompressionBombError:
        raise InputError(
            f"The picture is too large, at most {max_pixels / 1e6:.0f} million pixels"
        ) from None
    except (*_DAMAGE, *_DAMAGE_TOO) as error:
        raise InputError(f"The picture is damaged or cut off ({error})") from None


def _readable() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in READ if name in Image.OPEN)


def _ready_for_heic(data: bytes) -> None:
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIC:
        return
    try:
        import_module("pi_heif").register_heif_opener()
    except ImportError:
        raise InputError(
            "This is a HEIC picture, and the decoder is not installed",
            fix="pip install 'limner[heic]', or export it as JPEG.",
        ) from None


def _plain(data: bytes, picture: Any) -> Plain:
    from PIL import ImageOps

    kind, changes = str(picture.format), []
    texts = tuple(_texts(picture))
    if getattr(picture, "n_frames", 1) > 1 and kind not in ("MPO", "HEIF"):
        changes.append(f"animated with {picture.n_frames} frames: the first is taken")
        picture.seek(0)
    picture.load()
    orientation = picture.getexif().get(0x0112, 1)
    upright = ImageOps.exif_transpose(picture)
    if orientation not in (0, 1):
        changes.append("turned upright by its EXIF mark")
    if data[:4] == b"\x89PNG" and data[24] == 16:
        changes.append("16 bits a channel reduced to 8")
    rgb = _srgb(upright, changes)
    width, height = rgb.size
    if not changes and kind in FORMATS:
        bare = without_notes(data, kind)
        if bare is not None:
            return Plain(bare, FORMATS[kind], width, height, (), texts)
    if kind not in FORMATS:
        changes.append(f"{'JPEG' if kind == 'MPO' else kind} stored as PNG")
    out = io.BytesIO()
    rgb.save(out, "PNG", compress_level=3)
    return Plain(out.getvalue(), ".png", width, height, tuple(changes), texts)


def _srgb(picture: Any, changes: list[str]) -> Any:
    """RGB of 8 bits in sRGB; says what it had to change."""
    import numpy as np
    from PIL import Image

    profile = picture.info.get("icc_profile")
    if picture.mode.startswith(("I", "F")):  # convert() would clip 16-bit greys to white
        changes.append("grey of more than 8 bits reduced to 8")
        grey = np.asarray(picture, dtype=np.float64)
        most = grey.max(initial=0.0)
        top = 65535.0 if most > 255 else 255.0
        if picture.mode == "F" and most <= 1:  # a float TIFF counts from 0 to 1
            top = 1.0
        levels = np.clip(grey / top * 255.0 + 0.5, 0, 255).astype(np.uint8)
        return Image.fromarray(np.repeat(levels[:, :, None], 3, axis=2))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        if rgba.getchannel("A").getextrema()[0] < 255:
            changes.append("transparency laid on white")
            white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            rgba = Image.alpha_composite(white, rgba)
        else:
            changes.append("an alpha channel without transparency dropped")
        picture = rgba.convert("RGB")
    if profile and (converted := _by_profile(picture, profile)) is not None:
        changes.append(f"{picture.mode} colours brought to sRGB by the embedded profile")
        return converted
    if picture.mode != "RGB":
        if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            changes.append(f"{picture.mode} converted to sRGB")
        elif picture.mode in ("1", "P", "L"):
            changes.append("stored as RGB")
        return picture.convert("RGB")
    return picture


def _by_profile(picture: Any, profile: bytes) -> Any:
    """The picture in sRGB by its ICC profile; None where that is sRGB already or cannot be used."""
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if picture.mode == "RGB" and "srgb" in (own.profile.profile_description or "").lower():
            return None
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def without_notes(data: bytes, kind: str) -> bytes | None:
    """The same picture without EXIF, XMP and text (places, serial numbers, prompts); None when
    that cannot be done without decoding."""
    if kind == "JPEG":
        return _bare_jpeg(data)
    if kind == "PNG":
        return _bare_png(data)
    return _bare_webp(data)


def _bare_jpeg(data: bytes) -> bytes | None:
    """Without EXIF, XMP, IPTC, comments, and without what phones hang behind the end of the picture
    (a film with its place, a second picture)."""
    out, at = bytearray(data[:2]), 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xD9:  # the end of the picture
            return bytes(out + b"\xff\xd9")
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + size
        if size < 2 or end > len(data):
            return None
        if marker == 0xDA:  # a scan runs to the next marker that is no restart
            found = _NEXT_MARKER.search(data, end)
            if found is None:
                return None
            end = found.start()
        profile = marker == 0xE2 and data[at + 4 : at + 15] == b"ICC_PROFILE"
        if marker not in _NOTES or profile:
            out += data[at:end]
        at = end
    return None


_NOTES = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
"""Application data and comments; 0xE0 (JFIF) and 0xEE (Adobe's colours) say how to decode."""
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
"""In a scan 0xFF is followed by 0 (stuffed) or a restart mark (D0 to D7); anything else ends it."""


def _bare_webp(data: bytes) -> bytes | None:
    """Without the EXIF and XMP chunks, and nothing behind the RIFF container."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    whole = min(8 + int.from_bytes(data[4:8], "little"), len(data))
    out, at = bytearray(), 12
    while at + 8 <= whole:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if end > whole + 1:
            return None
        chunk = bytearray(data[at:end])
        if chunk[:4] == b"VP8X":
            chunk[8] &= ~0x0C & 0xFF  # says that EXIF (8) and XMP (4) follow
        if bytes(chunk[:4]) not in (b"EXIF", b"XMP "):
            out += chunk
        at = end
    return b"RIFF" + (4 + len(out)).to_bytes(4, "little") + b"WEBP" + bytes(out)


def _bare_png(data: bytes) -> bytes | None:
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"):
            out += data[at : at + 12 + size]
        at += 12 + size
        if kind == b"IEND":
            return bytes(out)
    return None


# ---- embedded texts


def _texts(picture: Any) -> Iterator[str]:
    """Prompts and descriptions that generators and cameras embed."""
    seen = set()
    for text in (*_of_info(picture.info), *_of_exif(picture)):
        clean = " ".join(text[:MAX_TEXT].split())
        if len(clean) > 3 and clean not in seen:
            seen.add(clean)
            yield clean


def _of_info(info: dict[str, Any]) -> Iterator[str]:
    """PNG text: Automatic1111 writes `parameters`, ComfyUI a graph as `prompt`, others plain."""
    for key, value in info.items():
        if str(key).lower() not in _TEXT_KEYS or not isinstance(value, str | bytes):
            continue
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if text.lstrip().startswith("{"):
            yield from _of_graph(text)
        else:
            yield _positive(text)


def _positive(text: str) -> str:
    """The prompt of Automatic1111's block: before the negative prompt and the settings."""
    return re.split(r"\n?Negative prompt:|\nSteps: ", text)[0]


def _of_graph(text: str) -> Iterator[str]:
    """Texts of a ComfyUI graph, longest first."""
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return
    found = []
    for node in graph.values() if isinstance(graph, dict) else ():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for key in ("text", "prompt", "positive"):
            value = inputs.get(key) if isinstance(inputs, dict) else None
            if isinstance(value, str):
                found.append(value)
    if not found and isinstance(graph, dict) and isinstance(graph.get("prompt"), str):
        found.append(graph["prompt"])
    yield from sorted(found, key=len, reverse=True)


def _of_exif(picture: Any) -> Iterator[str]:
    """ImageDescription, UserComment and Windows' comment of EXIF."""
    try:
        exif = picture.getexif()
        inner = exif.get_ifd(0x8769)
    except (*_DAMAGE, *_DAMAGE_TOO):
        return
    for value in (exif.get(0x010E), inner.get(0x9286), exif.get(0x9C9C), exif.get(0x9C9B)):
        if isinstance(value, str):
            yield _positive(value)
        elif isinstance(value, bytes | tuple):
            yield _positive(_decoded(bytes(value)))


def _decoded(raw: bytes) -> str:
    """EXIF bytes as text: a charset mark of 8 bytes, UTF-16 in either order, or UTF-8."""
    mark, body = raw[:8], raw[8:]
    if mark.startswith(b"UNICODE"):
        big = body[:1] == b"\x00"
        return body.decode("utf-16-be" if big else "utf-16-le", "ignore").strip("\x00")
    if mark.startswith(b"ASCII") or not mark.strip(b"\x00"):
        return body.decode("utf-8", "replace").strip("\x00")
    if raw[1:2] == b"\x00":
        return raw.decode("utf-16-le", "ignore").strip("\x00")
    return raw.decode("utf-8", "replace").strip("\x00")
