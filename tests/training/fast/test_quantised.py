"""A frozen linear in 8 or 4 bit: its products and gradients stay within the stated bounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from limner.training.fast import nf4
from limner.training.fast.quantised import (
    ERROR,
    KINDS,
    FrozenLinear,
    Kind,
    freeze,
    freeze_block,
    int8_product,
    quantise_rows,
)


def far(a: Tensor, b: Tensor) -> float:
    """Relative distance in the Frobenius norm."""
    a, b = a.detach().float(), b.detach().float()
    return float((a - b).norm() / b.norm())


def both(kind: Kind, dtype: torch.dtype) -> tuple[float, float, FrozenLinear]:
    """Relative error of the product and of the input's gradient on normal data."""
    generator = torch.Generator().manual_seed(1)
    linear = nn.Linear(256, 192)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(192, 256, generator=generator) * 0.02)
        # outputs of very unequal size: the backward pass sums over them
        linear.weight.mul_(torch.logspace(-2, 1, 192)[:, None])
    x = torch.randn(3, 40, 256, generator=generator)
    gradient = torch.randn(3, 40, 192, generator=generator)
    exact = x.clone().requires_grad_()
    y = linear(exact)
    y.backward(gradient)
    frozen = freeze(linear, kind)
    rough = x.clone().to(dtype).requires_grad_()
    z = frozen(rough)
    assert z.dtype == dtype and z.shape == y.shape
    z.backward(gradient.to(dtype))
    assert rough.grad is not None and exact.grad is not None
    return far(z, y), far(rough.grad, exact.grad), frozen


@pytest.mark.parametrize("kind", KINDS)
def test_products_and_gradients_stay_within_their_bounds(kind: Kind) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        ahead, back, frozen = both(kind, dtype)
        assert ERROR[kind] / 8 < ahead < ERROR[kind]  # within it, and really quantised
        assert ERROR[kind] / 8 < back < ERROR[kind]
        held = sum(t.numel() * t.element_size() for t in (frozen.values, frozen.scale))
        assert held / (192 * 256) < (0.6 if kind == "nf4" else 1.02)  # bytes a weight


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_stored_matrix(kind: Kind) -> None:
    """Against the matrix as it is stored, only the rounding of activations is left."""
    generator = torch.Generator().manual_seed(2)
    linear = nn.Linear(128, 128)
    frozen = freeze(linear, kind)
    x = torch.randn(64, 128, generator=generator, requires_grad=True)
    gradient = torch.randn(64, 128, generator=generator)
    frozen(x).backward(gradient)
    assert x.grad is not None
    left = {"int8": 0.01, "fp8": 0.035, "nf4": 1e-6}[kind]
    assert far(x.grad, gradient @ frozen.wide(torch.float32)) < left
    assert far(frozen.wide(torch.float32), linear.weight) < ERROR[kind]


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_int8_products_are_exact_and_rows_round_to_half_a_step(m: int, n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, 64, generator=generator) * 10 ** float(torch.randn((), generator=generator))
    values, scale = quantise_rows(x, "int8")
    assert bool(((values.float() * scale - x).abs() <= scale * 0.5001).all())
    w = torch.randint(-127, 128, (8 * n, 64), generator=generator).to(torch.int8)
    exact = values.long() @ w.t().long()
    assert torch.equal(int8_product(values, w.t(), "rows").long(), exact)
    assert torch.equal(int8_product(values, w.t().contiguous(), "rows").long(), exact)


def test_zeros_stay_zeros_and_nf4_keeps_its_levels() -> None:
    zeros = nn.Linear(64, 8)
    nn.init.zeros_(zeros.weight)
    nn.init.zeros_(zeros.bias)
    for kind in KINDS:
        assert float(freeze(zeros, kind)(torch.randn(4, 64)).detach().abs().max()) == 0
    levels = torch.tensor(nf4.LEVELS).repeat(3, 8)
    codes, scale = nf4.pack(levels)
    assert torch.equal(nf4.unpack(codes, scale, 128, torch.float32), levels)
    with pytest.raises(ValueError, match="multiple of 64"):
        nf4.pack(torch.randn(3, 32))


def test_a_cast_of_the_whole_model_leaves_the_stored_numbers_alone() -> None:
    for kind in KINDS:
        frozen = freeze(nn.Linear(64, 16), kind)
        values, scale = frozen.values.clone(), frozen.scale.clone()
        frozen.to(torch.bfloat16).half()
        assert torch.equal(frozen.values, values) and torch.equal(frozen.scale, scale)
        assert frozen.scale.dtype == scale.dtype


def test_a_block_is_frozen_in_place_and_a_lora_is_left_trainable() -> None:
    from limner.models import lora, miniature

    block = miniature.build_transformer(layers=1, heads=1)
    weights = lora.add_adapter(block, rank=4, seed=0)
    count = freeze_block(block.transformer_blocks[0], "int8", skip=("_mod",))
    assert count == 12 and len(weights) == 24
    assert all(p.requires_grad for p in weights.values())
    kept = block.transformer_blocks[0].img_mod[1]
    assert not isinstance(kept, FrozenLinear)
