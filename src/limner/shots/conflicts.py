"""Why quotas cannot be met: the smallest set of them that contradicts itself.

In: exact counts and rules. Out: an InputError that names an irreducible set: drop any one of these
quotas and the others can hold together. Found by leaving out one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from limner.errors import InputError
from limner.shots.places import choose_places
from limner.shots.quotas import REST, assign
from limner.shots.rules import Rules

Counts = Mapping[str, Mapping[str, int]]
PLACE_AXES = ("mix", "setting", "lighting", "outfit")
LOOKS = 120
"""Place counts looked at before a set of quotas is called impossible (work budget)."""


class Item(NamedTuple):
    """One quota: so many shots with this value."""

    axis: str
    value: str
    shots: int

    def __str__(self) -> str:
        return f"{self.axis} {self.value} = {self.shots} shots"


def explain(
    count: int, targets: Counts, rules: Rules, asked: Mapping[str, Mapping[str, float]]
) -> InputError:
    """The error for quotas that no plan meets, with an irreducible set of them.

    asked: the user's own shares; what only a preset says is left out of the set where it can be.
    """
    firm_mix = "mix" in asked
    items = [
        Item(axis, value, n)
        for axis, counts in targets.items()
        for value, n in counts.items()
        if value != REST
        and axis in (*PLACE_AXES, "framing", "pose", "camera")
        and (axis != "mix" or firm_mix)
    ]

    items.sort(key=lambda i: i.value in asked.get(i.axis, {}))  # left out in this order

    def holds(some: Sequence[Item]) -> bool:
        return can_hold(count, _counts(count, some), rules)

    if holds(items):  # each part alone can; together the search found no way
        named = [i for i in items if i.axis not in ("framing", "mix")]
        return _error(named or items, "no plan was found that meets all of")
    return _error(irreducible(items, holds), "these quotas cannot hold together")


def _error(items: Sequence[Item], what: str) -> InputError:
    axes = sorted({i.axis for i in items})
    return InputError(
        f"{what}: {'; '.join(map(str, items))}",
        where=", ".join(f"shots.quotas.{axis}" for axis in axes),
        fix="Change or drop any one of them; framing and mix come from the preset where you named "
        "none.",
    )


def irreducible(items: Sequence[Item], holds: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """A subset that cannot hold, every proper part of which can (deletion filter).

    items: a set that cannot hold. Whole axes are left out first, then single values.
    """
    kept = list(items)
    for axis in dict.fromkeys(i.axis for i in items):
        fewer = [i for i in kept if i.axis != axis]
        if len(fewer) < len(kept) and not holds(fewer):
            kept = fewer
    for item in list(kept):
        fewer = [i for i in kept if i != item]
        if not holds(fewer):
            kept = fewer
    return kept


def _counts(count: int, items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """Counts of these quotas alone; what they leave is free."""
    found: dict[str, dict[str, int]] = {}
    for axis, value, n in items:
        found.setdefault(axis, {})[value] = n
    for axis, counts in found.items():
        left = count - sum(counts.values())
        if left > 0 or (left == 0 and axis not in found):
            counts[REST] = left
    return found


def can_hold(count: int, counts: Counts, rules: Rules) -> bool:
    """Whether quotas of place, light, clothes and of framing, pose, camera have a solution."""
    for axis, host, table in (
        ("pose", "framing", rules.poses),
        ("camera", "framing", rules.cameras),
        ("pose", "setting", _poses_at(rules)),
    ):
        if not _two_hold(count, counts, axis, host, table, rules):
            return False
    places = {axis: dict(counts[axis]) for axis in PLACE_AXES if axis in counts}
    if not places:
        return True
    mix = places.get("mix", {})
    if REST in mix:  # kinds of place that nobody counts share what is left
        places = {**places, "mix": mix}
    try:
        choose_places(count, rules, places, Random(0), firm_mix=True, looks=LOOKS)
    except InputError:
        return False
    return True


def _poses_at(rules: Rules) -> dict[str, tuple[str, ...]]:
    return {
        s: tuple(p for p in rules.values["pose"] if p not in rules.places or s in rules.places[p])
        for s in rules.values["setting"]
    }


def _two_hold(
    count: int,
    counts: Counts,
    axis: str,
    host: str,
    table: Mapping[str, Sequence[str]],
    rules: Rules,
) -> bool:
    """Whether the counts of one axis fit beside those of the axis it leans on."""
    quota = counts.get(axis)
    if not quota:
        return True
    named = {h: n for h, n in counts.get(host, {}).items() if h != REST}
    free = [h for h in rules.values[host] if h not in named]
    supply = {**named, REST: count - sum(named.values())}
    ways = {h: table.get(h, ()) for h in named}
    ways[REST] = tuple(dict.fromkeys(v for h in free for v in table.get(h, ())))
    exact = {v: n for v, n in quota.items() if v != REST}
    if REST not in quota:
        exact = {**dict.fromkeys(rules.values[axis], 0), **exact}
    found = assign({h: n for h, n in supply.items() if n > 0}, ways, exact, even=False)
    return not found.short and not found.unplaced
