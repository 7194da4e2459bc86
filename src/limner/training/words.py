"""A plan in words, for terminal and page: one line a fact, nothing that the plan does not hold.

In: the dict of `plan`. Out: lines of text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3 h 20 min.

    >>> duration(75), duration(12_000)
    ('75 s', '3 h 20 min')
    """
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def describe(plan: Mapping[str, Any]) -> list[str]:
    """The plan's facts as lines; what is not measured says why."""
    config, memory = plan["config"], plan["memory"]
    first, *_, last = marks if len(marks := plan["checkpoints"]) > 1 else [marks[0], marks[0]]
    lines = [
        f"plan {plan.get('version', '')}: {plan['images']} pictures, batch {plan['batch']}, "
        f"rank {config['rank']}, learning rate {config['learning_rate']:g}, "
        f"template {config['template']}, seed {config['seed']}",
        f"length: {plan['optimizer_steps']} steps = {plan['image_passes']} passes, "
        f"{plan['turns']:.0f} a picture",
        f"checkpoints: {len(marks)}, from step {first['step']} ({first['label']}) to "
        f"{last['step']} ({last['label']}); none is deleted",
    ]
    if plan["seconds"] is None:
        lines.append(f"time: {plan['seconds_reason']}")
    else:
        lines.append(
            f"time: about {duration(plan['seconds'])} ({plan['seconds_per_step']:.2f} s a step, "
            f"measured on this machine; {config['precision']})"
        )
    peak = memory["peak_checkpointed" if config["gradient_checkpointing"] else "peak"]
    there = f" of {memory['there'] / 1e9:.1f} GB" if memory["there"] else ""
    extra = ", with gradient checkpointing" if config["gradient_checkpointing"] else ""
    lines.append(f"memory: about {peak / 1e9:.1f} GB{there} (estimate{extra})")
    lines.append(f"disk: {plan['disk_bytes'] / 1e6:.0f} MB")
    lines.append(f"guide: {plan['guide']['note']}")
    return lines + [f"warning: {text}" for text in plan["warnings"]]
