"""What was done to a picture after it was made: JPEG blocks, enlarging, noise, frames.

In: uint8 (H, W, 3) at its own size (never a resized copy: all four are read off single pixels).
Out: plain numbers, None where the picture is too small to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.vision.pictures import RGB8

F32 = NDArray[np.float32]
LEAST_SIDE = 64
"""Pixels; in smaller pictures too few block edges stand to tell."""
MOST_SIDE = 512
"""Pixels of the middle part that blocks and noise are read from."""
WINDOW = 128
"""Side of the windows that spectra are read from."""
FINE, COARSE = (0.25, 0.5), (0.05, 0.25)
"""Bands in cycles a pixel; enlarging by two or more leaves nothing above .25 (Nyquist)."""
FLAT_SHARE = 0.2
"""Share of blocks, the flattest, in which noise is read (starting value)."""
LINE_SPREAD, LINE_DRIFT = 2.5, 6.0
"""A frame's line: standard deviation along it and drift from the outermost line, 0-255."""
JUMP = 10.0
"""Step in luma at the inner edge of a frame (starting value)."""
STEPPED = 0.75
"""Share of the inner edge that must step: a person before a white wall is no frame."""


def luma(image: RGB8) -> F32:
    """Rec. 709 luma 0-255, float32 (H, W)."""
    weights = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    grey: F32 = image.astype(np.float32) @ weights
    return grey


def blockiness(grey: F32) -> float | None:
    """Steps across the 8 x 8 grid of JPEG over steps beside it; 1 without blocks.

    After Wang, Sheikh & Bovik 2002 (differences across block edges), for the strongest of the
    eight phases, so that a crop does not hide it; the median of the other phases is the base.
    """
    if min(grey.shape) < LEAST_SIDE:
        return None
    grey = _middle(grey)
    ratios = []
    for axis in (0, 1):
        step = np.abs(np.diff(grey, axis=axis))
        beside = 0.5 * (np.roll(step, 1, axis) + np.roll(step, -1, axis))
        excess = np.clip(step - beside, -8, 8)  # an object's outline is no block edge
        lines = excess.mean(axis=1 - axis)[1:-1]
        level = float(np.minimum(step, 8).mean()) + 0.2
        phases = np.array([lines[p::8].mean() for p in range(8)])
        best = int(phases.argmax())
        others = np.delete(phases, [(best - 1) % 8, best, (best + 1) % 8])
        ratios.append(1 + max(float(phases[best] - np.median(others)), 0.0) / level)
    return float(np.mean(ratios))


def _middle(grey: F32) -> F32:
    """The middle of a large picture: blocks and noise are everywhere alike."""
    top, left = (max(0, (n - MOST_SIDE) // 2) for n in grey.shape)
    return grey[top : top + MOST_SIDE, left : left + MOST_SIDE]


def fine_detail(grey: F32) -> float | None:
    """log10 of power above .25 cycles a pixel over power in .05-.25, in the sharpest window.

    A picture enlarged by two or more falls by orders of magnitude everywhere; a blurred background
    alone does not, since the sharpest window counts.
    """
    side = min(WINDOW, *grey.shape)
    if side < LEAST_SIDE:
        return None
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    fine = (radius >= FINE[0]) & (radius < FINE[1])
    coarse = (radius >= COARSE[0]) & (radius < COARSE[1])
    taper = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    found = []
    for top in _starts(grey.shape[0], side):
        for left in _starts(grey.shape[1], side):
            part = grey[top : top + side, left : left + side]
            power = np.abs(np.fft.rfft2((part - part.mean()) * taper)) ** 2
            if float(power[coarse].mean()) > 1.0:  # an empty wall says nothing
                found.append(float(np.log10(power[fine].mean() / power[coarse].mean() + 1e-9)))
    return max(found) if found else None


def _starts(length: int, side: int) -> list[int]:
    """Where at most four windows begin, evenly spread."""
    count = min(4, max(1, -(-length // side)))
    return [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]


def noise(grey: F32) -> float | None:
    """Standard deviation of pixel noise 0-255 in the flattest blocks (Immerkaer 1996 mask)."""
    if min(grey.shape) < LEAST_SIDE:
        return None
    grey = _middle(grey)
    across = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    residual = np.abs(across[:-2] - 2 * across[1:-1] + across[2:])
    height, width = (n // 8 * 8 for n in residual.shape)
    blocks = residual[:height, :width].reshape(height // 8, 8, width // 8, 8)
    means = np.sort(blocks.mean(axis=(1, 3)).ravel())
    # E|N(0,1)| = .798; the mask has a norm of 6.
    return float(means[: max(1, int(FLAT_SHARE * means.size))].mean() / 0.798 / 6.0)


@dataclass(frozen=True)
class Frame:
    """Plain strips along the edges, as shares of the side: top, bottom, left, right."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def largest(self) -> float:
        """The widest strip."""
        return max(self.top, self.bottom, self.left, self.right)

    @property
    def sides(self) -> int:
        """Sides that have one."""
        return sum(v > 0 for v in (self.top, self.bottom, self.left, self.right))


def borders(grey: F32) -> Frame:
    """Strips of one plain tone along an edge that end in a straight step. A white wall has none."""
    return Frame(
        _strip(grey), _strip(grey[::-1]), _strip(grey.T), _strip(np.ascontiguousarray(grey.T[::-1]))
    )


def _strip(grey: F32) -> float:
    most = grey.shape[0] // 3
    lines = grey[: most + 1]
    flat = lines.std(axis=1) < LINE_SPREAD
    level = np.abs(lines.mean(axis=1) - lines[0].mean()) < LINE_DRIFT
    plain = flat & level
    deep = int(plain.argmin()) if not plain.all() else len(plain)
    if deep == 0 or deep > most:
        return 0.0
    # The line in which the strip ends may be a mixture: look one further too.
    inner = lines[min(deep + 1, most)]
    stepped = np.abs(inner - lines[deep - 1].mean()) > JUMP
    return deep / grey.shape[0] if stepped.mean() > STEPPED else 0.0
