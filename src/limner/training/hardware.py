"""Memory, seconds and money of a run of the real 60-block model on a GPU type, each with its tag.

In: picture size, control size, precision, GPU. Out: numbers with formula and tag (measured,
published, modelled, assumed). The table is tables/gpus.yaml; nothing is guessed without a tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from limner.errors import UsageError

if TYPE_CHECKING:
    from limner.training.fast.choice import Precision

BLOCKS = 60
WIDTH = 3072
"""The published transformer: 60 blocks of 24 heads x 128."""

TEXT_TOKENS = (256, 330)
"""Text tokens of a caption: text to image; edit template with one reference (196 are pictures)."""

WEIGHTS_GB = {"bf16": 41.0, "8bit": 20.5, "4bit": 11.5, "3bit": 8.5}
"""The transformer's weights: 20.4 B parameters; 4 and 3 bit with their scales (derived)."""

PRECISIONS: dict[str, tuple[str, ...]] = {
    "ai-toolkit": ("bf16", "8bit", "4bit", "3bit"),
    "musubi-tuner": ("bf16", "8bit", "8bit-swap16", "8bit-swap45"),
    "SimpleTuner": ("bf16", "8bit", "4bit"),
    "kohya": ("bf16", "8bit"),
    "native": ("bf16", "8bit", "4bit"),
}
"""Widths a trainer can hold the frozen weights in; -swapN keeps N of 60 blocks in system memory."""

LORA_BYTES = 10
"""Bytes a trained parameter: fp32 weight and gradient, two 8-bit moments."""

LORA_PARAMETERS = 9.216e6
"""Parameters a rank on all 14 linears of 60 blocks; without the modulations 6.64e6."""

ACTIVATIONS = 22
"""Values of the model's width kept a token a block for the backward pass (`activations_per_token`
of the rules)."""

RESERVE_GB = 3.0
"""CUDA context, allocator, one dequantised block, a step's temporaries (starting value; by
musubi-tuner's published 8-bit figure it can be 8)."""

HEADROOM = 0.95
"""Share of a card's memory a plan may fill (starting value)."""

ENCODER_GB = 16.0
"""The 7 B text encoder in bf16 (SimpleTuner's documentation); gone once its output is cached."""

RAM_RESERVE_GB = 8.0
BASE_DISK_GB = 58.0


@dataclass(frozen=True)
class Case:
    """What a pass costs by. control: side of the reference picture in px, 0 = none."""

    resolution: int = 1024
    control: int = 0
    precision: str = "auto"
    rank: int = 16
    batch: int = 1
    checkpointing: bool = True


@cache
def table() -> dict[str, Any]:
    """tables/gpus.yaml."""
    from ruamel.yaml import YAML

    text = (resources.files("limner.training") / "tables" / "gpus.yaml").read_text("utf-8")
    return cast(dict[str, Any], YAML(typ="safe").load(text))


def gpu_named(name: str) -> str:
    """The table's name of a GPU type. Raises UsageError listing all of them."""

    def plain(text: str) -> str:
        drop = ("nvidia", "geforce", " ", "-", "_", "gb")
        text = text.lower()
        for word in drop:
            text = text.replace(word, "")
        return text

    wanted = plain(name)
    names = list(table()["gpus"])
    for known in names:
        if wanted in (plain(known), plain(known).removeprefix("rtx")) or plain(known) == (
            f"{wanted}80"
        ):
            return str(known)
    raise UsageError(
        f"There is no GPU type {name!r} in the table",
        where="--gpu",
        fix=f"Use one of: {', '.join(names)}; or `all`.",
    )


def tokens(resolution: int, control: int) -> int:
    """Tokens of one item: target, reference, text (one token is 16 x 16 px)."""
    return (resolution // 16) ** 2 + (control // 16) ** 2 + TEXT_TOKENS[1 if control else 0]


def teraflops(count: int, *, checkpointing: bool) -> dict[str, float]:
    """TFLOP of one training pass of `count` tokens, linears and attention forward and backward.

    A token costs 24 D^2 a block in the linears (both streams have their own weights), a sequence
    4 S^2 D in joint attention. LoRA's backward pass needs the input gradients only: once the
    linears, 2.5 times the attention; gradient checkpointing adds a forward pass.
    """
    linears = 24 * WIDTH**2 * count * BLOCKS / 1e12
    attention = 4 * count**2 * WIDTH * BLOCKS / 1e12
    forwards = 2 if checkpointing else 1
    return {
        "linears": linears * (forwards + 1),
        "attention_forward": attention * forwards,
        "attention_backward": attention * 2.5,
        "forward": linears + attention,
    }


def seconds_a_pass(gpu: str, case: Case, trainer: str) -> dict[str, Any]:
    """{seconds, tag, source, formula, floor}: a measured or published pace, else the model's.

    floor: the same work at the processor's peak; no trainer can be faster.
    """
    row, count = table()["gpus"][gpu], tokens(case.resolution, case.control)
    work = teraflops(count, checkpointing=case.checkpointing)
    floor = (work["linears"] + work["attention_forward"] + work["attention_backward"]) / row["peak"]
    for pace in table()["paces"]:
        if (pace["gpu"], pace["trainer"], pace["precision"]) == (gpu, trainer, case.precision) and (
            pace["resolution"],
            pace["control"],
        ) == (case.resolution, case.control):
            return {
                "seconds": pace["seconds"] / pace.get("batch", 1),
                "tag": pace["tag"],
                "source": pace["source"],
                "formula": f"{pace['seconds']} s a step of batch {pace.get('batch', 1)}",
                "floor": round(floor, 3),
            }
    shares = table()["default_shares"]
    linears = row.get("linears", shares["linears"] * row["peak"])
    ahead, back = row.get("attention", [s * row["peak"] for s in shares["attention"]])
    moved = table()["overhead_bytes_per_token"]["checkpointed" if case.checkpointing else "plain"]
    rest = moved * count / (row["bandwidth"] * 1e12)
    seconds = (
        work["linears"] / linears
        + work["attention_forward"] / ahead
        + work["attention_backward"] / back
        + rest
    )
    return {
        "seconds": round(seconds, 3),
        "tag": "modelled",
        "source": str(row.get("rates", "the maker's peak times the lowest modelled shares")),
        "formula": (
            f"{count} tokens: linears {work['linears']:.0f} TF / {linears:.0f} TF/s + attention "
            f"{work['attention_forward']:.0f} / {ahead:.0f} + {work['attention_backward']:.0f} / "
            f"{back:.0f} + {moved / 1e6:.0f} MB a token / {row['bandwidth']} TB/s"
        ),
        "floor": round(floor, 3),
    }


def weights_gb(precision: str) -> float:
    """GB of the transformer on the card; `8bit-swap16` leaves 16 of 60 blocks outside."""
    width, _, swapped = precision.partition("-swap")
    return WEIGHTS_GB[width] * (1 - int(swapped or 0) / BLOCKS)


def memory_gb(case: Case, trainer: str, precision: str) -> dict[str, Any]:
    """{gb, tag, source, parts, formula}: peak GPU memory while training, caches filled before."""
    for row in table()["memory"]:
        same = (row["trainer"], row["precision"]) == (trainer, precision) and case.batch == 1
        if same and (row["resolution"], row["control"]) == (case.resolution, case.control):
            said = f"{row['gb']} GB as published"
            return {"gb": row["gb"], "tag": row["tag"], "source": row["source"], "formula": said}
    if trainer == "native":
        return _native_gb(case, precision)
    count = tokens(case.resolution, case.control) * case.batch
    value = count * WIDTH * 2 / 1e9
    block = ACTIVATIONS * value
    kept = value * BLOCKS + block if case.checkpointing else block * BLOCKS
    parts = {
        "weights": weights_gb(precision),
        "lora_and_optimizer": LORA_PARAMETERS * case.rank * LORA_BYTES / 1e9,
        "activations": kept,
        "reserve": RESERVE_GB,
    }
    said = " + ".join(f"{name.replace('_', ' ')} {gb:.1f}" for name, gb in parts.items())
    return {
        "gb": round(sum(parts.values()), 1),
        "tag": "modelled",
        "source": "weights by precision, activations fitted to 35 GB at 4,352 tokens",
        "formula": said,
        "parts": {name: round(gb, 2) for name, gb in parts.items()},
    }


NATIVE: dict[str, Precision] = {"bf16": "bf16", "8bit": "int8", "4bit": "nf4"}
"""What the native trainer holds frozen weights in."""


def _native_gb(case: Case, precision: str) -> dict[str, Any]:
    """`memory_gb` of the native trainer: a third of the weights, the modulations, stay outside."""
    from limner.training.fast import Choice, memory

    whole = BLOCKS if case.checkpointing else 0
    choice = Choice(precision=NATIVE[precision], whole=whole, table=True)
    count = tokens(case.resolution, case.control)
    found = memory.forecast(choice, memory.Work(count, case.batch, case.rank))
    parts = {name: value / 1e9 for name, value in found.parts.items()}
    said = " + ".join(f"{name} {gb:.1f}" for name, gb in parts.items())
    return {
        "gb": round(found.bytes / 1e9, 1),
        "tag": found.tag,
        "source": "docs/training_speed.md; the 13.6 GB of modulations stay in system memory",
        "formula": said,
        "parts": {name: round(gb, 2) for name, gb in parts.items()},
    }


def choose_precision(gpu: str, case: Case, trainer: str) -> tuple[str, bool]:
    """(precision, does it fit): the widest weights that fit the card, or what was asked for."""
    there = table()["gpus"][gpu]["memory_gb"] * HEADROOM
    wanted = PRECISIONS[trainer] if case.precision == "auto" else (case.precision,)
    for precision in wanted:
        if memory_gb(case, trainer, precision)["gb"] <= there:
            return precision, True
    return wanted[-1], False


def ram_gb() -> dict[str, Any]:
    """System memory: the bf16 file and the text encoder are read before they are made smaller."""
    total = WEIGHTS_GB["bf16"] + ENCODER_GB + RAM_RESERVE_GB
    return {
        "gb": total,
        "tag": "modelled",
        "formula": f"bf16 weights {WEIGHTS_GB['bf16']:.0f} + text encoder {ENCODER_GB:.0f} + "
        f"{RAM_RESERVE_GB:.0f}; musubi-tuner's manual advises 64",
    }


def disk_gb(rank: int, checkpoints: int) -> dict[str, Any]:
    """Disk: the base, the checkpoints in bf16 with the optimizer, caches."""
    each = LORA_PARAMETERS * rank * 2 / 1e9
    total = BASE_DISK_GB + each * checkpoints + LORA_PARAMETERS * rank * LORA_BYTES / 1e9
    return {
        "gb": round(total, 1),
        "tag": "modelled",
        "formula": f"base {BASE_DISK_GB:.0f} + {checkpoints} checkpoints of {each:.2f} + "
        "optimizer; plan for 150 with caches and the environment",
    }


def price(gpu: str, given: float | None) -> dict[str, Any]:
    """{usd, tag, source}: dollars an hour; usd None with a reason when none is on record."""
    if given is not None:
        return {"usd": given, "tag": "given", "source": "--usd-per-hour"}
    row = table()["gpus"][gpu]
    if row["usd"] is None:
        return {
            "usd": None,
            "tag": "not measured",
            "source": f"no price of {gpu} is on record; give --usd-per-hour",
        }
    return {
        "usd": row["usd"],
        "tag": row["price"],
        "source": f"{row['price_source']}, {row['priced']}",
    }
