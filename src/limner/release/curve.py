"""The loss curve of a run as SVG paths.

In: logs/run_<v>/metrics.jsonl, one JSON object a line with `step` and `loss` and, on some lines,
`held_out_loss`. Out: a `Curve` in the coordinates of the report's chart (0..1000 by 0..100).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_KEYS = ("held_out_loss", "held_out")
SMOOTHING_STEPS = 100
"""Loss at random noise levels is mostly noise; smooth over >= 100 steps (starting value)."""
MAX_POINTS = 600  # of the drawn raw line: more cannot be told apart on a page


@dataclass(frozen=True)
class Curve:
    """Paths and labels. `first`, `last`: smoothed loss; `held`: (x, y, step, loss) marks, 0..1."""

    raw: str
    smooth: str
    held_path: str
    held: list[tuple[float, float, int, float]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    steps: int
    first: float
    last: float
    window: int


def read_metrics(path: Path) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """(step, loss) and (step, held-out loss), by step; a step logged twice counts once, the last.

    A line cut off by a killed run is left out. A missing file gives two empty lists.
    """
    train: dict[int, float] = {}
    held: dict[int, float] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [], []
    for line in lines:
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, TypeError, KeyError):
            continue
        _put(train, step, row.get("loss"))
        for key in HELD_OUT_KEYS:
            _put(held, step, row.get(key))
    return sorted(train.items()), sorted(held.items())


def _put(into: dict[int, float], step: int, value: object) -> None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        into[step] = float(value)


def smooth(points: Sequence[tuple[int, float]], window: int) -> list[float]:
    """Gaussian mean over steps, sigma = window / 4, so that the window holds 95 % of the weight."""
    import numpy as np

    x = np.array([p[0] for p in points], dtype=float)
    y = np.array([p[1] for p in points], dtype=float)
    sigma = max(window / 4, 1e-9)
    out = []
    for centre in x:  # only the neighbourhood weighs: a run of 20,000 steps stays quick
        near = slice(*np.searchsorted(x, [centre - 4 * sigma, centre + 4 * sigma + 1e-9]))
        weight = np.exp(-0.5 * ((x[near] - centre) / sigma) ** 2)
        out.append(float((weight * y[near]).sum() / weight.sum()))
    return out


def nice_step(span: float, parts: int) -> float:
    """A round number (1, 2, 2.5 or 5 times a power of ten) so that about `parts` fit in `span`."""
    rough = span / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)


def curve(path: Path) -> Curve | None:
    """The chart of a metrics file, or None when it holds fewer than two losses."""
    train, held = read_metrics(path)
    if len(train) < 2:
        return None
    steps = max(p[0] for p in [*train, *held])
    window = min(SMOOTHING_STEPS, max(2, steps // 4))
    mean = smooth(train, window)
    # one wild step must not press the whole curve flat: the axis ends above nearly all of it
    losses = sorted(p[1] for p in train)
    top = max([losses[int(0.99 * (len(losses) - 1))], *mean, *(p[1] for p in held), 1e-9])
    unit = nice_step(top, 4)
    y_max = unit * math.ceil(top / unit - 1e-9)
    stride = math.ceil(len(train) / MAX_POINTS)

    def path_of(points: Sequence[tuple[int, float]]) -> str:
        spots = (
            f"{1000 * step / steps:.1f} {100 - 100 * min(loss / y_max, 1.0):.2f}"
            for step, loss in points
        )
        return "M" + "L".join(spots) if points else ""

    smoothed = [(step, loss) for (step, _), loss in zip(train, mean, strict=True)]
    marks = [(s / steps, v / y_max, s, v) for s, v in held]
    digits = next((d for d in range(9) if math.isclose(round(unit, d), unit)), 9)
    y_ticks = [
        (k * unit / y_max, f"{k * unit:.{digits}f}" if k else "0")
        for k in range(round(y_max / unit) + 1)
    ]
    x_unit = max(1, int(nice_step(steps, 4)))
    x_ticks = [(s / steps, f"{s:,}") for s in range(0, int(steps - x_unit * 0.6) + 1, x_unit)]
    return Curve(
        raw=path_of(train[::stride]),
        smooth=path_of(smoothed[::stride]),
        held_path=path_of(held),
        held=marks,
        x_ticks=[*x_ticks, (1.0, f"{steps:,} steps")],
        y_ticks=y_ticks,
        steps=steps,
        first=mean[0],
        last=mean[-1],
        window=window,
    )
