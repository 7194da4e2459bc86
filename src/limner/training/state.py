"""The state of a run, from which it goes on bit for bit: weights, moments, step.

One safetensors file, replaced whole. Random numbers and data order need no state: they are
functions of (seed, step), see `limner.training.order`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.errors import InputError
from limner.models import tensorfile

FILE = "state.safetensors"
FORMAT = "1"


def _tensor(value: Any) -> tensorfile.Tensor:
    return tensorfile.encode(value.detach().float().cpu().numpy(), "F32")


def save(
    path: Path, *, step: int, config_sha256: str, weights: Mapping[str, Any], optimizer: Any
) -> None:
    """Write weights, AdamW's moments and the step. Raises WorkFailedError (disk full, read-only).

    weights: name -> parameter; a parameter that never got a gradient has no moments.
    """
    tensors = {f"weight:{name}": _tensor(p) for name, p in weights.items()}
    updates: dict[str, str] = {}
    for name, parameter in weights.items():
        moments = optimizer.state.get(parameter)
        if moments:
            tensors[f"exp_avg:{name}"] = _tensor(moments["exp_avg"])
            tensors[f"exp_avg_sq:{name}"] = _tensor(moments["exp_avg_sq"])
            updates[f"updates:{name}"] = str(int(moments["step"]))
    metadata = {
        "limner.state": FORMAT,
        "limner.step": str(step),
        "limner.config_sha256": config_sha256,
        **updates,
    }
    tensorfile.write(path, tensors, metadata)


def load(path: Path, *, config_sha256: str, weights: Mapping[str, Any], optimizer: Any) -> int:
    """Put a saved state into weights and optimizer; returns the step it was saved after.

    0 when there is no state yet. Raises InputError when it belongs to another configuration.
    """
    import torch

    if not path.exists():
        return 0
    tensors, metadata = tensorfile.read(path)
    wanted = {f"weight:{name}" for name in weights}
    if metadata.get("limner.config_sha256") != config_sha256 or not wanted <= set(tensors):
        raise InputError(
            "The saved state belongs to a run with other settings",
            where=str(path),
            fix="Start a new run with `limner train --fresh`.",
        )
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(torch.from_numpy(tensors[f"weight:{name}"].floats().copy()))
            if f"exp_avg:{name}" not in tensors:
                optimizer.state.pop(parameter, None)
                continue
            first = tensors[f"exp_avg:{name}"].floats().copy()
            second = tensors[f"exp_avg_sq:{name}"].floats().copy()
            optimizer.state[parameter] = {
                "step": torch.tensor(float(metadata[f"updates:{name}"]), dtype=torch.float32),
                "exp_avg": torch.from_numpy(first).to(parameter.device),
                "exp_avg_sq": torch.from_numpy(second).to(parameter.device),
            }
    return int(metadata["limner.step"])
