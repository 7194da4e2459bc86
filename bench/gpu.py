"""All that must be measured on a GPU, in one go: the true 20 B transformer with random weights.

Each cell (picture size x precision x way) runs in a process of its own and leaves one JSON file, so
a stop, a crash or too little memory costs one cell; run again and only what is missing is done. No
download: weights are drawn block by block on the card. Ends with results.json and results.md.

    python bench/gpu.py [--out DIR] [--minutes 25] [--cells TEXT] [--again] [--small] [--musubi DIR]

--small: a few tiny blocks instead, on any machine: it proves this script's logic, not a speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gpu_table import write_table
from limner.errors import InputError
from limner.project.files import canonical_json, sha256_bytes, write_json
from limner.training.fast import Choice, memory
from limner.training.fast.choice import FILLED, PUBLISHED

RANK = 16
CARD_24 = 24 * 2**30 * 0.96
"""What a 24 GB card leaves a program behind its CUDA context and desktop (starting value)."""


@dataclass(frozen=True)
class Case:
    """What is trained: target and control sides in pixels, text tokens."""

    name: str
    side: int
    control: int
    text: int

    @property
    def tokens(self) -> int:
        return (self.side // 16) ** 2 + (self.control // 16) ** 2 + self.text


CASES = {
    "t2i": Case("t2i", 1024, 0, 256),
    "512": Case("512", 1024, 512, 330),
    "1024": Case("1024", 1024, 1024, 330),
}
SMALL = {
    "t2i": Case("t2i", 128, 0, 12),
    "512": Case("512", 128, 64, 20),
    "1024": Case("1024", 128, 128, 20),
}
DIMENSIONS: dict[str, Any] = {}
SMALL_DIMENSIONS: dict[str, Any] = {
    "num_layers": 3, "attention_head_dim": 32, "num_attention_heads": 2,
    "joint_attention_dim": 64, "axes_dims_rope": (8, 12, 12),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One measurement. fit: checkpoint as little as the memory allows, else every block whole.

    cap: bytes of the card that may be used. exact: sums in a fixed order, as a run has them.
    plain: diffusers' own forward pass with its own checkpointing, peft, a joint mask and torch's
    AdamW, as its training scripts do.
    """

    name: str
    case: str
    choice: Choice = field(default_factory=Choice)
    fit: bool = False
    cap: float | None = None
    bits: int = 8
    plain: bool = False
    mask: bool = False
    exact: bool = False
    rates: bool = False
    musubi: bool = False


def cells(blocks: int) -> list[Cell]:
    """In the order in which they are wanted, should the time not suffice for all."""
    best = Choice(whole=blocks, table=True, compile=True, exact=False)

    def of(precision: Any) -> Choice:
        return replace(best, precision=precision)

    found = [Cell("rates", "t2i", rates=True)]
    found += [Cell(f"t2i {p}", "t2i", of(p)) for p in ("bf16", "int8")]
    found += [Cell(f"1024 {p}", "1024", of(p)) for p in ("bf16", "int8")]
    found += [Cell("t2i int8 in 24 GB", "t2i", of("int8"), fit=True, cap=CARD_24)]
    found += [Cell("t2i plain diffusers", "t2i", Choice(), plain=True, mask=True, bits=32)]
    found += [Cell(f"{c} musubi-tuner", c, Choice(whole=blocks), musubi=True) for c in CASES]
    found += [Cell(f"t2i {p} fitted", "t2i", of(p), fit=True) for p in ("bf16", "int8")]
    # as `limner train` runs by default: sums in a fixed order, resumable to the bit
    fixed = {p: replace(of(p), exact=True) for p in ("bf16", "int8")}
    found += [Cell(f"t2i {p} exact", "t2i", c, exact=True) for p, c in fixed.items()]
    for precision in ("bf16", "int8"):
        best_here = of(precision)
        without = {
            "compile": replace(best_here, compile=False),
            "table": replace(best_here, table=False),
            "hoisting": replace(best_here, table=False, hoist=False),
        }
        found += [Cell(f"t2i {precision} without {n}", "t2i", c) for n, c in without.items()]
        masked = replace(best_here, no_mask=False)
        found += [Cell(f"t2i {precision} without mask dropping", "t2i", masked, mask=True)]
        found += [Cell(f"t2i {precision} without 8-bit moments", "t2i", best_here, bits=32)]
        kept = replace(best_here, whole=0, attention=blocks)
        found += [Cell(f"t2i {precision} attention kept", "t2i", kept)]
    found += [Cell(f"{c} {p}", c, of(p)) for p in ("fp8", "nf4") for c in ("t2i", "1024")]
    found += [Cell(f"512 {p}", "512", of(p)) for p in ("bf16", "int8", "fp8", "nf4")]
    found += [
        Cell(f"{c} {p} fitted", c, of(p), fit=True)
        for c, p in (("1024", "bf16"), ("1024", "int8"), ("512", "bf16"), ("512", "int8"))
    ]
    found += [Cell("1024 nf4 in 24 GB", "1024", of("nf4"), fit=True, cap=CARD_24)]
    swapped = replace(of("int8"), swapped=blocks // 2)
    found += [Cell("t2i int8 half swapped", "t2i", swapped)]
    found += [Cell("1024 plain diffusers", "1024", Choice(), plain=True, mask=True, bits=32)]
    return found


def main() -> int:
    """Run what is missing; 0 when every cell has a number, 1 when some have none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/bench/gpu"))
    parser.add_argument("--minutes", type=float, default=1e9, help="start no cell after that")
    parser.add_argument(
        "--cells", default="", help="the one of this name, else all that hold this text"
    )
    parser.add_argument("--again", action="store_true", help="measure what is there once more")
    parser.add_argument("--steps", type=int, default=8, help="timed, after three to warm up")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--musubi", type=Path, help="a checkout of kohya-ss/musubi-tuner to time")
    parser.add_argument("--one", help="measure this cell here and now (used by the script itself)")
    args = parser.parse_args()
    import torch

    if not (torch.cuda.is_available() or args.small):
        print("No CUDA device. `--small` runs the script's logic on this machine.", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    every = cells(3 if args.small else 60)
    if args.musubi is None:
        every = [c for c in every if not c.musubi]
    if args.one:
        cell = next(c for c in every if c.name == args.one)
        write_json(path_of(args.out, cell), result(cell, args))
        return 0
    began = time.monotonic()
    exact = [c for c in every if c.name == args.cells]
    for cell in exact or [c for c in every if args.cells in c.name]:
        place = path_of(args.out, cell)
        if not args.again and is_done(place, cell, args):
            continue
        if time.monotonic() - began > args.minutes * 60:
            print(f"the time is over before {cell.name}: run again to go on", file=sys.stderr)
            break
        place.unlink(missing_ok=True)
        print(cell.name, flush=True)
        run_apart(cell, args, place)
    return write_table(args.out, [c.name for c in every], args.small)


def path_of(folder: Path, cell: Cell) -> Path:
    """The file of a cell."""
    return folder / f"{cell.name.replace(' ', '_')}.json"


def key(cell: Cell, args: argparse.Namespace) -> str:
    """Hash of what was measured and on what: another card or torch is another measurement."""
    import torch

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    facts = [asdict(cell), card, torch.__version__, args.small]
    return sha256_bytes(canonical_json(facts).encode())


def is_done(place: Path, cell: Cell, args: argparse.Namespace) -> bool:
    """Whether the cell has a result of this machine; a failure counts, `--again` repeats it."""
    try:
        return bool(json.loads(place.read_text("utf-8"))["key"] == key(cell, args))
    except (OSError, ValueError, KeyError):
        return False


def run_apart(cell: Cell, args: argparse.Namespace, place: Path) -> None:
    """The cell in a process of its own; what kills it is written down as its result."""
    command = [sys.executable, __file__, "--one", cell.name, "--out", str(args.out)]
    command += ["--steps", str(args.steps), *(["--small"] if args.small else [])]
    command += ["--musubi", str(args.musubi.resolve())] if args.musubi else []
    environment = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", **os.environ}
    try:
        done = subprocess.run(command, timeout=900, capture_output=True, text=True, env=environment)
        said = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
    except subprocess.TimeoutExpired:
        said = ["no result in 15 minutes"]
    if not place.exists():
        write_json(place, {"key": key(cell, args), "name": cell.name, "error": said[0]})


def result(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """Everything about one cell; an error that belongs to it (memory, no such kernel) is one."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: dict[str, Any] = {
        "key": key(cell, args), "name": cell.name, "cell": asdict(cell), "small": args.small,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__, "when": time.strftime("%Y-%m-%d"), "error": None,
    }  # fmt: skip
    try:
        if cell.rates:
            return found | {"rates": rates(device, (SMALL if args.small else CASES))}
        return found | measured(cell, args, device)
    except (RuntimeError, MemoryError, ImportError, InputError) as error:
        return found | {"error": str(error).splitlines()[0]}


# ---- a step


def measured(cell: Cell, args: argparse.Namespace, device: str) -> dict[str, Any]:
    """Seconds, memory and arithmetic of the cell's step."""
    import torch

    if cell.exact:
        from limner.training import kernels

        kernels.before_cuda()
    case = (SMALL if args.small else CASES)[cell.case]
    dimensions = SMALL_DIMENSIONS if args.small else DIMENSIONS
    shape = memory.Shape(3, 64, 64) if args.small else memory.Shape()
    work = memory.Work(case.tokens, rank=RANK, optimizer_bits=cell.bits)
    choice = cell.choice
    budget = cell.cap
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        if cell.cap:
            torch.cuda.set_per_process_memory_fraction(min(1.0, cell.cap / total))
        budget = cell.cap or total
    if cell.fit:
        room = (budget or 16e9) * FILLED
        base = replace(choice, whole=0)
        choice = memory.fit(room, work, precision=choice.precision, shape=shape, base=base)
    if device == "cpu":
        choice = replace(choice, compile=False)  # proved by its own test; minutes here
    optimizer = "torch AdamW" if cell.plain else f"flat AdamW, {cell.bits} bit"
    engine: Any = None
    if cell.musubi:
        from peer_musubi import make_step as make_theirs

        own = {**PUBLISHED, **dimensions}
        step, optimizer = make_theirs(args.musubi, shapes_of(case), case.text, RANK, device, own)
    else:
        step, engine = make_step(cell, choice, case, dimensions, device)
    took = timed(step, args.steps, device)
    modelled = memory.forecast(choice, work, shape)
    seconds = statistics.median(took)
    found: dict[str, Any] = {
        "choice": asdict(choice), "optimizer": optimizer, "tokens": case.tokens, "seconds": seconds,
        "seconds_all": [round(s, 4) for s in took], "teraflops": modelled.teraflops,
        "teraflops_a_second": modelled.teraflops / seconds,
        "needed_teraflops": modelled.forward + modelled.backward,
        "modelled_gb": modelled.bytes / 1e9, "peak_gb": None, "reserved_gb": None,
    }  # fmt: skip
    if engine is not None and engine.swap.order:
        found |= {"moves": engine.swap.moves, "late": engine.swap.late}
    if device == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        found["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
    return found


def make_step(
    cell: Cell, choice: Choice, case: Case, dimensions: dict[str, Any], device: str
) -> tuple[Callable[[], None], Any]:
    """(one whole update on cached inputs, the engine or None): the loop of `limner train`."""
    import torch

    from limner.models import lora
    from limner.training import flow, kernels
    from limner.training.fast import FlatAdamW, install
    from limner.training.fast.build import random_transformer

    dtype = torch.bfloat16
    model = random_transformer(choice, device, dtype, **dimensions)
    weights = lora.add_adapter(model, rank=RANK, seed=1)
    kind: dict[str, Any] = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-4}
    engine = None
    if cell.plain:
        model.enable_gradient_checkpointing()
        optimizer: Any = torch.optim.AdamW(list(weights.values()), **kind)
    else:
        engine = install(model, choice, device)
        optimizer = FlatAdamW(weights, bits=cell.bits, compile=choice.compile, **kind)
    shapes = shapes_of(case)
    target = shapes[0][1] * shapes[0][2]
    generator = torch.Generator(device).manual_seed(0)

    def random(*size: int) -> Any:
        return torch.randn(*size, device=device, generator=generator)

    clean = random(1, target, 64)
    rest = random(1, sum(a * b * c for a, b, c in shapes[1:]), 64)
    text = random(1, case.text, model.config.joint_attention_dim).to(dtype)
    mask = torch.ones(1, case.text, dtype=torch.bool, device=device) if cell.mask else None
    sigmas = torch.rand(64, generator=torch.Generator().manual_seed(1)).bfloat16().float()
    if engine is not None:
        engine.expect(sigmas)
    turn = iter(range(10**9))

    def step() -> None:
        sigma = sigmas[next(turn) % 64][None].to(device)
        noise = random(1, target, 64)
        mixed = flow.interpolate(clean, noise, sigma)
        with kernels.exact(cell.exact):
            with torch.autocast(device, dtype), uncast(model):
                velocity = model(
                    hidden_states=torch.cat([mixed, rest], dim=1), timestep=sigma,
                    encoder_hidden_states=text, encoder_hidden_states_mask=mask,
                    img_shapes=[shapes], return_dict=False,
                )[0][:, :target]  # fmt: skip
            loss = flow.flow_loss(velocity, clean, noise).mean()
            loss.backward()
        if cell.plain:
            torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        else:
            optimizer.clip(1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # as a loop that logs does

    return step, engine


def shapes_of(case: Case) -> list[tuple[int, int, int]]:
    """Token grids of the target and, if there is one, the control."""
    sides = [case.side, *([case.control] if case.control else [])]
    return [(1, side // 16, side // 16) for side in sides]


@contextmanager
def uncast(model: Any) -> Iterator[None]:
    """As the trainer: peft shall not cast every input up to the LoRA's float32."""
    from peft.helpers import disable_input_dtype_casting

    with disable_input_dtype_casting(model):
        yield


def timed(step: Callable[[], None], times: int, device: str) -> list[float]:
    """Wall seconds of each step behind a synchronisation; three come first to warm up."""
    import torch

    found = []
    for turn in range(times + 3):
        if turn == 3:
            gc.collect()
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        if turn >= 3:
            found.append(time.perf_counter() - began)
    return found


# ---- what the card can do


def rates(device: str, cases: dict[str, Case]) -> dict[str, Any]:
    """TFLOP/s of this card: large products in bf16, int8, fp8, and attention at each length."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from limner.training.fast.quantised import (
        FP8,
        fp8_product,
        int8_product,
        way,
    )

    small = device == "cpu"
    m, k, n = (64, 64, 64) if small else (8192, 8192, 8192)
    found: dict[str, Any] = {}

    def rate(name: str, flop: float, work: Callable[[], Any]) -> None:
        try:
            seconds = statistics.median(timed(work, 10, device))
            found[name] = round(flop / seconds / 1e12, 3)
        except RuntimeError as error:
            found[name] = None
            found[f"{name} reason"] = str(error).splitlines()[0]

    a = torch.randn(m, k, device=device, dtype=torch.bfloat16)
    b = torch.randn(n, k, device=device, dtype=torch.bfloat16)
    rate("bf16", 2 * m * n * k, lambda: a @ b.t())
    a8, b8 = a.mul(20).to(torch.int8), b.mul(20).to(torch.int8)
    rate("int8", 2 * m * n * k, lambda: int8_product(a8, b8.t(), way("int8", str(a.device))))
    rate("int8 backward", 2 * m * n * k, lambda: int8_product(a8, b8, way("int8", str(a.device))))
    af, bf = a.to(FP8), b.to(FP8)
    ones = torch.ones(m, 1, device=device)
    kind = way("fp8", str(a.device))
    found["ways"] = {"int8": way("int8", str(a.device)), "fp8": kind}
    across = ones[:n].t()
    rate(
        "fp8",
        2 * m * n * k,
        lambda: fp8_product(af, bf.t(), ones, across, torch.bfloat16, kind),
    )
    for name, case in cases.items():
        heads, head, tokens = (2, 32, case.tokens) if small else (24, 128, case.tokens)
        q, k_, v = (
            torch.randn(
                1, heads, tokens, head, device=device, dtype=torch.bfloat16
            ).requires_grad_()
            for _ in range(3)
        )
        flop = 4 * tokens**2 * heads * head
        rate(
            f"attention {name}", flop, lambda q=q, k=k_, v=v: scaled_dot_product_attention(q, k, v)
        )

        def both(q: Any = q, k: Any = k_, v: Any = v) -> None:
            scaled_dot_product_attention(q, k, v).sum().backward()

        rate(f"attention both ways {name}", 3.5 * flop, both)
    return found


if __name__ == "__main__":
    sys.exit(main())
