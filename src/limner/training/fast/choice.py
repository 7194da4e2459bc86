"""What can be chosen for speed and memory, as one frozen record; no torch.

Every default is the plain way: a transformer with `Choice()` computes what diffusers computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["bf16", "fp8", "int8", "nf4"]
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp8", "int8", "nf4")


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
    """Blocks' worth of device memory that swapped weights pass through."""
    hoist: bool = True
    """Modulation computed once a step for all blocks instead of in every block and recompute."""
    table: bool = False
    """Modulation for many steps ahead at once; its weights (a third of the model) stay in system
    memory. Needs blocks without a LoRA on the modulations."""
    compile: bool = False
    """Compile one block's code with torch.compile and use it for all."""
    no_mask: bool = True
    """Captions of unequal length: attention a picture at a time on the real tokens, no mask."""
    no_mask_tokens: int = 512
    """Fewest picture tokens for that; below, one masked call is quicker (starting value)."""
