"""The two networks for drawings and what is done to their training pictures.

Finder: 64 px square -> is there a face, its box, five points, its yaw. Embedder: 64 px aligned
face -> 96 numbers at length 1, trained so that two crops of a person find each other.
"""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from scripts.embedder.onnx_file import Graph

Layer = tuple[int, int, int, int]
FINDER: tuple[Layer, ...] = (
    (16, 5, 2, 1),
    (32, 3, 2, 1),
    (32, 3, 1, 1),
    (32, 3, 1, 2),
    (32, 3, 1, 4),
)
"""(channels, kernel, stride, dilation) of each convolution; batch norm is folded into it when
exported."""
EMBEDDER = (24, 48, 96, 160)
"""Channels after each halving of the side; a residual block follows every one but the first."""
FINDER_SIDE, EMBEDDER_SIDE = 64, 64
FINDER_CELLS = 16
FINDER_OUTPUTS = 17
"""Box centre x y, five points x y (in sides of the view), face logit, box w h, sine and cosine of
yaw."""
DIMENSION = 96


def _body(layers: tuple[Layer, ...], channels: int = 3) -> nn.Sequential:
    body: list[nn.Module] = []
    for out, kernel, stride, dilation in layers:
        pad = kernel // 2 * dilation
        conv = nn.Conv2d(channels, out, kernel, stride, pad, dilation, bias=False)
        body += [conv, nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    return nn.Sequential(*body)


class Finder(nn.Module):
    """Points as centres of mass of heat maps (soft argmax: Luvizon et al. 2017, arXiv 1710.02322);
    what kind of face it is, is read where the centre's map points to."""

    def __init__(self) -> None:
        super().__init__()
        channels = FINDER[-1][0]
        self.body = _body(FINDER)
        self.points = nn.Conv2d(channels, 5, 1)
        self.centre = nn.Conv2d(channels, 1, 1)
        self.hidden = nn.Linear(channels, 48)
        self.kind = nn.Linear(48, 5)
        self.register_buffer("grid", torch.from_numpy(_grid()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 64, 64) in -1..1 -> (n, 17) as in `FINDER_OUTPUTS`."""
        features = self.body(x)
        centre = self.centre(features).flatten(2).softmax(2)
        points = self.points(features).flatten(2).softmax(2) @ self.grid
        looked_at = (centre @ features.flatten(2).transpose(1, 2)).flatten(1)
        kind = self.kind(torch.relu(self.hidden(looked_at)))
        return torch.cat([(centre @ self.grid).flatten(1), points.flatten(1), kind], 1)


def _grid() -> np.ndarray:
    """Where the cells look (cells^2, 2) as x, y in 0..1: two strides of 2 see pixels 0, 4, 8..."""
    middles = (np.arange(FINDER_CELLS) * 4 + 0.5) / FINDER_SIDE
    y, x = np.meshgrid(middles, middles, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)


class Residual(nn.Module):
    """Two convolutions whose result is added to what came in (He et al. 2016); starts as a pass."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        same: Layer = (channels, 3, 1, 1)
        self.first = _body((same,), channels)
        self.second = nn.Sequential(*list(_body((same,), channels))[:2])
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same shape out as in."""
        return torch.relu(x + self.second(self.first(x)))


class Embedder(nn.Module):
    """Four halvings with residual blocks between, one linear layer and a batch norm without
    parameters; brought to length 1 by the loss and in the ONNX file."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [_body(((EMBEDDER[0], 5, 2, 1),))]
        for before, channels in itertools.pairwise(EMBEDDER):
            parts += [_body(((channels, 3, 2, 1),), before), Residual(channels)]
        self.body = nn.Sequential(*parts)
        side = EMBEDDER_SIDE >> len(EMBEDDER)
        self.out = nn.Linear(EMBEDDER[-1] * side * side, DIMENSION)
        self.norm = nn.BatchNorm1d(DIMENSION, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 64, 64) in -1..1 -> (n, 96)."""
        out: torch.Tensor = self.norm(self.out(self.body(x).flatten(1)))
        return out


def export_finder(network: Finder) -> bytes:
    """The finder as ONNX, input "picture"."""
    graph = Graph("picture", (3, FINDER_SIDE, FINDER_SIDE))
    features = _convolutions(graph, network.body, "picture")
    cells = graph.const(np.array([0, -1, FINDER_CELLS**2], dtype=np.int64))
    flat = graph.const(np.array([0, -1], dtype=np.int64))
    grid = graph.const(_grid())

    def mass(conv: nn.Conv2d) -> str:
        maps = graph.node("Reshape", _convolution(graph, conv, None, features), cells)
        return graph.node("Softmax", maps, axis=2)

    centre, points = mass(network.centre), mass(network.points)
    rows = graph.node("Transpose", graph.node("Reshape", features, cells), perm=[0, 2, 1])
    looked_at = graph.node("Reshape", graph.node("MatMul", centre, rows), flat)
    hidden = graph.node("Relu", _linear(graph, network.hidden, looked_at))
    parts = [
        graph.node("Reshape", graph.node("MatMul", centre, grid), flat),
        graph.node("Reshape", graph.node("MatMul", points, grid), flat),
        _linear(graph, network.kind, hidden),
    ]
    graph.node("Concat", *parts, out="out", axis=1)
    return graph.model(FINDER_OUTPUTS)


def export_embedder(network: Embedder) -> bytes:
    """The embedder as ONNX with weights of 16 bits, input "face", output at length 1."""
    graph = Graph("face", (3, EMBEDDER_SIDE, EMBEDDER_SIDE), half=True)
    at = "face"
    for part in network.body:
        if isinstance(part, Residual):
            inner = _convolutions(graph, part.first, at)
            conv, norm = part.second
            inner = _convolution(graph, conv, norm, inner)
            at = graph.node("Relu", graph.node("Add", at, inner))
        else:
            at = _convolutions(graph, part, at)
    scale = 1 / torch.sqrt(network.norm.running_var + network.norm.eps)
    weight = network.out.weight * scale[:, None]
    bias = (network.out.bias - network.norm.running_mean) * scale
    flat = graph.node("Flatten", at)
    last = graph.node(
        "Gemm", flat, graph.const(_array(weight)), graph.const(_array(bias)), transB=1
    )
    graph.node("LpNormalization", last, out="out", axis=1, p=2)
    return graph.model(DIMENSION)


def _convolutions(graph: Graph, body: Any, source: str) -> str:
    modules = list(body)
    for conv, norm in zip(modules[0::3], modules[1::3], strict=True):
        source = graph.node("Relu", _convolution(graph, conv, norm, source))
    return source


def _convolution(graph: Graph, conv: Any, norm: Any, source: str) -> str:
    """A convolution with its batch norm folded in."""
    weight, bias = conv.weight, conv.bias
    if norm is not None:
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight, bias = weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    return graph.node(
        "Conv",
        source,
        graph.const(_array(weight)),
        graph.const(_array(bias)),
        kernel_shape=list(conv.kernel_size),
        pads=[conv.padding[0]] * 4,
        strides=list(conv.stride),
        dilations=list(conv.dilation),
    )


def _linear(graph: Graph, layer: nn.Linear, source: str) -> str:
    weight, bias = graph.const(_array(layer.weight)), graph.const(_array(layer.bias))
    return graph.node("Gemm", source, weight, bias, transB=1)


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


def pair_loss(x: torch.Tensor, scale: float = 12.0) -> torch.Tensor:
    """Each crop must find its person's other crop among all of the batch (NT-Xent: Chen et al.
    2020, arXiv 2002.05709).

    x: (2 n, dimension), crops 2 k and 2 k + 1 of one person; scale: inverse temperature.
    """
    unit = nn.functional.normalize(x)
    cosine = (scale * unit @ unit.T).fill_diagonal_(-1e4)
    return nn.functional.cross_entropy(cosine, torch.arange(len(x)) ^ 1)
