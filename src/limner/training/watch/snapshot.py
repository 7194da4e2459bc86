"""One look at a run: progress, curve, samples, files, flags, as plain values for any face.

In: a path (and the user's own thresholds). Out: a dict that JSON takes; what could not be looked at
is named with its reason.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.training.watch import curve, flags, pictures
from limner.training.watch.flags import Flag, Machine
from limner.training.watch.reading import read
from limner.training.watch.rules import RULES, rules
from limner.training.watch.seen import Point, Seen

RANK = {"error": 0, "warning": 1, "info": 2}
_LACKS = {
    "nan": "no loss is written anywhere",
    "spike": "fewer than six windows of {watch_window:g} single losses",
    "plateau": "fewer than {watch_plateau_from:g} losses",
    "fast-fall": "the run's length is not known, or fewer than 40 single losses in its start "
    "(`watch_fast_share`)",
    "no-fall": "fewer than {watch_no_fall_from:g} losses",
    "by-heart": "no fixed-noise loss on held-out pictures is written, or fewer than three",
    "dead-process": "nothing says that it is running, nor how long it will be",
    "checkpoints": "no file and no plan of files is known",
    "log": "there is no log",
    "disk": "the disk could not be asked",
    "vram": "no NVIDIA GPU on this machine, or nvidia-smi does not answer",
    "saturation": "samples of fewer than three steps",
    "repetition": "fewer than two samples a step",
}


class Watch:
    """Looks at one run again and again; samples are measured once.

    own: thresholds by name, over those of `training.thresholds` when `path` is in a project.
    """

    def __init__(self, path: Path, own: Mapping[str, float] | None = None) -> None:
        self.path = path
        self.values = rules({**_of_project(path), **(own or {})})
        self._known: dict[Path, pictures.Look] = {}

    def look(self, machine: Machine | None = None) -> dict[str, Any]:
        """What can be seen now; see docs/watch.md. Raises UsageError, InputError."""
        seen = read(self.path)
        there = machine or ask_machine(seen.folder)
        raised, looked = flags.flags(seen, self.values, there)
        looks = pictures.measure(seen.samples, self._known)
        more, seen_too = pictures.flags(looks, self.values)
        more += pictures.unreadable(seen.samples, looks, there.now)
        looked |= seen_too
        return {
            **_progress(seen),
            "loss": _loss(seen, self.values),
            "learning_rate": seen.learning_rate,
            "samples": [
                {
                    "step": x.sample.step,
                    "index": x.sample.index,
                    "path": str(x.sample.path),
                    "saturation": round(x.saturation, 3),
                }
                for x in looks
            ],
            "checkpoints": [
                {"step": s.step, "file": s.path.name, "bytes": s.bytes} for s in seen.saved
            ],
            "flags": [_row(flag) for flag in sorted([*raised, *more], key=_rank)],
            "not_looked": {
                n: _LACKS[n].format(**self.values) for n, there in looked.items() if not there
            },
            "machine": {
                "disk_free_gb": there.disk_free_gb,
                "gpu": there.gpu,
                "vram_used_mb": there.vram_used,
                "vram_total_mb": there.vram_total,
            },
            "log": [asdict(line) for line in seen.lines[-8:]],
            "sources": seen.sources,
        }


def _of_project(path: Path) -> dict[str, float]:
    """The `watch_` thresholds of the project that a path lies in; {} outside of one."""
    for folder in list((path / "x").absolute().parents)[:4]:
        if (folder / "character.yaml").is_file() and (folder / "limner.db").is_file():
            from limner.project import Project

            given = Project.open(folder).character.training.thresholds
            return {name: value for name, value in given.items() if name.startswith("watch_")}
    return {}


def watch(path: Path, own: Mapping[str, float] | None = None) -> dict[str, Any]:
    """One look at the run in `path`. Raises UsageError, InputError."""
    return Watch(path, own).look()


def _rank(flag: Flag) -> int:
    return RANK[flag.severity]


def _row(flag: Flag) -> dict[str, Any]:
    used = {
        "nan": (),
        "spike": ("watch_spike", "watch_window"),
        "plateau": ("watch_plateau_share", "watch_plateau_gain"),
        "fast-fall": ("watch_fast_share", "watch_fast_fall"),
        "no-fall": ("watch_no_fall",),
        "by-heart": ("watch_gap", "watch_held_out_rise"),
        "silent": ("watch_silent_s", "watch_silent_steps"),
        "disk": ("watch_disk_gb",),
        "vram": ("watch_vram",),
        "saturation": ("watch_saturation",),
        "repetition": ("watch_repeat_bits", "watch_repeat_share"),
    }.get(flag.rule, ())
    tags = {name: RULES[name].tag for name in used}
    return {**asdict(flag), "thresholds": tags}


def _progress(seen: Seen) -> dict[str, Any]:
    left = curve.seconds_left(seen)
    reason = None if left is not None else "the trainer's pace or length is not known"
    return {
        "kind": seen.kind,
        "name": seen.name,
        "folder": str(seen.folder),
        "state": "done" if seen.done and seen.states != "failed" else seen.states,
        "step": seen.step,
        "total": seen.total,
        "seconds_per_step": seen.seconds_per_step,
        "eta_s": None if seen.done else left,
        "eta_reason": None if seen.done else reason,
        "touched": seen.touched,
        "save_every": seen.save_every,
        "pid": seen.pid,
        "alive": seen.alive,
    }


def _loss(seen: Seen, v: Mapping[str, float]) -> dict[str, Any] | None:
    points = seen.finite()
    if not points:
        return None
    weight = 0.0 if seen.averaged else v["watch_smooth"]
    smooth = curve.smoothed(points, weight)

    def rows(listed: list[Point]) -> list[list[float]]:
        return [[p.step, round(p.value, 6)] for p in curve.thinned(listed)]

    return {
        "now": round(smooth[-1].value, 6),
        "first": round(smooth[min(len(smooth) - 1, 20)].value, 6),
        "last_step": round(points[-1].value, 6),
        "count": len(points),
        "averaged": seen.averaged,
        "raw": rows(points),
        "smooth": rows(smooth),
    }


def ask_machine(folder: Path) -> Machine:
    """Free disk below a folder, and the fullest NVIDIA card of this machine."""
    try:
        free: float | None = shutil.disk_usage(folder).free / 1e9
    except OSError:
        free = None
    return Machine(free, *_gpu())


def _gpu() -> tuple[float | None, float | None, str | None]:
    """(MB used, MB there, name) of the card with the most in use."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, None, None
    query = [program, "--query-gpu=memory.used,memory.total,name", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        rows = [line.split(",", 2) for line in said.splitlines() if line.count(",") >= 2]
        cards = [(float(used), float(total), name.strip()) for used, total, name in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None, None, None
    return max(cards) if cards else (None, None, None)
