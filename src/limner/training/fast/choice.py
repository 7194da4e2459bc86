"""What can be chosen for speed and memory, as one frozen record; no torch.

Every default is the plain way: a transformer with `Choice()` computes what diffusers computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Precision = Literal["bf16", "fp8", "int8", "nf4"]
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp8", "int8", "nf4")

PUBLISHED: dict[str, Any] = {
    "patch_size": 2, "in_channels": 64, "out_channels": 16, "num_layers": 60,
    "attention_head_dim": 128, "num_attention_heads": 24, "joint_attention_dim": 3584,
    "axes_dims_rope": (16, 56, 56), "guidance_embeds": False,
}  # fmt: skip
"""transformer/config.json of Qwen-Image; 2511 adds zero_cond_t."""

FILLED = 0.94
"""Share of a card's memory a run may fill; the rest is the allocator's loss (starting value)."""


@dataclass(frozen=True)
class Choice:
    """How a frozen transformer runs. Weights of the LoRA depend on it in the last bits only,
    but for `precision`, which changes the base itself."""

    precision: Precision = "bf16"
    """Of the blocks' frozen linears; bf16 means: as they were loaded."""
    whole: int = 0
    """Blocks that are checkpointed whole: only their input is kept (the first ones)."""
    attention: int = 0
    """Blocks that keep queries, keys, values and attention output, and recompute the rest."""
    swapped: int = 0
    """Blocks whose weights lie in system memory until needed; those are checkpointed whole."""
    ring: int = 2
    """Blocks' worth of device memory that swapped or shared weights pass through."""
    shard: bool = False
    """Several processes hold a share of every block each and gather it when it is needed (the
    fully sharded way, FSDP or ZeRO-3, for weights that never change); all blocks are then
    checkpointed whole. Nothing in a run of one process."""
    hoist: bool = True
    """Modulation computed once a step for all blocks instead of in every block and recompute."""
    table: bool = False
    """Modulation for many steps ahead at once; its weights (a third of the model) stay in system
    memory. Needs blocks without a LoRA on the modulations."""
    compile: bool = False
    """Compile one block's code with torch.compile and use it for all."""
    no_mask: bool = True
    """Captions of unequal length are packed: no padding is computed, and no mask is needed."""
    exact: bool = True
    """On a GPU: kernels with a fixed order of sums, so that a run is resumed to the bit. False: the
    quickest kernels, among them cuDNN's attention."""
    no_mask_tokens: int = 512
    """Fewest picture tokens for that; below, one masked call is quicker (starting value)."""


def choice_of(settings: Mapping[str, Any]) -> Choice:
    """The choice in a run's record (`planned`), whatever else stands there."""
    names = {f.name for f in fields(Choice)}
    return Choice(**{k: v for k, v in settings.items() if k in names})


def less(choice: Choice, blocks: int) -> Choice | None:
    """The next choice that needs less memory and gives the same result; None when there is none.

    First fewer blocks keep everything, then fewer keep their attention, then more are swapped.
    Shared blocks keep nothing already.
    """
    if choice.shard:
        return None
    whole = max(choice.whole, choice.swapped)
    plain = blocks - whole - choice.attention
    if plain > 0:
        return replace(choice, attention=choice.attention + -(-plain // 2))
    if choice.attention > 0:
        moved = -(-choice.attention // 2)
        return replace(choice, whole=whole + moved, attention=choice.attention - moved)
    if choice.swapped < blocks:
        return replace(choice, swapped=min(blocks, choice.swapped + max(1, blocks // 10)))
    return None


def planned(
    card: float, tokens: int, *, batch: int = 1, rank: int = 16, modulations: bool = False,
    blocks: int = 60, width: int = 3072, joint: int = 3584,
) -> dict[str, Any]:  # fmt: skip
    """What a run on a card of `card` bytes should be set to, as its record keeps it.

    tokens: of the largest item, target, references and text together. modulations: the LoRA has
    pairs there (then there is no table). The widest weights that fit without swapping, else int8
    with swapping: bf16, int8 (closer to bf16 than fp8, see `quantised.ERROR`), nf4. Raises
    InputError when nothing fits.
    """
    from limner.errors import InputError
    from limner.training.fast import memory

    shape = memory.Shape(blocks=blocks, width=width, joint=joint)
    work = memory.Work(tokens, batch, rank)
    start = Choice(compile=True)
    given: dict[str, Any] = {"shape": shape, "table": not modulations, "base": start}
    for precision in ("bf16", "int8", "nf4"):
        try:
            found = memory.fit(card * FILLED, work, precision=precision, swap=False, **given)
        except InputError:
            continue
        break
    else:
        found = memory.fit(card * FILLED, work, precision="int8", **given)
    # the 32-bit update is one kernel: taken where its moments find room in what is left
    wide = memory.forecast(found, replace(work, optimizer_bits=32), shape).bytes
    return {**asdict(found), "optimizer_bits": 32 if wide <= card * FILLED else 8}
