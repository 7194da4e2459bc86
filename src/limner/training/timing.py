"""How long a step of a run takes on this machine, measured in seconds.

In: a base and the shape of a batch. Out: `Pace`, kept in the project's cache by all it depends on.
Bases too large to load for this are timed by their first run instead.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.project.files import canonical_json, sha256_bytes, write_json
from limner.training import kernels
from limner.training.config import RunConfig
from limner.training.trainer import Example, Trainer

if TYPE_CHECKING:
    from limner.models import BaseInfo


@dataclass(frozen=True)
class Pace:
    """Seconds measured. `origin`: timing | run. `encode`: one picture and caption, None unknown."""

    step: float
    held_out: float
    encode: float | None
    origin: str


def key(config: RunConfig) -> str:
    """Name of the cache entry: base, shape of the work, and this machine."""
    facts = {
        "base": config.base_fingerprint,
        "shape": [config.template, config.resolution, config.batch, config.rank, config.targets],
        "kernel": [config.precision, config.attention],
        "control": [config.control, config.control_area, config.control_pictures],
        "way": [dict(config.fast), config.gradient_checkpointing, config.processes],
        "device": [config.device, _card(config.device)],
        "held_out": 2,  # pictures that are trained on are measured beside the held-out ones
        "torch": _torch(),
        "threads": config.threads,
        "machine": [platform.machine(), platform.processor(), os.cpu_count()],
    }
    return sha256_bytes(canonical_json(facts).encode())


def _card(device: str) -> str:
    """The GPU's name; "" on a CPU."""
    if device != "cuda":
        return ""
    import torch

    return str(torch.cuda.get_device_name())


def _torch() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


def read(folder: Path, name: str) -> Pace | None:
    """A pace measured before, or None."""
    try:
        return Pace(**json.loads((folder / f"{name}.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write(folder: Path, name: str, pace: Pace) -> None:
    """Keep a pace."""
    write_json(folder / f"{name}.json", asdict(pace))


def seconds(work: Callable[[], Any], times: int) -> float:
    """Median wall seconds of `times` calls after one to warm up."""
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def measure(info: BaseInfo, config: RunConfig, captions: Sequence[str], held_out: int) -> Pace:
    """Load the base and time real steps on grey pictures.

    captions: the shortest and the longest, since a batch of unequal lengths needs a mask.
    """
    import torch
    from PIL import Image

    from limner.models import open_base

    if config.device.startswith("cuda"):
        kernels.before_cuda()
    torch.set_num_threads(config.threads)
    area = config.control_area or info.reference_area
    base = open_base(replace(info, reference_area=area), device=config.device)
    side = max(16, config.resolution // 16 * 16)
    blank = Image.new("RGB", (side, side), (127, 127, 127))
    beside = [blank] * config.control_pictures if config.control != "none" else []
    shown = [beside] if config.template == "edit" else None
    examples = []
    for caption in captions:
        began = time.perf_counter()
        latents = base.encode_images([blank])[0].float().cpu()
        embeds = base.encode_prompts([caption], config.template, shown)[0].float().cpu()
        encode = time.perf_counter() - began  # the last one counts: the first warms up
        example = Example(side, side, latents, [embeds], [embeds])
        if beside:
            fitted = [base.fit(picture, area) for picture in beside]
            example.references = [torch.cat(base.encode_images(fitted)).float().cpu()]
            example.reference_sizes = [(p.height, p.width) for p in fitted]
        examples.append(example)
    trainer = _trainer(base, config, examples, held_out)
    step = seconds(lambda: trainer.step(1), int(config.values["timing_steps"]))
    held = seconds(trainer.held_out_loss, 1) if held_out else 0.0
    return Pace(step, held, encode, "timing")


def _trainer(base: Any, config: RunConfig, examples: list[Example], held_out: int) -> Trainer:
    from limner.training.order import Bucket

    one = replace(config, steps=1, checkpoints=(1,))
    bucket = Bucket(examples[0].width, examples[0].height, tuple(range(len(examples))))
    shown = [len(examples) - 1] * held_out
    return Trainer(base, one, examples, [bucket], examples[-1:] * held_out, compared=shown)
