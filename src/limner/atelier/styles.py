"""The ten hair styles: how strands are combed from their roots.

In: roots (n,3) with normals, a collision field, a random generator. Out: points (n,K,3) and how
deep in the hair each strand lies (0 outermost, 1 innermost).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from limner.atelier.field import Field
from limner.atelier.identity import Identity, generator
from limner.atelier.mesh import F32, Bool, unit

POINTS = 20
"""Points of a pulled strand."""
NAPE = 6.3
"""Rest height (dm), raised with the person's head, below which loose hair hangs free instead of
lying on the head.
"""
SHOULDER_REACH = 1.15
"""Half width (dm) that hanging hair gathers in: it falls before or behind the shoulders."""


TORN = 0.42
"""A gap (dm) between neighbouring points that shows a strand was pushed to two sides of the
face.
"""


@dataclass(frozen=True)
class Style:
    """How a style grows. Lengths in dm, angles in radians; `end` is the rest height of the tips."""

    count: int
    length: float
    thickness: float = 0.022
    end: float | None = None
    gravity: float = 0.3
    lift: tuple[float, float] = (0.02, 0.16)
    outward: float = 0.2
    parted: bool = True
    wave: float = 0.0
    wavelength: float = 0.9
    curl: float = 0.0
    clump: float = 0.45
    layers: float = 0.22
    pulled: str = ""
    fringe: float = 0.0
    ragged: float = 0.16
    points: int = 20
    ball: float = 0.0
    hold: float = 0.5


STYLES: dict[str, Style] = {
    "long_straight": Style(4600, 5.4, end=4.35, fringe=0.3, clump=0.2, thickness=0.03),
    "long_wavy": Style(
        4600, 5.8, end=4.5, wave=0.19, wavelength=1.25, lift=(0.03, 0.28), clump=0.32, fringe=0.15,
        ragged=0.2, thickness=0.03,
    ),
    "bob": Style(3800, 3.2, end=6.2, lift=(0.03, 0.20), fringe=0.45, ragged=0.06, clump=0.3,
        thickness=0.024),
    "bun": Style(3000, 0.0, pulled="bun", lift=(0.01, 0.06), thickness=0.022),
    "ponytail": Style(3000, 4.2, end=5.0, pulled="ponytail", lift=(0.01, 0.06), thickness=0.022),
    "short": Style(
        5200, 0.46, gravity=0.14, lift=(0.01, 0.10), outward=0.22, parted=False, layers=0.4,
        clump=0.5,
        thickness=0.022, hold=0.75,
    ),
    "crop": Style(
        6500, 0.10, gravity=0.0, lift=(0.0, 0.03), outward=1.0, parted=False, clump=0.1,
        thickness=0.02,
    ),
    "side_part": Style(
        5000, 0.85, gravity=0.12, lift=(0.01, 0.15), outward=0.16, layers=0.25, clump=0.45,
        thickness=0.022,
        hold=0.8,
    ),
    "curly": Style(
        3400, 2.9, end=6.1, gravity=0.28, lift=(0.04, 0.30), outward=0.4, curl=0.10, clump=0.62,
        ragged=0.2, thickness=0.03, points=34,
    ),
    "afro": Style(
        4600, 0.8, gravity=0.0, lift=(0.0, 0.05), outward=3.0, parted=False, curl=0.035, clump=0.2,
        thickness=0.03, ball=0.62, hold=0.0,
    ),
}  # fmt: skip


def _mix(rng: np.random.Generator, points: F32, share: float) -> F32:
    """Draw strands toward a nearby leader, more toward the tips: hair lies in locks."""
    n = len(points)
    leaders = rng.choice(n, max(6, n // 26), replace=False)
    roots = points[:, 0]
    nearest = np.empty(n, np.int64)
    for part in np.array_split(np.arange(n), max(1, n // 1500)):
        gap = roots[part, None] - roots[leaders][None]
        nearest[part] = leaders[np.argmin((gap * gap).sum(-1), 1)]
    t = np.linspace(0, 1, points.shape[1])[None, :, None]
    pull = share * t**0.8 * rng.uniform(0.4, 1.0, (n, 1, 1))
    loose = points[nearest] + (roots - roots[nearest])[:, None] * (1 - 0.55 * t)
    return np.asarray(points * (1 - pull) + loose * pull, dtype=np.float32)


def _resample(points: F32, length: F32, count: int) -> F32:
    """Cut strands (n,K,3) at arc `length` (n,) and space `count` points evenly along them."""
    step = np.linalg.norm(np.diff(points, axis=1), axis=2)
    arc = np.concatenate([np.zeros((len(points), 1)), np.cumsum(step, 1)], 1)
    wanted = np.minimum(length, arc[:, -1])[:, None] * np.linspace(0, 1, count)[None]
    # Steps are nearly even, so the interval can be found by counting.
    left = (arc[:, None, :] <= wanted[:, :, None]).sum(2) - 1
    left = np.clip(left, 0, points.shape[1] - 2)
    rows = np.arange(len(points))[:, None]
    a, b = arc[rows, left], arc[rows, left + 1]
    t = ((wanted - a) / np.maximum(b - a, 1e-6)).clip(0, 1)[..., None]
    return np.asarray(points[rows, left] * (1 - t) + points[rows, left + 1] * t, dtype=np.float32)


def _first_way(
    style: Style, roots: F32, normals: F32, field: Field, part: float, fringe: Bool
) -> F32:
    """The direction a strand leaves the scalp in: away from the parting, down and back."""
    middle = np.array([0, field.low[1] * 0.35 + field.high[1] * 0.65 - 0.1, 0.3], np.float32)
    half = (field.high - field.low) / 2
    top = np.clip((roots[:, 1] - middle[1]) / (field.high[1] - middle[1]), 0, 1)[:, None]
    front = np.clip((roots[:, 2] - middle[2]) / half[2], 0, 1)[:, None]
    side = np.where(roots[:, 0] >= part * np.clip((roots[:, 2] + 0.2) / 1.2, 0, 1), 1.0, -1.0)[
        :, None
    ]
    x, y, z = np.eye(3, dtype=np.float32)
    if style.parted:
        if style.end is None:  # a side parting swept over the top
            over = -1.0 if part > 0 else 1.0
            cut = np.abs(roots[:, :1] - part) > 0.0
            sweep = np.where((roots[:, :1] - part) * over > -0.05, over, -over * 0.8)
            way = (
                x * sweep * (0.3 + 0.9 * top)
                - y * (0.8 * (1 - top))
                - z * 0.35 * cut
                + z * 0.2 * front
            )
        else:
            back = roots[:, 2:] < 0.1
            spread = np.where(back, np.clip(roots[:, :1] / 0.6, -1, 1), side)
            way = (
                x * spread * (0.3 + 0.5 * top)
                - z * (0.15 + 0.5 * front)
                - y * (1.1 * (1 - top) + 0.1)
            )
    else:
        way = -z * 0.25 * (1 - front) - y * 0.8 * (1 - top) + z * 0.7 * front * top
        way = way + x * 0.3 * np.sign(roots[:, :1]) * top + x * part * 1.2 * top
    way = np.where(fringe[:, None], z * 0.9 - y * 0.25 + x * np.sign(roots[:, :1]) * 0.06, way)
    way = way - normals * (way * normals).sum(1, keepdims=True)
    return unit(unit(way) + style.outward * normals)


def comb(
    style: Style,
    identity: Identity,
    roots: F32,
    normals: F32,
    field: Field,
    rng: np.random.Generator,
) -> tuple[F32, F32]:
    """Grow free-falling or standing hair."""
    n, look = len(roots), generator(identity.seed, "cut")
    part = float(look.choice([-0.28, -0.12, 0.0, 0.12, 0.28]))
    if identity.hair_style == "side_part":
        part = 0.34 if part >= 0 else -0.34
    has_fringe = look.random() < style.fringe
    low = float(look.uniform(-0.2, 0.25)) if style.end is not None else 0.0
    fringe = np.zeros(n, bool)
    if has_fringe:
        fringe = (roots[:, 2] > field.high[2] - 0.62) & (np.abs(roots[:, 0]) < 0.52)
    depth = rng.random(n).astype(np.float32)
    lift = (style.lift[1] + (style.lift[0] - style.lift[1]) * depth).astype(np.float32)
    way = _first_way(style, roots, normals, field, part, fringe)
    way = unit(way + 0.07 * rng.normal(size=(n, 3)))
    full = style.length * (1 - style.layers * rng.random(n))
    length: F32 = np.where(fringe, rng.uniform(0.36, 0.50, n), full).astype(np.float32)
    if style.end is None and identity.hair_style in ("short", "side_part"):
        # Sides and neck are cut shorter than the top.
        high = np.clip((roots[:, 1] - 7.4 - field.shift[1]) / 0.7, 0, 1)
        length = (length * (0.3 + 0.7 * high)).astype(np.float32)
    if style.ball:
        way, length = _ball(style, roots, way, field, rng)
    steps = 28 if style.end is not None else 9
    points = _fall(style, roots, way, length, lift, field, steps, fringe)
    reach = length
    if style.end is not None:
        reach = _cut(
            points,
            style.end + field.shift[1] + low + style.ragged * rng.normal(size=n),
            length,
            fringe,
        )
    points = _resample(
        points, reach.astype(np.float32), style.points if style.end is not None else 10
    )
    for group in (fringe, ~fringe):
        if group.sum() > 40:
            points[group] = _mix(rng, points[group], style.clump)
    points = _shape(style, points, rng)
    if identity.hair_style == "bob":
        points = _turn_in(points, fringe)
    points = _settle(points, lift, field, fringe, style)
    if style.end is None:
        return points, depth
    stay = _off_the_face(points, field, fringe)
    return points[stay], depth[stay]


def _fall(
    style: Style,
    roots: F32,
    way: F32,
    length: F32,
    lift: F32,
    field: Field,
    steps: int,
    fringe: Bool,
) -> F32:
    """March strands step by step under gravity, sliding over the skin and round the face."""
    step = (length / steps)[:, None].astype(np.float32)
    path, p, d = [roots], roots.copy(), way
    down = np.array([0, -1, 0], np.float32)
    grow = np.minimum(1.0, np.linspace(0.15, 2.2, steps))
    nape = NAPE + field.shift[1]
    front = np.where(roots[:, 2] > 0.45 + field.shift[2], 1.0, -1.0).astype(np.float32)
    side = np.where(roots[:, 0] < 0, -1.0, 1.0).astype(np.float32)
    for k in range(steps):
        d = unit(d + style.gravity * down * (step / 0.2).clip(0.3, 1.4))
        hanging = (p[:, 1] < nape) & (style.end is not None)
        if hanging.any():
            beside = hanging & (np.abs(p[:, 0]) > 0.45) & (np.abs(p[:, 2] - 0.2) < 0.85)
            d[hanging, 0] *= 0.55
            d[beside, 2] += 0.16 * front[beside]
            d = unit(d)
        q = p + d * step
        wall = lift * np.float32(grow[k]) + (room(q, field) if style.end is not None else 0)
        on_skull = np.clip((q[:, 1] - nape - 0.5) * 2, 0, 1) * np.float32(style.hold)
        q = field.press(q.astype(np.float32), wall, on_skull)
        if style.end is not None:
            q = field.clear_face(q, side, ~fringe)
            wide = np.abs(q[:, 0]) - SHOULDER_REACH
            q[:, 0] -= np.where(hanging & (wide > 0), np.sign(q[:, 0]) * wide * 0.6, 0)
        d = unit(0.55 * d + 0.45 * (q - p) / np.maximum(step, 1e-4))
        path.append(q)
        p = q
    return np.stack(path, 1).astype(np.float32)


def room(points: F32, field: Field) -> F32:
    """Extra height (n,) dm over ears and over the shoulders, where clothes lie under the hair."""
    local = points - field.shift
    ear = np.exp(-(((local[:, 1] - 7.05) / 0.42) ** 2) - ((local[:, 2] - 0.2) / 0.42) ** 2)
    ear = 0.16 * ear * (np.abs(local[:, 0]) > 0.55)
    low = np.clip((6.25 + field.shift[1] - points[:, 1]) / 0.7, 0, 1)
    return np.asarray(ear + 0.12 * low * low * (3 - 2 * low), dtype=np.float32)


def _ball(
    style: Style, roots: F32, way: F32, field: Field, rng: np.random.Generator
) -> tuple[F32, F32]:
    """Directions and lengths that end on a ball round the head, thinner at the hairline in
    front.
    """
    middle = (field.low + field.high) / 2 * np.array([0, 0, 1], np.float32)
    middle[1] = field.low[1] * 0.35 + field.high[1] * 0.65
    half = (field.high - field.low) / 2
    out = unit((roots - middle) * np.array([1, 1, 0.9], np.float32))
    out[:, 1] = np.maximum(out[:, 1], -0.35)
    front = np.clip((roots[:, 2] - middle[2]) / half[2], 0, 1) * np.clip(
        (8.15 + field.shift[1] - roots[:, 1]) / 0.5, 0, 1
    )
    rise = np.array([0, 0.7, -0.5], np.float32) * front[:, None]
    way = unit(0.75 * out + 0.25 * way + rise + 0.18 * rng.normal(size=roots.shape))
    length = style.ball * (1 - 0.5 * front) * rng.uniform(0.7, 1.0, len(roots))
    return way, length.astype(np.float32)


def _cut(points: F32, end: F32, length: F32, fringe: Bool) -> F32:
    """Arc length (n,) at which each strand first falls below its `end` height."""
    below = points[:, :, 1] < end[:, None]
    first = np.where(below.any(1), below.argmax(1), points.shape[1] - 1)
    step = np.linalg.norm(np.diff(points, axis=1), axis=2)
    arc = np.concatenate([np.zeros((len(points), 1)), np.cumsum(step, 1)], 1)
    cut = arc[np.arange(len(points)), first]
    return np.asarray(np.where(fringe, length, np.maximum(cut, 0.3)), dtype=np.float32)


def _shape(style: Style, points: F32, rng: np.random.Generator) -> F32:
    """Waves and curls: the same phase within a lock, so that they show."""
    if not style.wave and not style.curl:
        return points
    n = len(points)
    step = np.linalg.norm(np.diff(points, axis=1), axis=2)
    arc = np.concatenate([np.zeros((n, 1)), np.cumsum(step, 1)], 1)
    # Phase from the root's place: neighbours wave together.
    phase = points[:, 0, 0] * 2.6 + points[:, 0, 2] * 3.1 + rng.normal(0, 0.35, n)
    way = unit(np.gradient(points, axis=1))
    middle = np.array([0, 0, 0.2], np.float32)
    out = unit((points - middle) * np.array([1, 0.15, 1], np.float32))
    across = unit(np.cross(way, out))
    if style.wave:
        ramp = np.clip(arc / 1.2 - 0.25, 0, 1)
        swing = np.sin(arc * 2 * np.pi / style.wavelength + phase[:, None]) * ramp * style.wave
        return np.asarray(
            points + across * swing[..., None] + out * (0.4 * swing)[..., None], np.float32
        )
    turn = arc * 2 * np.pi / (style.curl * 7.0) + phase[:, None] * 3
    ramp = np.clip(arc / 0.25, 0, 1) * style.curl
    ring = across * np.cos(turn)[..., None] + out * np.sin(turn)[..., None]
    return np.asarray(points + ring * ramp[..., None], dtype=np.float32)


def _turn_in(points: F32, fringe: Bool) -> F32:
    """Tips of a bob curve toward the neck."""
    t = np.linspace(0, 1, points.shape[1])[None, :, None]
    inward = -points * np.array([1, 0, 1], np.float32)
    inward = unit(inward + np.array([0, 0, 0.2], np.float32))
    bend = np.clip(t - 0.72, 0, 1) ** 2 * 4.0
    return np.where(fringe[:, None, None], points, points + inward * bend).astype(np.float32)


def _settle(points: F32, lift: F32, field: Field, fringe: Bool, style: Style) -> F32:
    """Last pass: whatever waves and locks pushed into skin or clothes comes out again."""
    n, k = points.shape[:2]
    flat = points[:, 1:].reshape(-1, 3)
    wall = np.repeat(lift * 0.6 + 0.004, k - 1)
    if style.end is not None:
        wall = wall + room(flat, field)
    flat = field.press(flat, wall.astype(np.float32))
    if style.end is not None:
        side = np.repeat(np.where(points[:, 0, 0] < 0, -1.0, 1.0).astype(np.float32), k - 1)
        flat = field.clear_face(flat, side, np.repeat(~fringe, k - 1))
    settled = np.concatenate([points[:, :1], flat.reshape(n, k - 1, 3)], 1)
    if not style.curl:
        for _ in range(2):
            middle = (settled[:, :-2] + 2 * settled[:, 1:-1] + settled[:, 2:]) / 4
            settled = np.concatenate([settled[:, :1], middle, settled[:, -1:]], 1)
    return settled.astype(np.float32)


def _off_the_face(points: F32, field: Field, fringe: Bool) -> Bool:
    """Strands (n,) that do not hang across face or throat: a few always slip through; drop them."""
    local = points - field.shift
    x, y, z = np.abs(local[..., 0]), local[..., 1], local[..., 2]
    across = (x < 0.50) & (z > 0.85) & (y < 7.62) & (y > 4.9)
    across |= (x < 0.30) & (z > 0.4) & (y < 6.4) & (y > 4.6)
    step = np.diff(points, axis=1)
    torn = np.sqrt(np.einsum("nkc,nkc->nk", step, step)).max(1) > TORN
    return np.asarray((fringe | ~across.any(1)) & ~torn)


def pulled(
    style: Style,
    identity: Identity,
    roots: F32,
    normals: F32,
    field: Field,
    rng: np.random.Generator,
) -> tuple[F32, F32]:
    """Hair drawn back over the head to a knot (bun) or a tie with a tail (ponytail)."""
    n, look = len(roots), generator(identity.seed, "cut")
    centre = (field.low + field.high) / 2 * np.array([0, 0, 1], np.float32)
    centre[1] = field.low[1] * 0.35 + field.high[1] * 0.65 - 0.1
    high = float(look.uniform(-0.08, 0.12))
    aim = np.array([0, 0.80 + high, -0.62] if style.pulled == "bun" else [0, 0.42 + high, -0.9])
    aim = unit(aim.astype(np.float32))
    reach = float(
        (field.high[1] - centre[1]) * abs(aim[1]) + (centre[2] - field.low[2]) * abs(aim[2])
    )
    tie = centre + aim * np.float32(reach / (abs(aim[1]) + abs(aim[2])) * 1.04)
    gap = roots - centre
    away = np.linalg.norm(gap, axis=1, keepdims=True)
    start = gap / away
    angle = np.arccos(np.clip(start @ aim, -1, 1))[:, None, None]
    t = np.linspace(0, 1, POINTS)[None, :, None]
    sine = np.maximum(np.sin(angle), 1e-3)
    ways = np.sin((1 - t) * angle) / sine * start[:, None] + np.sin(t * angle) / sine * aim
    radius = away[:, None] * (1 - t) + np.linalg.norm(tie - centre) * t
    points = (centre + ways * radius).astype(np.float32)
    depth = rng.random(n).astype(np.float32)
    lift = style.lift[1] + (style.lift[0] - style.lift[1]) * depth
    wall = lift[:, None] * np.sin(np.linspace(0, np.pi, POINTS))[None].clip(0.05) + 0.006
    points[:, 1:] = field.press(
        points[:, 1:].reshape(-1, 3), wall[:, 1:].reshape(-1).astype(np.float32)
    ).reshape(n, POINTS - 1, 3)
    points = _mix(rng, points, 0.3)
    extra, extra_depth = (
        _knot(tie, aim, rng) if style.pulled == "bun" else _tail(style, tie, field, rng)
    )
    return np.concatenate([points, extra]), np.concatenate([depth * 0.7, extra_depth])


def _knot(tie: F32, aim: F32, rng: np.random.Generator) -> tuple[F32, F32]:
    """A ball of wound strands that sits on the head."""
    n, radius = 1500, 0.45
    centre = tie + aim * np.float32(radius * 0.72)
    tilt = unit(aim + 0.45 * rng.normal(size=(n, 3)))
    first = unit(np.cross(tilt, rng.normal(size=(n, 3))))
    second = np.cross(tilt, first)
    turn = np.linspace(0, 1, POINTS)[None, :] * rng.uniform(1.2, 2.4, (n, 1))
    height = rng.uniform(-0.85, 0.85, n)
    depth = rng.random(n) ** 1.5
    shell = radius * (1 - 0.25 * depth)
    ring = np.sqrt(1 - height**2) * shell
    circle = first[:, None] * np.cos(turn)[..., None] + second[:, None] * np.sin(turn)[..., None]
    points = centre + tilt[:, None] * (height * shell)[:, None, None] + circle * ring[:, None, None]
    squash = (points - centre) @ aim
    points = points - 0.18 * squash[..., None] * aim
    return points.astype(np.float32), depth.astype(np.float32)


def _tail(style: Style, tie: F32, field: Field, rng: np.random.Generator) -> tuple[F32, F32]:
    """A tail that leaves the tie backwards and falls down the back."""
    n = 1300
    spread = rng.normal(size=(n, 2)).clip(-1.7, 1.7)
    depth = np.clip(1 - np.linalg.norm(spread, axis=1) / 1.7, 0, 1).astype(np.float32)
    offset = np.stack([spread[:, 0] * 0.055, spread[:, 1] * 0.055, np.zeros(n)], 1)
    roots = (tie + offset).astype(np.float32)
    way = unit(np.array([0, -0.1, -1.0]) + np.concatenate([spread * 0.14, np.zeros((n, 1))], 1))
    length = (style.length * rng.uniform(0.8, 1.0, n)).astype(np.float32)
    lift = (0.03 + 0.26 * (1 - depth)).astype(np.float32)
    nothing = np.zeros(n, bool)
    points = _fall(replace(style, gravity=0.55), roots, way, length, lift * 0.6, field, 24, nothing)
    end = ((style.end or 5.0) + field.shift[1] + 0.25 * rng.normal(size=n)).astype(np.float32)
    points = _resample(points, _cut(points, end, length, nothing), POINTS)
    # The tail tapers: strands gather again toward its end.
    middle = points.mean(0, keepdims=True)
    t = np.linspace(0, 1, POINTS)[None, :, None]
    points = middle + (points - middle) * (1 - 0.45 * t**2)
    return _mix(rng, points.astype(np.float32), 0.35), depth
