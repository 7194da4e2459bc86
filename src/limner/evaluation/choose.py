"""Choosing an arm on continuous scores: successive halving, the tied set, the earliest tied arm.

In: judged pictures of the choosing seeds. Out: a `Choice`; nothing is claimed here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.evaluation import statistics as stats
from limner.evaluation.arms import BASE, Arm, Judged
from limner.evaluation.rules import RULES
from limner.evaluation.table import Table, holm_of_pairs

__all__ = ["BASE", "Arm", "Choice", "Judged", "choose", "pick", "rounds"]


@dataclass(frozen=True)
class Choice:
    """The chosen arm, the arm with the best mean, the arms tied with it, and a row an arm."""

    chosen: Arm
    best: Arm
    tied: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    pictures: int


def rounds(arms: int, cells: int, first_look: int = 4, finalists: int = 3) -> list[tuple[int, int]]:
    """Successive halving as (arms still in, pictures an arm has then).

    10 arms and 12 cells: 10 at 4, 5 at 8, 3 at 12. Nothing to choose: no rounds.
    """
    if arms < 2 or cells < 1:
        return []
    plan = [(arms, min(first_look, cells))]
    while plan[-1][1] < cells or plan[-1][0] > finalists:
        keep = max(min(finalists, arms), math.ceil(plan[-1][0] / 2))
        seen = min(plan[-1][1] + first_look, cells)
        if keep == plan[-1][0]:
            seen = cells
        if seen == plan[-1][1]:  # no more cells: looking again at the same pictures adds nothing
            break
        plan.append((keep, seen))
    return plan


def differences(judged: Sequence[Judged], first: Arm, second: Arm) -> dict[str, list[float]]:
    """Prompt -> score differences first minus second over the cells both have (paired seeds)."""
    by_cell = {j.cell: j for j in judged if j.arm == second}
    found: dict[str, list[float]] = {}
    for one in judged:
        if one.arm == first and one.cell in by_cell:
            found.setdefault(one.prompt_id, []).append(one.score - by_cell[one.cell].score)
    return found


def _freedom(limits: Mapping[str, float]) -> float:
    """The margin of freedom; grids drawn before there was one take the one of now."""
    return limits.get("equivalent_freedom", RULES["equivalent_freedom"].value)


def pick(table: Table, limits: Mapping[str, float]) -> tuple[int, int, list[int]]:
    """(row of the best mean, of the arm to take, rows of the finalists).

    Hard gates first. Then the Pareto front of identity and freedom: of the arms within one standard
    error of the best identity, those that are not established to be less free than another of them.
    Of these the earliest step, at its lowest strength. Only arms with as many pictures as the best
    have a say; the rest were dropped on the way.
    Raises ValueError for no pictures.
    """
    if not table.arms:
        raise ValueError("no checkpoint has a judged picture")
    finalists = [int(i) for i in np.flatnonzero(table.count == table.count.max())]
    final = table.rows(finalists)
    best = final.order(limits)[0]
    pairs, ill = final.pairs, final.ill(limits)
    alike = [
        row
        for row in range(len(finalists))
        if row == best
        or (
            not ill[row]
            and pairs.mean[best, row]
            <= max(float(pairs.error[best, row]), limits["equivalent_score"])
        )
    ]
    less_free = final.less_free(alike, _freedom(limits))
    front = [row for row in alike if row not in less_free] or [best]
    return finalists[best], finalists[front[0]], finalists


def parted(final: Table, limits: Mapping[str, float], level: float) -> NDArray[np.bool_]:
    """(arms, arms) pairs of finalists that differ: significant after Holm, and beyond the margin.

    The chosen arm is found by looking at the scores, so every pair was in the race: Holm runs over
    all of them (over the pairs with the chosen one alone, equal arms part in 6 % of races).
    """
    pairs = final.pairs
    apart = np.abs(pairs.mean) > limits["equivalent_score"]
    return np.asarray((holm_of_pairs(pairs.p) < level) & apart)


def alpha(settings: Mapping[str, Any]) -> float:
    """The level at which finalists are told apart: 5 %, shared out over the looks of a race."""
    looks = len(settings.get("race", {}).get("rounds", ())) or 1
    return ALPHA / looks


ALPHA = 0.05


def choose(judged: Sequence[Judged], limits: Mapping[str, float], level: float = ALPHA) -> Choice:
    """Pick the earliest, weakest arm within one standard error of the best mean.

    An arm is tied when its paired difference to the chosen one is not significant after Holm
    over the finalists at `level`, or smaller than `equivalent_score`. Raises ValueError for no
    pictures.
    """
    table = Table.of(judged)
    best, row, finalists = pick(table, limits)
    chosen = table.arms[row]
    tied = _tied(judged, table.rows(finalists), chosen, limits, level)
    names = {(t["checkpoint"], t["strength"]) for t in tied}
    ill = table.ill(limits)
    rows = []
    for i, arm in enumerate(table.arms):
        mine = [j for j in judged if j.arm == arm]
        status = "behind" if i in finalists else "dropped"
        status = "tied" if (arm.name, arm.strength) in names else status
        status = "gate" if ill[i] else status
        status = "chosen" if arm == chosen else status
        rows.append({**_row(arm, mine, float(table.means[i]), status), "gate": bool(ill[i])})
    return Choice(chosen, table.arms[best], tied, rows, len(judged))


def bounds(interval: stats.Interval) -> list[float] | None:
    """`[low, high]` for JSON, None when nothing bounds it."""
    return interval.as_list() if math.isfinite(interval.low + interval.high) else None


def _row(arm: Arm, mine: Sequence[Judged], mean: float, status: str) -> dict[str, Any]:
    by_prompt: dict[str, list[float]] = {}
    for one in mine:
        by_prompt.setdefault(one.prompt_id, []).append(one.score)
    hits = sum(j.match for j in mine)
    free = [j.freedom for j in mine if j.freedom is not None]
    return {
        "checkpoint": arm.name,
        "step": arm.step if arm.kind == "checkpoint" else None,
        "strength": arm.strength,
        "phase": "choose",
        "n": len(mine),
        "mean_score": mean,
        "score_interval": bounds(stats.paired(by_prompt).interval),
        "hits": hits,
        "match_rate": hits / len(mine),
        "interval": stats.clopper_pearson(hits, len(mine)).as_list(),
        "no_face": sum(not j.face for j in mine),
        "copies": sum(j.copy for j in mine),
        "freedom": float(np.mean(free)) if free else None,
        "status": status,
    }


def arm_row(arm: Arm, judged: Sequence[Judged], phase: str, status: str) -> dict[str, Any]:
    """The row of one arm: n, hits, match rate with exact interval, mean score with interval."""
    mine = [j for j in judged if j.arm == arm]
    mean = float(np.mean([j.score for j in mine]))
    return {**_row(arm, mine, mean, status), "phase": phase}


def _tied(
    judged: Sequence[Judged],
    final: Table,
    chosen: Arm,
    limits: Mapping[str, float],
    level: float,
) -> list[dict[str, Any]]:
    equivalent = limits["equivalent_score"]
    row = final.arms.index(chosen)
    differ, holm = parted(final, limits, level), holm_of_pairs(final.pairs.p)
    tied = []
    for i, arm in enumerate(final.arms):
        if arm == chosen or differ[i, row]:
            continue
        gaps = differences(judged, arm, chosen)
        if not gaps:
            continue
        gap = stats.paired(gaps)
        inside = -equivalent < gap.interval.low and gap.interval.high < equivalent
        needed = stats.pictures_to_decide(gap.sd, gap.mean) if math.isfinite(gap.sd) else None
        tied.append(
            {
                "checkpoint": arm.name,
                "step": arm.step,
                "strength": arm.strength,
                "difference": gap.mean,
                "interval": bounds(gap.interval),
                "n": gap.n,
                "p_holm": float(holm[i, row]),
                "word": "equivalent" if inside else "too close to call",
                "more_pictures": max(needed - gap.n, 1) if needed and not inside else None,
            }
        )
    return tied
