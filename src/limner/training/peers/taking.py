"""What another trainer has written so far, taken into our records: losses, files, samples.

In: its folder and console. Out: metrics.jsonl, checkpoints in diffusers' names beside the run,
samples under our names. Its own files are only read; what it deletes later is kept here.
"""

from __future__ import annotations

import json
import math
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.models.lora_convert import convert
from limner.project import Project
from limner.project.files import sha256_file, write_text
from limner.project.records import Checkpoint
from limner.training.peers.setup import Setup
from limner.training.watch import logtext
from limner.training.watch.reading import read
from limner.training.watch.seen import Point, SavedFile, Seen


@dataclass
class Taking:
    """Takes over one run's products, again and again; what is taken is not taken twice."""

    project: Project
    version: int
    setup: Setup
    folder: Path
    """Where the trainer writes its files."""
    models: Path
    logs: Path
    taken: set[str] = field(default_factory=set)
    losses: list[Point] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def look(self, *, ended: bool = False) -> Seen | None:
        """Read what is there and take it over. ended: no process writes any more."""
        try:
            seen = read(self.folder)
        except LimnerError:
            return None
        if not seen.losses:  # musubi-tuner's console; its event files come first
            log = logtext.read_file(self.logs / "console.log")
            seen.losses, seen.averaged = log.points, log.averaged
        self._losses(seen)
        for saved in seen.saved:
            self._checkpoint(seen, saved, ended=ended)
        self._samples(seen)
        return seen

    def _losses(self, seen: Seen) -> None:
        if seen.losses and seen.losses != self.losses:
            self.losses = list(seen.losses)
            rows = [
                {
                    "step": p.step + (1 if seen.zero_based else 0),
                    "loss": p.value if math.isfinite(p.value) else None,
                    **({"time": p.at} if p.at is not None else {}),
                    **({"averaged": True} if seen.averaged else {}),
                }
                for p in self.losses
            ]
            write_text(self.logs / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in rows))

    def updates(self, seen: Seen, saved: SavedFile) -> int:
        """Optimizer updates that a file has seen: ai-toolkit's number is one less."""
        if saved.step is None:
            return self.setup.counts.optimizer_steps
        return saved.step + (1 if seen.zero_based else 0)

    def _checkpoint(self, seen: Seen, saved: SavedFile, *, ended: bool) -> None:
        if saved.path.name in self.taken or not whole(saved.path):
            return
        if saved.step is None and not (ended or seen.done):
            return
        step = self.updates(seen, saved)
        target = self.models / f"step_{step:06d}.safetensors"
        part = target.with_name(f".{target.name}.taking")
        try:
            made = convert(saved.path, part, "diffusers")
            part.replace(target)
        except (LimnerError, OSError) as error:
            self.refused[saved.path.name] = str(getattr(error, "what", error))
            part.unlink(missing_ok=True)
            self.taken.add(saved.path.name)
            return
        run = self.setup.counts
        own = f"epoch {round(10 * step / run.optimizer_steps, 1):g} of 10"
        label = next((c.label for c in run.checkpoints if c.updates == step), own)
        recent = [p.value for p in self.losses if p.step <= step and math.isfinite(p.value)][-100:]
        self.project.store.put_checkpoint(
            Checkpoint(
                run_version=self.version,
                step=step,
                path=self.project.relative(target),
                sha256=sha256_file(target),
                data={
                    "label": label,
                    "rank": self.setup.rank,
                    "loss": sum(recent) / len(recent) if recent else None,
                    "held_out_loss": None,
                    "reason": f"{self.setup.trainer} measures none on this model",
                    "file": saved.path.name,
                    "file_sha256": sha256_file(saved.path),
                    "was": made["was"],
                    "alpha": made["alpha"],
                },
            )
        )
        self.taken.add(saved.path.name)

    def _samples(self, seen: Seen) -> None:
        for sample in seen.samples:
            step = sample.step + (1 if seen.zero_based and sample.step else 0)
            step = min(step, self.setup.counts.optimizer_steps)
            name = f"step_{step:06d}_{sample.index}{sample.path.suffix.lower()}"
            target = self.logs / "samples" / name
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{name}.part")
            try:
                shutil.copyfile(sample.path, part)
                part.replace(target)
            except OSError:
                part.unlink(missing_ok=True)


def whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says: not being written, not cut."""
    try:
        with path.open("rb") as source:
            head = source.read(8)
            if len(head) < 8:
                return False
            (length,) = struct.unpack("<Q", head)
            size = path.stat().st_size
            if length > size - 8:
                return False
            header: dict[str, Any] = json.loads(source.read(length))
        ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
        return bool(ends) and size == 8 + length + max(ends)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def lay_aside_cut_files(folder: Path) -> list[str]:
    """Rename files that a kill cut, so that the trainer does not take its run up at one of them."""
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        if not whole(file):
            file.replace(file.with_suffix(".safetensors.cut"))
            found.append(file.name)
    return found
