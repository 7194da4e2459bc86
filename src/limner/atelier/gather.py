"""From primitive numbers to surface properties: the deferred part of the renderer.

In: a rasterised buffer, the parts, the person's skin and hair. Out: `Surfaces`, one row a filled
(super)pixel: where it is, which way it faces, what it is made of. Nothing here depends on the
light.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from limner.atelier import mesh, raster, skin
from limner.atelier.camera import Camera
from limner.atelier.geometry import LABELS, Parts, Solid, Tuft, face_triangles
from limner.atelier.mesh import F32, I64, Bool, dot, unit

AO_RADIUS, AO_DEPTH = 0.26, 0.14
"""Ambient occlusion: reach in dm, and depth difference in dm that counts fully."""


@dataclass
class Surfaces:
    """pixel (K,) numbers of a size x size grid, and for each: depth, position, normal (toward the
    eye), view, albedo, specular, gloss (Blinn exponent), occlusion 0..1, label id; skin and strand
    tell materials apart; tangent is only filled for strands. cloth: solid -> its rows and rest
    coordinates.
    """

    size: int
    pixel: I64
    depth: F32
    position: F32
    view: F32
    normal: F32
    tangent: F32
    albedo: F32
    specular: F32
    gloss: F32
    occlusion: F32
    label: mesh.U8
    skin: Bool
    strand: Bool
    cloth: list[tuple[Solid, I64, F32]] = field(default_factory=list)


@dataclass(frozen=True)
class Person:
    """What a character brings to its pixels besides geometry."""

    skin: skin.Skin
    iris: F32
    hair: F32
    fuzz: F32
    eye_centres: F32
    eye_ways: F32
    head: F32
    crown_centre: F32
    shift: F32


def gather(
    buffer: I64, parts: Parts, screens: list[F32], normals: F32, camera: Camera, person: Person
) -> Surfaces:
    """Fill `Surfaces` from a buffer drawn by `parts` through `camera`."""
    pixel = np.nonzero(buffer != raster.EMPTY)[0]
    packed = buffer[pixel]
    number, depth = raster.primitive(packed), raster.depth(packed)
    position = camera.unproject(pixel, depth)
    k = len(pixel)
    out = Surfaces(
        camera.size, pixel, depth, position, unit(camera.eye - position),
        np.zeros((k, 3), np.float32), np.zeros((k, 3), np.float32), np.zeros((k, 3), np.float32),
        np.zeros(k, np.float32), np.full(k, 20, np.float32), np.ones(k, np.float32),
        np.zeros(k, np.uint8), np.zeros(k, bool), np.zeros(k, bool),
    )  # fmt: skip
    every: tuple[Solid | Tuft, ...] = (*parts.solids, *parts.tufts)
    order = np.argsort(number, kind="stable")
    ranked = number[order]
    for part, screen, (low, high) in zip(every, screens, parts.ranges(), strict=True):
        a, b = np.searchsorted(ranked, [low, high])
        rows = order[a:b]
        if not len(rows):
            continue
        out.label[rows] = LABELS.index(part.label)
        local = number[rows] - low
        if isinstance(part, Tuft):
            _strand(out, rows, local, part, person)
        else:
            _solid(out, rows, local, part, screen, normals, person)
    _occlude(out, buffer, camera)
    return out


def _solid(
    out: Surfaces, rows: I64, local: I64, part: Solid, screen: F32, normals: F32, person: Person
) -> None:
    corners = part.triangles[local]
    weights = raster.barycentric(screen, corners, out.pixel[rows], out.size)
    normal = np.einsum("nkc,nk->nc", normals[corners], weights)
    normal = unit(normal)
    if part.two_sided:
        away = dot(normal, out.view[rows]) < -0.1
        normal[away] *= -1
    out.normal[rows] = normal
    if part.name == "body":
        out.label[rows] = np.where(face_triangles()[local], LABELS.index("face"), out.label[rows])
        _skin(out, rows, local, weights, person)
    elif part.name == "eyes":
        _eyes(out, rows, corners, person)
    elif part.name == "teeth":
        _inside(out, rows, np.array([0.78, 0.74, 0.66], np.float32), 0.25, person)
    elif part.name == "tongue":
        _inside(out, rows, np.array([0.28, 0.075, 0.07], np.float32), 0.2, person)
    else:
        canonical = np.einsum("nkc,nk->nc", mesh.cut_coordinates()[corners], weights).astype(
            np.float32
        )
        out.cloth.append((part, rows, canonical))


def _skin(out: Surfaces, rows: I64, local: I64, weights: F32, person: Person) -> None:
    """Albedo, gloss and pores from the atlas; nearest texel, the atlas is finer than the
    picture.
    """
    triangles = mesh.surface("body").uv_triangles[local]
    at = np.einsum("nkc,nk->nc", skin.atlas_coordinates()[triangles], weights)
    height, width = person.skin.gloss.shape
    column = (at[:, 0] * width).astype(np.int64).clip(0, width - 2)
    row = (at[:, 1] * width).astype(np.int64).clip(0, height - 2)
    flat = row * width + column
    out.albedo[rows] = person.skin.albedo.reshape(-1, 3)[flat]
    gloss = person.skin.gloss.ravel()[flat]
    out.specular[rows] = 0.20 + 0.45 * gloss
    out.gloss[rows] = 15 + 40 * gloss
    out.skin[rows] = True
    if out.size < 400:
        return
    relief = person.skin.relief.ravel()
    dx, dy = relief[flat + 1] - relief[flat], relief[flat + width] - relief[flat]
    normal = out.normal[rows]
    side = unit(np.cross(normal, np.array([0, 1, 0], np.float32)))
    tilt = side * dx[:, None] + np.array([0, 1, 0], np.float32) * dy[:, None]
    out.normal[rows] = unit(normal + 0.07 * tilt)


def _eyes(out: Surfaces, rows: I64, corners: mesh.I32, person: Person) -> None:
    """Sclera, iris with fibres, pupil; the upper lid shades the ball."""
    left = (mesh.rest()[corners[:, 0], 0] > 0).astype(int)
    gap = out.position[rows] - person.eye_centres[left]
    way = unit(gap)
    gaze = person.eye_ways[left]
    angle = np.arccos(np.clip(dot(way, gaze), -1, 1))
    up = unit(np.cross(gaze, person.head[:3, 0]))
    around = np.arctan2(dot(way, up), (way * np.cross(up, gaze)).sum(1))
    fibre = 0.78 + 0.3 * np.abs(np.sin(around * 23) + np.sin(around * 37 + 1)) / 2
    white = np.array([0.70, 0.66, 0.63], np.float32)
    iris = (
        person.iris
        * (fibre * np.where(angle > 0.47, 0.4, 1.0) * np.where(angle < 0.3, 0.85, 1))[:, None]
    )
    share = np.clip((0.555 - angle) / 0.05, 0, 1)[:, None]
    albedo = white * (1 - share) + iris * share
    albedo[angle < 0.22] = 0.006
    lid = (gap @ person.head[:3, 1]) / 0.14
    corner = np.abs(gap @ person.head[:3, 0]) / 0.16
    albedo *= (
        np.clip(1.0 - 0.45 * np.clip(lid - 0.1, 0, 1) - 0.25 * np.clip(corner - 0.5, 0, 1), 0.4, 1)
    )[:, None]
    out.albedo[rows] = albedo
    out.normal[rows] = unit(out.normal[rows] * 0.4 + way * 0.6)
    out.specular[rows], out.gloss[rows] = 1.5, 200


def _inside(out: Surfaces, rows: I64, colour: F32, specular: float, person: Person) -> None:
    """Teeth and tongue darken toward the throat: light does not get there."""
    local = (out.position[rows] - person.head[:3, 3]) @ person.head[:3, :3]
    deep = np.clip((local[:, 2] - 0.95 - person.shift[2]) / 0.40, 0.08, 1) ** 1.4
    sideways = np.clip(1.15 - np.abs(local[:, 0]) / 0.32, 0.15, 1)
    out.albedo[rows] = colour * (deep * sideways)[:, None]
    out.specular[rows], out.gloss[rows] = specular, 50


def _strand(out: Surfaces, rows: I64, local: I64, part: Tuft, person: Person) -> None:
    steps = part.points.shape[1] - 1
    strand, segment = local // steps, local % steps
    out.tangent[rows] = unit(part.points[strand, segment + 1] - part.points[strand, segment])
    out.strand[rows] = True
    along = segment / max(steps, 1)
    if part.name == "hair":
        colour = person.hair * (part.shade[strand] * (0.80 + 0.32 * along))[:, None]
        out.specular[rows] = 0.22
    elif part.name == "lashes":
        colour = np.full((len(rows), 3), 0.010, np.float32)
    else:
        colour = person.fuzz * part.shade[strand][:, None]
        out.specular[rows] = 0.04
    out.albedo[rows] = colour
    local_point = (out.position[rows] - person.head[:3, 3]) @ person.head[:3, :3]
    away = local_point - person.crown_centre
    # Below the head hair hangs like a curtain: it faces outward, not to the floor.
    away[:, 1] = np.maximum(away[:, 1], -0.35 * np.abs(away[:, [0, 2]]).max(1))
    away = np.asarray(unit(away) @ person.head[:3, :3].T, dtype=np.float32)
    tangent = out.tangent[rows]
    # The lock's own roundness: part of the head's normal that is square to the strand.
    square = away - tangent * dot(away, tangent)[:, None]
    out.normal[rows] = unit(0.6 * away + 0.4 * unit(square))


def _occlude(out: Surfaces, buffer: I64, camera: Camera) -> None:
    """Screen-space ambient occlusion with a fixed spiral of taps."""
    n = out.size
    depth = np.where(buffer == raster.EMPTY, np.float32(1e3), raster.depth(buffer))
    taps = 8 if n <= 320 else 12
    radius = max(AO_RADIUS * camera.scale, 2.0)
    y, x = (out.pixel // n).astype(np.int32), (out.pixel % n).astype(np.int32)
    total = np.zeros(len(out.pixel), np.float32)
    for k in range(taps):
        angle, reach = k * 2.4, radius * (0.2 + 0.8 * (k + 1) / taps)
        dy, dx = round(reach * float(np.sin(angle))), round(reach * float(np.cos(angle)))
        gap = out.depth - depth[(y + dy).clip(0, n - 1) * n + (x + dx).clip(0, n - 1)]
        total += np.clip(gap / AO_DEPTH, 0, 1) * (gap < 0.6)
    out.occlusion = (1 - 0.72 * total / taps).astype(np.float32)
