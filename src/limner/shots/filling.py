"""What a set of prompts lacks against its quotas, and shots planned for exactly that.

In: items that exist and what was asked for. Out: gaps by axis and value, and a `ShotPlan` of the
missing shots, whose shares together with the existing ones come as near to the quotas as they can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner.errors import InputError
from limner.shots.items import Item, shares, unknown
from limner.shots.planner import ShotPlan, make_plan
from limner.shots.quotas import REST, largest_remainder

Targets = Mapping[str, Mapping[str, int]]
FIRST_TO_GIVE = ("camera", "pose", "lighting", "outfit", "setting", "mix", "framing", "expression")
"""Whose gaps are let go first, where the gaps of all axes cannot be filled together."""


def gaps(items: Sequence[Item], targets: Targets) -> dict[str, dict[str, dict[str, int]]]:
    """Axis -> value -> {asked, got, missing, too_many}; `not known` counts the others."""
    have, silent = shares(items), unknown(items)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for axis, wanted in targets.items():
        rows = {}
        for value, asked in wanted.items():
            if value == REST:
                continue
            got = have[axis].get(value, 0)
            rows[value] = {
                "asked": asked,
                "got": got,
                "missing": max(asked - got, 0),
                "too_many": max(got - asked, 0),
            }
        for value, got in have[axis].items():
            if value not in wanted and REST not in wanted:
                rows[value] = {"asked": 0, "got": got, "missing": 0, "too_many": got}
        if silent[axis]:
            rows["not known"] = {"asked": 0, "got": silent[axis], "missing": 0, "too_many": 0}
        found[axis] = rows
    return found


def plan_missing(
    items: Sequence[Item],
    targets: Targets,
    *,
    count: int,
    seed: int,
    preset: str,
    trigger: str,
    class_word: str,
    dialect: str,
    abilities: Mapping[str, Sequence[str]] | None = None,
    genres: Sequence[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> ShotPlan | None:
    """Shots that bring the set to `count`; None when it has that many.

    Each axis of `targets` gets what it lacks, scaled to the number of new shots where too much is
    there of something. No new prompt shares a run of words with an existing one.
    """
    number = count - len(items)
    if number <= 0:
        return None
    quotas = lacking(items, targets, number)
    gave: list[str] = []
    while True:
        try:
            plan = make_plan(
                count=number,
                seed=seed,
                preset=preset,
                quotas=quotas,
                abilities=abilities,
                genres=genres,
                trigger=trigger,
                class_word=class_word,
                exclude_prompts=[i.text for i in items],
                thresholds=thresholds,
                dialect=dialect,
            )
            break
        except InputError:
            gives = next((a for a in FIRST_TO_GIVE if a in quotas), None)
            if gives is None:
                raise
            del quotas[gives]
            gave.append(gives)
    notes = [f"The gaps of {axis} could not be filled together with the others." for axis in gave]
    report = {**plan.report, "notes": [*plan.report["notes"], *notes]}
    return ShotPlan(plan.shots, report)


def lacking(items: Sequence[Item], targets: Targets, number: int) -> dict[str, dict[str, float]]:
    """Quotas in percent for `number` new shots: what each axis lacks."""
    have = shares(items)
    quotas: dict[str, dict[str, float]] = {}
    for axis, wanted in targets.items():
        short = {v: max(n - have[axis].get(v, 0), 0) for v, n in wanted.items() if v != REST}
        if not any(short.values()):
            continue  # the planner's own shares do as well
        exact = dict(short)
        if REST not in wanted or sum(short.values()) > number:
            exact = largest_remainder({v: float(n) for v, n in short.items()}, number)
        quotas[axis] = {v: 100 * n / number for v, n in exact.items() if n}
    return quotas


def report_of(items: Sequence[Item], targets: Targets) -> dict[str, Any]:
    """What an import says of a set: count, shares, silent prompts, gaps."""
    return {
        "count": len(items),
        "shares": shares(items),
        "not_known": unknown(items),
        "gaps": gaps(items, targets),
    }
