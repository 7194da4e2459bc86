"""The trainer's step against its floor: a bare forward and backward pass of the same module.

The floor is the same transformer with the same LoRA, precision, attention kernel and inputs, with
nothing around it: no data order, noise, embedding collation, clipping, AdamW or logging. Runs are
interleaved and the ratio is taken pair by pair, so that other work on the machine hits both. CPU
seconds of the process stand beside wall seconds: on a busy machine they are the ones to read.

    python bench/train_step.py [--base DIR] [--batch 8] [--pairs 40] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.models import lora, open_base, resolve_base
from limner.training.config import RunConfig
from limner.training.flow import flow_loss, interpolate
from limner.training.metrics import Metrics
from limner.training.order import Bucket
from limner.training.rules import rules
from limner.training.trainer import Example, Trainer

CAPTIONS = (
    "grace_char, waist-up shot, wearing beige sweater and jeans, modern cafe background, smiling",
    "grace_char, close-up portrait, black turtleneck, indoor setting, serene expression",
    "grace_char, full body shot, red dress, city street at dusk, walking, joyful mood",
    "grace_char, half body shot, denim jacket, park",
)


def base_folder(asked: str | None, temp: Path) -> str:
    """The asked base, else the miniature, else a random one of the miniature's dimensions."""
    if asked:
        return asked
    try:
        return resolve_base("miniature").name
    except InputError:
        from limner.models import build_random, miniature

        folder = build_random(temp / "random", layers=2, resolution=128)
        miniature.build_transformer().save_pretrained(folder / "transformer")
        return str(folder)


def make_trainer(base: Any, args: argparse.Namespace) -> Trainer:
    """A trainer on 32 random pictures of the base's resolution with real captions."""
    import torch

    side = base.info.resolution
    config = RunConfig(
        base=base.info.name, base_fingerprint="", template="t2i", resolution=side, rank=16,
        targets=lora.TARGETS, learning_rate=1e-3, steps=10_000, batch=args.batch, checkpoints=(1,),
        precision=args.precision, attention=args.attention, threads=args.threads, device="cpu",
        gradient_checkpointing=False, seed=1, caption_dropout=0.05, dataset_version=1,
        data_sha256="", values=rules(),
    )  # fmt: skip
    embeds = [e.float() for e in base.encode_prompts(CAPTIONS)]
    empty = base.encode_prompts([""])[0].float()
    generator = torch.Generator().manual_seed(0)
    tokens = (side // 16) ** 2
    examples = [
        Example(side, side, torch.randn(tokens, 64, generator=generator), [embeds[i % 4]], [empty])
        for i in range(32)
    ]
    return Trainer(base, config, examples, [Bucket(side, side, tuple(range(32)))])


def bare(trainer: Trainer, step: int) -> Any:
    """The floor of one step, its inputs made beforehand: a function to be timed."""
    import torch

    from limner.models.base import collate

    chosen, slots, drop, noise, sigmas = trainer.batch(step)
    latents = torch.stack([e.latents for e in chosen])
    texts = [(e.empty if d else e.embeds)[s] for e, s, d in zip(chosen, slots, drop, strict=True)]
    padded, mask = collate(texts)
    mixed = interpolate(latents, noise, sigmas)
    size = (chosen[0].height, chosen[0].width)

    def run() -> None:
        with trainer.kernels():
            velocity = trainer.base.velocity(mixed, sigmas, padded, mask, size)
        flow_loss(velocity, latents, noise).mean().backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--attention", choices=["default", "math"], default="math")
    args = parser.parse_args()
    import torch

    with tempfile.TemporaryDirectory() as temp:
        base = open_base(base_folder(args.base, Path(temp)))
        torch.set_num_threads(args.threads)
        trainer = make_trainer(base, args)
        metrics = Metrics(Path(temp) / "logs", 0)
        pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
        for pair in range(1, args.pairs + 4):
            function = bare(trainer, pair)
            order = (0, 1) if pair % 2 else (1, 0)
            took = [(0.0, 0.0), (0.0, 0.0)]
            for which in order:
                began = (time.perf_counter(), time.process_time())
                if which:
                    result = trainer.step(pair)
                    metrics.add(pair, loss=result.loss, grad_norm=result.grad_norm)
                else:
                    function()
                took[which] = (
                    time.perf_counter() - began[0],
                    time.process_time() - began[1],
                )
                trainer.optimizer.zero_grad(set_to_none=True)
            if pair > 3:  # the first pairs warm up
                pairs.append((took[0], took[1]))
        metrics.close()
        facts: dict[str, Any] = {**vars(args), "base": Path(base.info.name).name}
        for clock, name in enumerate(("wall", "cpu")):
            ratios = [native[clock] / floor[clock] for floor, native in pairs]
            quarter = statistics.quantiles(ratios, n=4)
            facts[name] = {
                "native_s": round(statistics.median(p[1][clock] for p in pairs), 4),
                "floor_s": round(statistics.median(p[0][clock] for p in pairs), 4),
                "ratio_median": round(statistics.median(ratios), 3),
                "ratio_quartiles": [round(quarter[0], 3), round(quarter[2], 3)],
            }
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
