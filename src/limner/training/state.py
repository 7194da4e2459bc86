"""The state of a run, from which it goes on bit for bit: weights, moments, averages, step.

One safetensors file, replaced whole. Random numbers and data order need no state: they are
functions of (seed, step), see `limner.training.order`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError
from limner.models import lora, tensorfile
from limner.project.files import explain_os_error
from limner.training.config import RunConfig

if TYPE_CHECKING:
    from limner.training.trainer import Trainer

FILE = "state.safetensors"
GOOD = "state_checkpoint.safetensors"
"""The state at the last checkpoint: what a run goes back to when its numbers go wrong."""
FORMAT = "2"


def _tensor(value: Any) -> tensorfile.Tensor:
    return tensorfile.encode(value.detach().float().cpu().numpy(), "F32")


def save(
    path: Path,
    *,
    step: int,
    config_sha256: str,
    weights: Mapping[str, Any],
    optimizer: Any,
    averaged: Mapping[str, Any] | None = None,
) -> None:
    """Write weights, AdamW's moments and the step. Raises WorkFailedError (disk full, read-only).

    weights: name -> parameter; a parameter that never got a gradient has no moments. averaged:
    the averaged weights of a run that keeps any.
    """
    tensors = {f"weight:{name}": _tensor(p) for name, p in weights.items()}
    tensors |= {f"average:{name}": _tensor(p) for name, p in (averaged or {}).items()}
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


def load(
    path: Path,
    *,
    config_sha256: str,
    weights: Mapping[str, Any],
    optimizer: Any,
    averaged: Mapping[str, Any] | None = None,
) -> int:
    """Put a saved state into weights, optimizer and averages; the step it was saved after.

    0 when there is no state yet. Raises InputError when it belongs to another configuration.
    """
    import torch

    if not path.exists():
        return 0
    tensors, metadata = tensorfile.read(path)
    wanted = {f"weight:{n}" for n in weights} | {f"average:{n}" for n in averaged or {}}
    if metadata.get("limner.config_sha256") != config_sha256 or not wanted <= set(tensors):
        raise InputError(
            "The saved state belongs to a run with other settings",
            where=str(path),
            fix="Start a new run with `limner train --fresh`.",
        )

    def saved(name: str, device: Any) -> Any:
        return torch.from_numpy(tensors[name].floats().copy()).to(device)

    with torch.no_grad():
        for name, parameter in weights.items():
            device = parameter.device
            parameter.copy_(saved(f"weight:{name}", device))
            if averaged:
                averaged[name].copy_(saved(f"average:{name}", device))
            if f"exp_avg:{name}" not in tensors:
                optimizer.state.pop(parameter, None)
                continue
            count = float(metadata[f"updates:{name}"])
            optimizer.state[parameter] = {
                # the fused AdamW keeps its count beside the weights
                "step": torch.tensor(count, dtype=torch.float32, device=device),
                "exp_avg": saved(f"exp_avg:{name}", device),
                "exp_avg_sq": saved(f"exp_avg_sq:{name}", device),
            }
    return int(metadata["limner.step"])


def save_trainer(trainer: Trainer, path: Path, config: RunConfig, step: int) -> None:
    """`save` of all that a trainer owns."""
    save(
        path,
        step=step,
        config_sha256=config.trajectory_sha256(),
        weights=trainer.weights,
        optimizer=trainer.optimizer,
        averaged=trainer.averaged,
    )


def load_or_start(trainer: Trainer, path: Path, config: RunConfig) -> int:
    """`load` into a trainer; where there is no state, the weights a run begins with. The step."""
    import torch

    if not path.exists():
        lora.start(trainer.weights, config.seed)
        trainer.optimizer.state.clear()
        with torch.no_grad():
            for name, average in trainer.averaged.items():
                average.copy_(trainer.weights[name])
    return load(
        path,
        config_sha256=config.trajectory_sha256(),
        weights=trainer.weights,
        optimizer=trainer.optimizer,
        averaged=trainer.averaged,
    )


def keep_good(folder: Path) -> None:
    """Remember the newest state as that of a checkpoint. A second name, no second copy."""
    link = folder / f".{GOOD}.{os.getpid()}.part"
    try:
        link.unlink(missing_ok=True)
        _second_name(folder / FILE, link)
        link.replace(folder / GOOD)
    except OSError as error:
        raise explain_os_error(error, folder / GOOD) from None


def go_back(folder: Path) -> None:
    """Make the state of the last checkpoint the newest one; none: the run begins anew."""
    newest = folder / FILE
    link = folder / f".{FILE}.{os.getpid()}.part"
    try:
        if not (folder / GOOD).exists():
            newest.unlink(missing_ok=True)
            return
        link.unlink(missing_ok=True)
        _second_name(folder / GOOD, link)
        link.replace(newest)
        link.unlink(missing_ok=True)  # renaming a file onto its own second name leaves both
    except OSError as error:
        raise explain_os_error(error, newest) from None


def _second_name(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)  # a file system without hard links


def step_of(path: Path) -> int | None:
    """The step a state was saved after, from its header alone; None when there is no state."""
    if not path.exists():
        return None
    return int(tensorfile.header(path)[1].get("limner.step", 0))
