"""Frozen linears in 8 or 4 bit whose products are quantised in the forward AND the backward pass.

In: an nn.Linear that is never trained. Out: `FrozenLinear`, a fraction of its bytes, whose matrix
products run on the card's int8 or fp8 units. Only the input gets a gradient: a LoRA needs no other.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from limner.training.fast import nf4

Kind = Literal["int8", "fp8", "nf4"]
KINDS: tuple[Kind, ...] = ("int8", "fp8", "nf4")
FP8 = torch.float8_e4m3fn
FP8_MAX = 448.0
INT8_MAX = 127.0
SMALLEST = 1e-12
"""Least scale of a row, so that a row of zeros stays zeros."""

ERROR = {"int8": 0.02, "fp8": 0.045, "nf4": 0.11}
"""Bound of |product - fp32 product| / |fp32 product| (Frobenius) on normal data with outputs up to
a factor of 1,000 apart, held by tests.

int8: rounding to 127 steps of a row's largest value, about 0.3 % of it a value, both operands.
fp8 e4m3: 3 mantissa bits, 2.6 % rms a value, both operands. nf4: 9.5 % rms of a normal weight
(Dettmers et al. 2023, arXiv 2305.14314), the activations exact.
"""


def quantise_rows(x: Tensor, kind: Literal["int8", "fp8"]) -> tuple[Tensor, Tensor]:
    """x (rows, n) -> 8-bit values (rows, n) and the scale of each row (rows, 1), float32.

    Symmetric, by each row's largest value: value = quantised * scale.
    """
    x = x.float()
    top = INT8_MAX if kind == "int8" else FP8_MAX
    scale = (x.abs().amax(dim=1, keepdim=True) / top).clamp_min(SMALLEST)
    x = x / scale
    if kind == "int8":
        return x.round().to(torch.int8), scale
    return x.clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


Way = Literal["rows", "one", "reference"]


@cache
def way(kind: Kind, device: str) -> Way:
    """How a device multiplies a kind: found out once by a small product that is checked.

    int8: rows = the second operand may lie in rows; one = it must lie in columns. fp8: see
    `_fp8_way`. nf4: always the reference, unpacked and multiplied in the compute type.
    """
    if kind == "nf4":
        return "reference"
    if kind == "fp8":
        return _fp8_way(device)
    return "rows" if not device.startswith("cuda") or _int8_takes_rows(device) else "one"


def int8_product(a: Tensor, b: Tensor, way: Way) -> Tensor:
    """int8 (m, k) x (k, n) -> int32 (m, n), exact: every kernel gives the same bits.

    CUDA's kernel wants more than 16 rows and sides that are multiples of 8, and is at home with a
    column-major b; a row-major one is turned round first where the card refuses it.
    """
    if a.is_cuda:
        if b.stride(1) == 1 and way != "rows":
            b = b.t().contiguous().t()
        if a.shape[0] <= 16:
            padded = functional.pad(a, (0, 0, 0, 32 - a.shape[0]))
            return torch._int_mm(padded, b)[: a.shape[0]]
    return torch._int_mm(a, b)


def _int8_takes_rows(device: str) -> bool:
    """Whether this card's int8 product takes a row-major second operand and is right with it."""
    a = torch.arange(32 * 64, device=device).remainder(17).sub(8).to(torch.int8).view(32, 64)
    b = torch.arange(64 * 64, device=device).remainder(13).sub(6).to(torch.int8).view(64, 64)
    try:
        found = torch._int_mm(a, b)
    except RuntimeError:
        return False
    return bool((found.cpu().long() == a.cpu().long() @ b.cpu().long()).all())


def _fp8_way(device: str) -> Way:
    """How this device multiplies fp8: with a scale a row, with one scale, or not at all.

    rows: scales go into the kernel (compute capability 9 and later). one: the kernel's scale is 1
    and the rows' are applied behind it. reference: no fp8 units; the fp8 values are multiplied in
    the compute type, which gives the memory but not the speed.
    """
    if not device.startswith("cuda") or torch.cuda.get_device_capability(device) < (8, 9):
        return "reference"
    a = torch.ones(32, 64, device=device).to(FP8)
    b = torch.ones(64, 64, device=device).to(FP8)
    rows = torch.full((32, 1), 0.5, device=device), torch.full((1, 64), 2.0, device=device)
    one = torch.ones((), device=device), torch.ones((), device=device)
    for name, (left, right) in (("rows", rows), ("one", one)):
        try:
            out = torch._scaled_mm(a, b.t(), scale_a=left, scale_b=right, out_dtype=torch.bfloat16)
        except RuntimeError:
            continue
        if bool((out == 64).all()):
            return "rows" if name == "rows" else "one"
    return "reference"


def fp8_product(
    a: Tensor, b: Tensor, rows: Tensor, columns: Tensor | None, out: torch.dtype, way: Way
) -> Tensor:
    """fp8 (m, k) x (k, n) times the rows' scales (m, 1) and the columns' (1, n) or none."""
    if way == "reference":
        wide = torch.float32 if a.device.type == "cpu" else out
        product = a.to(wide) @ b.to(wide)
        product = product * rows.to(wide)
        return (product if columns is None else product * columns.to(wide)).to(out)
    if b.stride(1) == 1:  # the fp8 kernels read the second operand by columns
        b = b.view(torch.uint8).t().contiguous().t().view(FP8)
    count = a.shape[0]
    if count % 16:  # and whole groups of 16 rows
        a = functional.pad(a.view(torch.uint8), (0, 0, 0, 16 - count % 16)).view(FP8)
        rows = functional.pad(rows, (0, 0, 0, 16 - count % 16), value=1.0)
    if way == "rows":
        ones = torch.ones(1, b.shape[1], device=a.device) if columns is None else columns
        product = torch._scaled_mm(
            a, b, scale_a=rows, scale_b=ones.contiguous(), out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )  # fmt: skip
        return product[:count].to(out)
    one = torch.ones((), device=a.device)
    product = torch._scaled_mm(
        a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
    )
    product = product * rows
    return (product if columns is None else product * columns)[:count].to(out)


class _Product8(torch.autograd.Function):  # type: ignore[misc]
    """y = x W' with W (out, in) in 8 bit and one scale an output; the gradient of x alike.

    The scales of W belong to what the backward product sums over, so they are folded into the
    gradient before it is quantised: one stored copy of W serves both products exactly.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, kind: Any, way: Way, out: Any
    ) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.kind, ctx.way = kind, way
        values, rows = quantise_rows(x, kind)
        if kind == "int8":
            return (int8_product(values, weight.t(), way).float() * rows * scale.t()).to(out)
        return fp8_product(values, weight.view(FP8).t(), rows, scale.t(), out, way)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        gradient = gradients[0]
        weight, scale = ctx.saved_tensors
        values, rows = quantise_rows(gradient.float() * scale.t(), ctx.kind)
        if ctx.kind == "int8":
            back = (int8_product(values, weight, ctx.way).float() * rows).to(gradient.dtype)
        else:
            back = fp8_product(values, weight.view(FP8), rows, None, gradient.dtype, ctx.way)
        return back, None, None, None, None, None


class _Product4(torch.autograd.Function):  # type: ignore[misc]
    """y = x W' with W in NF4; W is unpacked in each pass and never kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, width: int) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.width = width
        return x @ nf4.unpack(weight, scale, width, x.dtype).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        weight, scale = ctx.saved_tensors
        wide = nf4.unpack(weight, scale, ctx.width, gradients[0].dtype)
        return gradients[0] @ wide, None, None, None


class FrozenLinear(nn.Linear):  # type: ignore[misc]
    """A linear without trainable parameters: `values` and `scale` are buffers, the bias is kept.

    It is an nn.Linear so that peft puts adapters round it as round any other. int8 and fp8 hold
    one byte a weight and a float32 scale an output; nf4 half a byte and a bfloat16 scale for 64.
    """

    def __init__(self, values: Tensor, scale: Tensor, bias: Any, kind: Kind, width: int) -> None:
        nn.Module.__init__(self)
        self.kind: Kind = kind
        self.way = way(kind, str(values.device))
        self.out_features, self.in_features = values.shape[0], width
        self.values: Tensor
        self.scale: Tensor
        self.register_buffer("values", values)
        self.register_buffer("scale", scale)
        self.register_parameter("bias", bias)

    @property
    def weight(self) -> Tensor:
        """The stored bytes: says the device to who asks for it; not a matrix to compute with."""
        return self.values

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move to a device, but keep the scales' own type whatever the model is cast to."""
        scale = self.scale
        moved = super()._apply(fn, recurse)
        if self.scale.dtype != scale.dtype:
            self.scale = scale.to(self.values.device)
        self.way = way(self.kind, str(self.values.device))
        return moved

    def wide(self, dtype: torch.dtype) -> Tensor:
        """The matrix (out, in) in a floating type."""
        if self.kind == "nf4":
            return nf4.unpack(self.values, self.scale, self.in_features, dtype)
        values = self.values if self.kind == "int8" else self.values.view(FP8)
        return (values.to(torch.float32) * self.scale).to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out) in the type of autocast, else of x."""
        device = x.device.type
        out = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        flat = x.to(out).reshape(-1, self.in_features)
        with torch.autocast(device, enabled=False):
            if self.kind == "nf4":
                y = _Product4.apply(flat, self.values, self.scale, self.in_features)
            else:
                y = _Product8.apply(flat, self.values, self.scale, self.kind, self.way, out)
            if self.bias is not None:
                y = y + self.bias.to(out)
        return y.reshape(*x.shape[:-1], self.out_features)


def freeze(linear: nn.Linear, kind: Kind) -> FrozenLinear:
    """An nn.Linear -> the same in fewer bits, on its device.

    Raises ValueError for nf4 when the inputs are no multiple of 64.
    """
    weight = linear.weight.detach()
    bias = None
    if linear.bias is not None:
        bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    if kind == "nf4":
        values, scale = nf4.pack(weight)
    else:
        values, scale = quantise_rows(weight, kind)
        values = values.view(torch.uint8) if kind == "fp8" else values
    return FrozenLinear(values, scale, bias, kind, linear.in_features)


def freeze_block(block: nn.Module, kind: Kind, *, skip: tuple[str, ...] = ()) -> int:
    """Replace every linear of a block (also below a peft adapter) in place; how many.

    skip: parts of names that stay as they are, e.g. ("_mod",). A LoRA's own two linears stay.
    """
    found = [
        (name, module)
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear)
        and not isinstance(module, FrozenLinear)
        and not any(part in name for part in ("lora_A", "lora_B", *skip))
        and not hasattr(module, "base_layer")
    ]
    for name, module in found:
        parent, _, last = name.rpartition(".")
        setattr(block.get_submodule(parent), last, freeze(module, kind))
    return len(found)
