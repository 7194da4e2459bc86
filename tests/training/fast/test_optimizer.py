"""Flat AdamW: torch's own updates in 32 bit; in 8 bit the same place is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from limner.training import state
from limner.training.fast.optimizer import BLOCK, FlatAdamW, codes, decode, encode

SHAPES = {"a": (16, 48), "b": (100, 7), "c": (300,)}


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {n: nn.Parameter(torch.randn(s, generator=generator)) for n, s in SHAPES.items()}


def push(own: dict[str, Tensor], step: int) -> None:
    """A gradient that pulls to 1, with noise that depends on the step alone."""
    generator = torch.Generator().manual_seed(step)
    loss = torch.zeros(())
    for weight in own.values():
        noise = torch.randn(weight.shape, generator=generator) * 0.5
        loss = loss + ((weight - 1).square() / 2 + weight * noise).sum()
    loss.backward()


def run(own: dict[str, Tensor], optimizer: Any, steps: range) -> float:
    for step in steps:
        push(own, step)
        if isinstance(optimizer, FlatAdamW):
            optimizer.clip(5.0)
        else:
            torch.nn.utils.clip_grad_norm_(own.values(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(torch.cat([(w.detach() - 1).flatten() for w in own.values()]).square().mean())


def test_in_32_bit_an_update_is_that_of_torchs_fused_adamw() -> None:
    ours, theirs = weights(), weights()
    kind: dict[str, Any] = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    flat = FlatAdamW(ours, **kind)
    plain = torch.optim.AdamW(theirs.values(), fused=True, **kind)
    for step in range(5):
        (
            push(ours, step),
            push(theirs, step),
        )  # without clipping: its sums are taken in another order
        flat.step(), plain.step()
        flat.zero_grad(), plain.zero_grad()
        for name in SHAPES:  # a kernel rounds the odd values at a tensor's end in another order
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-7)
    for name, weight in ours.items():
        moments = flat.state[weight]
        for part in ("exp_avg", "exp_avg_sq"):
            expected = plain.state[theirs[name]][part]
            torch.testing.assert_close(moments[part], expected, rtol=1e-6, atol=1e-9)


def test_in_8_bit_it_converges_as_far_in_a_quarter_of_the_bytes() -> None:
    full, small = weights(), weights()
    wide = FlatAdamW(full, lr=0.02, weight_decay=0.0)
    narrow = FlatAdamW(small, lr=0.02, weight_decay=0.0, bits=8)
    assert narrow.bytes() < wide.bytes() * 0.26
    ends = [run(full, wide, range(400)), run(small, narrow, range(400))]
    assert ends[0] < 0.02  # from 2.0
    assert ends[1] < ends[0] * 1.15


@pytest.mark.parametrize("bits", [8, 32])
def test_a_saved_state_goes_on_with_the_same_bits(bits: int, tmp_path: Path) -> None:
    calm, torn = weights(), weights()
    undisturbed = FlatAdamW(calm, lr=0.02, bits=bits)
    run(calm, undisturbed, range(12))

    before = FlatAdamW(torn, lr=0.02, bits=bits)
    run(torn, before, range(7))
    place = tmp_path / "state.safetensors"
    state.save(place, step=7, config_sha256="x", weights=torn, optimizer=before)
    fresh = weights()
    after = FlatAdamW(fresh, lr=0.02, bits=bits)
    assert state.load(place, config_sha256="x", weights=fresh, optimizer=after) == 7
    run(fresh, after, range(7, 12))
    assert all(torch.equal(fresh[n], calm[n]) for n in SHAPES)


@given(st.integers(0, 2**31), st.sampled_from([True, False]), st.floats(-6, 6))
@settings(max_examples=60, deadline=None)
def test_codes_read_and_written_again_are_the_same(seed: int, signed: bool, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4 * BLOCK, generator=generator) ** 3 * 10**size
    x = x if signed else x.abs()
    noise = torch.rand(x.shape, generator=generator)
    values, scale = encode(x, signed=signed, noise=noise)
    again = encode(decode(values, scale, signed=signed), signed=signed)
    assert torch.equal(again[0], values) and torch.equal(again[1], scale)
    nearest = decode(*encode(x, signed=signed), signed=signed)
    # within a code's half distance; the coarsest lie 0.9 / 64 (signed) of the scale apart
    assert float((nearest - x).abs().max() / x.abs().max()) < 0.9 / 64 / 2 * 1.01


def test_rounding_loses_nothing_on_the_average() -> None:
    x = torch.full((64 * BLOCK,), 0.5003)
    x[::BLOCK] = 1.0
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(x.shape, generator=generator)
    found = decode(*encode(x, signed=False, noise=noise), signed=False)
    apart = float(torch.diff(codes(False, "cpu")).max())
    assert abs(float((found - x).mean())) < apart / 100
    assert len(codes(True, "cpu")) == 255 and len(codes(False, "cpu")) == 256


def test_gradients_that_autograd_made_anew_are_seen() -> None:
    own = weights()
    flat = FlatAdamW(own, lr=0.01)
    for weight in own.values():
        weight.grad = None  # as zero_grad(set_to_none=True) of another hand leaves it
    push(own, 0)
    norm = float(torch.stack([w.grad.norm() for w in own.values() if w.grad is not None]).norm())
    assert abs(float(flat.clip(1.0)) - norm) < 1e-3
    assert abs(float(flat.gradient.norm()) - 1.0) < 1e-4


@pytest.mark.parametrize("bits", [8, 32])
def test_a_run_that_begins_anew_forgets_its_moments(bits: int) -> None:
    fresh, worn = weights(), weights()
    first = FlatAdamW(fresh, lr=0.01, bits=bits)
    second = FlatAdamW(worn, lr=0.01, bits=bits)
    run(worn, second, range(3))
    second.state.clear()
    assert not second.state and second.updates == 0
    with torch.no_grad():
        for name, weight in weights().items():
            worn[name].copy_(weight)
    run(fresh, first, range(2))
    run(worn, second, range(2))
    assert torch.equal(first.vector, second.vector)
