"""Fast: the frozen base small and quick, the same gradients as the plain loop's within bounds.

1. `quantised` holds frozen linears in int8, fp8 or nf4; products are 8-bit forwards and backwards.
2. `install` gives a transformer an equal forward pass of its own (`engine`, `blocks`): modulation
   hoisted, no mask, blocks compiled, checkpointed by budget or swapped in from system memory.
3. `optimizer` is AdamW on one flat vector, moments in 32 or 8 bit.
4. `memory` says what each choice needs and saves, in bytes and TFLOP, without torch.
5. `build` makes the 20 B transformer block by block: from a folder, or random to be measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limner.training.fast.choice import Choice, choice_of, less, planned

if TYPE_CHECKING:
    from limner.training.fast.build import load_transformer, loader
    from limner.training.fast.engine import install
    from limner.training.fast.optimizer import FlatAdamW

__all__ = [
    "Choice", "FlatAdamW", "choice_of", "install", "less", "load_transformer", "loader", "planned",
]  # fmt: skip

_WHERE = {
    "install": "engine",
    "FlatAdamW": "optimizer",
    "load_transformer": "build",
    "loader": "build",
}


def __getattr__(name: str) -> Any:
    """What needs torch is loaded when first used."""
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(f"limner.training.fast.{_WHERE[name]}"), name)
    raise AttributeError(name)
