"""Small classifiers trained on drawings that read a picture's place, colours and angle.

They stand in for an eye when 100 samples must be counted; their own confusion on unseen drawings is
published beside every number they give.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from limner.lexicon import drawable as lexicon
from scripts.miniature import corpus

BATCH = 64


def classes() -> dict[str, list[str]]:
    """What is read, and its values."""
    return {
        "setting": list(lexicon.settings()),
        "angle": ["front", "three_quarter", "side", "back"],
        "hair_color": list(lexicon.traits()["hair_color"]),
        "outfit_color": [*lexicon.colors(), "denim"],
    }


def outfit_color(row: dict[str, Any]) -> str:
    """Colour word of the garment that shows most: coat or jacket, else dress, else top."""
    outfit = lexicon.outfits()[row["attributes"]["outfit"]]
    main = outfit.over or outfit.dress or outfit.top
    assert main is not None
    said, plain = row["attributes"]["outfit_phrase"], outfit.phrase
    if main.color == "denim" or said == plain:
        return main.color
    before, _ = plain.split(main.color, 1)
    rest = said[len(before) :] if said.startswith(before) else said
    found = [c for c in lexicon.colors() if rest.startswith(c)]
    return max(found, key=len) if found else main.color


def targets(row: dict[str, Any]) -> dict[str, int]:
    """Class index by what is read; -1 where it does not show."""
    angle = row["attributes"]["angle"].replace("pure_back", "back")
    value = {
        "setting": row["attributes"]["setting"],
        "angle": angle,
        "hair_color": row["identity"]["hair_color"],
        "outfit_color": outfit_color(row),
    }
    return {k: names.index(value[k]) for k, names in classes().items()}


class Probe(nn.Module):
    """A convolutional trunk on 64 px pictures and one linear head a question."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 160)
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.SiLU()]
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(0.1))
        self.heads = nn.ModuleDict({k: nn.Linear(160 * 9, len(v)) for k, v in classes().items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.trunk(x)
        return {k: head(h) for k, head in self.heads.items()}


def prepare(pictures: np.ndarray, blur: bool = False) -> torch.Tensor:
    """uint8 (B, 128, 128, 3) -> (B, 3, 64, 64) in -1..1; `blur` softens as a small decoder does."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if blur:
        x = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    return functional.avg_pool2d(x, 2)


def train(work: Path, shards: Path, first_held_out: int, minutes: float) -> Probe:
    """Train (or load) the probes on people below `first_held_out`."""
    file = work / "probes.pt"
    probe = Probe()
    if file.exists():
        probe.load_state_dict(torch.load(file, weights_only=True))
        return probe.eval()
    pictures, goals = load(shards, lambda p: p < first_held_out, most=24)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(probe.parameters(), 2e-3, weight_decay=1e-2)
    start, step = time.monotonic(), 0
    while (left := 1 - (time.monotonic() - start) / (minutes * 60)) > 0:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, left / 0.5)
        index = rng.integers(0, len(pictures), BATCH)
        out = probe(prepare(pictures[index], blur=bool(rng.random() < 0.5)))
        loss = sum(functional.cross_entropy(out[k], goals[k][index]) for k in out)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"probes {step} {float(loss):.3f}", flush=True)
    torch.save(probe.state_dict(), file)
    return probe.eval()


def load(shards: Path, wanted: Any, most: int) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """Pictures and targets of the people that `wanted` accepts, of at most `most` shards."""
    pictures, goals = [], []
    for file in corpus.shards(shards):
        rows = json.loads(file.with_suffix(".json").read_text())["rows"]
        keep = [k for k, row in enumerate(rows) if wanted(row["person"])]
        if keep:
            pictures.append(np.load(file)[keep])
            goals += [targets(rows[k]) for k in keep]
        if len(pictures) == most:
            break
    table = {k: torch.tensor([g[k] for g in goals]) for k in classes()}
    return np.concatenate(pictures), table


@torch.no_grad()
def read(probe: Probe, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Class indices by what is read, (B,) each."""
    found: dict[str, list[int]] = {k: [] for k in classes()}
    for start in range(0, len(pictures), 64):
        for k, logits in probe(prepare(pictures[start : start + 64])).items():
            found[k] += logits.argmax(1).tolist()
    return {k: np.array(v) for k, v in found.items()}
