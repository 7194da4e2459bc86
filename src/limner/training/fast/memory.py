"""What a choice needs in bytes and saves in arithmetic, and the choice that fits a card; no torch.

In: a transformer's dimensions, tokens, a budget. Out: `Forecast` (bytes by part, TFLOP a step) and
the `Choice` that computes least within the budget. All of it modelled; bench/gpu.py measures it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from limner.errors import InputError
from limner.training.fast.choice import PRECISIONS, Choice, Precision

KEPT = {"whole": 1.0, "attention": 5.0, "plain": 22.0}
"""Values of the model's width a block keeps a token for the backward pass, in the compute type.

whole: its input. attention: that and queries, keys, values and the attention's output. plain:
counted on the engine's blocks with a LoRA on all linears but the modulations (a test counts them
again); a compiler keeps fewer.
"""

WORKING = 34.0
"""Values a token while one block is recomputed and goes backwards: what it keeps, and the feed-
forward's gradient and its 8-bit copy (starting value, to be replaced by bench/gpu.py's)."""

CONTEXT = 1.0e9
"""CUDA context, libraries' workspaces, allocator's rounding (starting value)."""

BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "nf4": 0.5 + 2 / 64}
"""Bytes a frozen weight, NF4 with its scales; those of 8 bit are 4 bytes an output."""

UNPACKED = {"bf16": 0.0, "fp8": 1.0, "int8": 1.0, "nf4": 2.0}
"""Bytes a weight of the largest linear for a moment: turned round, or unpacked."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a transformer; the default is the published 20 B one."""

    blocks: int = 60
    width: int = 3072
    joint: int = 3584
    channels: int = 64

    @property
    def linears(self) -> int:
        """Weights of a block's attention and feed-forward: both streams, 4 D^2 + 8 D^2 each."""
        return 24 * self.width**2

    @property
    def modulations(self) -> int:
        """Weights of a block's two modulations: D x 6 D each."""
        return 12 * self.width**2

    @property
    def outside(self) -> int:
        """Weights outside the blocks: in, text in, out, output norm, two timestep linears."""
        d = self.width
        return d * (2 * self.channels + self.joint) + 2 * d * d + 256 * d + d * d

    def lora(self, rank: int, *, modulations: bool = False) -> int:
        """Parameters of a LoRA on all of a block's linears, with or without the modulations."""
        pairs = 2 * (4 * 2 + 2 * 5) + (2 * 7 if modulations else 0)
        return pairs * self.width * rank * self.blocks


@dataclass(frozen=True)
class Work:
    """One step: tokens of one item (target, references, text), items a batch, LoRA, moments."""

    tokens: int
    batch: int = 1
    rank: int = 16
    optimizer_bits: int = 8
    processes: int = 1
    """That share the blocks, with `Choice.shard`; each has such a batch."""


@dataclass(frozen=True)
class Forecast:
    """Peak bytes on the device by part, and TFLOP of a step. tag: modelled."""

    parts: dict[str, float]
    system: float
    forward: float
    recompute: float
    backward: float
    tag: str = "modelled"

    @property
    def bytes(self) -> float:
        """Peak on the device."""
        return sum(self.parts.values())

    @property
    def teraflops(self) -> float:
        """Of one step."""
        return self.forward + self.recompute + self.backward

    def as_dict(self) -> dict[str, Any]:
        """Plain data, in GB (10^9) and TFLOP."""
        found = {name: round(value / 1e9, 2) for name, value in self.parts.items()}
        return {
            "gb": round(self.bytes / 1e9, 1), "parts_gb": found,
            "system_gb": round(self.system / 1e9, 1), "teraflops": round(self.teraflops, 1),
            "recompute_teraflops": round(self.recompute, 1), "tag": self.tag,
        }  # fmt: skip


def forecast(choice: Choice, work: Work, shape: Shape = Shape()) -> Forecast:
    """Memory and arithmetic of a choice.

    Arithmetic: a token costs 24 D^2 multiply-adds a block in the linears of its stream (counted as
    12 D^2 weights x 2), a sequence 4 S^2 D FLOP in attention; backwards the linears once more (no
    gradient of the base's weights) and 2.5 times the attention, which flash kernels recompute.
    """
    count, each = shape.blocks, BYTES[choice.precision]
    swapped = min(choice.swapped, count)
    here: float = count - swapped + (min(choice.ring, swapped) if swapped else 0)
    shared = choice.shard and work.processes > 1
    if shared:
        here = count / work.processes + choice.ring
    block = shape.linears * each
    modulation = 0.0 if choice.table else shape.modulations * each
    aside = shape.modulations * 2.0 * count if choice.table else 0.0
    tokens = work.tokens * work.batch
    value = tokens * shape.width * 2.0
    whole = count if shared else max(min(choice.whole, count), swapped)
    attention = min(choice.attention, count - whole)
    plain = count - whole - attention
    kept = whole * KEPT["whole"] + attention * KEPT["attention"] + plain * KEPT["plain"]
    # the last block goes backwards from what it kept, without a recompute; the first recompute
    # begins when the plain blocks' memory is free again
    at_turn = kept + WORKING - (KEPT["plain"] if plain else 0.0)
    after = whole * KEPT["whole"] + attention * KEPT["attention"] + WORKING
    parameters = shape.lora(work.rank)
    moments = 8.0 if work.optimizer_bits == 32 else 2.0 + 8 / 256
    parts = {
        "weights": (block + modulation) * here + shape.outside * 2.0,
        "lora": parameters * 8.0,
        "moments": parameters * moments,
        "activations": value * max(after if plain < count else 0.0, at_turn),
        "unpacked": UNPACKED[choice.precision] * 6 * shape.width**2,
        "context": CONTEXT,
    }
    linears = 24 * shape.width**2 * tokens / 1e12
    look = 4 * work.tokens**2 * work.batch * shape.width / 1e12
    return Forecast(
        parts=parts,
        system=(block + modulation) * swapped + aside,
        forward=(linears + look) * count,
        recompute=(linears + look) * whole + linears * attention,
        backward=(linears + 2.5 * look) * count,
    )


def fit(
    budget: float, work: Work, *, precision: Precision, shape: Shape = Shape(), table: bool = True,
    swap: bool = True, base: Choice = Choice(),
) -> Choice:  # fmt: skip
    """The choice of one precision that recomputes least within `budget` bytes of the device.

    Blocks are swapped only when checkpointing all of them does not fit. Raises InputError with the
    least that would be needed when nothing fits.
    """
    start = replace(base, precision=precision, table=table, swapped=0)
    best: Choice | None = None
    least = float("inf")
    for whole in range(shape.blocks + 1):
        for attention in range(shape.blocks - whole + 1):
            found = replace(start, whole=whole, attention=attention)
            needs = forecast(found, work, shape)
            if needs.bytes <= budget and needs.recompute < least:
                best, least = found, needs.recompute
    if best is not None:
        return best
    all_whole = replace(start, whole=shape.blocks, attention=0)
    for swapped in range(1, shape.blocks + 1) if swap else ():
        found = replace(all_whole, swapped=swapped)
        if forecast(found, work, shape).bytes <= budget:
            return found
    last = replace(all_whole, swapped=shape.blocks if swap else 0)
    need = forecast(last, work, shape).bytes
    raise InputError(
        f"{work.tokens} tokens in {precision} need {need / 1e9:.1f} GB, "
        f"{budget / 1e9:.1f} are free",
        fix="Take a smaller training.resolution or control, a smaller batch, or fewer bits.",
    )


def options(budget: float, work: Work, shape: Shape = Shape()) -> list[dict[str, Any]]:
    """A row for each precision: the choice that fits `budget`, what it needs, or why none does."""
    rows: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        row: dict[str, Any] = {"precision": precision, "fits": True, "reason": None}
        try:
            choice = fit(budget, work, precision=precision, shape=shape)
            row |= {"choice": asdict(choice), **forecast(choice, work, shape).as_dict()}
        except InputError as error:
            row |= {"fits": False, "reason": str(error), "choice": None}
        rows.append(row)
    return rows
