"""The two networks for drawings and what is done to their training pictures.

Finder: 64 px square -> is there a face, its box, five points, its yaw. Embedder: 64 px aligned
face -> 64 numbers at length 1, trained with CosFace (Wang et al. 2018, arXiv 1801.09414).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

Layer = tuple[int, int, int]
FINDER: tuple[Layer, ...] = ((12, 3, 2), (24, 3, 2), (48, 3, 2), (64, 3, 1))
EMBEDDER: tuple[Layer, ...] = (
    (20, 5, 2),
    (40, 3, 2),
    (40, 3, 1),
    (72, 3, 2),
    (72, 3, 1),
    (96, 3, 2),
)
"""(channels, kernel, stride) of each convolution; batch norm is folded into it when exported."""
FINDER_SIDE, EMBEDDER_SIDE = 64, 64
FINDER_OUTPUTS = 17
"""Face logit, box centre x y and size w h, five points x y, sine and cosine of yaw; in sides."""
DIMENSION = 64


class Chain(nn.Module):
    """Convolutions with batch norm and ReLU, then one or two linear layers."""

    def __init__(self, layers: tuple[Layer, ...], side: int, hidden: int, outputs: int) -> None:
        super().__init__()
        body: list[nn.Module] = []
        channels = 3
        for out, kernel, stride in layers:
            body += [
                nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels, side = out, -(-side // stride)
        self.body = nn.Sequential(*body)
        width = channels * side * side
        head: list[nn.Module] = [nn.Flatten()]
        if hidden:
            head += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        self.head = nn.Sequential(*head, nn.Linear(width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, side, side) in -1..1 -> (n, outputs)."""
        out: torch.Tensor = self.head(self.body(x))
        return out


def finder() -> Chain:
    """The face finder, untrained."""
    return Chain(FINDER, FINDER_SIDE, 96, FINDER_OUTPUTS)


def embedder() -> Chain:
    """The identity embedder, untrained; its output is brought to length 1 by the loss and ONNX."""
    return Chain(EMBEDDER, EMBEDDER_SIDE, 0, DIMENSION)


def export(network: Chain, *, normalise: bool) -> list[tuple[Any, ...]]:
    """Layers for `onnx_file.chain`, batch norm folded into the convolutions."""
    layers: list[tuple[Any, ...]] = []
    modules = list(network.body) + list(network.head)
    for module, after in zip(modules, [*modules[1:], None], strict=True):
        if isinstance(module, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            scale = after.weight / torch.sqrt(after.running_var + after.eps)
            weight = module.weight * scale[:, None, None, None]
            bias = after.bias - after.running_mean * scale
            layers.append(("conv", _array(weight), _array(bias), module.stride[0]))
        elif isinstance(module, nn.ReLU):
            layers.append(("relu",))
        elif isinstance(module, nn.Flatten):
            layers.append(("flatten",))
        elif isinstance(module, nn.Linear):
            layers.append(("linear", _array(module.weight), _array(module.bias)))
    return [*layers, ("normalise",)] if normalise else layers


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float32)


def windows(
    pictures: np.ndarray, x: np.ndarray, y: np.ndarray, size: np.ndarray, roll: np.ndarray, out: int
) -> torch.Tensor:
    """Squares of `size` pixels around (x, y), turned by `roll`: (n, 3, out, out), 0 to 255.

    The same mapping as `limner.vision.align.warp`, for a whole batch at once.
    """
    height, width = pictures.shape[1:3]
    cos, sin = np.cos(roll), np.sin(roll)
    theta = np.stack(
        [
            np.stack([size * cos / width, -size * sin / width, 2 * x / width - 1], 1),
            np.stack([size * sin / height, size * cos / height, 2 * y / height - 1], 1),
        ],
        1,
    )
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    shape = [len(pictures), 3, out, out]
    grid = nn.functional.affine_grid(torch.from_numpy(theta).float(), shape, align_corners=False)
    return nn.functional.grid_sample(
        batch, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def degrade(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """What a generative model, a file format or a camera does; (n, 3, s, s) 0-255 -> -1..1."""
    n, side = len(x), x.shape[-1]
    order = rng.permutation(n)
    cuts = [order[int(a * n) : int(b * n)] for a, b in ((0, 0.15), (0.15, 0.3), (0.3, 0.5))]
    for rows, sigma in ((cuts[0], rng.uniform(0.4, 0.8)), (cuts[1], rng.uniform(0.8, 1.4))):
        x[rows] = _blur(x[rows], float(sigma))
    small = round(side * float(rng.uniform(0.45, 0.85)))
    shrunk = nn.functional.interpolate(x[cuts[2]], size=small, mode="bilinear", antialias=True)
    x[cuts[2]] = nn.functional.interpolate(shrunk, size=side, mode="bicubic")
    for i in rng.choice(n, max(1, n // 8), replace=False):
        x[i] = _jpeg(x[i], int(rng.integers(30, 90)))
    gain = rng.uniform(0.8, 1.2, (n, 1)) * rng.uniform(0.93, 1.07, (n, 3))
    gain *= rng.uniform(0.8, 1.15, (n, 1))
    shift = rng.uniform(-14, 14, (n, 1, 1, 1))
    x = (x - 128) * torch.from_numpy(gain).float()[:, :, None, None] + 128
    x = x + torch.from_numpy(shift).float()
    noise = np.where(rng.random(n) < 0.3, rng.uniform(1, 9, n), 0.0)[:, None, None, None]
    seed = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    x = x + torch.from_numpy(noise).float() * torch.randn(x.shape, generator=seed)
    return x.clamp(0, 255).div(127.5).sub(1.0)


def _blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    taps = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
    taps = taps / taps.sum()
    row = taps.view(1, 1, 1, 7).expand(3, 1, 1, 7)
    padded = nn.functional.pad(x, (3, 3, 3, 3), mode="replicate")
    across = nn.functional.conv2d(padded, row, groups=3)
    return nn.functional.conv2d(across, row.transpose(2, 3), groups=3)


def _jpeg(x: torch.Tensor, quality: int) -> torch.Tensor:
    pixels = x.clamp(0, 255).byte().permute(1, 2, 0).numpy()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    back = np.array(Image.open(out).convert("RGB"))
    return torch.from_numpy(back).permute(2, 0, 1).float()


class CosFace(nn.Module):
    """Large-margin cosine loss: the own class must win by `margin`, logits scaled by `scale`."""

    def __init__(self, classes: int, margin: float = 0.25, scale: float = 20.0) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, DIMENSION) * 0.1)
        self.margin, self.scale = margin, scale

    def forward(self, x: torch.Tensor, who: torch.Tensor, share: float = 1.0) -> torch.Tensor:
        """Mean loss of vectors (n, dimension) of classes (n,); share: how much of the margin."""
        cosine = nn.functional.normalize(x) @ nn.functional.normalize(self.centres).T
        cosine = cosine - nn.functional.one_hot(who, len(self.centres)) * self.margin * share
        return nn.functional.cross_entropy(cosine * self.scale, who)
