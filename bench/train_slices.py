"""The trainer's step on slices of the true width against a bare pass and a plain diffusers loop.

One run, same batch, same precision, same inputs: the miniature, and one and four blocks of width
3,072 with random weights. Four ways of the step are interleaved and compared pair by pair, so that
other work on the machine hits all of them: bare forward and backward, `limner train`'s loop, the
same with the fast engine and the flat optimizer, and bench/plain_step.py. CPU seconds stand beside
wall seconds; on a busy machine they are the ones to read. Aims: trainer / bare at most 1.05 at
batch 8 and 1.08 at batch 1.

    python bench/train_slices.py [--slices miniature,1,4] [--batches 1,8] [--pairs 6] [--out FILE]
    ... --again     measures anew what FILE holds already; without it a stopped run goes on

Four blocks need 3 GB of memory in bf16; some ten minutes in all on a quiet core (estimate).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from limner.models import lora, open_base
from limner.project.files import write_json, write_text
from limner.training.config import RunConfig
from limner.training.fast import Choice, FlatAdamW, install
from limner.training.fast.build import random_transformer
from limner.training.order import Bucket
from limner.training.rules import rules
from limner.training.trainer import Example, Trainer
from plain_step import PlainLoop
from train_step import base_folder, make_trainer

AIMS = {1: 1.08, 8: 1.05}
WAYS = ("bare", "trainer", "fast", "plain")


class Slice:
    """Some blocks of the true width in a base's clothes: what `Trainer` asks of a base."""

    def __init__(self, blocks: int, width: dict[str, Any], dtype: Any) -> None:
        from limner.models.base import Base
        from limner.models.miniature import build_scheduler

        self.transformer = random_transformer(Choice(), "cpu", dtype, num_layers=blocks, **width)
        self.scheduler = build_scheduler()
        self.info = SimpleNamespace(name=f"{blocks} blocks", resolution=0)
        self._velocity = Base.velocity

    def velocity(self, *given: Any) -> Any:
        """As `limner.models.Base.velocity`."""
        return self._velocity(self, *given)  # type: ignore[arg-type]


def slice_trainer(args: argparse.Namespace, blocks: int, batch: int) -> Trainer:
    """A trainer on random pictures and embeddings of one length."""
    import torch

    width = {"num_attention_heads": args.heads, "joint_attention_dim": args.joint}
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    config = RunConfig(
        base="slice", base_fingerprint="", template="t2i", resolution=args.side, rank=16,
        targets=lora.TARGETS, learning_rate=1e-4, steps=10_000, batch=batch, checkpoints=(1,),
        precision=args.precision, attention="default", threads=args.threads, device="cpu",
        gradient_checkpointing=False, seed=1, caption_dropout=0.0, dataset_version=1,
        data_sha256="", values=rules(),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    side, tokens = args.side, (args.side // 16) ** 2
    examples = []
    for _ in range(max(8, batch)):
        text = torch.randn(args.text, args.joint, generator=generator)
        latents = torch.randn(tokens, 64, generator=generator)
        examples.append(Example(side, side, latents, [text], [text]))
    base: Any = Slice(blocks, width, dtype)
    return Trainer(base, config, examples, [Bucket(side, side, tuple(range(len(examples))))])


def ways(trainer: Trainer) -> dict[str, Callable[[int], None]]:
    """Name -> one step with a number. All share the model and its LoRA; only one runs at a time."""
    import torch

    from limner.models.base import collate
    from limner.training.flow import flow_loss, interpolate

    config, model = trainer.config, trainer.base.transformer
    prepared: dict[int, Any] = {}

    def prepare(step: int) -> None:
        chosen, slots, drop, noise, sigmas = trainer.batch(step)
        latents = torch.stack([e.latents for e in chosen])
        texts = [
            (e.empty if d else e.embeds)[s] for e, s, d in zip(chosen, slots, drop, strict=True)
        ]
        mixed = interpolate(latents, noise, sigmas)
        size = (chosen[0].height, chosen[0].width)
        prepared[step] = (mixed, sigmas, *collate(texts), size, latents, noise)

    def bare(step: int) -> None:
        mixed, sigmas, padded, mask, size, latents, noise = prepared[step]
        with trainer.kernels():
            velocity = trainer.base.velocity(mixed, sigmas, padded, mask, size)
        flow_loss(velocity, latents, noise).mean().backward()

    slow = trainer.optimizer
    engine = install(model, Choice())
    quick, stock = model.forward, engine.stock
    engine.remove()
    kind = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-4}
    flat = FlatAdamW(trainer.weights, lr=1e-4, bits=32, **kind)  # type: ignore[arg-type]

    def fast(step: int) -> None:
        trainer.optimizer = flat
        model.forward = quick
        try:
            trainer.step(step)
        finally:
            model.forward = stock
            trainer.optimizer = slow

    one = trainer.examples[0]
    padded, mask = collate([e.embeds[0] for e in trainer.examples])
    ones = torch.ones(padded.shape[:2], dtype=torch.bool) if mask is None else mask
    plain = PlainLoop(
        model, trainer.weights, torch.stack([e.latents for e in trainer.examples]), padded, ones,
        (1, one.height // 16, one.width // 16), batch=config.batch, precision=config.precision,
    )  # fmt: skip

    def as_it_is(step: int) -> None:
        plain.step(trainer.rows[step - 1])

    def own(step: int) -> None:
        trainer.step(step)

    found: dict[str, Callable[[int], None]] = {
        "bare": bare, "trainer": own, "fast": fast, "plain": as_it_is,
    }  # fmt: skip
    found["prepare"] = prepare
    return found


def measure(trainer: Trainer, pairs: int) -> dict[str, Any]:
    """Seconds of each way and its ratio to the bare pass, wall and CPU, median and quartiles."""
    steps = ways(trainer)
    prepare = steps.pop("prepare")
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for turn in range(1, pairs + 3):
        prepare(turn)
        order = [*WAYS[turn % 4 :], *WAYS[: turn % 4]]
        for name in order:
            for weight in trainer.weights.values():
                weight.grad = None
            began = (time.perf_counter(), time.process_time())
            steps[name](turn)
            spent = (time.perf_counter() - began[0], time.process_time() - began[1])
            if turn > 2:  # the first two warm up
                took[name].append(spent)
    found: dict[str, Any] = {}
    for clock, kind in enumerate(("wall", "cpu")):
        for name in WAYS:
            ratios = [a[clock] / b[clock] for a, b in zip(took[name], took["bare"], strict=True)]
            low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
            found[f"{name}_{kind}_s"] = round(statistics.median(t[clock] for t in took[name]), 4)
            found[f"{name}_{kind}_ratio"] = round(statistics.median(ratios), 3)
            found[f"{name}_{kind}_quartiles"] = [round(low, 3), round(high, 3)]
    return found


def main() -> int:
    """Measure every slice at every batch and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", default="miniature,1,4")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--attention", choices=["default", "math"], default="math")
    parser.add_argument("--side", type=int, default=64, help="pixels of a slice's pictures")
    parser.add_argument("--text", type=int, default=16, help="text tokens of a slice's captions")
    parser.add_argument("--heads", type=int, default=24)
    parser.add_argument("--joint", type=int, default=3584)
    parser.add_argument("--out", type=Path, default=Path("build/bench/train_slices.json"))
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    settings = {k: v for k, v in vars(args).items() if k not in ("out", "again", "slices")}
    facts = {"settings": {**settings, "batches": ""}, "torch": torch.__version__}
    rows = [] if args.again else measured_before(args.out, facts)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temp:
        for name in args.slices.split(","):
            for batch in map(int, args.batches.split(",")):
                if any((r["slice"], r["batch"]) == (name, batch) for r in rows):
                    continue
                if name == "miniature":
                    base = open_base(base_folder(None, Path(temp)))
                    trainer = make_trainer(
                        base, argparse.Namespace(**{**vars(args), "batch": batch})
                    )
                else:
                    trainer = slice_trainer(args, int(name), batch)
                row = {"slice": name, "batch": batch, **measure(trainer, args.pairs)}
                rows.append(row)
                print(json.dumps(row), flush=True)
                write_json(args.out, {**facts, "rows": rows})
                write_text(args.out.with_suffix(".md"), table(rows, args.precision))
                del trainer
    return 0


def measured_before(place: Path, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a run that was stopped; none when it had other settings."""
    try:
        found = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    same = all(found.get(key) == value for key, value in facts.items())
    return list(found["rows"]) if same else []


def table(rows: list[dict[str, Any]], precision: str) -> str:
    """One line a slice and batch, CPU seconds."""
    lines = [
        f"A step on a CPU in {precision}: CPU seconds, and ratios to the bare forward and backward "
        "pass, median and quartiles of pairs.",
        "",
        "| slice | batch | bare s | trainer | fast engine | plain diffusers | aim |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratios = [
            f"{row[f'{w}_cpu_ratio']:.3f} ({row[f'{w}_cpu_quartiles'][0]:.3f} to "
            f"{row[f'{w}_cpu_quartiles'][1]:.3f})"
            for w in WAYS[1:]
        ]
        aim = AIMS.get(row["batch"], "")
        cells = [row["slice"], row["batch"], row["bare_cpu_s"], *ratios, aim]
        lines.append("| " + " | ".join(str(c) for c in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
