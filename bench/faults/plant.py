"""Planting one fault in a good drawing: plain image operations, sized by the picture's side.

In: uint8 (H, W, 3), a generator, labels. Out: the spoilt picture as file bytes with its suffix.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

Array = np.ndarray
Fault = Callable[[Array, np.random.Generator, dict[str, Any]], Array]


def png(array: Array) -> bytes:
    """A picture as PNG bytes."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "PNG")
    return out.getvalue()


def jpeg(array: Array, quality: int) -> bytes:
    """A picture as JPEG bytes."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def _linear(array: Array) -> Array:
    v = array / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _encoded(linear: Array) -> Array:
    v = np.clip(linear, 0, 1)
    v = np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)
    return np.rint(v * 255).astype(np.uint8)


def blur(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """Gaussian of .5 to 1 % of the side."""
    radius = array.shape[0] * rng.uniform(0.005, 0.010)
    return np.asarray(Image.fromarray(array).filter(ImageFilter.GaussianBlur(radius)))


def face_defocus(array: Array, rng: np.random.Generator, labels: dict[str, Any]) -> Array:
    """The same blur on the head alone, with a soft rim."""
    size = array.shape[0]
    soft = Image.fromarray(array).filter(ImageFilter.GaussianBlur(size * rng.uniform(0.006, 0.011)))
    x0, y0, x1, y1 = labels["head_box"]
    ys, xs = np.mgrid[0:size, 0:size]
    cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, 0.6 * (x1 - x0), 0.6 * (y1 - y0)
    away = np.hypot((xs - cx) / rx, (ys - cy) / ry)
    weight = np.clip((1.25 - away) / 0.25, 0, 1)[..., None]
    return np.rint(array * (1 - weight) + np.asarray(soft) * weight).astype(np.uint8)


def noise(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """Gaussian noise, sigma 10 to 22 of 255."""
    spoilt = array + rng.normal(0, rng.uniform(10, 22), array.shape)
    return np.clip(np.rint(spoilt), 0, 255).astype(np.uint8)


def over_exposed(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """1.3 to 2 stops up in linear light."""
    return _encoded(_linear(array) * 2 ** rng.uniform(1.3, 2.0))


def under_exposed(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """2.5 to 3.5 stops down in linear light."""
    return _encoded(_linear(array) / 2 ** rng.uniform(2.5, 3.5))


def oversaturated(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """Saturation times 1.9 to 2.6."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(array)).enhance(rng.uniform(1.9, 2.6)))


def watermark(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """A half transparent line of text across the picture."""
    size = array.shape[0]
    words = str(rng.choice(["STOCK PHOTO", "(c) STUDIO NORTH", "SAMPLE 2291", "www.example.com"]))
    layer = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    font = ImageFont.load_default(int(size * rng.uniform(0.07, 0.10)))
    wide = draw.textlength(words, font=font)
    tone = int(rng.choice([0, 255]))
    place = ((size - wide) / 2, size * rng.uniform(0.45, 0.85))
    draw.text(place, words, font=font, fill=(tone, tone, tone, int(255 * rng.uniform(0.4, 0.7))))
    both = Image.alpha_composite(Image.fromarray(array).convert("RGBA"), layer)
    return np.asarray(both.convert("RGB"))


def border(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """A plain frame, or strips above and below, of 3 to 9 % of the side."""
    size = array.shape[0]
    wide = max(3, int(size * rng.uniform(0.03, 0.09)))
    tone = rng.choice([0, 20, 255])
    out = np.full_like(array, tone)
    if rng.random() < 0.5:
        inner = Image.fromarray(array).resize((size - 2 * wide,) * 2, Image.Resampling.LANCZOS)
        out[wide : size - wide, wide : size - wide] = np.asarray(inner)
    else:
        out[wide : size - wide] = array[wide : size - wide]
    return out


def upscaled(array: Array, rng: np.random.Generator, _: dict[str, Any]) -> Array:
    """Reduced to a third or less and enlarged again."""
    size = array.shape[0]
    small = int(size / rng.uniform(2.5, 4.0))
    picture = Image.fromarray(array).resize((small, small), Image.Resampling.LANCZOS)
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def jpeg_20(array: Array, _: np.random.Generator, __: dict[str, Any]) -> Array:
    """Through JPEG at quality 20, given on as pixels (so that no file header tells)."""
    return np.asarray(Image.open(io.BytesIO(jpeg(array, 20))).convert("RGB"))


OPERATIONS: dict[str, Fault] = {
    "blur": blur,
    "face_defocus": face_defocus,
    "noise": noise,
    "over_exposed": over_exposed,
    "under_exposed": under_exposed,
    "oversaturated": oversaturated,
    "watermark": watermark,
    "border": border,
    "upscaled": upscaled,
    "jpeg_20": jpeg_20,
}


def two_people(array: Array, other: Array, mask: Array, rng: np.random.Generator) -> Array:
    """Another person beside the first: cut out by the exact mask, .7 to .9 of the size."""
    size = array.shape[0]
    first = np.roll(array, -int(0.2 * size), axis=1)
    first[:, -int(0.2 * size) :] = first[:, -int(0.2 * size) - 1][:, None]
    scale = rng.uniform(0.7, 0.9)
    small = int(size * scale)
    picture = np.asarray(Image.fromarray(other).resize((small, small), Image.Resampling.LANCZOS))
    cut = (
        np.asarray(Image.fromarray((mask > 0).astype(np.uint8) * 255).resize((small, small))) > 127
    )
    out = first.copy()
    left, top = int(0.72 * size - small / 2), size - small
    for x in range(small):
        if 0 <= left + x < size:
            column = cut[:, x]
            out[top:, left + x][column] = picture[:, x][column]
    return out


def duplicate(array: Array, how: str, rng: np.random.Generator) -> bytes:
    """A copy: exact, mirrored, re-encoded (JPEG 40 to 70), cropped (60 to 90 %, enlarged)."""
    if how == "mirrored":
        return png(array[:, ::-1])
    if how == "re-encoded":
        return jpeg(array, int(rng.integers(40, 71)))
    if how == "cropped":
        size = array.shape[0]
        side = int(size * rng.uniform(0.6, 0.9))
        x, y = rng.integers(0, size - side + 1, 2)
        part = Image.fromarray(array[y : y + side, x : x + side])
        return png(np.asarray(part.resize((size, size), Image.Resampling.BICUBIC)))
    return png(array)


DUPLICATES = ("exact", "mirrored", "re-encoded", "cropped")
