"""One dual-stream block of Qwen-Image as three plain functions: before, attention, behind.

In: a diffusers block, both streams, the modulation rows. Out: both streams, as that block's own
forward pass computes them (transformer_qwenimage.py of diffusers 0.42.1), split where memory is
saved. (B, tokens, width) unless said otherwise; a block's LoRA is applied without peft's detours.
Captions of several lengths may lie packed, one after the other: (1, all their tokens, width).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Rope:
    """Rotary factors of both streams.

    complex: image and text (tokens, head / 2) complex64. real: their cosines and sines apart,
    which a compiler can fuse; equal to the last bits of float32.
    """

    image: tuple[Tensor, ...]
    text: tuple[Tensor, ...]

    @classmethod
    def of(cls, factors: tuple[Tensor, Tensor], *, real: bool) -> Rope:
        """From diffusers' `pos_embed`."""
        if not real:
            return cls((factors[0],), (factors[1],))
        image, text = ((f.real.contiguous(), f.imag.contiguous()) for f in factors)
        return cls(image, text)

    def packed(self, lengths: Sequence[int]) -> Rope:
        """Each caption counts its positions from the start."""
        said = tuple(torch.cat([f[:n] for n in lengths]) for f in self.text)
        return Rope(self.image, said)


@dataclass(frozen=True)
class Attending:
    """What attention may look at: a joint mask (B, 1, 1, tokens), or packed captions' lengths.

    owner: whose caption each packed token is of, (tokens,) indices into the batch. backends: makes
    the context of attention kernels to take, so that a recompute takes the same.
    """

    mask: Tensor | None = None
    lengths: Sequence[int] | None = None
    owner: Tensor | None = None
    backends: Callable[[], Any] | None = None


def rotate(x: Tensor, factors: tuple[Tensor, ...]) -> Tensor:
    """x (B, tokens, heads, head) turned by its position, computed in float32."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if len(factors) == 1:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * factors[0].unsqueeze(1))
    else:
        cos, sin = factors[0].unsqueeze(1), factors[1].unsqueeze(1)
        a, b = pairs.unbind(-1)
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    return turned.flatten(3).type_as(x)


def linear(module: Any, x: Tensor) -> Tensor:
    """A linear with its LoRA, if it has one: y = W x + b + s B (A x).

    The plain case (one adapter, no dropout, not merged) skips peft's forward pass; any other goes
    through it.
    """
    if not hasattr(module, "base_layer"):
        y: Tensor = module(x)
        return y
    if module.disable_adapters or module.merged or module.active_adapters != ["default"]:
        y = module(x)
        return y
    y = module.base_layer(x)
    down = module.lora_A["default"].weight
    up = module.lora_B["default"].weight
    if not torch.is_autocast_enabled(x.device.type):
        down, up = down.to(x.dtype), up.to(x.dtype)
    extra = functional.linear(functional.linear(x, down), up)
    scale = module.scaling["default"]
    return y + (extra if scale == 1.0 else extra * scale)


def feed_forward(mlp: Any, x: Tensor) -> Tensor:
    """Up, GELU (tanh), down."""
    first = mlp.net[0]
    return linear(mlp.net[2], functional.gelu(linear(first.proj, x), approximate=first.approximate))


def _parts(row: Tensor, part: int) -> tuple[Tensor, ...]:
    """Shift, scale and gate before attention (0) or feed-forward (1), for every token."""
    half = row.chunk(2, dim=-1)[part]
    found: tuple[Tensor, ...] = (half if half.ndim == 3 else half.unsqueeze(1)).chunk(3, dim=-1)
    return found


def shifted(x: Tensor, rows: Sequence[Tensor], part: int, first: int) -> Tensor:
    """x * (1 + scale) + shift; rows: (B, 6 width) for the target and, if two, the references."""
    shift, scale, _ = _parts(rows[0], part)
    if len(rows) == 1:
        return x * (1 + scale) + shift
    other, wider, _ = _parts(rows[1], part)
    return torch.cat(
        [x[:, :first] * (1 + scale) + shift, x[:, first:] * (1 + wider) + other], dim=1
    )


def gated(x: Tensor, out: Tensor, rows: Sequence[Tensor], part: int, first: int) -> Tensor:
    """x + gate * out."""
    gate = _parts(rows[0], part)[2]
    if len(rows) == 1:
        return x + gate * out
    other = _parts(rows[1], part)[2]
    return x + torch.cat([gate * out[:, :first], other * out[:, first:]], dim=1)


def _for_each_token(rows: Sequence[Tensor], owner: Tensor | None) -> Sequence[Tensor]:
    """(B, 6 width) -> (1, packed tokens, 6 width); as they are where nothing is packed."""
    return rows if owner is None else tuple(row.index_select(0, owner)[None] for row in rows)


def joint(text: Tensor, image: Tensor) -> Tensor:
    """(B, text + image, ...); beside packed text the pictures too come one after the other."""
    if text.shape[0] != image.shape[0]:
        image = image.flatten(0, 1)[None]
    return torch.cat([text, image], dim=1)


def before(
    block: Any, image: Tensor, text: Tensor, image_rows: Sequence[Tensor],
    text_rows: Sequence[Tensor], rope: Rope, first: int, owner: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Norm, modulation, projections, QK norm, RoPE -> joint q, k, v (B, text + image, heads, head).

    first: tokens of the target, which stand before the references'. Packed: (1, all text + all
    image tokens, heads, head).
    """
    attn = block.attn
    text_rows = _for_each_token(text_rows, owner)
    head = attn.inner_dim // attn.heads
    x = shifted(block.img_norm1(image), image_rows, 0, first)
    t = shifted(block.txt_norm1(text), text_rows, 0, first)
    queries = attn.norm_q(linear(attn.to_q, x).unflatten(-1, (-1, head)))
    keys = attn.norm_k(linear(attn.to_k, x).unflatten(-1, (-1, head)))
    values = linear(attn.to_v, x).unflatten(-1, (-1, head))
    said = attn.norm_added_q(linear(attn.add_q_proj, t).unflatten(-1, (-1, head)))
    named = attn.norm_added_k(linear(attn.add_k_proj, t).unflatten(-1, (-1, head)))
    meant = linear(attn.add_v_proj, t).unflatten(-1, (-1, head))
    q = joint(rotate(said, rope.text), rotate(queries, rope.image))
    k = joint(rotate(named, rope.text), rotate(keys, rope.image))
    return q, k, joint(meant, values)


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Attending, texts: int) -> Tensor:
    """Joint attention -> (B, text + image, width), packed as q, k and v are.

    Packed, each picture attends to itself and its own caption without a mask, so that the flash
    kernels serve. texts: (packed) text tokens.
    """
    with seen.backends() if seen.backends else nullcontext():
        if seen.lengths is None:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            out = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen.mask)
            return out.transpose(1, 2).flatten(2, 3).to(q.dtype)
        said, shown = [], []
        each = (q.shape[1] - texts) // len(seen.lengths)
        start, place = 0, texts
        for length in seen.lengths:
            own = slice(start, start + length), slice(place, place + each)
            alone = (torch.cat([x[:, own[0]], x[:, own[1]]], dim=1) for x in (q, k, v))
            one = functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in alone))
            one = one.transpose(1, 2).flatten(2, 3).to(q.dtype)
            said.append(one[:, :length])
            shown.append(one[:, length:])
            start, place = own[0].stop, own[1].stop
    return torch.cat([*said, *shown], dim=1)


def behind(
    block: Any, image: Tensor, text: Tensor, out: Tensor, image_rows: Sequence[Tensor],
    text_rows: Sequence[Tensor], first: int, owner: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Output projections, gates and feed-forward -> (image, text)."""
    attn, texts = block.attn, text.shape[1]
    text_rows = _for_each_token(text_rows, owner)
    seen = out[:, texts:].contiguous().view(*image.shape[:2], -1)
    image = gated(image, linear(attn.to_out[0], seen), image_rows, 0, first)
    text = gated(text, linear(attn.to_add_out, out[:, :texts].contiguous()), text_rows, 0, first)
    x = feed_forward(block.img_mlp, shifted(block.img_norm2(image), image_rows, 1, first))
    image = gated(image, x, image_rows, 1, first)
    t = feed_forward(block.txt_mlp, shifted(block.txt_norm2(text), text_rows, 1, first))
    return image, gated(text, t, text_rows, 1, first)
