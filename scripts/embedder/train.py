"""Fitting the finder and the embedder, by minutes of CPU time, resumable every minute.

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

from limner.vision.align import warp
from scripts.embedder.corpus import CROP, Pool
from scripts.embedder.networks import (
    EMBEDDER_SIDE,
    FINDER_SIDE,
    CosFace,
    degrade,
    embedder,
    finder,
    to_tensor,
)

BATCH = 96
SAVE_SECONDS = 60.0
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


def window(pool: Pool, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random square of picture i (96 px, degraded) and its target (17,), NaN = not asked.

    With a face: the square is chosen so that the face fills 12 to 75 % of it and lies inside.
    """
    height, width = pool.pictures.shape[1:3]
    box, points, yaw = pool.box[i], pool.points[i], math.radians(pool.yaw[i])
    face = bool(pool.visible[i])
    tall = max(box[3] - box[1], box[2] - box[0])
    if face:
        side = min(tall / rng.uniform(0.12, 0.75), 1.3 * height)
        slack = 0.5 * max(side - tall, 0.0) * 0.95
        x = (box[0] + box[2]) / 2 + rng.uniform(-slack, slack)
        y = (box[1] + box[3]) / 2 + rng.uniform(-slack, slack)
    else:
        side = rng.uniform(0.25, 1.2) * height
        x, y = rng.uniform(0, width), rng.uniform(0, height)
    roll = rng.normal(0, math.radians(5))
    view = degrade(warp(pool.pictures[i], x, y, side, roll, FINDER_SIDE), rng)
    target = np.full(17, np.nan)
    target[0] = float(face)
    if face:
        cos, sin = math.cos(roll), math.sin(roll)
        turn = np.array([[cos, sin], [-sin, cos]])
        spots = (points - (x, y)) @ turn.T / side + 0.5
        middle = turn @ (np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) - (x, y))
        size = (box[2:] - box[:2]) / side
        if rng.random() < 0.5:
            view, spots = view[:, ::-1], spots[FLIPPED] * (-1, 1) + (1, 0)
            middle, yaw = middle * (-1, 1), -yaw
        target[1:5] = (*(middle / side + 0.5), *size)
        target[5:15] = spots.ravel()
        target[15:17] = math.sin(yaw), math.cos(yaw)
    return np.ascontiguousarray(view), target


def hide(pool: Pool, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A square of picture i that does not hold its face: background, clothes, hair."""
    height = pool.pictures.shape[1]
    box = pool.box[i]
    for _ in range(20):
        side = rng.uniform(0.2, 0.6) * height
        x, y = rng.uniform(0, height, 2)
        half = side / 2
        apart = x + half < box[0] or x - half > box[2] or y + half < box[1] or y - half > box[3]
        if apart:
            view = degrade(warp(pool.pictures[i], x, y, side, 0.0, FINDER_SIDE), rng)
            return view, np.array([0.0] + [np.nan] * 16)
    return window(pool, i, rng)


def finder_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the face logit, and L1 of the geometry where there is a face."""
    is_face = target[:, 0]
    seen = nn.functional.binary_cross_entropy_with_logits(out[:, 0], is_face)
    there = is_face > 0.5
    if not bool(there.any()):
        return seen
    error = (out[there, 1:] - target[there, 1:]).abs()
    # points count by the size of the face: a pixel matters more on a small one
    size = target[there, 4:5].clamp_min(0.1)
    place = (error[:, :14] / size).mean()
    return seen + 2 * place + 0.5 * error[:, 14:].mean()


def train_finder(pool: Pool, work: Path, minutes: float) -> nn.Module:
    """Fit the finder."""
    torch.manual_seed(3)
    network = finder()
    network.train()

    def loss_of(rng: np.random.Generator, share: float) -> torch.Tensor:
        pairs = []
        for i in rng.integers(0, len(pool.pictures), BATCH):
            pairs.append((hide if rng.random() < 0.2 else window)(pool, int(i), rng))
        views, targets = zip(*pairs, strict=True)
        wanted = torch.from_numpy(np.stack(targets)).float()
        return finder_loss(network(to_tensor(np.stack(views))), wanted)

    run("finder", {"network": network}, loss_of, work, minutes, 2e-3)
    return network.eval()


# ---- embedder


def view_of(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the embedder may get to see of a stored crop: misaligned, mirrored, degraded."""
    scale = EMBEDDER_SIDE / CROP * CROP * rng.uniform(0.92, 1.08)
    x, y = CROP / 2 + rng.normal(0, 0.025 * EMBEDDER_SIDE, 2)
    roll = rng.normal(0, math.radians(4))
    seen = warp(crop, x, y, scale, roll, EMBEDDER_SIDE)
    if rng.random() < 0.5:
        seen = seen[:, ::-1]
    return degrade(np.ascontiguousarray(seen), rng)


def train_embedder(pool: Pool, work: Path, minutes: float) -> nn.Module:
    """Fit the embedder; every batch holds two crops of each of its persons."""
    torch.manual_seed(4)
    network = embedder()
    person = pool.person[pool.rows]
    names, who = np.unique(person, return_inverse=True)
    members = [np.nonzero(who == k)[0] for k in range(len(names))]
    loss = CosFace(len(names))
    network.train()

    def loss_of(rng: np.random.Generator, share: float) -> torch.Tensor:
        chosen = rng.choice(len(names), BATCH // 2, replace=len(names) < BATCH // 2)
        index = np.concatenate([rng.choice(members[k], 2) for k in chosen])
        views = np.stack([view_of(pool.crops[i], rng) for i in index])
        margin = min(1.0, 3 * share)  # the margin grows in over the first third
        out: torch.Tensor = loss(network(to_tensor(views)), torch.from_numpy(who[index]), margin)
        return out

    run("embedder", {"network": network, "loss": loss}, loss_of, work, minutes, 2e-3)
    return network.eval()
