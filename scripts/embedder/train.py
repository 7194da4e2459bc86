"""Fitting the finder and the embedder, by minutes of CPU time, resumable every 20 seconds of it.

In: a `Pool` of training persons. Out: state dicts in the work folder; the learning rate follows
the share of the budget that is used, so a killed run goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scripts.embedder.corpus import CROP, Pool
from scripts.embedder.networks import (
    EMBEDDER_SIDE,
    FINDER_SIDE,
    Embedder,
    Finder,
    degrade,
    pair_loss,
    windows,
)
from scripts.embedder.views import Faces

BATCH = 96
SAVE_SECONDS = 20.0
FLIPPED = [1, 0, 2, 4, 3]
"""Order of the five points in a mirrored picture."""


def run(
    name: str,
    parts: dict[str, nn.Module],
    loss_of: Callable[[np.random.Generator, float], torch.Tensor],
    work: Path,
    minutes: float,
    rate: float,
) -> None:
    """Train `parts` for `minutes` of this process's CPU time, all runs together."""
    file = work / f"{name}.pt"
    parameters = [p for part in parts.values() for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.02)
    spent, step = 0.0, 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        for key, part in parts.items():
            part.load_state_dict(state[key])
        optimizer.load_state_dict(state["optimizer"])
        spent, step = float(state["spent"]), int(state["step"])
    mean = math.nan
    last = start = time.process_time()
    while spent + time.process_time() - start < 60 * minutes:
        share = (spent + time.process_time() - start) / (60 * minutes)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * share))
        loss = loss_of(np.random.default_rng([17, step]), share)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        value = float(loss.detach())
        mean = value if math.isnan(mean) else 0.98 * mean + 0.02 * value
        if time.process_time() - last > SAVE_SECONDS:
            last = time.process_time()
            print(f"{name}: step {step}, {share:.0%}, loss {mean:.3f}", flush=True)
            _save(file, parts, optimizer, spent + last - start, step)
    _save(file, parts, optimizer, spent + time.process_time() - start, step)


def _save(file: Path, parts: dict[str, nn.Module], optimizer: Any, spent: float, step: int) -> None:
    state = {key: part.state_dict() for key, part in parts.items()}
    temp = file.with_suffix(".tmp")
    torch.save({**state, "optimizer": optimizer.state_dict(), "spent": spent, "step": step}, temp)
    temp.replace(file)


# ---- finder


def finder_batch(
    pool: Pool, index: np.ndarray, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random squares of pictures (64 px, degraded) and their targets (n, 17).

    Most hold the face at 12 to 75 % of their side; a fifth, and those of back views, hold none.
    """
    n, height = len(index), pool.pictures.shape[1]
    box, points, yaw = pool.box[index], pool.points[index], np.radians(pool.yaw[index])
    middle = (box[:, :2] + box[:, 2:]) / 2
    tall = (box[:, 2:] - box[:, :2]).max(1)
    size = np.minimum(tall / rng.uniform(0.12, 0.75, n), 1.3 * height)
    slack = 0.475 * np.maximum(size - tall, 0)
    centre = middle + rng.uniform(-1, 1, (n, 2)) * slack[:, None]
    face = pool.visible[index] & (rng.random(n) > 0.2)
    for k in np.nonzero(~face)[0]:
        back = not pool.visible[index[k]]
        if not back or rng.random() < 0.3:  # most backs of heads are looked at as if they had one
            centre[k], size[k] = _away(box[k], height, rng, free=back)
    face |= pool.visible[index] & (np.abs(centre - middle).max(1) < size / 2)  # none found away
    roll = rng.normal(0, math.radians(5), n)
    views = windows(pool.pictures[index], centre[:, 0], centre[:, 1], size, roll, FINDER_SIDE)
    cos, sin = np.cos(roll), np.sin(roll)
    turn = np.stack([np.stack([cos, sin], 1), np.stack([-sin, cos], 1)], 1)
    spots = np.einsum("nij,nkj->nki", turn, points - centre[:, None]) / size[:, None, None] + 0.5
    seen = np.einsum("nij,nj->ni", turn, middle - centre) / size[:, None] + 0.5
    flip = rng.random(n) < 0.5
    views[flip] = views[flip].flip(3)
    spots[flip] = spots[flip][:, FLIPPED] * (-1, 1) + (1, 0)
    seen[flip] = seen[flip] * (-1, 1) + (1, 0)
    yaw = np.where(flip, -yaw, yaw)
    share = (box[:, 2:] - box[:, :2]) / size[:, None]
    parts = [seen, spots.reshape(n, 10), face[:, None], share]
    target = np.concatenate([*parts, np.sin(yaw)[:, None], np.cos(yaw)[:, None]], 1)
    return degrade(views, rng), torch.from_numpy(target).float()


def _away(
    box: np.ndarray, height: int, rng: np.random.Generator, *, free: bool
) -> tuple[np.ndarray, float]:
    """A square that does not touch the face box; anywhere when the face is not seen (`free`)."""
    for _ in range(20):
        size = float(rng.uniform(0.2, 1.2 if free else 0.6)) * height
        centre = rng.uniform(0, height, 2)
        low, high = centre - size / 2, centre + size / 2
        if free or (high < box[:2]).any() or (low > box[2:]).any():
            return centre, size
    return (box[:2] + box[2:]) / 2, 2.0 * float((box[2:] - box[:2]).max())


def finder_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the face logit, and L1 of the geometry where there is a face."""
    is_face = target[:, 12]
    seen = nn.functional.binary_cross_entropy_with_logits(out[:, 12], is_face)
    there = is_face > 0.5
    if not bool(there.any()):
        return seen
    error = (out[there] - target[there]).abs()
    size = target[there, 14:15].clamp_min(0.1)  # a pixel matters more on a small face
    place = (error[:, :12] / size).mean() + (error[:, 13:15] / size).mean()
    return seen + 2 * place + 0.5 * error[:, 15:].mean()


def train_finder(pool: Pool, work: Path, minutes: float) -> nn.Module:
    """Fit the finder."""
    torch.manual_seed(3)
    network = Finder()
    network.train()
    unseen = np.nonzero(~pool.visible)[0]  # backs of heads: rare, and easily taken for faces

    def loss_of(rng: np.random.Generator, share: float) -> torch.Tensor:
        backs = rng.choice(unseen, 8) if len(unseen) else unseen
        index = np.concatenate([rng.integers(0, len(pool.pictures), 56), backs])
        views, target = finder_batch(pool, index, rng)
        return finder_loss(network(views), target)

    run("finder", {"network": network}, loss_of, work, minutes, 4e-3)
    return network.eval()


# ---- embedder


def views_of(crops: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """What the embedder may get to see of stored crops: misaligned, mirrored, degraded."""
    n = len(crops)
    size = EMBEDDER_SIDE * rng.uniform(0.92, 1.08, n)
    x, y = CROP / 2 + rng.normal(0, 0.025 * EMBEDDER_SIDE, (2, n))
    views = windows(crops, x, y, size, rng.normal(0, math.radians(4), n), EMBEDDER_SIDE)
    flip = rng.random(n) < 0.5
    views[flip] = views[flip].flip(3)
    return degrade(views, rng)


def train_embedder(views: Path, work: Path, minutes: float) -> tuple[nn.Module, int]:
    """Fit the embedder on `views`; returns it and the number of persons it has seen."""
    torch.manual_seed(4)
    network = Embedder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    faces = Faces(views)

    def loss_of(rng: np.random.Generator, share: float) -> torch.Tensor:
        seen = views_of(faces.batch(BATCH, rng), rng).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            out = network(seen)
        return pair_loss(out.float())

    run("embedder", {"network": network}, loss_of, work, minutes, 6e-3)
    return network.eval(), len(faces.persons)
