"""The two networks for drawings and what is done to their training pictures.

Finder: 96 px square -> is there a face, its box, five points, its yaw. Embedder: 64 px aligned
face -> 64 numbers at length 1, trained with CosFace (Wang et al. 2018, arXiv 1801.09414).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import nn

Layer = tuple[int, int, int]
FINDER: tuple[Layer, ...] = ((16, 3, 2), (32, 3, 2), (48, 3, 2), (64, 3, 2), (64, 3, 1))
EMBEDDER: tuple[Layer, ...] = (
    (24, 5, 2),
    (48, 3, 2),
    (48, 3, 1),
    (96, 3, 2),
    (96, 3, 1),
    (128, 3, 2),
)
"""(channels, kernel, stride) of each convolution; batch norm is folded into it when exported."""
FINDER_SIDE, EMBEDDER_SIDE = 96, 64
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


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a generative model, a file format or a camera does to a picture; uint8 in, uint8 out."""
    side = image.shape[0]
    picture = Image.fromarray(image)
    if rng.random() < 0.35:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.3))))
    if rng.random() < 0.25:
        small = round(side * float(rng.uniform(0.45, 0.9)))
        picture = picture.resize((small, small), Image.Resampling.BILINEAR)
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    if rng.random() < 0.25:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=int(rng.integers(30, 90)))
        picture = Image.open(out).convert("RGB")
    pixels = np.asarray(picture, dtype=np.float32)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3)
    pixels = (pixels - 128) * rng.uniform(0.8, 1.15) + 128
    pixels = pixels * gain + rng.uniform(-12, 12)
    if rng.random() < 0.3:
        pixels += rng.normal(0, rng.uniform(1, 9), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, side, side, 3) -> float (n, 3, side, side) in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


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
