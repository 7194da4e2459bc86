"""The trainers people have: their configs, their runs and their records, as if they were ours.

1. `decide` makes one `Setup` from the groups of a dataset export; `configs` writes it in the
   trainer's own format, with its known faults avoided; `limner check` finds nothing in them.
2. `train_with` runs ai-toolkit or musubi-tuner as a process in its own environment.
3. What it prints and writes (steps, losses, samples, checkpoints) goes into our records.
4. Its LoRA files are kept as they are and converted to diffusers' names beside them.
5. A killed run is taken up by the same command, with the trainer's own resume; files of a run on
   another machine come in by `adopting.take`, and say no more than they know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from limner.training.peers import aitoolkit, musubi, others, simpletuner
from limner.training.peers.setup import BASES, DEFAULT_BASE, Setup, decide, notes

__all__ = ["BASES", "COUNTED_AS", "DEFAULT_BASE", "Setup", "configs", "decide", "notes"]

COUNTED_AS = {
    "ai-toolkit": "ai-toolkit",
    "musubi": "musubi-tuner",
    "simpletuner": "SimpleTuner",
    "kohya": "kohya",
    "diffusers": "kohya",
}
"""Layout -> the trainer whose arithmetic it follows; diffusers counts by accelerate, as kohya."""

_WRITERS: Mapping[str, Callable[[Setup], dict[str, str]]] = {
    "ai-toolkit": aitoolkit.configs,
    "musubi": musubi.configs,
    "simpletuner": simpletuner.configs,
    "kohya": others.kohya,
    "diffusers": others.diffusers,
}


def configs(layout: str, setup: Setup) -> dict[str, str]:
    """The trainer's own files by relative name; {} for a service."""
    return _WRITERS[layout](setup) if layout in _WRITERS else {}


def about(setup: Setup) -> dict[str, Any]:
    """What the run amounts to, for answers and records."""
    run = setup.counts
    return {
        "trainer": setup.trainer,
        "base": setup.base.name,
        "mode": setup.mode,
        "logged_steps": run.logged_steps,
        "optimizer_steps": run.optimizer_steps,
        "image_passes": run.image_passes,
        "shares": run.shares,
        "checkpoints": [
            {"step": c.step, "file": c.file, "label": c.label} for c in run.checkpoints
        ],
        "notes": notes(setup),
    }
