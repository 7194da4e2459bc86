"""A block's modulation depends on the noise level alone: computed once, outside the blocks.

In: the blocks and the noise levels to come. Out: rows (B, 6 width) for each block and stream. With
a table the modulation's weights, a third of the model, never lie on the device during a step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from limner.errors import UsageError
from limner.training.fast.quantised import FrozenLinear

Rows = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Image rows (target, and with zero_cond_t the references' own) and text rows of one block."""

CHUNK = 256
"""Noise levels computed at once: 1.1 GB of system memory on the real model (starting value)."""
KEPT = 8
"""Chunks held at a time. The model is told bfloat16 levels, of which 128 lie between 1 and 1/2, 128
between 1/2 and 1/4 and so on: a run of any length meets fewer than this many chunks hold."""


def has_adapter(module: nn.Module) -> bool:
    """Whether a LoRA sits on it."""
    return any(p.requires_grad for p in module.parameters())


def now(blocks: Iterable[Any], temb: Tensor, *, zero_cond: bool) -> list[Rows]:
    """Rows of all blocks for temb (B, width), or (2 B, width) with zero_cond; as the blocks would.

    Blocks with a LoRA on a modulation keep its gradient; the others are computed without one.
    """
    found: list[Rows] = []
    count = temb.shape[0] // 2 if zero_cond else temb.shape[0]
    for block in blocks:
        with torch.set_grad_enabled(torch.is_grad_enabled() and has_adapter(block.img_mod)):
            image = block.img_mod(temb)
        with torch.set_grad_enabled(torch.is_grad_enabled() and has_adapter(block.txt_mod)):
            text = block.txt_mod(temb[:count])
        found.append(((image[:count], image[count:]) if zero_cond else (image,), (text,)))
    return found


class Table:
    """Rows of many noise levels in system memory, made chunk by chunk.

    A run knows all its noise levels beforehand (`expect`). A chunk always has the same number of
    rows, filled up if need be: a product's last bits depend on its shape, so a level has the same
    bits in whichever chunk it is made, after a kill, in a longer run, or singly (held-out loss,
    samples).
    """

    def __init__(self, transformer: Any, device: torch.device) -> None:
        self.transformer, self.device = transformer, device
        blocks = list(transformer.transformer_blocks)
        if any(has_adapter(m) for b in blocks for m in (b.img_mod, b.txt_mod)):
            raise UsageError(
                "The modulation table needs modulations without a LoRA",
                fix="Leave img_mod.1 and txt_mod.1 out of training.targets, or turn the table off.",
            )
        self.linears: list[tuple[Any, Any]] = []
        for block in blocks:
            pair = (block.img_mod[1], block.txt_mod[1])
            for linear in pair:
                linear.to("cpu")
                if device.type == "cuda":
                    for tensor in (*linear.parameters(), *linear.buffers()):
                        tensor.data = tensor.data.pin_memory()
            self.linears.append(pair)
        self.announced: list[list[float]] = []
        self.chunk_of: dict[float, int] = {}
        self.chunks: OrderedDict[int, dict[float, Tensor]] = OrderedDict()
        self.single: dict[float, Tensor] = {}
        self.made = 0

    def expect(self, levels: Sequence[float]) -> None:
        """All noise levels of a run in order, as the model is told them."""
        seen: dict[float, None] = dict.fromkeys(levels)
        ordered = list(seen)
        self.announced = [ordered[i : i + CHUNK] for i in range(0, len(ordered), CHUNK)]
        self.chunk_of = {v: i for i, chunk in enumerate(self.announced) for v in chunk}
        self.chunks.clear()

    def rows(self, timestep: Tensor, like: Tensor, *, zero_cond: bool) -> list[Rows]:
        """Rows of all blocks for noise levels (B,)."""
        levels = [float(t) for t in timestep]
        wanted = [self._row(level, like) for level in levels]
        both = torch.stack(wanted, dim=1).to(self.device, non_blocking=True)
        zero = self._row(0.0, like).to(self.device, non_blocking=True) if zero_cond else None
        half = both.shape[-1] // 2
        found: list[Rows] = []
        for i, row in enumerate(both):
            image: tuple[Tensor, ...] = (row[:, :half],)
            if zero is not None:
                image = (*image, zero[i, :half].expand(len(levels), -1))
            found.append((image, (row[:, half:],)))
        return found

    def _row(self, level: float, like: Tensor) -> Tensor:
        number = self.chunk_of.get(level)
        if number is None:
            if level not in self.single:
                self.single[level] = self._make([level], like)[0]
            return self.single[level]
        if number not in self.chunks:
            made = self._make(self.announced[number], like)
            self.chunks[number] = dict(zip(self.announced[number], made, strict=True))
            while len(self.chunks) > KEPT:
                self.chunks.popitem(last=False)
        return self.chunks[number][level]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _make(self, levels: list[float], like: Tensor) -> list[Tensor]:
        """One tensor (blocks, 12 width) a level, image rows before text rows, in system memory."""
        filled = [*levels, *[1.0] * (CHUNK - len(levels))]
        steps = torch.tensor(filled, device=self.device, dtype=like.dtype)
        active = functional.silu(self.transformer.time_text_embed(steps, like))
        parts = []
        for pair in self.linears:
            rows = [self._apply(linear, active) for linear in pair]
            parts.append(torch.cat(rows, dim=-1)[: len(levels)].cpu())
        self.made += len(levels)
        stacked = torch.stack(parts, dim=1)
        if self.device.type == "cuda":
            stacked = stacked.pin_memory()
        return list(stacked)

    def _apply(self, linear: Any, x: Tensor) -> Tensor:
        if self.device.type == "cpu":
            y: Tensor = linear(x)
            return y
        frozen = isinstance(linear, FrozenLinear)
        weight = linear.wide(x.dtype) if frozen else linear.weight
        bias = linear.bias.to(self.device, non_blocking=True)
        return functional.linear(x, weight.to(self.device, non_blocking=True), bias)
