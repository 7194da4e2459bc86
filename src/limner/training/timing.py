"""How long a step takes on this machine, measured in seconds, and which precision is faster.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.project.files import canonical_json, sha256_bytes, write_json
from limner.training.config import Attention, Precision, RunConfig
from limner.training.trainer import Example, Trainer

if TYPE_CHECKING:
    from limner.models import BaseInfo


@dataclass(frozen=True)
class Pace:
    """Seconds measured. `origin`: timing | run. `encode`: one picture and caption, None unknown."""

    step: float
    held_out: float
    encode: float | None
    precision: Precision
    attention: Attention
    origin: str


def key(config: RunConfig, asked: str) -> str:
    """Name of the cache entry: base, shape of the work, and this machine."""
    facts = {
        "base": config.base_fingerprint,
        "shape": [config.template, config.resolution, config.batch, config.rank, config.targets],
        "asked": asked,
        "device": config.device,
        "threads": config.threads,
        "machine": [platform.machine(), platform.processor(), os.cpu_count()],
    }
    return sha256_bytes(canonical_json(facts).encode())


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


def measure(
    info: BaseInfo, config: RunConfig, captions: Sequence[str], held_out: int, asked: str
) -> Pace:
    """Load the base and time real steps on grey pictures.

    captions: the shortest and the longest, since a batch of unequal lengths needs a mask. asked:
    auto | fp32 | bf16. On a CPU all kernels of the allowed precisions are tried; bf16 is taken
    when it is `bf16_gain` times as fast. On a GPU: bf16, torch's own choice of kernel.
    """
    import torch
    from PIL import Image

    from limner.models import open_base

    torch.set_num_threads(config.threads)
    base = open_base(info, device=config.device)
    side = max(16, config.resolution // 16 * 16)
    blank = Image.new("RGB", (side, side), (127, 127, 127))
    shown = [[blank]] if config.template == "edit" else None
    examples = []
    for caption in captions:
        began = time.perf_counter()
        latents = base.encode_images([blank])[0].float().cpu()
        embeds = base.encode_prompts([caption], config.template, shown)[0].float().cpu()
        encode = time.perf_counter() - began  # the last one counts: the first warms up
        example = Example(side, side, latents, [embeds], [embeds])
        if shown is not None:
            reference = base.fit(blank, info.reference_area)
            example.references = [base.encode_images([reference])[0].float().cpu()]
            example.reference_size = (reference.height, reference.width)
        examples.append(example)
    trainer = _trainer(base, config, examples, held_out)
    times = int(config.values["timing_steps"])
    best: dict[Precision, tuple[float, Attention]] = {}
    for precision, attention in _candidates(config.device, asked):
        trainer.config = replace(config, precision=precision, attention=attention)
        took = seconds(lambda: trainer.step(1), times)
        if precision not in best or took < best[precision][0]:
            best[precision] = (took, attention)
    chosen: Precision = "fp32" if "fp32" in best else "bf16"
    if "bf16" in best and best["bf16"][0] * config.values["bf16_gain"] < best[chosen][0]:
        chosen = "bf16"
    trainer.config = replace(config, precision=chosen, attention=best[chosen][1])
    held = seconds(trainer.held_out_loss, 1) if held_out else 0.0
    return Pace(best[chosen][0], held, encode, chosen, best[chosen][1], "timing")


def _trainer(base: Any, config: RunConfig, examples: list[Example], held_out: int) -> Trainer:
    from limner.training.order import Bucket

    one = replace(config, steps=1, checkpoints=(1,))
    bucket = Bucket(examples[0].width, examples[0].height, tuple(range(len(examples))))
    return Trainer(base, one, examples, [bucket], examples[-1:] * held_out)


def _candidates(device: str, asked: str) -> list[tuple[Precision, Attention]]:
    if device != "cpu":
        return [("fp32" if asked == "fp32" else "bf16", "default")]
    kinds: list[Precision] = ["fp32", "bf16"]
    if asked in kinds:
        kinds = ["fp32"] if asked == "fp32" else ["bf16"]
    kernels: list[Attention] = ["default", "math"]
    return [(kind, kernel) for kind in kinds for kernel in kernels]
