"""Settings for a data set, each with its reason and how far to trust it; the guide's as a preset.

In: number of pictures, trainer, preset. Out: rows {name, value, why, tag}. No ablation for
Qwen-Image is published, so that most of these are other people's defaults, and said to be.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from limner.errors import UsageError

Preset = Literal["default", "seed"]
PRESETS: tuple[Preset, ...] = ("default", "seed")

PASSES_A_PICTURE = 75
"""3,000 passes for 40 pictures: ai-toolkit's example length on the guide's set (starting value)."""

FEWEST, MOST = 1500, 4000
"""ai-toolkit's example calls 500 to 4,000 good; below 1,500 few checkpoints differ."""

MANY_PICTURES = 100
"""From here the guide itself halves its learning rate to 5e-5 (community)."""

SEED_STEPS = 3400
"""The guide's one run that agrees with its own checkpoints: 340 steps an `epoch`, ten of them."""


@dataclass(frozen=True)
class Default:
    """One setting. tag: published (a named default), community, derived or starting value."""

    name: str
    value: Any
    why: str
    tag: str


_TIMESTEPS = {
    "ai-toolkit": ("weighted", "its UI's and its example's choice for 2509"),
    "musubi-tuner": ("shift 2.2", "its manual's choice: logit-normal, then shifted"),
    "SimpleTuner": ("flow_schedule_shift 1.73", "its example's choice"),
    "kohya": ("shift 2.2", "as musubi-tuner's manual"),
    "native": ("logit-normal, shifted by size", "as the sampler shifts: mu 0.69 at 1024 px"),
}


def passes(images: int, preset: Preset = "default") -> int:
    """Image passes for a set: 75 a picture between 1,500 and 4,000; the guide's 3,400."""
    if preset == "seed":
        return SEED_STEPS
    return max(FEWEST, min(MOST, PASSES_A_PICTURE * images))


def defaults(images: int, trainer: str, preset: str = "default") -> list[dict[str, Any]]:
    """All settings for a set of that size. Raises UsageError for an unknown preset."""
    if preset not in PRESETS:
        raise UsageError(
            f"There is no preset {preset!r}", where="--preset", fix=f"Use {' or '.join(PRESETS)}."
        )
    seed = preset == "seed"
    rate, why = _rate(images, seed=seed)
    timesteps, because = _TIMESTEPS[trainer]
    total = passes(images, "seed" if seed else "default")
    rows = [
        Default(
            "rank",
            16,
            "ai-toolkit, musubi-tuner, diffusers and the guide alike; 9.2 M parameters a rank on "
            "all 14 linears",
            "community",
        ),
        Default("alpha", 16, "equal to the rank: every program shows the same strength", "derived"),
        Default("learning_rate", rate, why, "community"),
        Default(
            "image_passes",
            total,
            "the reading of the guide's length that agrees with its checkpoints"
            if seed
            else f"{PASSES_A_PICTURE} a picture, within {FEWEST} to {MOST}: score every "
            "checkpoint, the best is not always late",
            "community" if seed else "starting value",
        ),
        Default("checkpoints", 10, "the guide's ten `epochs`, all kept", "community"),
        Default("timesteps", timesteps, because, "published"),
        Default("caption_dropout", 0.05, "ai-toolkit's example and the guide", "community"),
        Default(
            "resolution",
            [512, 768, 1024] if trainer == "ai-toolkit" and not seed else [1024],
            "its shipped example: each size is another copy of the data, most passes are cheaper"
            if trainer == "ai-toolkit" and not seed
            else "the size the model was made for",
            "published",
        ),
        Default(
            "ema",
            False,
            f"{total} updates are {total / 1000:.1f} time constants of the usual decay 0.999: the "
            "start would weigh on every file; no controlled evidence for it",
            "derived",
        ),
    ]
    return [asdict(row) for row in rows]


def _rate(images: int, *, seed: bool) -> tuple[float, str]:
    if seed:
        return 2e-4, "the guide's; diffusers' and FlyMyAI's default too"
    if images >= MANY_PICTURES:
        return 5e-5, "musubi-tuner's default, and the guide's own for 100 pictures and more"
    return 1e-4, "ai-toolkit's example; published defaults reach from 5e-5 to 3e-4"
