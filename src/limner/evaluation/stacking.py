"""Two LoRAs as one file, so that any renderer can draw with both at once.

In: LoRA files with strengths. Out: one LoRA whose change of every weight is the sum of theirs:
ranks are put side by side, B carries strength and alpha / rank. Exact, up to the file's
number type.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limner.errors import InputError
from limner.models import lora, tensorfile
from limner.models.lora_naming import PREFIX


def stack(files: Sequence[tuple[Path, float]], out: Path) -> str:
    """Write the sum of LoRAs (file, strength) to `out`; returns its SHA-256.

    A module that one of them lacks is filled with zeros. Raises InputError when a file is no plain
    LoRA of this model, or two disagree about the size of a weight.
    """
    parts: list[dict[str, Any]] = []
    metadata: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (path, strength) in enumerate(files):
            if not path.is_file():
                raise InputError("The LoRA is missing", where=str(path), fix="Check the path.")
            folded = Path(folder) / f"{number}.safetensors"
            lora.fold(path, folded, scale=strength)
            tensors, found = tensorfile.read(folded)
            parts.append({k.removeprefix(PREFIX): t.floats() for k, t in tensors.items()})
            metadata = metadata or found
    shapes = _shapes(parts, files)
    weights: dict[str, Any] = {}
    for module, (inner, outer) in shapes.items():
        down, up = [], []
        for part in parts:
            rank = _rank(part)
            a, b = part.get(f"{module}.lora_A.weight"), part.get(f"{module}.lora_B.weight")
            down.append(np.zeros((rank, inner), np.float32) if a is None else a)
            up.append(np.zeros((outer, rank), np.float32) if b is None else b)
        weights[f"{module}.lora_A.weight"] = np.concatenate(down, axis=0)
        weights[f"{module}.lora_B.weight"] = np.concatenate(up, axis=1)
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in metadata.items() if k.startswith(("modelspec.", "limner."))}
    return lora.save(out, weights, kept, dtype="F32")


def _rank(part: dict[str, Any]) -> int:
    return max(int(a.shape[0]) for key, a in part.items() if key.endswith("lora_A.weight"))


def _shapes(
    parts: Sequence[dict[str, Any]], files: Sequence[tuple[Path, float]]
) -> dict[str, tuple[int, int]]:
    """Module -> (inputs, outputs), from all files; ranks of one file must agree."""
    found: dict[str, tuple[int, int]] = {}
    for part, (path, _) in zip(parts, files, strict=True):
        rank = _rank(part)
        for key, a in part.items():
            if not key.endswith("lora_A.weight"):
                continue
            module = key.removesuffix(".lora_A.weight")
            size = (int(a.shape[1]), int(part[f"{module}.lora_B.weight"].shape[0]))
            if found.setdefault(module, size) != size or a.shape[0] != rank:
                raise InputError(
                    f"{module} has another size or rank in {path.name}",
                    where=str(path),
                    fix="Stack LoRAs of one base model, each of one rank.",
                )
    return found
