"""What can be seen of a run from its files, whoever started it. None = not to be seen, never 0.

In: nothing. Out: the records that readers fill and rules judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from limner.training import heldout


@dataclass(frozen=True)
class Point:
    """The loss after one step of the trainer's counter; value may be NaN; at: seconds, if known."""

    step: int
    value: float
    at: float | None = None


@dataclass(frozen=True)
class SampleFile:
    """One sample picture. index: which prompt."""

    step: int
    index: int
    path: Path


@dataclass(frozen=True)
class SavedFile:
    """One checkpoint file. step None: the unnumbered last one."""

    step: int | None
    path: Path
    bytes: int


@dataclass(frozen=True)
class Line:
    """A line of a log worth showing. kind: saved, removed, oom, error, resumed, done."""

    kind: str
    text: str


@dataclass
class Seen:
    """All that the files of one run say. Paths are of this machine; times are epoch seconds."""

    kind: str
    """ai-toolkit, musubi-tuner, SimpleTuner, limner, log, database or tensorboard."""
    name: str
    folder: Path
    losses: list[Point] = field(default_factory=list)
    averaged: bool = False
    """The trainer gave running averages, not losses of single steps (musubi-tuner's console)."""
    step: int | None = None
    total: int | None = None
    seconds_per_step: float | None = None
    learning_rate: float | None = None
    fixed: list[heldout.Point] = field(default_factory=list)
    """Losses at fixed noise on held-out and training pictures (Limner's own runs)."""
    samples: list[SampleFile] = field(default_factory=list)
    saved: list[SavedFile] = field(default_factory=list)
    save_every: int | None = None
    keep: int | None = None
    zero_based: bool = False
    """Files are numbered from 0: step 250 is written after the 251st update (ai-toolkit)."""
    numbers_last: bool = True
    """Whether the file at the end has a number."""
    states: str | None = None
    """What the run claims to be: running, stopped, done, failed."""
    claimed_by: str = ""
    pid: int | None = None
    alive: bool | None = None
    touched: float | None = None
    """When any of its files changed last."""
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the last step was made, or the log says so."""
        ended = self.step is not None and self.total is not None and self.step >= self.total
        return ended or self.states == "done" or any(x.kind == "done" for x in self.lines)

    def finite(self) -> list[Point]:
        """The losses that are numbers."""
        return [p for p in self.losses if math.isfinite(p.value)]
