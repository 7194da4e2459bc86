"""Red flags of a run, each with its evidence and one thing to do.

In: `Seen`, the values of the rules, what the machine says. Out: `Flag`s, worst first. A rule that
has nothing to look at raises nothing; `looked` says which rules had something to look at.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limner.training import heldout
from limner.training.watch import curve
from limner.training.watch.seen import Seen

Severity = Literal["error", "warning", "info"]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Flag:
    """One flag. evidence: the numbers it rests on; do: one action."""

    rule: str
    severity: Severity
    what: str
    do: str
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """What the machine says; None = not measured. Memory of the GPU in MB."""

    disk_free_gb: float | None = None
    vram_used: float | None = None
    vram_total: float | None = None
    gpu: str | None = None
    now: float = field(default_factory=time.time)


Rule = Callable[[Seen, Values, Machine], list[Flag] | None]


def not_finite(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """Losses that are no numbers."""
    if not seen.losses:
        return None
    bad = [p.step for p in seen.losses if not math.isfinite(p.value)]
    if not bad:
        return []
    good = [s.step for s in seen.saved if s.step is not None and s.step < bad[0]]
    last = f"; the newest file before it is of step {max(good)}" if good else ""
    return [
        Flag(
            "nan",
            "error",
            f"The loss is no number at {_many(len(bad), 'step')}, first at step {bad[0]}{last}",
            "Stop the run and start again from a file before it, with half the learning rate.",
            {"first": bad[0], "steps": len(bad), "last_good_file": max(good) if good else None},
        )
    ]


def spike(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """A window's mean far over the median of the windows before it."""
    means = curve.windows(seen.finite(), max(int(v["watch_window"]), 1))
    if len(means) < 6 or seen.averaged:
        return None
    for index in range(len(means) - 1, 4, -1):
        usual = statistics.median(p.value for p in means[max(index - 20, 0) : index])
        if usual > 0 and means[index].value > v["watch_spike"] * usual:
            now, after = means[index], means[-1].value
            over = "it has come down since" if after < v["watch_spike"] * usual else "and it stays"
            return [
                Flag(
                    "spike",
                    "warning",
                    f"Around step {now.step} the loss was {now.value / usual:.1f} times what was "
                    f"usual ({now.value:.3g} against {usual:.3g}); {over}",
                    "Compare the samples before and after it; if they broke, go back to the file "
                    "before it and lower the learning rate.",
                    {"step": now.step, "mean": now.value, "usual": usual, "now": after},
                )
            ]
    return []


def plateau(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """No progress over the last share of the steps made."""
    points = seen.finite()
    if len(points) < v["watch_plateau_from"]:
        return None
    part = max(int(len(points) * v["watch_plateau_share"]), 10)
    first, last = points[-part : -part // 2], points[-part // 2 :]
    gained = curve.fall(first, last)
    before = curve.fall(points[: len(points) // 5], points[-part:])
    if gained is None or gained > v["watch_plateau_gain"] or (before or 0) <= 0.02:
        return []  # a loss that never fell has its own rule
    return [
        Flag(
            "plateau",
            "info",
            f"Since step {first[0].step} the loss has changed by {-gained:+.1%} only",
            "Judge the files there are (`limner evaluate`): more steps may only copy the pictures.",
            {"since": first[0].step, "change": -gained},
        )
    ]


def fast_fall(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """Most of the loss gone in the first share of the run."""
    points = seen.finite()
    if seen.total is None or len(points) < 60 or seen.averaged:
        return None
    end = seen.total * v["watch_fast_share"]
    early = [p for p in points if p.step <= end]
    if len(early) < 40:
        return None
    fell = curve.fall(early[: len(early) // 4], early[-len(early) // 4 :])
    if fell is None or fell < v["watch_fast_fall"]:
        return []
    return [
        Flag(
            "fast-fall",
            "warning",
            f"The loss fell by {100 * fell:.0f} % within the first "
            f"{100 * v['watch_fast_share']:.0f} % of the run",
            "Halve the learning rate, or look for doubles in the dataset (`limner check FOLDER`).",
            {"fall": fell, "by_step": early[-1].step},
        )
    ]


def no_fall(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """The last fifth is not below the first."""
    points = seen.finite()
    if len(points) < v["watch_no_fall_from"]:
        return None
    part = len(points) // 5
    fell = curve.fall(points[:part], points[-part:])
    if fell is None or fell > v["watch_no_fall"]:
        return []
    return [
        Flag(
            "no-fall",
            "warning",
            f"After {points[-1].step} steps the loss has not fallen ({-fell:+.1%})",
            "Check learning rate and captions with `limner check`; does the LoRA's alpha fit its "
            "rank?",
            {"change": -fell, "steps": points[-1].step},
        )
    ]


def by_heart(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """Training pictures ahead of held-out ones, at the same fixed noise."""
    if len(seen.fixed) < 3 or seen.fixed[0].step != 0:
        return None
    start, last = seen.fixed[0], seen.fixed[-1]
    lowest = min(seen.fixed[1:], key=lambda p: p.loss)
    gap, rise = heldout.ahead(start, last), last.loss / lowest.loss - 1 if lowest.loss > 0 else 0.0
    if rise < v["watch_held_out_rise"] and (gap is None or gap < v["watch_gap"]):
        return []
    side = heldout.where(heldout.ahead_by_level(start, last))
    said = [
        f"is {100 * rise:.1f} % above its lowest (step {lowest.step})"
        if rise > 0
        else "still falls",
        f"pictures trained on have left them behind by {100 * gap:.1f} % of the first loss"
        if gap is not None
        else "",
        side,
    ]
    return [
        Flag(
            "by-heart",
            "info",
            "The loss on held-out pictures " + ", ".join(s for s in said if s),
            f"Compare the files around step {lowest.step} first (`limner evaluate`): later ones "
            "may copy the pictures.",
            {"lowest": lowest.step, "rise": round(rise, 4), "ahead": gap, "step": last.step},
        )
    ]


def dead(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """A run that is said to go on, and does not."""
    if seen.done or seen.states in ("stopped", "failed", "done", "waiting"):
        return None if seen.states is None else []
    if seen.states == "running" and seen.alive is False:
        return [
            Flag(
                "dead-process",
                "error",
                f"{seen.claimed_by} says it is running, but process {seen.pid} does not live",
                "Start the same command again: it goes on from its last state.",
                {"pid": seen.pid, "claimed_by": seen.claimed_by, "step": seen.step},
            )
        ]
    if seen.touched is None or seen.total is None:
        return None
    patience = max(v["watch_silent_s"], v["watch_silent_steps"] * (seen.seconds_per_step or 0))
    silent = m.now - seen.touched
    if silent <= patience:
        return []
    return [
        Flag(
            "silent",
            "error" if seen.states == "running" else "warning",
            f"Nothing was written for {silent / 60:.0f} minutes at step {seen.step} of "
            f"{seen.total}"
            + (f", and {seen.claimed_by} says it is running" if seen.states == "running" else ""),
            "Look whether the trainer's process lives; if not, start the same command again.",
            {"silent_s": round(silent), "patience_s": round(patience), "step": seen.step},
        )
    ]


def checkpoints(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """Files that should be there and are not, and files that will be deleted."""
    found = []
    removed = [line.text for line in seen.lines if line.kind == "removed"]
    gone = _missing(seen)
    if removed or gone:
        steps = f": steps {', '.join(map(str, gone[:6]))}" if gone else ""
        why = f"; the log says so {len(removed)} times" if removed else ""
        keep = f" (it keeps the newest {seen.keep})" if seen.keep and removed else ""
        found.append(
            Flag(
                "checkpoints-gone",
                "error",
                f"{_many(len(gone) or len(removed), 'checkpoint')} gone{steps}{why}{keep}",
                "Copy the files that are left elsewhere now, and raise "
                "save.max_step_saves_to_keep before going on."
                if seen.kind == "ai-toolkit"
                else "Copy the files that are left elsewhere now, and keep all from here on.",
                {"missing": gone, "removed_lines": removed[-3:], "keep": seen.keep},
            )
        )
    if seen.save_every and seen.keep and seen.total:
        planned = (seen.total - 1) // seen.save_every
        if planned > seen.keep:
            found.append(
                Flag(
                    "will-prune",
                    "warning",
                    f"It makes {planned} numbered files and keeps the newest {seen.keep}: the "
                    f"first {planned - seen.keep} will be deleted, often the better ones",
                    f"Set save.max_step_saves_to_keep to {planned} now; the run reads it when "
                    "started again.",
                    {"planned": planned, "keep": seen.keep},
                )
            )
    known = seen.save_every is not None or bool(seen.saved) or bool(removed)
    return found if known else None


def _missing(seen: Seen) -> list[int]:
    """Steps of files that should be there by now."""
    if not seen.save_every or seen.step is None:
        return []
    there = {s.step for s in seen.saved}
    end = seen.step if seen.total is None or seen.numbers_last else min(seen.step, seen.total - 1)
    late = 2 if seen.zero_based else 1  # written after the step that follows its number
    return [n for n in range(seen.save_every, end - late + 1, seen.save_every) if n not in there]


def failures(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """What the log itself calls an error."""
    if not any("log" in s for s in seen.sources) and not seen.lines:
        return None
    found = []
    oom = [line.text for line in seen.lines if line.kind == "oom"]
    if oom:
        found.append(
            Flag(
                "oom",
                "warning",
                f"The GPU's memory ran out {len(oom)} times; ai-toolkit skips such a batch in "
                "silence and stops after more than three in a row",
                "Use 8-bit weights, gradient checkpointing or a smaller size: `limner plan --gpu`.",
                {"lines": oom[-3:]},
            )
        )
    errors = [line.text for line in seen.lines if line.kind == "error"]
    if errors and not seen.done:
        found.append(
            Flag(
                "error-line",
                "error",
                f"The log says: {errors[-1]}",
                "Read the lines around it; `limner check` on the config names known causes.",
                {"lines": errors[-3:]},
            )
        )
    return found


def disk(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """Room for what is still to be written."""
    if m.disk_free_gb is None:
        return None
    size = max((s.bytes for s in seen.saved), default=0) / 1e9
    left = 1
    if seen.save_every and seen.total and seen.step is not None:
        left = max((seen.total - seen.step) // seen.save_every, 1)
    needed = max(v["watch_disk_gb"], size * (left + 3))
    if seen.done or m.disk_free_gb >= needed:
        return []
    return [
        Flag(
            "disk",
            "error" if m.disk_free_gb < 1 else "warning",
            f"{m.disk_free_gb:.1f} GB are free, {needed:.1f} GB should be: "
            f"{_many(left, 'file')} of {1000 * size:,.0f} MB to come, and the optimizer's state",
            "Free some space now: a full disk ends the run.",
            {"free_gb": round(m.disk_free_gb, 2), "needed_gb": round(needed, 2)},
        )
    ]


def vram(seen: Seen, v: Values, m: Machine) -> list[Flag] | None:
    """The card's memory near its limit."""
    if m.vram_used is None or not m.vram_total:
        return None
    share = m.vram_used / m.vram_total
    if share < v["watch_vram"] or seen.done:
        return []
    return [
        Flag(
            "vram",
            "warning",
            f"{m.vram_used / 1024:.1f} of {m.vram_total / 1024:.1f} GB of the {m.gpu} are in use "
            f"({100 * share:.0f} %)",
            "Before the next run take a smaller size or narrower weights: samples need more.",
            {"used_mb": m.vram_used, "total_mb": m.vram_total},
        )
    ]


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


CHECKS: dict[str, Rule] = {
    "nan": not_finite,
    "spike": spike,
    "plateau": plateau,
    "fast-fall": fast_fall,
    "no-fall": no_fall,
    "by-heart": by_heart,
    "dead-process": dead,
    "checkpoints": checkpoints,
    "log": failures,
    "disk": disk,
    "vram": vram,
}


def flags(seen: Seen, v: Values, machine: Machine) -> tuple[list[Flag], dict[str, bool]]:
    """(flags, check -> whether it had anything to look at), without the pictures' own checks."""
    found: list[Flag] = []
    looked = {}
    for name, check in CHECKS.items():
        raised = check(seen, v, machine)
        looked[name] = raised is not None
        found += raised or []
    return found, looked
