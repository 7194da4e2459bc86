"""Places, lights and outfits of a plan: counts that meet every quota and every rule at once.

In: rules, quotas, the number of shots. Out: one (setting, lighting, outfit) triple a shot. Light
and outfit depend on the place only, so two flows over the same place counts solve both exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from limner import lexicon
from limner.errors import InputError
from limner.shots.quotas import REST, Assignment, assign
from limner.shots.rules import Rules

Triple = tuple[str, str, str]

MOST_SOLVES = 300
"""Work budget of the repair: place counts looked at before quotas are called impossible."""


def mixed(values: Sequence[str], random: Random) -> list[str]:
    """The values in a random order (our own shuffle: the same in every Python)."""
    keyed = [(random.random(), v) for v in values]
    return [v for _, v in sorted(keyed)]


def choose_places(
    total: int,
    rules: Rules,
    counts: Mapping[str, Mapping[str, int]],
    random: Random,
    *,
    firm_mix: bool,
    looks: int = MOST_SOLVES,
) -> tuple[list[Triple], list[str]]:
    """Triples for `total` shots, and sentences about what had to give.

    counts: exact counts by axis (mix, setting, lighting, outfit), `REST` for the unnamed. firm_mix:
    the user asked for the mix; otherwise it may shift where a light or outfit quota needs it.
    looks: work budget in place counts looked at.
    Raises InputError when the quotas cannot be met together.
    """
    order = {
        "lighting": mixed(rules.values["lighting"], random),
        "outfit": mixed(rules.values["outfit"], random),
    }
    supply = _setting_counts(total, rules, counts, mixed(rules.values["setting"], random))
    movable = [s for s in rules.values["setting"] if s not in counts.get("setting", {})]
    notes: list[str] = []
    kinds = counts.get("mix", {})
    found = _repair(supply, rules, counts, order, movable, kinds, looks)
    if found is None and kinds and not firm_mix:
        found = _repair(supply, rules, counts, order, movable, {}, looks)
        notes = ["The indoor/outdoor mix was shifted, because your quotas need other places."]
    if found is None:
        raise InputError(
            "no set of places meets these quotas of setting, lighting and outfit together",
            where="shots.quotas",
            fix="Lower the share of the rarest value, or name fewer values.",
        )
    supply, lights, clothes = found
    triples = []
    for setting in supply:
        light = mixed(_units(lights, setting), random)
        outfit = mixed(_units(clothes, setting), random)
        triples += [(setting, a, b) for a, b in zip(light, outfit, strict=True)]
    return triples, notes


def _units(found: Assignment, source: str) -> list[str]:
    return [t for t, n in sorted(found.flow.get(source, {}).items()) for _ in range(n)]


def _setting_counts(
    total: int, rules: Rules, counts: Mapping[str, Mapping[str, int]], order: Sequence[str]
) -> dict[str, int]:
    """Place counts: the named exactly, the others evenly, inside each kind of the mix."""
    named = {k: n for k, n in counts.get("setting", {}).items() if k != REST}
    free = [s for s in order if s not in named] if REST in counts.get("setting", {REST: 0}) else []
    kinds = dict(counts.get("mix", {REST: total}))
    found = dict.fromkeys(rules.values["setting"], 0)
    found.update(named)
    for kind, wanted in kinds.items():
        here = [s for s in free if _kind(s, kinds) == kind]
        fixed = sum(n for s, n in named.items() if _kind(s, kinds) == kind)
        if wanted < fixed or (wanted > fixed and not here):
            raise InputError(
                f"the quotas of setting leave no way to get {wanted} {kind} shots",
                where="shots.quotas.setting",
                fix="Drop the mix quota, or name other places.",
            )
        for i in range(wanted - fixed):
            found[here[i % len(here)]] += 1
    if sum(found.values()) != total:
        raise InputError("the quotas of setting and mix do not add up", where="shots.quotas")
    return found


def _kind(setting: str, kinds: Mapping[str, int]) -> str:
    """The kind of place as the mix counts it: its own where that is named, else the rest."""
    mix = lexicon.settings()[setting].mix
    return mix if mix in kinds else REST


def _solve(
    supply: Mapping[str, int],
    rules: Rules,
    counts: Mapping[str, Mapping[str, int]],
    order: Mapping[str, Sequence[str]],
    *,
    even: bool = False,
) -> tuple[int, Assignment, Assignment]:
    """How many shots are left without their light or outfit, and both flows."""
    found = []
    missing = 0
    for axis, allowed in (("lighting", rules.lightings), ("outfit", rules.outfits)):
        quota = counts.get(axis, {})
        exact = {k: n for k, n in quota.items() if k != REST}
        if quota and REST not in quota:  # everything is named: nothing else may appear
            exact = {**dict.fromkeys(rules.values[axis], 0), **exact}
        flow = assign(supply, allowed, exact, order[axis], even=even)
        missing += max(sum(flow.short.values()), flow.unplaced)
        found.append(flow)
    return missing, found[0], found[1]


def _repair(
    supply: dict[str, int],
    rules: Rules,
    counts: Mapping[str, Mapping[str, int]],
    order: Mapping[str, Sequence[str]],
    movable: Sequence[str],
    kinds: Mapping[str, int],
    most: int,
) -> tuple[dict[str, int], Assignment, Assignment] | None:
    """Move shots between places as long as that gets closer to the quotas; None when it does not.

    kinds: the mix to keep. Ends after `most` looks, so that the answer never depends on the
    machine.
    """
    supply = dict(supply)
    missing, lights, clothes = _solve(supply, rules, counts, order)
    looks = 0
    while missing:
        better = None
        for trial in _moves(supply, movable, rules, {**lights.short, **clothes.short}, missing):
            if _mixes(trial, kinds) != _mixes(supply, kinds):
                continue
            looks += 1
            result = _solve(trial, rules, counts, order)
            if result[0] < missing:
                better = trial
                missing, lights, clothes = result
                break
            if looks >= most:
                return None
        if better is None:
            return None
        supply = better
    _, lights, clothes = _solve(supply, rules, counts, order, even=True)
    return supply, lights, clothes


def _mixes(supply: Mapping[str, int], kinds: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for setting, n in supply.items():
        found[_kind(setting, kinds)] += n
    return found


def _moves(
    supply: Mapping[str, int],
    movable: Sequence[str],
    rules: Rules,
    wanted: Mapping[str, int],
    missing: int,
) -> Iterator[dict[str, int]]:
    """Supplies one move away, from the fullest place to each that helps: many shots, then one."""
    for most in (missing, 1) if missing > 1 else (1,):
        for to in _helpful(movable, rules, wanted):
            for source in sorted((s for s in movable if s != to), key=lambda s: -supply[s]):
                amount = min(most, supply[source])
                if amount:
                    yield {**supply, source: supply[source] - amount, to: supply[to] + amount}


def _helpful(movable: Sequence[str], rules: Rules, wanted: Mapping[str, int]) -> list[str]:
    """Places that allow a value which is short (all, if only capacity is missing)."""
    return [
        s for s in movable if not wanted or set(wanted) & {*rules.lightings[s], *rules.outfits[s]}
    ]
