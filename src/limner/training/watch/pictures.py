"""What sample pictures tell: do they burn, do they all become one picture.

In: `SampleFile`s. Out: flags, and small previews for pages. Pillow and NumPy, loaded when needed.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.look import data_uri
from limner.training.watch.flags import Flag
from limner.training.watch.seen import SampleFile

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 96
PREVIEW = 224
MOST_STEPS = 12
"""Steps of which samples are looked at; first and last among them."""
WRITING = 60.0
"""Seconds for which a file that cannot be opened counts as being written (starting value)."""


@dataclass(frozen=True)
class Look:
    """One sample, measured. saturation: mean of HSV's S, 0 to 1; print: difference hash, 64 bit."""

    sample: SampleFile
    saturation: float
    print: int


def measure(samples: Sequence[SampleFile], known: dict[Path, Look] | None = None) -> list[Look]:
    """Measures of the samples of up to twelve steps; `unreadable` tells of the rest."""
    found = []
    known = {} if known is None else known
    for sample in chosen(samples):
        if sample.path not in known:
            picture = _open(sample.path)
            if picture is None:
                continue
            known[sample.path] = Look(sample, _saturation(picture), _print(picture))
        found.append(known[sample.path])
    return found


def unreadable(samples: Sequence[SampleFile], looks: Sequence[Look], now: float) -> list[Flag]:
    """Samples that no look was had at though nobody has written to them for a minute.

    now: seconds since the epoch.
    """
    seen = {look.sample.path for look in looks}
    lost = [s for s in chosen(samples) if s.path not in seen and _age(s.path, now) > WRITING]
    if not lost:
        return []
    names, many = [s.path.name for s in lost], len(lost)
    what = (
        "1 sample cannot be opened and is"
        if many == 1
        else f"{many} samples cannot be opened and are"
    )
    return [
        Flag(
            "unreadable",
            "warning",
            f"{what} in no check: {names[0]}{'' if many == 1 else ' and others'}",
            "Open one yourself; a full disk or a stopped run leaves such files.",
            {"files": names},
        )
    ]


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:  # taken away meanwhile
        return 0.0


def chosen(samples: Sequence[SampleFile]) -> list[SampleFile]:
    """Samples of at most twelve steps, evenly spaced."""
    steps = sorted({s.step for s in samples})
    if len(steps) > MOST_STEPS:
        pace = (len(steps) - 1) / (MOST_STEPS - 1)
        steps = sorted({steps[round(i * pace)] for i in range(MOST_STEPS)})
    return sorted((s for s in samples if s.step in steps), key=lambda s: (s.step, s.index))


def _open(path: Path) -> Image | None:
    from PIL import Image

    try:
        with Image.open(path) as source:
            source.draft("RGB", (SIDE * 4, SIDE * 4))
            return source.convert("RGB")
    except (OSError, SyntaxError, ValueError):
        return None


def _saturation(picture: Image) -> float:
    import numpy as np

    small = picture.resize((SIDE, SIDE)).convert("HSV")
    return float(np.asarray(small)[..., 1].mean() / 255)


def _print(picture: Image) -> int:
    """Difference hash: is each of 8 x 8 places brighter than its right neighbour?"""
    import numpy as np
    from PIL import Image as Images

    small = picture.convert("L").resize((9, 8), Images.Resampling.LANCZOS)
    grey = np.asarray(small, dtype=np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return int("".join("1" if b else "0" for b in bits), 2)


def flags(looks: Sequence[Look], v: Mapping[str, float]) -> tuple[list[Flag], dict[str, bool]]:
    """(flags, check -> whether it had anything to look at)."""
    by_step: dict[int, list[Look]] = {}
    for look in looks:
        by_step.setdefault(look.sample.step, []).append(look)
    drift, repeat = _drift(by_step, v), _repeat(by_step, v)
    return [*(drift or []), *(repeat or [])], {
        "saturation": drift is not None,
        "repetition": repeat is not None,
    }


def _drift(by_step: Mapping[int, list[Look]], v: Mapping[str, float]) -> list[Flag] | None:
    """Saturation that rises from the first samples to the last, most of the way."""
    steps = sorted(by_step)
    if len(steps) < 3:
        return None
    means = [statistics.fmean(x.saturation for x in by_step[s]) for s in steps]
    if means[0] <= 0.02:
        return []
    rise = means[-1] / means[0] - 1
    ups = sum(b > a for a, b in itertools.pairwise(means))
    if rise < v["watch_saturation"] or ups < (len(means) - 1) / 2:
        return []
    return [
        Flag(
            "saturation",
            "warning",
            f"Samples are {100 * rise:.0f} % more saturated at step {steps[-1]} "
            f"than at step {steps[0]}",
            "Look at the samples of earlier steps: the best file is likely one of them.",
            {"by_step": {s: round(m, 3) for s, m in zip(steps, means, strict=True)}},
        )
    ]


def _repeat(by_step: Mapping[int, list[Look]], v: Mapping[str, float]) -> list[Flag] | None:
    """Different prompts that give one picture, which they did not at the start."""
    several = [s for s in sorted(by_step) if len({x.sample.index for x in by_step[s]}) > 1]
    if not several:
        return None

    def alike(step: int) -> float:
        pairs = list(itertools.combinations(by_step[step], 2))
        near = [(a.print ^ b.print).bit_count() <= v["watch_repeat_bits"] for a, b in pairs]
        return sum(near) / len(near)

    first, last = alike(several[0]), alike(several[-1])
    if last < v["watch_repeat_share"] or (len(several) > 1 and first >= last):
        return []
    return [
        Flag(
            "repetition",
            "warning",
            f"At step {several[-1]} {100 * last:.0f} % of the pairs of samples look alike, "
            f"though their prompts differ ({100 * first:.0f} % at step {several[0]})",
            "It copies: take an earlier file, and compare with the nearest training picture "
            "(`limner evaluate`).",
            {"step": several[-1], "share": round(last, 3), "at_first": round(first, 3)},
        )
    ]


def preview(path: Path) -> str | None:
    """A small JPEG as a data URI; None when the picture cannot be read."""
    picture = _open(path)
    if picture is None:
        return None
    picture.thumbnail((PREVIEW, PREVIEW))
    return data_uri(picture)
