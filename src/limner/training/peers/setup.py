"""One run of another trainer, decided: base, mode, length, rate, checkpoints, before any file.

In: the groups of an export and the wishes of a user. Out: `Setup`, from which each trainer's own
configs are written. Lengths are `limner.training.trainers`, settings `limner.training.defaults`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.errors import UsageError
from limner.training import defaults
from limner.training.trainers import Ask, DataSet, RunCounts, count

Row = dict[str, Any]


@dataclass(frozen=True)
class Base:
    """A base model as the trainers name it. size: which Qwen; edit: it takes references."""

    name: str
    edit: bool
    aitoolkit: str
    """`arch` with references; without, text to image on the same weights (qwen_image)."""
    musubi: str
    simpletuner: str


BASES = {
    b.name: b
    for b in (
        Base("Qwen/Qwen-Image-Edit-2509", True, "qwen_image_edit_plus", "edit-2509", "edit-v2"),
        Base(
            "Qwen/Qwen-Image-Edit-2511", True, "qwen_image_edit_plus:2511", "edit-2511", "edit-v3"
        ),
        Base("Qwen/Qwen-Image-Edit", True, "qwen_image_edit", "edit", "edit-v1"),
        Base("Qwen/Qwen-Image", False, "qwen_image", "original", "v1.0"),
        Base("Qwen/Qwen-Image-2512", False, "qwen_image:2512", "original", "v2.0"),
    )
}
DEFAULT_BASE = "Qwen/Qwen-Image-Edit-2509"


def base_named(name: str) -> Base:
    """The base of a Hugging Face id. Raises UsageError for one that these trainers do not know."""
    if name in BASES:
        return BASES[name]
    raise UsageError(
        f"The other trainers are not set up for the base {name!r}",
        where="--base, training.base",
        fix=f"Use one of: {', '.join(BASES)}.",
    )


@dataclass(frozen=True)
class Setup:
    """All that the configs of one run say. root: folder the data's names are relative to, or ""."""

    trainer: str
    name: str
    trigger: str
    base: Base
    mode: str
    control_size: int
    groups: tuple[Row, ...]
    counts: RunCounts
    rank: int
    rate: float
    resolutions: tuple[int, ...]
    batch: int
    accumulation: int
    dropout: float
    seed: int
    schedule: str = "constant"
    """What the rate does: constant, or cosine toward 0 at the end."""
    weights: str = ""
    """Local folder or file of the base, where the hub id is not to be used."""
    root: str = ""
    samples: tuple[Row, ...] = field(default_factory=tuple)

    @property
    def edits(self) -> bool:
        """Whether references are shown while training."""
        return self.mode != "none"

    @property
    def tag(self) -> str:
        """The words that ComfyUI and Limner call this template by."""
        return "edit" if self.edits else "t2i"

    def place(self, folder: str) -> str:
        """A folder of the export as the configs write it."""
        return f"{self.root.rstrip('/')}/{folder}" if self.root else folder


def decide(
    groups: Sequence[Row],
    trainer: str,
    *,
    trigger: str,
    name: str | None = None,
    base: str = DEFAULT_BASE,
    mode: str = "none",
    control_size: int = 1024,
    preset: str = "default",
    steps: int = 0,
    batch: int = 0,
    accumulation: int = 1,
    rank: int = 16,
    rate: float = 0.0,
    schedule: str = "constant",
    checkpoints: int = 10,
    keep: int | None = None,
    dropout: float = 0.05,
    seed: int = 42,
    resolutions: Sequence[int] = (),
    weights: str = "",
    root: str = "",
) -> Setup:
    """What a run will be; 0 and () are the defaults of `limner plan` for this many pictures.

    trainer: a name of `trainers.TRAINERS`. Raises UsageError for what cannot be: references on a
    text-to-image base, SimpleTuner's edit flavours without, checkpoints that would be deleted.
    """
    known = base_named(base)
    if mode != "none" and not known.edit:
        raise UsageError(
            f"{known.name} takes no control pictures",
            where="--control",
            fix="Use --control none, or an edit base.",
        )
    if trainer == "SimpleTuner" and known.edit and mode == "none":
        raise UsageError(
            "SimpleTuner cannot train an edit model without control pictures: it stops with "
            "'must provide at least one control latent'",
            where="--control",
            fix="Use --control blank or self, or --base Qwen/Qwen-Image.",
        )
    images = sum(int(g["images"]) for g in groups)
    rows = {r["name"]: r["value"] for r in defaults.defaults(images, trainer, preset)}
    sides = tuple(resolutions) or tuple(rows["resolution"])
    size = batch or 1
    ask = Ask(
        sets=tuple(DataSet(int(g["images"]), int(g["repeats"]), str(g["name"])) for g in groups),
        batch=size,
        accumulation=accumulation,
        steps=steps or math.ceil(rows["image_passes"] / (size * accumulation)),
        trainer=trainer,
        resolutions=sides,
        checkpoints=checkpoints,
        keep=keep,
        output=name or f"{trigger}_v1",
    )
    return Setup(
        trainer=trainer,
        name=name or f"{trigger}_v1",
        trigger=trigger,
        base=known,
        mode=mode,
        control_size=control_size,
        groups=tuple(groups),
        counts=count(ask),
        rank=rank,
        rate=rate or float(rows["learning_rate"]),
        resolutions=sides,
        batch=size,
        accumulation=accumulation,
        dropout=dropout,
        seed=seed,
        schedule=schedule,
        weights=weights,
        root=root,
        samples=tuple(s for g in groups if not g["bodies"] for s in g.get("samples", [])),
    )


def notes(setup: Setup) -> list[str]:
    """What a user should know of this trainer on this model; known faults that no config avoids."""
    found = []
    if setup.trainer == "ai-toolkit" and setup.edits:
        found.append(
            "ai-toolkit 0.12.26 shows the text encoder an almost black control picture: only the "
            "latents carry the reference, its own previews do not reveal it, and ComfyUI differs."
        )
        found.append(
            "ai-toolkit encodes each control at about one megapixel every step, cached or not; its "
            f"size of {setup.control_size} px has no effect on cost."
        )
    if not setup.edits and setup.base.edit:
        found.append(
            "Edit weights are trained with the text-to-image template; test with the same template."
        )
    if setup.mode == "self":
        found.append(
            "Self-reference is the character's other picture; no controlled test of it is public."
        )
    if setup.trainer in ("ai-toolkit", "musubi-tuner"):
        found.append(
            f"{setup.trainer} takes up a run at its step, not its random state: a resumed run is "
            "not the undisturbed one."
        )
    return found
