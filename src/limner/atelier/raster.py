"""The rasteriser: triangles and hair strands into one packed z-buffer.

In: screen coordinates (x, y in pixels, depth in dm, positive). Out: an int64 buffer of height*width
cells, depth bits in the upper half and the primitive's number in the lower; EMPTY where nothing is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limner.atelier.mesh import F32, I32, I64, Bool

EMPTY = np.int64(2**63 - 1)
CHUNK = 1_500_000
"""Candidate pixels handled at once: bounds memory at 1024 px and more."""

Keep = Callable[[I64, F32], Bool]
"""(triangle rows, barycentrics (n,3)) -> which candidate pixels stay (garment edges)."""


def new_buffer(height: int, width: int) -> I64:
    """An empty buffer."""
    return np.full(height * width, EMPTY, np.int64)


def primitive(buffer: I64) -> I64:
    """Primitive numbers of filled cells."""
    return buffer & np.int64(0xFFFFFFFF)


def depth(buffer: I64) -> F32:
    """Depth of every cell, infinite where empty."""
    values = (buffer >> 32).astype(np.int32).view(np.float32)
    return np.where(buffer == EMPTY, np.float32(np.inf), values).astype(np.float32)


def _pack(z: F32, number: I64) -> I64:
    # Positive floats keep their order when their bits are read as integers.
    bits = np.ascontiguousarray(z, dtype=np.float32).view(np.int32).astype(np.int64)
    return (bits << 32) | number


def triangles(
    screen: F32,
    faces: I32,
    first: int,
    buffer: I64,
    size: tuple[int, int],
    *,
    rows: I64 | None = None,
    two_sided: bool = False,
    keep: Keep | None = None,
    mixed: Bool | None = None,
) -> None:
    """Rasterise `faces[rows]` (all when None) into `buffer` of `size` (height, width).

    Primitive number = `first` + row of the face. `keep` is asked only for rows where `mixed` is
    true.
    """
    height, width = size
    number = np.arange(len(faces), dtype=np.int64) if rows is None else rows
    chosen = faces if rows is None else faces[rows]
    xs, ys = np.ascontiguousarray(screen[:, 0]), np.ascontiguousarray(screen[:, 1])
    a, b, c = chosen[:, 0], chosen[:, 1], chosen[:, 2]
    xa, xb, xc, ya, yb, yc = xs[a], xs[b], xs[c], ys[a], ys[b], ys[c]
    area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
    facing = np.abs(area) > 1e-9 if two_sided else area < -1e-9
    x0, x1 = _span(xa, xb, xc, width)
    y0, y1 = _span(ya, yb, yc, height)
    alive = np.nonzero(facing & (x1 > x0) & (y1 > y0))[0]
    if not len(alive):
        return
    box = ((x1 - x0) * (y1 - y0))[alive].astype(np.int64)
    left = chosen[alive]
    x, y, z = xs[left], ys[left], screen[:, 2][left]
    pieces = np.searchsorted(np.cumsum(box), np.arange(CHUNK, box.sum() + CHUNK, CHUNK))
    start = 0
    for stop in pieces:
        stop = min(int(stop) + 1, len(alive))
        part = slice(start, stop)
        t = alive[part]
        _fill(
            x[part], y[part], z[part], (1.0 / area[t]).astype(np.float32),
            (x0[t], y0[t], x1[t] - x0[t]), box[part],
            number[t], first, buffer, width, keep, None if mixed is None else mixed[number[t]],
        )  # fmt: skip
        start = stop


def _span(a: F32, b: F32, c: F32, limit: int) -> tuple[I32, I32]:
    """First and past-last pixel whose centre lies within the extent of three coordinates."""
    low = np.minimum(np.minimum(a, b), c)
    high = np.maximum(np.maximum(a, b), c)
    first = np.ceil(low - np.float32(0.5)).clip(0, limit).astype(np.int32)
    past = (np.floor(high - np.float32(0.5)) + 1).clip(0, limit).astype(np.int32)
    return first, past


def _fill(
    x: F32, y: F32, z: F32, inverse: F32, corner: tuple[I32, I32, I32], box: I64,
    number: I64, first: int, buffer: I64, width: int, keep: Keep | None, mixed: Bool | None,
) -> None:  # fmt: skip
    """Test every pixel of every box; barycentrics are linear in the pixel, so two planes
    suffice.
    """
    x0, y0, columns = corner
    b1x, b1y = (y[:, 2] - y[:, 0]) * inverse, (x[:, 0] - x[:, 2]) * inverse
    b2x, b2y = (y[:, 0] - y[:, 1]) * inverse, (x[:, 1] - x[:, 0]) * inverse
    fx, fy = x0 + np.float32(0.5) - x[:, 0], y0 + np.float32(0.5) - y[:, 0]
    b1c, b2c = b1x * fx + b1y * fy, b2x * fx + b2y * fy
    t = np.repeat(np.arange(len(box), dtype=np.int32), box)
    local = np.arange(len(t), dtype=np.int32) - np.repeat(
        (np.cumsum(box) - box).astype(np.int32), box
    )
    wide = columns[t]
    row = local // wide
    column = local - row * wide
    b1 = b1c[t] + b1x[t] * column + b1y[t] * row
    b2 = b2c[t] + b2x[t] * column + b2y[t] * row
    inside = np.nonzero((b1 >= 0) & (b2 >= 0) & (b1 + b2 <= 1))[0]
    if not len(inside):
        return
    t, b1, b2 = t[inside], b1[inside].astype(np.float32), b2[inside].astype(np.float32)
    pixel = (y0[t] + row[inside]).astype(np.int64) * width + x0[t] + column[inside]
    if keep is not None and mixed is not None:
        ask = np.nonzero(mixed[t])[0]
        if len(ask):
            weights = np.stack([1 - b1[ask] - b2[ask], b1[ask], b2[ask]], 1)
            stay = np.ones(len(t), bool)
            stay[ask] = keep(number[t[ask]], weights)
            t, b1, b2, pixel = t[stay], b1[stay], b2[stay], pixel[stay]
    deep = z[t, 0] + b1 * (z[t, 1] - z[t, 0]) + b2 * (z[t, 2] - z[t, 0])
    np.minimum.at(buffer, pixel, _pack(deep, number[t] + first))


def barycentric(screen: F32, corners: I32, pixel: I64, width: int) -> F32:
    """Barycentrics (n,3) of pixel centres in their triangles (n,3 vertex numbers)."""
    x, y = screen[:, 0][corners], screen[:, 1][corners]
    fx = (pixel % width).astype(np.float32) + np.float32(0.5) - x[:, 0]
    fy = (pixel // width).astype(np.float32) + np.float32(0.5) - y[:, 0]
    ax, ay = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]
    bx, by = x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    area = ax * by - bx * ay
    area = np.where(np.abs(area) < 1e-9, np.float32(1e-9), area)
    b1, b2 = (fx * by - fy * bx) / area, (fy * ax - fx * ay) / area
    return np.stack([1 - b1 - b2, b1, b2], 1).astype(np.float32)


def strands(
    screen: F32, width_px: F32, first: int, buffer: I64, size: tuple[int, int], bias: float = 0.0
) -> None:
    """Splat polylines (S,K,3) with widths (S,K-1) in pixels; primitive = first + strand*(K-1) +
    segment.

    `bias` (dm) pulls a strand toward the eye, so that brows and lashes lie over the skin they grow
    from.
    """
    height, width = size
    a, b = screen[:, :-1].reshape(-1, 3), screen[:, 1:].reshape(-1, 3)
    seen = (a[:, 0] > -8) & (a[:, 0] < width + 8) & (a[:, 1] > -8) & (a[:, 1] < height + 8)
    seen &= a[:, 2] > 0.05
    ids = np.nonzero(seen)[0]
    if not len(ids):
        return
    a, b, thick = a[ids], b[ids], width_px.reshape(-1)[ids]
    step = b - a
    run = np.maximum(np.abs(step[:, 0]), np.abs(step[:, 1]))
    count = np.minimum(np.ceil(run) + 1, 400).astype(np.int64)
    seg = np.repeat(np.arange(len(ids)), count)
    t = np.arange(len(seg)) - np.repeat(np.cumsum(count) - count, count)
    t = ((t + 0.5) / count[seg]).astype(np.float32)
    px, py = a[seg, 0] + step[seg, 0] * t, a[seg, 1] + step[seg, 1] * t
    key = _pack(a[seg, 2] + step[seg, 2] * t - np.float32(bias), ids[seg] + first)
    flat = (np.abs(step[:, 0]) > np.abs(step[:, 1]))[seg]
    thick = np.maximum(thick, 1.0)[seg]
    for offset in range(int(np.ceil(thick.max()))):
        on = np.nonzero(offset < thick)[0]
        shift = offset - thick[on] / 2 + np.float32(0.5)
        lies = flat[on]
        column = np.floor(px[on] + np.where(lies, 0, shift)).astype(np.int64)
        line = np.floor(py[on] + np.where(lies, shift, 0)).astype(np.int64)
        ok = (column >= 0) & (column < width) & (line >= 0) & (line < height)
        np.minimum.at(buffer, (line * width + column)[ok], key[on][ok])
