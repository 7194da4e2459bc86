"""The painter's canvas of a background: shapes in picture shares, light, blur.

In: size, light and where the horizon lies. Out: float32 (H, W, 3) scene-linear RGB.
A place (places_indoor, places_outdoor) is a function that paints on a `Canvas`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from limner.atelier.lights import Rig

Color = tuple[float, float, float]
Array = NDArray[np.float32]

TONE = 1.15
"""The shader's tone curve is 1 - exp(-TONE x); a background is painted through its inverse."""

# Sky at the zenith and at the horizon, sRGB, as it should look in the finished picture.
SKIES: dict[str, tuple[Color, Color]] = {
    "bright_sun": ((70, 136, 220), (190, 218, 240)),
    "golden_hour": ((126, 140, 180), (252, 186, 104)),
    "morning_light": ((140, 182, 226), (250, 230, 206)),
    "overcast": ((158, 166, 174), (204, 208, 212)),
    "blue_hour": ((20, 34, 84), (104, 106, 152)),
    "rim_light": ((120, 156, 200), (232, 230, 218)),
    "soft_window": ((176, 200, 226), (226, 232, 236)),
    "softbox": ((150, 186, 220), (214, 224, 232)),
    "warm_lamp": ((18, 20, 40), (58, 46, 52)),
    "dramatic_side": ((28, 34, 50), (74, 80, 92)),
    "neon": ((12, 12, 30), (48, 30, 66)),
}
DARK_OUTSIDE = frozenset({"blue_hour", "warm_lamp", "dramatic_side", "neon"})
"""Lights under which windows and lamps glow."""


def to_linear(srgb: Array) -> Array:
    """sRGB 0-255 to linear 0-1."""
    return _LINEAR[np.clip(srgb, 0, 255).astype(np.uint8)]


def _curve() -> Array:
    s = np.arange(256, dtype=np.float32) / 255
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _curve()


class Canvas:
    """A picture being painted. x runs 0..aspect and y 0..1 from the top, both in picture heights.

    Colours are sRGB 0-255. `lit` colours do not darken with the background's gain.
    """

    def __init__(
        self,
        height: int,
        width: int,
        rng: np.random.Generator,
        light: str,
        rig: Rig,
        horizon: float,
        floor: float,
        blur: float,
    ) -> None:
        self.h, self.w = height, width
        self.aspect = width / height
        self.rng, self.light, self.rig = rng, light, rig
        self.horizon, self.floor, self.blur = horizon, floor, blur
        self.night = light in DARK_OUTSIDE
        self.image = Image.new("RGB", (width, height))
        self.draw = ImageDraw.Draw(self.image)
        self.glows: list[tuple[float, float, float, Color, float]] = []

    # -- chance -------------------------------------------------------------------------------
    def u(self, low: float, high: float) -> float:
        """A uniform number."""
        return low + (high - low) * self.rng.random()

    def pick(self, colors: Sequence[Color]) -> Color:
        """One of the colours."""
        return colors[int(self.rng.integers(len(colors)))]

    def vary(self, color: Color, amount: float) -> Color:
        """The colour made lighter or darker by at most the share `amount`."""
        k = self.u(1 - amount, 1 + amount)
        return (color[0] * k, color[1] * k, color[2] * k)

    # -- shapes -------------------------------------------------------------------------------
    def fill(self, color: Color) -> None:
        """One colour everywhere."""
        self.rect(-0.1, -0.1, self.aspect + 0.1, 1.1, color)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """An upright rectangle."""
        h = self.h
        if x1 > x0 and y1 > y0:
            right, low = max(x0 * h, x1 * h - 0.5), max(y0 * h, y1 * h - 0.5)
            self.draw.rectangle((x0 * h, y0 * h, right, low), fill=_ink(color))

    def disc(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """An ellipse by its centre and radii."""
        h = self.h
        box = ((x - rx) * h, (y - ry) * h, (x + rx) * h, (y + ry) * h)
        self.draw.ellipse(box, fill=_ink(color))

    def poly(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        """A filled polygon."""
        self.draw.polygon([(x * self.h, y * self.h) for x, y in points], fill=_ink(color))

    def line(self, points: Sequence[tuple[float, float]], width: float, color: Color) -> None:
        """A line; `width` in picture heights, never thinner than a pixel."""
        px = max(1, round(width * self.h))
        self.draw.line([(x * self.h, y * self.h) for x, y in points], _ink(color), px)

    def shade(self, y0: float, y1: float, top: Color, bottom: Color) -> None:
        """A vertical gradient across the full width."""
        a, b = max(0, int(y0 * self.h)), min(self.h, math.ceil(y1 * self.h))
        if b <= a:
            return
        t = np.clip((np.arange(a, b) / self.h - y0) / max(y1 - y0, 1e-6), 0, 1)[:, None]
        rows = np.asarray(top) * (1 - t) + np.asarray(bottom) * t
        strip = np.broadcast_to(rows[:, None], (b - a, self.w, 3))
        self.image.paste(Image.fromarray(np.clip(strip, 0, 255).astype(np.uint8)), (0, a))

    def sky(self, y1: float) -> None:
        """The sky of this light from the top of the picture down to y1."""
        top, low = SKIES[self.light]
        self.shade(0, y1, self.lit(top), self.lit(low))

    def leaves(self, x: float, y: float, rx: float, ry: float, color: Color, n: int = 16) -> None:
        """A clump of foliage, lighter on top."""
        self.disc(x, y, rx, ry, (color[0] * 0.7, color[1] * 0.7, color[2] * 0.7))
        spots = self.rng.random((n, 4))
        for a, r, size, k in spots:
            dx, dy = math.cos(a * 6.283) * math.sqrt(r), math.sin(a * 6.283) * math.sqrt(r)
            tone = 0.75 + 0.3 * k - 0.28 * dy
            part = (0.18 + 0.22 * size) * min(rx, ry)
            ink = (color[0] * tone, color[1] * tone, color[2] * tone)
            self.disc(x + dx * rx * 0.85, y + dy * ry * 0.85, part, part, ink)

    def mottle(self, base: Color, coarse: float, fine: float) -> None:
        """A hand-brushed canvas: cloudy tone around `base` with fine strokes."""
        field = 1 + coarse * self.cloud(5) + 0.6 * coarse * self.cloud(11) + fine * self.cloud(60)
        tones = np.asarray(base, np.float32) * field[..., None]
        self.image.paste(Image.fromarray(np.clip(tones, 0, 255).astype(np.uint8)))

    def cloud(self, cells: int) -> Array:
        """Smooth noise about 0, (H, W), with `cells` bumps across."""
        seeds = (self.rng.random((cells, cells)) * 2 - 1).astype(np.float32)
        small = Image.fromarray(seeds)
        return np.asarray(small.resize((self.w, self.h), Image.Resampling.BICUBIC), np.float32)

    # -- light --------------------------------------------------------------------------------
    def lit(self, color: Color) -> Color:
        """A colour that shines by itself: what to paint so that the gain leaves it as it is."""
        gain = np.asarray(self.rig.background_gain, np.float32)
        linear = np.minimum(to_linear(np.asarray(color, np.float32)) / gain, 1.0)
        shown = np.interp(linear, _LINEAR, np.arange(256))
        return (float(shown[0]), float(shown[1]), float(shown[2]))

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Light added around a lamp, after gain and blur."""
        self.glows.append((x, y, radius, color, strength))

    def soften(self, share: float = 1.0) -> None:
        """Blur what is painted so far by `share` of the depth blur; later things are nearer."""
        radius = self.blur * share * self.h
        if radius > 0.3:
            self.image = self.image.filter(ImageFilter.GaussianBlur(radius))
            self.draw = ImageDraw.Draw(self.image)

    def develop(self, height: int, width: int) -> Array:
        """The finished background, (height, width, 3) float32 scene-linear."""
        image = self.image
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        out = to_linear(np.asarray(image)) * np.asarray(self.rig.background_gain, np.float32)
        y = ((np.arange(height) + 0.5) / height).astype(np.float32)[:, None]
        x = ((np.arange(width) + 0.5) / height).astype(np.float32)[None, :]
        self._fall(out, x, y)
        for gx, gy, radius, color, strength in self.glows:
            bell = np.exp(-(((x - gx) / radius) ** 2)) * np.exp(-(((y - gy) / radius) ** 2))
            out += strength * bell[..., None] * to_linear(np.asarray(color, np.float32))
        np.clip(out, 0, 0.96, out=out)
        return np.asarray(-np.log1p(-out) / TONE, np.float32)

    def _fall(self, out: Array, x: Array, y: Array) -> None:
        """How the light of the rig falls across the place, in place."""
        side = x / self.aspect
        if self.light in ("dramatic_side", "soft_window"):
            lit: Array = side if self.rig.key_dir[0] > 0 else 1 - side
            low, high = (0.35, 1.7) if self.light == "dramatic_side" else (0.78, 1.16)
            out *= (low + (high - low) * lit**1.5)[..., None]
        elif self.light == "warm_lamp":
            spot = np.exp(-(((side - 0.82) / 0.5) ** 2) - ((y - 0.3) / 0.6) ** 2)
            out *= (0.7 + 0.9 * spot)[..., None]
        elif self.light == "neon":
            out += np.stack([0.08 * side + 0 * y, 0.01 + 0 * side * y, 0.06 + 0 * side * y], -1)
            out += (np.clip(0.6 - side, 0, 1) + 0 * y)[..., None] * np.array([0.0, 0.07, 0.1])
        elif self.light == "golden_hour":
            haze = np.exp(-(((side - 0.1) / 0.6) ** 2) - ((y - 0.3) / 0.5) ** 2)
            out += haze[..., None] * np.array([0.22, 0.11, 0.03])
        elif self.light == "morning_light":
            haze = np.exp(-(((side - 0.9) / 0.6) ** 2) - ((y - 0.25) / 0.5) ** 2)
            out += haze[..., None] * np.array([0.1, 0.095, 0.075])
        elif self.light == "rim_light":
            halo = np.exp(-(((side - 0.5) / 0.42) ** 2) - ((y - 0.3) / 0.42) ** 2)
            out *= (0.62 + 0.9 * halo)[..., None]


def _ink(color: Color) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, round(c))) for c in color)
    return r, g, b
