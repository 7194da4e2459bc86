"""Light: from surfaces and a rig to a picture.

In: `Surfaces`, a light rig, a shadow map, a painted background. Out: uint8 picture and part mask.
Skin: wrapped diffuse per channel, which stands in for scattering under it. Hair: Kajiya-Kay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limner.atelier import clothes, raster
from limner.atelier.camera import Camera
from limner.atelier.canvas import TONE
from limner.atelier.gather import Surfaces
from limner.atelier.geometry import Parts
from limner.atelier.lights import Rig
from limner.atelier.mesh import F32, I64, U8, dot, unit

WRAP = np.array([0.34, 0.17, 0.11], np.float32)
"""How far light wraps round skin past the terminator, per channel (red scatters furthest)."""
KEY, AMBIENT, FILL = 0.52, 0.80, 0.12
"""Shares of the rig's key, ambient and a weak fill opposite the key."""
TAPS = (
    (0, 0),
    (0.5, 0.25),
    (-0.5, -0.25),
    (0.25, -0.5),
    (-0.25, 0.5),
    (1, -0.6),
    (-1, 0.6),
    (0.6, 1),
    (-0.6, -1),
)
"""Shadow taps in penumbra radii."""


@dataclass(frozen=True)
class Shadow:
    """Depth seen from the light: map (s*s,) and the frame that leads to it."""

    depth: F32
    size: int
    across: F32
    up: F32
    toward: F32
    centre: F32
    scale: float

    def project(self, points: F32) -> F32:
        """Points (...,3) to x, y in map cells and depth along the light."""
        gap = points - self.centre
        half = np.float32(self.size / 2)
        x, y = (
            half + gap @ self.across * np.float32(self.scale),
            half - gap @ self.up * np.float32(self.scale),
        )
        return np.stack([x, y, np.float32(30) - gap @ self.toward], -1).astype(np.float32)


def key_direction(rig: Rig, camera: Camera) -> F32:
    """Unit vector (3,) from the figure to the key light, in the world."""
    return unit(camera.turn.T @ np.array(rig.key_dir, np.float32))


def cast(parts: Parts, rig: Rig, camera: Camera, size: int) -> Shadow:
    """Draw the shadow map of the key light around what the camera sees."""
    toward = key_direction(rig, camera)
    helper = (
        np.array([0, 1, 0], np.float32)
        if abs(toward[1]) < 0.95
        else np.array([0, 0, 1], np.float32)
    )
    across = unit(np.cross(helper, toward))
    up = np.cross(toward, across).astype(np.float32)
    visible = camera.size / camera.scale
    half = max(visible * 0.62, 1.9)
    empty = Shadow(
        np.zeros(0, np.float32), size, across, up, toward, camera.target, size / 2 / half
    )
    share = 0.35
    buffer, _ = parts.draw(empty.project, size, empty.scale, share)
    return Shadow(raster.depth(buffer), size, across, up, toward, camera.target, empty.scale)


def _lit(surfaces: Surfaces, shadow: Shadow, softness_px: float) -> F32:
    """Share (K,) of the key light that arrives."""
    at = shadow.project(surfaces.position)
    bias = np.where(surfaces.strand, np.float32(0.11), np.float32(0.05))
    bias = bias + np.float32(1.2 / shadow.scale)
    total = np.zeros(len(at), np.float32)
    spread = max(softness_px, 0.8)
    last = shadow.size - 1
    for dx, dy in TAPS:
        x = (at[:, 0] + np.float32(dx * spread)).astype(np.int32).clip(0, last)
        y = (at[:, 1] + np.float32(dy * spread)).astype(np.int32).clip(0, last)
        total += shadow.depth[y * shadow.size + x] > at[:, 2] - bias
    return total / np.float32(len(TAPS))


def dress(surfaces: Surfaces, pieces: dict[str, clothes.Piece], seed: int) -> None:
    """Colour the cloth of an outfit in place; pieces by solid name."""
    n = surfaces.size
    for solid, rows, canonical in surfaces.cloth:
        piece = pieces[solid.name]
        albedo, bump, shine = clothes.fabric(piece, canonical, seed)
        surfaces.albedo[rows], surfaces.specular[rows], surfaces.gloss[rows] = albedo, shine, 12
        _emboss(surfaces, rows, bump, n)


def _emboss(surfaces: Surfaces, rows: I64, height: F32, n: int) -> None:
    """Tilt normals by the slope of a height (dm), measured between neighbouring pixels."""
    grid = np.full(n * n, np.nan, np.float32)
    pixel = surfaces.pixel[rows]
    grid[pixel] = height
    at, here = surfaces.position[rows], height
    normal = surfaces.normal[rows]
    where = np.full(n * n, -1, np.int64)
    where[pixel] = np.arange(len(rows))
    slope = np.zeros_like(normal)
    for step in (1, n):
        beside = np.minimum(pixel + step, n * n - 1)
        other = where[beside]
        ok = other >= 0
        way = at[other] - at
        run = np.maximum(dot(way, way), 1e-6)
        rise = np.where(ok, grid[beside] - here, 0.0)
        rise = np.where(run < 0.09, rise, 0.0)
        slope += way * (np.nan_to_num(rise) / run)[:, None]
    steep = np.sqrt(dot(slope, slope)[:, None])
    slope *= np.minimum(1.0, 0.9 / np.maximum(steep, 1e-6))
    surfaces.normal[rows] = unit(normal - slope)


def light(surfaces: Surfaces, rig: Rig, shadow: Shadow, camera: Camera) -> F32:
    """Scene-linear colour (K,3) of every filled pixel."""
    toward = shadow.toward
    key = np.array(rig.key_rgb, np.float32) * np.float32(rig.exposure)
    sky = np.array(rig.sky_rgb, np.float32) * np.float32(rig.exposure)
    ground = np.array(rig.ground_rgb, np.float32) * np.float32(rig.exposure)
    visible = camera.size / camera.scale
    reach = _lit(surfaces, shadow, rig.shadow_softness * visible * shadow.scale)
    normal, view, albedo = surfaces.normal, surfaces.view, surfaces.albedo
    up = np.clip(normal[:, 1:2] * 0.5 + 0.5, 0, 1)
    ambient = (sky * up + ground * (1 - up)) * surfaces.occlusion[:, None]
    facing = normal @ toward
    opposite = unit(camera.turn.T @ np.array([-rig.key_dir[0], 0.1, 0.7], np.float32))
    fill = np.clip(normal @ opposite * 0.6 + 0.4, 0, 1) * surfaces.occlusion
    wrap = np.where(surfaces.skin[:, None], WRAP, np.float32(0.05))
    diffuse = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, 1)
    arrives = np.where(
        surfaces.skin[:, None],
        reach[:, None] ** np.array([0.75, 1, 1.1], np.float32),
        reach[:, None],
    )
    half = unit(toward + view)
    shine = np.clip(dot(normal, half), 0, 1) ** surfaces.gloss
    fresnel = 0.04 + 0.96 * (1 - np.clip(dot(view, half), 0, 1)) ** 5
    shine = (
        shine
        * (surfaces.gloss + 8)
        * fresnel
        * (0.16 * surfaces.specular)
        * reach
        * np.clip(facing * 4, 0, 1)
    )
    colour = albedo * (ambient * AMBIENT + key * (diffuse * arrives * KEY + fill[:, None] * FILL))
    colour += shine[:, None] * (key * KEY)
    _hair(surfaces, colour, ambient, key, half, reach, facing, toward)
    edge = np.clip(1 - dot(normal, view), 0, 1)
    colour += ((edge**4) * surfaces.specular * 0.30 * surfaces.occlusion)[:, None] * sky
    _rim(surfaces, colour, rig, edge, camera)
    return np.asarray(colour, dtype=np.float32)


def _hair(
    surfaces: Surfaces,
    colour: F32,
    ambient: F32,
    key: F32,
    half: F32,
    reach: F32,
    facing: F32,
    toward: F32,
) -> None:
    """Kajiya-Kay in place: light by the sine to the strand, a white and a coloured highlight."""
    rows = np.nonzero(surfaces.strand)[0]
    tangent, albedo = surfaces.tangent[rows], surfaces.albedo[rows]
    sine = np.sqrt(np.clip(1 - (tangent @ toward) ** 2, 0, 1))
    highlight = np.sqrt(np.clip(1 - dot(tangent, half[rows]) ** 2, 0, 1))
    shadow = 0.22 + 0.78 * reach[rows]
    wrapped = np.clip((facing[rows] + 0.35) / 1.35, 0, 1)
    base = albedo * (ambient[rows] * 0.95 + key * (sine * shadow * wrapped * 0.72)[:, None])
    gloss = (surfaces.specular[rows] * shadow * wrapped)[:, None] * key
    colour[rows] = base + gloss * (
        0.055 * (highlight**80)[:, None] + albedo * 1.3 * (highlight**20)[:, None]
    )


def _rim(surfaces: Surfaces, colour: F32, rig: Rig, edge: F32, camera: Camera) -> None:
    """Light from behind along the outline, in place."""
    if rig.rim <= 0:
        return
    behind = unit(camera.turn.T @ np.array([-rig.key_dir[0] * 1.2, 0.45, -0.7], np.float32))
    both = unit(camera.turn.T @ np.array([rig.key_dir[0] * 0.8, 0.6, -0.7], np.float32))
    normal = surfaces.normal
    grazing = np.clip(normal @ behind, 0, 1) + 0.45 * np.clip(normal @ both, 0, 1)
    strength = edge**3 * grazing * np.float32(rig.rim) * (0.35 + 0.65 * surfaces.occlusion)
    sheen = np.where(surfaces.strand, np.float32(0.035), np.float32(0.10))[:, None]
    colour += (
        strength[:, None] * (surfaces.albedo * 0.7 + sheen) * np.array(rig.rim_rgb, np.float32)
    )


def develop(
    surfaces: Surfaces, colour: F32, background: F32, size: int, grain_seed: int
) -> tuple[U8, U8]:
    """Tone curve, supersamples averaged in linear light, sRGB; the mask takes the middle sample."""
    n = surfaces.size
    factor = n // size
    figure = np.zeros((n * n, 3), np.float32)
    cover = np.zeros(n * n, np.float32)
    figure[surfaces.pixel] = 1 - np.exp(-np.float32(TONE) * np.maximum(colour, 0))
    cover[surfaces.pixel] = 1
    mean = figure.reshape(size, factor, size, factor, 3).mean((1, 3))
    share = cover.reshape(size, factor, size, factor).mean((1, 3))[..., None]
    behind = 1 - np.exp(-np.float32(TONE) * np.maximum(background, 0))
    linear = np.clip(mean + behind * (1 - share), 0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    grain = np.random.default_rng(grain_seed).normal(0, 1.2, (size, size, 1)).astype(np.float32)
    picture = np.clip(encoded * 255 + grain + 0.5, 0, 255).astype(np.uint8)
    labels = np.zeros(n * n, np.uint8)
    labels[surfaces.pixel] = surfaces.label
    middle = factor // 2
    return picture, labels.reshape(n, n)[middle::factor, middle::factor].copy()
