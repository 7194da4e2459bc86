"""Trainers' consoles as numbers: tqdm lines, what was saved and removed, errors.

In: the text of a log, with carriage returns as trainers print them. Out: steps, losses, pace and
`Line`s. Formats: ai-toolkit 0.12.26, musubi-tuner 30c658c (tqdm with avr_loss), accelerate scripts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from limner.training.watch.seen import Line, Point

MOST_BYTES = 20_000_000
"""Of a log only the end is read (starting value): 20 MB hold about 100,000 progress lines."""

_NUMBER = r"(?:[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?)|nan|inf|-inf)"
_BAR = re.compile(
    r"(\d+)/(\d+) \[(\d+(?::\d+)+)<(\d+(?::\d+)+|\?),"
    r"\s*(?:(\d+\.?\d*)(s/it|it/s)|\?\S*)(.*?)\]?\s*$"
)
_RATE = re.compile(rf"\blr['\"]?\s*[:=]\s*({_NUMBER})", re.IGNORECASE)
_LOSS = re.compile(rf"\b(avr_loss|step_loss|train_loss|loss)['\"]?\s*[:=]\s*({_NUMBER})", re.I)
_LINES = (
    ("saved", re.compile(r"Saved checkpoint to|Saving at step|saving checkpoint:", re.I)),
    ("removed", re.compile(r"Removing old save|removing old checkpoint", re.I)),
    ("resumed", re.compile(r"RESUMING FROM|Found step \d+ in metadata|resume training from", re.I)),
    ("oom", re.compile(r"OOM during training step|CUDA out of memory|OutOfMemoryError")),
    ("error", re.compile(r"Error running job|^Traceback|^\w*Error: |Killed$")),
    ("done", re.compile(r"- 1 completed job|model saved\.$", re.I)),
)


@dataclass
class Log:
    """What a log says. seconds: per step, as the trainer's own bar has it; averaged: see `Seen`."""

    points: list[Point] = field(default_factory=list)
    step: int | None = None
    total: int | None = None
    seconds: float | None = None
    rate: float | None = None
    averaged: bool = False
    lines: list[Line] = field(default_factory=list)


def read_file(path: Path) -> Log:
    """The end of a log file; an empty `Log` when it cannot be read."""
    try:
        with path.open("rb") as source:
            source.seek(0, 2)
            size = source.tell()
            source.seek(max(size - MOST_BYTES, 0))
            text = source.read(MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return Log()
    return read_text(text)


def read_text(text: str) -> Log:
    """All that is known of the lines; bars without a loss are loading or sampling, not training."""
    found = Log()
    by_step: dict[int, float] = {}
    for raw in re.split(r"[\r\n]+", text):
        line = raw.strip()
        if line:
            _bar(line, found, by_step)
            _event(line, found)
    found.points = [Point(step, value) for step, value in sorted(by_step.items())]
    return found


def _bar(line: str, found: Log, by_step: dict[int, float]) -> None:
    bar = _BAR.search(line)
    if bar is None:
        return
    loss = _LOSS.search(bar[7])
    if loss is None:
        return
    step, total = int(bar[1]), int(bar[2])
    if found.step is not None and step < found.step:  # taken up earlier: what came after is undone
        for later in [s for s in by_step if s > step]:
            del by_step[later]
    found.step, found.total = step, total
    found.averaged = found.averaged or loss[1].lower() == "avr_loss"
    by_step[step] = float(loss[2])
    if bar[5]:
        pace = float(bar[5])
        found.seconds = pace if bar[6] == "s/it" else (1 / pace if pace else None)
    if rate := _RATE.search(bar[7]):
        found.rate = float(rate[1])


def _event(line: str, found: Log) -> None:
    for kind, pattern in _LINES:
        if pattern.search(line):
            found.lines.append(Line(kind, line[:240]))
            return
