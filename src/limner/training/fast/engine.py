"""A transformer's forward pass of its own: equal to diffusers', with everything that makes it fast.

In: a QwenImageTransformer2DModel, with or without a LoRA, and a `Choice`. Out: an `Engine` whose
`forward` stands in for the model's. Everything outside the blocks is called as it is.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.errors import UsageError
from limner.training.fast import blocks, modulation, swap
from limner.training.fast.blocks import Attending, Rope
from limner.training.fast.choice import Choice
from limner.training.fast.quantised import FrozenLinear, freeze_block, way

MODULATIONS = ("_mod.",)
"""Part of the names of a block's two modulations."""

COMPILED = 64
"""Versions of one function that torch.compile may make: with and without gradients, batches and
captions of one length and of any, picture sizes. At its default of 8 it gives up in silence."""


def install(
    transformer: Any, choice: Choice, device: Any = None, table: modulation.Table | None = None,
    team: swap.Sharing | None = None,
) -> Engine:  # fmt: skip
    """Quantise what is not yet, and let `transformer.forward` run through an `Engine`.

    Call it after `lora.add_adapter`. device: where the blocks compute; default where they lie.
    table: that of the engine before, to go on with. team: who the blocks are shared with, if the
    choice wants that. Raises UsageError for a modulation table with a LoRA on modulations.
    """
    if choice.precision != "bf16":
        skip = MODULATIONS if choice.table else ()
        for block in transformer.transformer_blocks:
            freeze_block(block, choice.precision, skip=skip)
    return Engine(transformer, choice, device, table, team)


class Engine:
    """Owns the ring, the modulation table and the compiled functions of one transformer."""

    def __init__(
        self, transformer: Any, choice: Choice, device: Any = None,
        table: modulation.Table | None = None, team: swap.Sharing | None = None,
    ) -> None:  # fmt: skip
        self.transformer, self.choice = transformer, choice
        self.blocks: list[Any] = list(transformer.transformer_blocks)
        self.device = torch.device(device or transformer.img_in.weight.device)
        self.table: modulation.Table | None = None
        if choice.table:
            self.table = table or modulation.Table(transformer, self.device)
        team = team if choice.shard else None
        chosen = swap.away(len(self.blocks), choice.swapped, shared=team is not None)
        skip = MODULATIONS if choice.table else ()
        for i, block in enumerate(self.blocks):
            for name, part in block.named_children():
                if i not in chosen and not (choice.table and name.endswith("_mod")):
                    part.to(self.device)
            for parameter in block.parameters():
                if parameter.requires_grad:  # a LoRA is trained where its block computes
                    parameter.data = parameter.data.to(self.device)
        self.swap = swap.BlockSwap(self.blocks, chosen, choice.ring, self.device, skip, team)
        for module in transformer.modules():
            if isinstance(module, FrozenLinear):  # swapped in, it multiplies as the device does
                module.way = way(module.kind, str(self.device))
        self.levels = levels(len(self.blocks), choice, chosen)
        self.before: Callable[..., Any] = blocks.before
        self.behind: Callable[..., Any] = blocks.behind
        if choice.compile:
            _prepare_compiler(exact=choice.exact)
            # the first length of a caption is compiled as it is, the second for any length
            self.before = torch.compile(blocks.before)
            self.behind = torch.compile(blocks.behind)
        self.stock = transformer.forward
        transformer.forward = types.MethodType(self._called, transformer)

    def remove(self, *, keep_table: bool = False) -> modulation.Table | None:
        """Give the transformer its own forward pass back; swapped blocks stay in system memory.

        keep_table: leave the modulations there too, a third of the model, and return the table.
        """
        self.transformer.forward = self.stock
        self.swap.close()
        if keep_table:
            return self.table
        if self.table is not None:
            for pair in self.table.linears:
                for linear in pair:
                    linear.to(self.device)
        return None

    def expect(self, levels: Sequence[float] | Tensor) -> None:
        """All noise levels of a run in order, for the table; without one nothing happens."""
        if self.table is not None:
            dtype = self._compute_dtype(self.transformer.img_in.weight)
            told = torch.as_tensor(levels, dtype=torch.float32).flatten().to(dtype)
            self.table.expect([float(level) for level in told])

    def _compute_dtype(self, like: Tensor) -> torch.dtype:
        kind = like.device.type
        autocast = torch.is_autocast_enabled(kind)
        dtype: torch.dtype = torch.get_autocast_dtype(kind) if autocast else like.dtype
        return dtype

    def _called(self, _: Any, *args: Any, **given: Any) -> Any:
        """The model's signature; calls that need more than the training step go to diffusers."""
        known = {
            "hidden_states", "encoder_hidden_states", "encoder_hidden_states_mask", "timestep",
            "img_shapes", "return_dict",
        }  # fmt: skip
        more = sorted(k for k, v in given.items() if k not in known and v is not None and v != {})
        if args or more or given.get("img_shapes") is None or self._stock_only():
            if self.table is not None or self.swap.order:
                raise UsageError(
                    f"A transformer with swapped weights takes no {', '.join(more) or 'such call'}",
                    fix="Run it without training.fast's table and swapped blocks.",
                )
            return self.stock(*args, **given)
        output = self.forward(
            given["hidden_states"],
            given["encoder_hidden_states"],
            given.get("encoder_hidden_states_mask"),
            given["timestep"],
            given["img_shapes"],
        )
        if not given.get("return_dict", True):
            return (output,)
        from diffusers.models.modeling_outputs import Transformer2DModelOutput

        return Transformer2DModelOutput(sample=output)

    def _stock_only(self) -> bool:
        config = self.transformer.config
        return bool(config.use_additional_t_cond or config.use_layer3d_rope)

    def forward(
        self, hidden: Tensor, text: Tensor, mask: Tensor | None, timestep: Tensor,
        shapes: Sequence[Sequence[tuple[int, int, int]]],
    ) -> Tensor:  # fmt: skip
        """hidden (B, image tokens, 64), text (B, text tokens, joint) -> (B, image tokens, 64)."""
        model = self.transformer
        zero_cond = bool(model.zero_cond_t)
        seen, longest = self._attending(mask, hidden), text.shape[1]
        if seen.lengths is not None:
            text = torch.cat([row[:n] for row, n in zip(text, seen.lengths, strict=True)])[None]
        image = model.img_in(hidden)
        level = timestep.to(image.dtype)
        text = model.txt_in(model.txt_norm(text))
        both = torch.cat([level, level * 0]) if zero_cond else level
        temb = model.time_text_embed(both, image)
        factors = model.pos_embed(shapes, max_txt_seq_len=longest, device=image.device)
        rope = Rope.of(factors, real=self.choice.compile)
        if seen.lengths is not None:
            rope = rope.packed(seen.lengths)
        first = prod(shapes[0][0])
        rows = self._rows(level, temb, image, zero_cond)
        self.swap.direction = 1
        for i, block in enumerate(self.blocks):
            run = partial(self._block, i, block, rope, first, seen, temb, zero_cond)
            whole = self.levels[i] == "whole" and torch.is_grad_enabled()
            image, text = _again(run, image, text, rows[i]) if whole else run(image, text, rows[i])
        self.swap.direction = -1
        if zero_cond:
            temb = temb.chunk(2, dim=0)[0]
        output: Tensor = model.proj_out(model.norm_out(image, temb))
        return output

    def _rows(
        self, level: Tensor, temb: Tensor, image: Tensor, zero_cond: bool
    ) -> Sequence[modulation.Rows | None]:
        if self.table is not None:
            return self.table.rows(level, image, zero_cond=zero_cond)
        if not self.choice.hoist:
            return [None] * len(self.blocks)
        # a swapped block's modulation is away until the block is there
        home = [None if i in self.swap.host else b for i, b in enumerate(self.blocks)]
        made = iter(modulation.now([b for b in home if b is not None], temb, zero_cond=zero_cond))
        return [None if block is None else next(made) for block in home]

    def _block(
        self, index: int, block: Any, rope: Rope, first: int, seen: Attending, temb: Tensor,
        zero_cond: bool, image: Tensor, text: Tensor, rows: modulation.Rows | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """One block, from the arrival of its weights on; also what a recompute runs."""
        self.swap.need(index)
        if rows is None:
            rows = modulation.now([block], temb, zero_cond=zero_cond)[0]
        kept = self.levels[index] == "attention" and torch.is_grad_enabled()
        if kept:
            before = partial(self.before, block, rope=rope, first=first, owner=seen.owner)
            q, k, v = _again(before, image, text, *rows)
        else:
            q, k, v = self.before(block, image, text, *rows, rope, first, seen.owner)
        out = blocks.attend(q, k, v, seen, text.shape[1])
        if kept:
            behind = partial(self.behind, block, first=first, owner=seen.owner)
            found: tuple[Tensor, Tensor] = _again(behind, image, text, out, *rows)
            return found
        found = self.behind(block, image, text, out, *rows, first, seen.owner)
        return found

    def _attending(self, mask: Tensor | None, image: Tensor) -> Attending:
        kernels = _kernels(image)
        if mask is None:
            return Attending(backends=kernels)
        mask = mask.bool()
        lengths, here = mask.sum(dim=1).tolist(), mask.cpu()
        full = min(lengths) == mask.shape[1]
        padded = torch.equal(here, torch.arange(mask.shape[1]) < torch.tensor(lengths)[:, None])
        if self.choice.no_mask and full:
            return Attending(backends=kernels)
        if self.choice.no_mask and padded and image.shape[1] >= self.choice.no_mask_tokens:
            owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
            return Attending(lengths=lengths, owner=owner.to(image.device), backends=kernels)
        ones = torch.ones(image.shape[:2], dtype=torch.bool, device=image.device)
        return Attending(torch.cat([mask, ones], dim=1)[:, None, None, :], backends=kernels)


def levels(count: int, choice: Choice, swapped: Sequence[int]) -> list[str]:
    """whole | attention | plain for each block.

    What keeps most stands last: its memory is free again before the first recompute needs any.
    """
    away = set(swapped)
    rest = [i for i in range(count) if i not in away]
    found = ["whole"] * count
    free = max(0, choice.whole - len(away))
    for place, i in enumerate(rest):
        if place >= free:
            found[i] = "attention" if place < free + choice.attention else "plain"
    return found


def _again(run: Callable[..., Any], *args: Any) -> Any:
    """Keep the inputs only and compute the rest again in the backward pass."""
    return checkpoint(
        run, *args, use_reentrant=False, preserve_rng_state=False, determinism_check="none"
    )


def _prepare_compiler(*, exact: bool) -> None:
    """exact: no kernel is chosen by timing, which another process might decide otherwise."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    dynamo.recompile_limit = max(dynamo.recompile_limit, COMPILED)
    inductor.deterministic = inductor.deterministic or exact


def _kernels(image: Tensor) -> Any:
    """The attention kernels allowed now, so that the backward pass's recompute takes the same.

    On CUDA cuDNN's comes first, the quickest on Hopper (torch passes over it where sums must have a
    fixed order), then flash; on a CPU whatever is set.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if image.is_cuda:
        return partial(
            sdpa_kernel,
            [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION,
             SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
            set_priority=True,
        )  # fmt: skip
    if not torch.backends.cuda.flash_sdp_enabled():
        return partial(sdpa_kernel, [SDPBackend.MATH])
    return None


def frozen_linears(transformer: nn.Module) -> int:
    """How many linears are held in fewer bits."""
    return sum(isinstance(m, FrozenLinear) for m in transformer.modules())
