"""What the fixed-noise losses of a run say: where to look for the best checkpoint, and what grows.

In: the held-out loss at step 0 and at checkpoints, whole and by noise level. Out: a bracket. It
chooses no checkpoint and sees no copying; evaluation does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Point:
    """The held-out loss after `step` updates. by_level: noise level -> loss.

    trained: that of pictures that are trained on; None where it was not measured.
    """

    step: int
    loss: float
    by_level: Mapping[str, float]
    trained: float | None = None
    trained_by_level: Mapping[str, float] = field(default_factory=dict)


def points(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The measured losses among the lines of metrics.jsonl, by step."""
    found = {
        int(row["step"]): Point(
            int(row["step"]),
            float(row["held_out_loss"]),
            row.get("held_out_by_sigma", {}),
            row.get("trained_loss"),
            row.get("trained_by_sigma", {}),
        )
        for row in rows
        if isinstance(row.get("held_out_loss"), int | float)
    }
    return [found[step] for step in sorted(found)]


def bracket(measured: Sequence[Point], values: Mapping[str, float]) -> dict[str, Any] | None:
    """Where the loss is lowest and what that means; None with fewer than two measures.

    lowest: its step. window: steps worth comparing, from `window_low` to `window_high` times that
    step. still_falling: the last evaluation lowered it by more than `still_falling` of itself.
    relative: loss over that of step 0, whole and by noise level, at the last step. A level above 1
    is one that got worse on pictures not trained on: high levels carry layout, low ones texture.
    ahead: see `ahead`, at the last step.
    """
    if len(measured) < 2 or measured[0].step != 0 or measured[0].loss <= 0:
        return None
    start, before, last = measured[0], measured[-2], measured[-1]
    lowest = min(measured[1:], key=lambda p: p.loss)
    return {
        "lowest": lowest.step,
        "window": [
            round(values["window_low"] * lowest.step),
            min(round(values["window_high"] * lowest.step), last.step),
        ],
        "still_falling": before.loss - last.loss > values["still_falling"] * before.loss,
        "relative": round(last.loss / start.loss, 4),
        "relative_by_level": {
            level: round(last.by_level[level] / loss, 4)
            for level, loss in start.by_level.items()
            if loss > 0 and level in last.by_level
        },
        "ahead": ahead(start, last),
        "ahead_by_level": ahead_by_level(start, last),
    }


def ahead(start: Point, last: Point) -> float | None:
    """How much further training pictures have come than held-out ones, as a share of step 0's loss.

    Held-out loss over its own at step 0, less the same of pictures trained on: 0 when both were
    learned alike, above 0 what was learned of the pictures themselves. None when not measured.
    """
    if not start.trained or last.trained is None or start.loss <= 0:
        return None
    return round(last.loss / start.loss - last.trained / start.trained, 4)


def ahead_by_level(start: Point, last: Point) -> dict[str, float]:
    """The same at each noise level: high ones tell of layout learned by heart, low ones of texture
    (evaluation protocol)."""
    return {
        level: round(
            last.by_level[level] / loss
            - last.trained_by_level[level] / start.trained_by_level[level],
            4,
        )
        for level, loss in start.by_level.items()
        if loss > 0
        and level in last.by_level
        and level in last.trained_by_level
        and start.trained_by_level.get(level, 0) > 0
    }


def where(by_level: Mapping[str, float]) -> str:
    """Layout or texture: the side of 0.5 on whose noise levels training pictures are ahead most."""
    high = [v for level, v in by_level.items() if float(level) >= 0.5]
    low = [v for level, v in by_level.items() if float(level) < 0.5]
    if not high or not low:
        return ""
    more = sum(high) / len(high) > sum(low) / len(low)
    return "most at high noise levels: layout" if more else "most at low noise levels: texture"


def words(found: Mapping[str, Any]) -> str:
    """One line for people."""
    low, high = found["window"]
    line = (
        f"fixed-noise loss: {found['relative']:.3f} of step 0's, lowest at step {found['lowest']}; "
        f"compare checkpoints from {low} to {high}"
    )
    more = "; still falling, more steps may help (`limner train --steps N`)"
    gap = found.get("ahead")
    if gap is not None:
        line += (
            f"; pictures trained on are {100 * gap:.1f} % of step 0's loss ahead of held-out ones"
        )
        side = where(found.get("ahead_by_level", {}))
        line += f" ({side})" if side and gap > 0 else ""
    return line + (more if found["still_falling"] else "")
