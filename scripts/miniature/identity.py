"""Stage 2b: who is it, read off latents. In: shards and their latents. Out: identity.pt.

A small network that sees a face in the autoencoder's latents and brings two drawings of a person
together. Pre-training asks it whether the picture a step is heading for is still the person. It
has nothing in common with the embedders that measure: other input, other layers, other training.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from limner.vision.align import frame
from scripts.embedder.networks import Residual, pair_loss
from scripts.miniature import corpus

SIDE = 14
"""Cells of a cut: a close face has some ten, a far one is enlarged."""
ROOM = 1.35
"""A cut's side beside the aligned crop of the embedders: hair and chin belong to a person."""
DIMENSION = 64
PERSONS = 160
"""Persons a batch, two drawings each."""
LEAST_FACE = 20.0
"""Face height in pixels; below it two and a half cells say nothing."""
MOST_YAW = 60.0
"""Degrees; beyond, half of the face is away (starting value)."""
RATE = 2e-3
"""AdamW's, falling to a fiftieth."""
SCALE = 12.0
"""Inverse temperature of the cosines."""
TOLD = 0.25
"""Weight of finding the person a reference shows: at it both gradients are of like length."""


class Reader(nn.Module):
    """Latents of a face (n, 16, SIDE, SIDE) -> unit vectors (n, DIMENSION)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), Residual(64),
            nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(), Residual(128), Residual(128),
        )  # fmt: skip
        self.out = nn.Linear(128 * (SIDE // 2) ** 2, DIMENSION)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As above."""
        return nn.functional.normalize(self.out(self.body(x).flatten(1)))


def window(labels: dict[str, Any]) -> np.ndarray | None:
    """A drawing's face (x, y, side, roll; pixels, radians); None where none can be told."""
    box = labels["face_box"]
    if not labels["face_visible"] or not box or box[3] - box[1] < LEAST_FACE:
        return None
    if abs(labels["yaw"]) > MOST_YAW:
        return None
    points = [p[:2] for p in labels["points"]]
    x, y, side, roll = frame((tuple(points[0]), tuple(points[1])), tuple(points[2]))
    return np.array([x, y, side * ROOM, roll], np.float32)


def unpack(tokens: torch.Tensor) -> torch.Tensor:
    """Packed latents (n, 64, 64) -> (n, 16, 16, 16), as diffusers packs them."""
    n, side = len(tokens), corpus.SIZE // 16
    grid = tokens.view(n, side, side, 16, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(n, 16, 2 * side, 2 * side)


def cut(tokens: torch.Tensor, windows: torch.Tensor) -> torch.Tensor:
    """The faces at `windows` (n, 4) of packed latents, (n, 16, SIDE, SIDE); differentiable."""
    x, y, side, roll = (windows / torch.tensor([corpus.SIZE] * 3 + [1.0])).unbind(1)
    cos, sin = torch.cos(roll) * side, torch.sin(roll) * side
    theta = torch.stack(
        [torch.stack([cos, -sin, 2 * x - 1], 1), torch.stack([sin, cos, 2 * y - 1], 1)], 1
    )
    grid = nn.functional.affine_grid(theta, [len(tokens), 16, SIDE, SIDE], align_corners=False)
    return nn.functional.grid_sample(
        unpack(tokens), grid, padding_mode="border", align_corners=False
    )


class Faces:
    """Latents, windows and persons of all drawings that show who it is."""

    def __init__(self, folder: Path, wanted: Any) -> None:
        latents, windows, persons = [], [], []
        for file in corpus.shards(folder):
            cache = file.with_name("latents_" + file.name)
            if not cache.exists():
                continue
            rows = json.loads(file.with_suffix(".json").read_text())["rows"]
            stored = np.load(cache)
            for k, row in enumerate(rows):
                where = window(row["labels"])
                if where is not None and wanted(row["person"]):
                    latents.append(stored[k])
                    windows.append(where)
                    persons.append(row["person"])
        self.latents, self.windows = np.stack(latents), np.stack(windows)
        self.person = np.array(persons)
        found = {p: np.nonzero(self.person == p)[0] for p in np.unique(self.person)}
        self.of = {int(p): rows for p, rows in found.items() if len(rows) > 1}

    def cuts(self, rows: np.ndarray, rng: np.random.Generator | None) -> torch.Tensor:
        """Faces of `rows`; with `rng` shifted, blurred and noisy as half-finished ones are."""
        tokens = torch.from_numpy(self.latents[rows].astype(np.float32))
        windows = torch.from_numpy(self.windows[rows])
        if rng is None:
            return cut(tokens, windows)
        shift = rng.normal(0, 0.03, (len(rows), 2)).astype(np.float32)
        windows[:, :2] += torch.from_numpy(shift) * windows[:, 2:3]
        windows[:, 2] *= torch.from_numpy(rng.uniform(0.92, 1.1, len(rows)).astype(np.float32))
        windows[:, 3] += torch.from_numpy(rng.normal(0, 0.06, len(rows)).astype(np.float32))
        x = cut(tokens, windows)
        share = torch.from_numpy(rng.uniform(0, 0.9, (len(rows), 1, 1, 1)).astype(np.float32))
        share *= torch.from_numpy(rng.random((len(rows), 1, 1, 1)) < 0.5)
        x = x + share * (nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False) - x)
        noise = torch.from_numpy(rng.uniform(0, 0.5, (len(rows), 1, 1, 1)).astype(np.float32))
        noise *= torch.from_numpy(rng.random((len(rows), 1, 1, 1)) < 0.5)
        return x + noise * torch.randn_like(x)


@torch.no_grad()
def prototypes(reader: Reader, faces: Faces) -> tuple[np.ndarray, torch.Tensor]:
    """Persons (p,) and their mean unit vectors (p, DIMENSION)."""
    vectors = read(reader, faces)
    persons = np.array(sorted(faces.of))
    mean = torch.stack([vectors[faces.of[int(p)]].mean(0) for p in persons])
    return persons, nn.functional.normalize(mean)


@torch.no_grad()
def read(reader: Reader, faces: Faces) -> torch.Tensor:
    """The vectors of all faces (n, DIMENSION)."""
    rows = np.arange(len(faces.person))
    return torch.cat([reader(faces.cuts(part, None)) for part in np.array_split(rows, 40)])


def train(work: Path, shards: Path, minutes: float, first_held_out: int) -> None:
    """Fit for `minutes` and say how well persons left out are found."""
    torch.manual_seed(5)
    faces = Faces(shards, lambda p: p < first_held_out)
    unseen = Faces(shards, lambda p: p >= first_held_out)
    reader, persons = Reader(), np.array(sorted(faces.of))
    print(f"{len(faces.person)} faces of {len(persons)} persons", flush=True)
    optimizer = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=0.05)
    start, step, seen = time.monotonic(), 0, []
    while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * max(0.02, 1 - share)
        rng = np.random.default_rng([23, step])
        chosen = rng.choice(persons, PERSONS, replace=False)
        rows = np.concatenate([rng.choice(faces.of[int(p)], 2, replace=False) for p in chosen])
        loss = pair_loss(reader(faces.cuts(rows, rng)), SCALE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step += 1
        seen.append(float(loss.detach()))
        if step % 100 == 0:
            print(f"identity {step} {share:.0%} loss {np.mean(seen[-100:]):.3f}", flush=True)
    reader.eval()
    torch.save(reader.state_dict(), work / "identity.pt")
    print(f"found among {len(unseen.of)} strangers at percentile {rank(reader, unseen):.3f}")


def rank(reader: Reader, faces: Faces) -> float:
    """Mean share of other persons' faces that are farther from a face than its person's next."""
    vectors, ranks = read(reader, faces), []
    firsts = {p: rows[0] for p, rows in faces.of.items()}
    for person, rows in faces.of.items():
        own = float(vectors[rows[1]] @ vectors[firsts[person]])
        others = [float(vectors[rows[1]] @ vectors[k]) for p, k in firsts.items() if p != person]
        ranks.append(float(np.mean([own > o for o in others])))
    return float(np.mean(ranks))


class Likeness:
    """What a step's clean picture loses of the person: the term pre-training adds."""

    def __init__(self, work: Path, shards: Path, first_held_out: int) -> None:
        self.reader = Reader()
        self.reader.load_state_dict(torch.load(work / "identity.pt", weights_only=True))
        self.reader.eval().requires_grad_(False)
        persons, self.mean = prototypes(self.reader, Faces(shards, lambda p: p < first_held_out))
        self.place = {int(p): k for k, p in enumerate(persons)}

    def __call__(
        self,
        made: torch.Tensor,
        sigma: torch.Tensor,
        *,
        goal: torch.Tensor,
        rows: list[dict[str, Any]],
        told: bool,
    ) -> torch.Tensor:
        """Mean over the batch, 0 where no face shows. made, goal: packed latents (B, 64, 64);
        sigma: noise levels (B,), 0 to 1.

        told: a reference says who it is, so the person must be found among all others at every
        noise level; else the face must read as its goal's, the more the less noise hides it.
        """
        windows = [window(r["labels"]) for r in rows]
        shown = [
            k for k, w in enumerate(windows) if w is not None and rows[k]["person"] in self.place
        ]
        if not shown:
            return made.sum() * 0
        where = torch.from_numpy(np.stack([windows[k] for k in shown]))  # type: ignore[misc]
        vectors = self.reader(cut(made[shown], where))
        with torch.no_grad():
            own = self.reader(cut(goal[shown], where))
        away = (1 - (vectors * own).sum(-1)) * (1 - sigma[shown])
        if told:
            answers = torch.tensor([self.place[rows[k]["person"]] for k in shown])
            cosines = SCALE * vectors @ self.mean.T
            lost = nn.functional.cross_entropy(cosines, answers, reduction="none")
            away = away + TOLD / SCALE * lost
        return away.sum() / len(made)
