"""AdamW on one flat vector: all of a LoRA's pairs in a handful of kernels, moments in 32 or 8 bit.

In: name -> parameter. Out: a torch optimizer whose `state` reads and writes moments in float32
a parameter, whatever they are kept in, so that a saved state goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

BLOCK = 256
"""Moments that share a scale (Dettmers et al. 2022, arXiv 2110.02861: 2,048; smaller costs 1.6 % of
a float32 moment and makes a stray large value matter to fewer)."""

PIECE = BLOCK << 14
"""Moments worked on at a time: bounds the float32 temporaries at some 100 MB."""


@cache
def codes(signed: bool, device: str) -> Tensor:
    """The 255 or 256 values a moment is rounded to, ascending, largest magnitude 1.

    Dynamic tree codes (Dettmers 2016, arXiv 1511.04561): seven decades, each with twice the values
    of the one below. Made symmetric here (-1 is a code), so that a scale survives being read and
    written again.
    """
    found: list[float] = []
    for decade in range(7):
        count = 2 ** (decade + (0 if signed else 1))
        edges = torch.linspace(0.1, 1, count + 1, dtype=torch.float64)
        found += (10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
    if signed:
        found = [*sorted(found)[1:], 1.0]
        found = [-v for v in found] + [0.0] + found
    else:
        found = [0.0, *found, 1.0]
    return torch.tensor(sorted(found), dtype=torch.float32, device=device)


def encode(x: Tensor, *, signed: bool, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """x (n x 256) float32 -> codes uint8 and a scale for every 256, float32.

    noise: uniform in [0, 1) like x: rounds up with the probability of the rest, so that a change
    smaller than a code is not lost but made now and then. None rounds to the nearest.
    """
    return _encode(x, codes(signed, str(x.device)), noise)


def _encode(x: Tensor, table: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    groups = x.view(-1, BLOCK)
    scale = groups.abs().amax(dim=1)
    unit = groups / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    if noise is None:
        between = (table[1:] + table[:-1]) / 2
        return torch.bucketize(unit, between).to(torch.uint8).view(-1), scale
    low = (torch.bucketize(unit, table, right=True) - 1).clamp_(0, len(table) - 2)
    below = table[low]
    part = (unit - below) / (table[low + 1] - below)
    return (low + (noise.view(-1, BLOCK) < part)).to(torch.uint8).view(-1), scale


def decode(values: Tensor, scale: Tensor, *, signed: bool) -> Tensor:
    """The float32 numbers of `encode`."""
    return _decode(values, scale, codes(signed, str(values.device)))


def _decode(values: Tensor, scale: Tensor, table: Tensor) -> Tensor:
    return (table[values.int()].view(-1, BLOCK) * scale[:, None]).view(-1)


def update8(
    weight: Tensor, gradient: Tensor, first: Tensor, first_scale: Tensor, second: Tensor,
    second_scale: Tensor, noise: Tensor, told: Tensor, tables: tuple[Tensor, Tensor], beta1: float,
    beta2: float, eps: float, weight_decay: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """One AdamW update -> weight, first moment's codes and scales, root's codes and scales.

    noise: (2, n) uniform; told: learning rate, and what the two moments are too small by so far;
    tables: the codes of both.
    """
    rate, small, root_small = told.unbind()
    mean = _decode(first, first_scale, tables[0])
    mean = mean + (gradient - mean) * (1 - beta1)
    root = _decode(second, second_scale, tables[1])
    root = (root * root * beta2 + gradient * gradient * (1 - beta2)).sqrt()
    weight = weight * (1 - rate * weight_decay)
    weight = weight - (rate / small) * mean / (root / root_small + eps)
    return weight, *_encode(mean, tables[0], noise[0]), *_encode(root, tables[1], noise[1])


class FlatAdamW(torch.optim.Optimizer):  # type: ignore[misc]
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) over one vector of all parameters.

    bits 32: torch's own fused AdamW kernel. bits 8: first moment and the root of
    the second in 8 bit a value with stochastic rounding, 2.03 bytes a parameter instead of 8. The
    root, because a second moment rounded to 0 would make a step of any size; its draws come from
    (seed, update), so a run taken up again makes the same ones.

    weights: float32 parameters on one device; afterwards they are views of `vector`. compile: fuse
    the 8-bit update, some forty small kernels, into a few.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.01, bits: int = 32, seed: int = 0,
        compile: bool = False,
    ) -> None:  # fmt: skip
        if bits not in (8, 32):
            raise ValueError("bits: 8 or 32")
        own = list(weights.values())
        super().__init__(own, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.bits, self.seed, self.updates = bits, seed, 0
        self.update8 = torch.compile(update8) if compile and bits == 8 else update8
        self.places: dict[Tensor, slice] = {}
        start = 0
        for weight in own:
            self.places[weight] = slice(start, start + weight.numel())
            start += -(-weight.numel() // BLOCK) * BLOCK  # no two parameters share a scale
        device = own[0].device
        self.vector = torch.zeros(start, device=device)
        self.gradient = torch.zeros_like(self.vector)
        for weight, place in self.places.items():
            view = self.vector[place].view_as(weight)
            view.copy_(weight.detach())
            weight.data = view
        self._attach()
        if bits == 32:
            self.first, self.second = (torch.zeros_like(self.vector) for _ in range(2))
        else:
            empty = torch.zeros(start, dtype=torch.uint8, device=device)
            scales = torch.zeros(start // BLOCK, device=device)
            zero = int((codes(True, str(device)) == 0).nonzero())
            self.first, self.second = empty + zero, empty
            self.first_scale, self.second_scale = scales, scales.clone()
        self.state: MutableMapping[Tensor, Any] = Moments(self)

    def _attach(self) -> None:
        for weight, place in self.places.items():
            weight.grad = self.gradient[place].view_as(weight)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Gradients to 0; they stay views of one vector whatever is asked."""
        self.gradient.zero_()
        self._attach()

    def gather(self) -> Tensor:
        """All gradients as one vector; those that autograd replaced are copied in."""
        for weight, place in self.places.items():
            view = self.gradient[place]
            if weight.grad is None:
                view.zero_()
            elif weight.grad.data_ptr() != view.data_ptr():
                view.copy_(weight.grad.detach().flatten())
        return self.gradient

    def clip(self, most: float) -> Tensor:
        """Scale the gradient down to a norm of `most`; returns its norm before, on the device."""
        norm = self.gather().norm()
        self.gradient.mul_((most / (norm + 1e-6)).clamp(max=1.0))
        return norm

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Any = None) -> None:
        """One update. Parameters are read again, in case they were replaced."""
        self.gather()
        self.updates += 1
        group = self.param_groups[0]
        beta1, beta2 = group["betas"]
        if self.bits == 32:
            torch._fused_adamw_(
                [self.vector], [self.gradient], [self.first], [self.second], [],
                [torch.tensor(float(self.updates), device=self.vector.device)],
                lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=group["weight_decay"],
                eps=group["eps"], amsgrad=False, maximize=False,
            )  # fmt: skip
            return
        generator = torch.Generator(self.vector.device).manual_seed(
            (self.seed * 1_000_003 + self.updates) % (1 << 63)
        )
        for start in range(0, len(self.vector), PIECE):
            self._piece(slice(start, min(start + PIECE, len(self.vector))), group, generator)

    def _piece(self, place: slice, group: Mapping[str, Any], generator: Any) -> None:
        """The update of one stretch of the vector."""
        beta1, beta2 = group["betas"]
        few = slice(place.start // BLOCK, place.stop // BLOCK)
        noise = torch.rand(
            2, place.stop - place.start, device=self.vector.device, generator=generator
        )
        # numbers that change go in as tensors: a compiler would take them for constants
        told = torch.tensor(
            [group["lr"], 1 - beta1**self.updates, (1 - beta2**self.updates) ** 0.5]
        ).to(self.vector.device)
        device = str(self.vector.device)
        tables = (codes(True, device), codes(False, device))
        found = self.update8(
            self.vector[place], self.gradient[place], self.first[place], self.first_scale[few],
            self.second[place], self.second_scale[few], noise, told, tables, beta1, beta2,
            group["eps"], group["weight_decay"],
        )  # fmt: skip
        self.vector[place], self.first[place], self.first_scale[few] = found[:3]
        self.second[place], self.second_scale[few] = found[3:]

    def bytes(self) -> int:
        """Bytes of the moments."""
        held = [self.first, self.second]
        if self.bits == 8:
            held += [self.first_scale, self.second_scale]
        return sum(t.numel() * t.element_size() for t in held)


class Moments(MutableMapping[Tensor, Any]):
    """`optimizer.state`: parameter -> {step, exp_avg, exp_avg_sq} in float32, read and written.

    What was read and is written back restores the stored bits: a scale is its block's largest
    value, which is a code of its own, and every other value rounds to the code it came from.
    """

    def __init__(self, optimizer: FlatAdamW) -> None:
        self.optimizer = optimizer

    def __len__(self) -> int:
        return len(self.optimizer.places) if self.optimizer.updates else 0

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.optimizer.places if self.optimizer.updates else ())

    def _whole(self, weight: Tensor) -> tuple[slice, slice]:
        place = self.optimizer.places[weight]
        stop = -(-place.stop // BLOCK) * BLOCK
        return slice(place.start, stop), slice(place.start // BLOCK, stop // BLOCK)

    def __getitem__(self, weight: Tensor) -> dict[str, Tensor]:
        own = self.optimizer
        if not own.updates or weight not in own.places:
            raise KeyError(weight.shape)
        place, few = self._whole(weight)
        if own.bits == 32:
            first, second = own.first[place].clone(), own.second[place].clone()
        else:
            first = decode(own.first[place], own.first_scale[few], signed=True)
            root = decode(own.second[place], own.second_scale[few], signed=False)
            second = root.double().square()
        count = weight.numel()
        return {
            "step": torch.tensor(float(own.updates)),
            "exp_avg": first[:count].view(weight.shape),
            "exp_avg_sq": second[:count].float().view(weight.shape),
        }

    def __setitem__(self, weight: Tensor, moments: Mapping[str, Tensor]) -> None:
        own = self.optimizer
        own.updates = int(moments["step"])
        place, few = self._whole(weight)
        first, second = torch.zeros(2, place.stop - place.start, device=own.vector.device)
        first[: weight.numel()] = moments["exp_avg"].flatten()
        second[: weight.numel()] = moments["exp_avg_sq"].flatten()
        if own.bits == 32:
            own.first[place], own.second[place] = first, second
            return
        own.first[place], own.first_scale[few] = encode(first, signed=True)
        root = second.double().sqrt().float()
        own.second[place], own.second_scale[few] = encode(root, signed=False)

    def clear(self) -> None:
        """As before the first update. (Deleting one by one would never end: none is ever gone.)"""
        own = self.optimizer
        for weight in own.places:
            del self[weight]
        own.updates = 0

    def __delitem__(self, weight: Tensor) -> None:
        zero = torch.zeros_like(weight)
        updates = self.optimizer.updates
        self[weight] = {"step": torch.tensor(0.0), "exp_avg": zero, "exp_avg_sq": zero}
        self.optimizer.updates = updates
