"""The one arithmetic of a run: pictures, batch and steps -> updates, passes, checkpoints, memory.

A step is one optimizer update; a pass is one picture through the model. In: counts. Out: counts.
Nothing else in Limner computes any of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limner.errors import UsageError

GUIDE_EPOCHS = 10
"""The guide calls a tenth of its run an "epoch"; trainers know only steps."""


@dataclass(frozen=True)
class Mark:
    """A checkpoint: after how many updates, and which of the guide's ten "epochs" that is."""

    step: int
    label: str


def checkpoint_marks(steps: int, count: int) -> list[Mark]:
    """`count` evenly spaced checkpoints, the last at the end.

    Raises UsageError when there are fewer steps than checkpoints.
    """
    if steps < count:
        raise UsageError(
            f"{steps} steps cannot hold {count} checkpoints",
            where="character.yaml, training.steps and training.checkpoints",
            fix=f"Train at least {count} steps, or ask for fewer checkpoints.",
        )
    marks = []
    for k in range(1, count + 1):
        step = (k * steps + count // 2) // count if k < count else steps
        epoch = round(GUIDE_EPOCHS * step / steps, 1)
        marks.append(Mark(step, f"epoch {epoch:g} of {GUIDE_EPOCHS}"))
    return marks


def refuse_pruning(wanted: int, keep: int, *, where: str = "character.yaml, training.keep") -> None:
    """Raise UsageError when a plan would delete checkpoints it wants. keep: 0 = all stay.

    Trainers keep the newest few (ai-toolkit: 5, its example 4) and delete the rest silently; the
    early ones, often the better ones, go first.
    """
    if 0 < keep < wanted:
        raise UsageError(
            f"The plan wants {wanted} checkpoints and would delete the first {wanted - keep}",
            where=where,
            fix=f"Keep 0 (all) or at least {wanted}.",
        )


@dataclass(frozen=True)
class Counts:
    """What a run amounts to. `turns`: passes a picture, on average."""

    images: int
    batch: int
    optimizer_steps: int
    image_passes: int
    turns: float


def counts(images: int, batch: int, steps: int) -> Counts:
    """Updates and passes of `steps` steps of `batch` pictures; no accumulation, no repeats."""
    passes = batch * steps
    return Counts(images, batch, steps, passes, passes / images)


def guide_readings(images: int, repeats: int, passes: int) -> dict[str, Any]:
    """What the guide's numbers would mean here, beside what is planned.

    The guide multiplies pictures by the folder's number ("repeats", kohya's idea) and speaks both
    of a run of that length and of ten "epochs" of it. Only the first agrees with its checkpoint
    spacing and hours.
    """
    once = images * repeats
    return {
        "repeats": repeats,
        "images_times_repeats": once,
        "read_as_ten_epochs": once * GUIDE_EPOCHS,
        "planned_passes": passes,
        "note": (
            f"The folder's number {repeats} does not set the length here. By the guide one run is "
            f"{images} x {repeats} = {once} passes; this plan makes {passes}."
        ),
    }


@dataclass(frozen=True)
class Shape:
    """What memory depends on: the transformer's dimensions and one batch."""

    layers: int
    width: int
    batch: int
    tokens: int
    lora_parameters: int
    transformer_bytes: int
    encoder_bytes: int
    bytes_per_value: int


def memory_estimate(shape: Shape, activations_per_token: float) -> dict[str, int]:
    """Bytes by part, an estimate. `tokens`: all of one item (target, references, text).

    LoRA: weights, gradients and two Adam moments in fp32 (16 bytes a parameter). Activations: see
    `activations_per_token` in the rules; with gradient checkpointing one width a token a block
    plus one block's own. Encoders and transformer are never needed at the same time, so `peak` is
    the larger of caching and training.
    """
    value = shape.width * shape.bytes_per_value * shape.batch * shape.tokens
    block = math.ceil(activations_per_token * value)
    lora = 16 * shape.lora_parameters
    plain = block * shape.layers
    checkpointed = value * shape.layers + block
    base = shape.transformer_bytes + lora
    return {
        "transformer": shape.transformer_bytes,
        "encoders_while_caching": shape.encoder_bytes,
        "lora_and_optimizer": lora,
        "activations": plain,
        "activations_checkpointed": checkpointed,
        "peak": max(base + plain, shape.encoder_bytes + shape.transformer_bytes),
        "peak_checkpointed": max(base + checkpointed, shape.encoder_bytes),
    }


def disk_bytes(lora_parameters: int, checkpoints: int, bytes_per_value: int) -> int:
    """Bytes a run writes: its checkpoints, and the state twice (old and new while it is replaced).

    A state holds weights and two moments in fp32.
    """
    return lora_parameters * (checkpoints * bytes_per_value + 2 * 12)


def lora_parameters(shapes: Sequence[tuple[int, int]], rank: int) -> int:
    """Parameters of rank-`rank` pairs on linears of shape (out, in)."""
    return sum(rank * (out + into) for out, into in shapes)
