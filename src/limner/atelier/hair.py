"""Hair, brows, lashes and beard as strands.

In: an identity and its shaped mesh (dm, rest pose). Out: `Strands` grown from the scalp, combed by
style, kept out of the head, the face and the shoulders; and the rules that carry them with a pose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from limner.atelier import mesh, skin
from limner.atelier.field import Field
from limner.atelier.identity import Identity, generator
from limner.atelier.mesh import F32, I32, unit
from limner.atelier.pose import Posed
from limner.atelier.styles import STYLES, comb, pulled

LOOSE_TOP, LOOSE_BOTTOM = 6.7, 5.3
"""Rest heights (dm), raised with the person's head, between which hair stops following the head
and starts to follow the chest.
"""


@dataclass(frozen=True)
class Strands:
    """points (S,K,3) dm, thickness (S,) dm, shade (S,) factor on the colour, depth (S,) 0 =
    outermost.

    Strands are in random order, so the first n are a fair thinner head of hair.
    """

    points: F32
    thickness: F32
    shade: F32
    depth: F32


@dataclass(frozen=True)
class Bound:
    """Short strands that ride on the skin: corners (S,3), weights (S,3), offsets (S,K,3), shade
    (S,).
    """

    corners: I32
    weights: F32
    offsets: F32
    shade: F32
    thickness: F32


@dataclass(frozen=True)
class Roots:
    """Points (n,3) on the shaped surface with normals, rest coordinates and where they are
    bound.
    """

    points: F32
    normals: F32
    canonical: F32
    corners: I32
    weights: F32


def scatter(
    shaped: F32, mask: Callable[[F32], F32], count: int, rng: np.random.Generator, tries: int = 4
) -> Roots:
    """`count` (or fewer) random surface points where `mask` of their rest coordinates is high."""
    triangles = mesh.surface("body").triangles
    rest = mesh.rest()
    corners = rest[triangles]
    likely = mask(corners.reshape(-1, 3)).reshape(-1, 3).max(1)
    likely = np.maximum(likely, mask(corners.mean(1)))
    near = triangles[likely > 0]
    v = shaped[near]
    normal = np.cross(v[:, 1] - v[:, 0], v[:, 2] - v[:, 0])
    area = np.linalg.norm(normal, axis=1)
    chosen = rng.choice(len(near), count * tries, p=area / area.sum())
    weights = rng.dirichlet([1, 1, 1], count * tries).astype(np.float32)
    canonical = np.einsum("nkc,nk->nc", rest[near[chosen]], weights)
    stay = np.nonzero(mask(canonical.astype(np.float32)) > rng.random(count * tries))[0][:count]
    chosen, weights = chosen[stay], weights[stay]
    points = np.einsum("nkc,nk->nc", shaped[near[chosen]], weights)
    return Roots(
        points.astype(np.float32),
        unit(normal[chosen]),
        canonical[stay].astype(np.float32),
        near[chosen],
        weights,
    )


def grow(identity: Identity, shaped: F32, field: Field) -> Strands:
    """All hair of the head at full density."""
    style = STYLES[identity.hair_style]
    rng = generator(identity.seed, "hair")
    roots = scatter(shaped, skin.scalp, style.count, rng)
    if style.pulled:
        points, depth = pulled(style, identity, roots.points, roots.normals, field, rng)
    else:
        points, depth = comb(style, identity, roots.points, roots.normals, field, rng)
    order = rng.permutation(len(points))
    points, depth = points[order], depth[order]
    clumps = max(8, len(points) // 16)
    tint = (
        0.84
        + 0.32 * rng.random(len(points)) * 0.6
        + 0.2 * rng.random(clumps)[rng.integers(0, clumps, len(points))]
    )
    thickness = np.full(len(points), style.thickness, np.float32) * rng.uniform(
        0.7, 1.15, len(points)
    )
    shade = tint * (1 - 0.55 * depth)
    if identity.hair_color == "grey":
        shade *= rng.uniform(0.6, 1.15, len(points))
    return Strands(points, thickness.astype(np.float32), shade.astype(np.float32), depth)


def carry(points: F32, posed: Posed, shift: F32) -> F32:
    """Hair (S,K,3) moved with a pose: with the head above the chin, with the chest below it.

    Between them the turn itself is blended, not the matrices, so that a head looking over its
    shoulder does not pinch the hair. `shift`: `mesh.head_shift` of the person.
    """
    flat = points.reshape(-1, 3)
    head, chest = posed.head, posed.chest
    loose = np.clip((LOOSE_TOP + shift[1] - flat[:, 1]) / (LOOSE_TOP - LOOSE_BOTTOM), 0, 1)
    loose = (loose * loose * (3 - 2 * loose))[:, None].astype(np.float32)
    if not loose.any():
        return (flat @ head[:3, :3].T + head[:3, 3]).reshape(points.shape).astype(np.float32)
    own = posed.head_yaw * 0.78
    with_head = flat @ head[:3, :3].T + head[:3, 3]
    # Take the head's own turn out again by the loose share, about the neck's axis.
    axis = np.array([0.0, 0.0, 0.12], np.float32) @ chest[:3, :3].T + chest[:3, 3] * np.array(
        [1, 0, 1]
    )
    angle = np.deg2rad(-own * loose[:, 0])
    c, s = np.cos(angle), np.sin(angle)
    x, z = with_head[:, 0] - axis[0], with_head[:, 2] - axis[2]
    turned = np.stack([axis[0] + c * x + s * z, with_head[:, 1], axis[2] - s * x + c * z], 1)
    with_chest = flat @ chest[:3, :3].T + chest[:3, 3]
    share = loose * loose
    mixed = turned * (1 - share) + with_chest * share
    return np.asarray(mixed.reshape(points.shape), dtype=np.float32)


def brows(identity: Identity, shaped: F32) -> Bound:
    """Two eyebrows; thickness and arch by seed, fuller on men."""
    rng = generator(identity.seed, "brows")
    wide = rng.uniform(0.75, 1.25) * (1.2 if identity.sex == "male" else 0.72)
    arch = rng.uniform(0.015, 0.06)

    def mask(points: F32) -> F32:
        u = (np.abs(points[:, 0]) - 0.11) / 0.40
        middle = 7.50 + arch * np.sin(u * 2.6) - 0.006 * u - 0.07 * np.clip(u - 0.62, 0, 1)
        half = 0.034 * wide * np.interp(u, [0, 0.15, 0.6, 1], [0.7, 1, 0.8, 0.25])
        inside = (u > 0) & (u < 1) & (np.abs(points[:, 1] - middle) < half) & (points[:, 2] > 1)
        return inside.astype(np.float32)

    roots = scatter(shaped, mask, 420, rng, tries=14)
    n = len(roots.points)
    u = (np.abs(roots.canonical[:, 0]) - 0.11) / 0.40
    angle = np.interp(u, [0, 0.25, 1], [1.15, 0.5, -0.25]) + rng.normal(0, 0.18, n)
    side = np.sign(roots.canonical[:, 0])
    way = np.stack([side * np.cos(angle), np.sin(angle), np.zeros(n)], 1)
    way = unit(way - roots.normals * (way * roots.normals).sum(1, keepdims=True))
    length = rng.uniform(0.05, 0.085, n)[:, None, None]
    t = np.linspace(0, 1, 4)[None, :, None]
    offsets = way[:, None] * length * t + roots.normals[:, None] * (0.008 + 0.012 * t)
    shade = 0.55 + 0.35 * rng.random(n)
    return Bound(
        roots.corners, roots.weights, offsets.astype(np.float32), shade.astype(np.float32),
        np.full(n, 0.0075, np.float32),
    )  # fmt: skip


def beard(identity: Identity, shaped: F32) -> Bound | None:
    """A short full beard, or None."""
    if identity.marks != "beard":
        return None
    rng = generator(identity.seed, "beard")
    long = rng.uniform(0.05, 0.14)
    roots = scatter(shaped, skin.beard, 2600, rng)
    n = len(roots.points)
    lips = skin.lip_mask(roots.corners, roots.weights)
    down = np.array([0, -0.75, 0.1], np.float32) + 0.35 * rng.normal(size=(n, 3))
    way = unit(down + roots.normals * 0.75)
    # The moustache is trimmed and combed to the sides, so that the mouth stays free.
    upper = (roots.canonical[:, 1] > 6.70) & (np.abs(roots.canonical[:, 0]) < 0.34)
    way[upper, 0] += np.sign(roots.canonical[upper, 0]) * 0.9
    way = unit(way)
    length = (long * rng.uniform(0.6, 1.2, n) * (1 - lips) * np.where(upper, 0.45, 1))[
        :, None, None
    ]
    t = np.linspace(0, 1, 3)[None, :, None]
    offsets = way[:, None] * length * t - np.array([0, 0.25, 0]) * length * t**2
    shade = (0.7 + 0.6 * rng.random(n)).astype(np.float32)
    keep = lips < 0.3
    return Bound(
        roots.corners[keep], roots.weights[keep], offsets[keep].astype(np.float32), shade[keep],
        np.full(int(keep.sum()), 0.009, np.float32),
    )  # fmt: skip


def ride(bound: Bound, posed: Posed) -> F32:
    """Points (S,K,3) of bound strands on a posed figure."""
    roots = np.einsum("nkc,nk->nc", posed.vertices[bound.corners], bound.weights)
    turned = bound.offsets @ posed.head[:3, :3].T
    return np.asarray(roots[:, None] + turned, dtype=np.float32)


@cache
def _lash_quads() -> I32:
    """Upper lash quads (Q,4): two corners on the lid, then the two tips beside them."""
    rest, rows = mesh.rest(), []
    for side in ("l", "r"):
        quads = mesh.quads(f"helper-{side}-eyelashes-2")
        centre = rest[mesh.group_vertices(f"helper-{side}-eye")].mean(0)
        away = np.linalg.norm(rest[quads] - centre, axis=-1)
        quads = np.take_along_axis(quads, np.argsort(away, 1, kind="stable"), 1)
        p = rest[quads]
        crossed = np.linalg.norm(p[:, 0] - p[:, 2], axis=1) > np.linalg.norm(
            p[:, 0] - p[:, 3], axis=1
        )
        quads[crossed] = quads[crossed][:, [0, 1, 3, 2]]
        rows.append(quads)
    return np.concatenate(rows).astype(np.int32)


def lashes(posed: Posed) -> F32:
    """Upper lashes (S,2,3): three hairs a quad, following the lids."""
    p = posed.vertices[_lash_quads()]
    hairs = []
    for share in (0.0, 0.33, 0.66):
        k = np.float32(share)
        hairs.append(
            np.stack([p[:, 0] * (1 - k) + p[:, 1] * k, p[:, 2] * (1 - k) + p[:, 3] * k], 1)
        )
    return np.concatenate(hairs).astype(np.float32)


def crown(strands: Strands, shaped: F32) -> float:
    """How far (dm) the hair rises over the scalp."""
    head = float(shaped[mesh.surface("body").vertices, 1].max())
    return max(0.0, float(np.percentile(strands.points[..., 1].max(1), 99)) - head)
