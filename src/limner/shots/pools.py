"""Which values a plan uses: enough of them for variety, few enough that each one comes back.

In: all rules, the number of shots, the quotas. Out: `Rules` for the chosen values. A value that
stands once tells nothing apart (its association with everything is perfect); one that comes back
in another light, pose and angle does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import ceil, floor
from random import Random

from limner import lexicon
from limner.shots.quotas import REST, largest_remainder
from limner.shots.report import needed_distinct
from limner.shots.rules import Rules, threshold


@dataclass(frozen=True)
class Wish:
    """What a pool covers: host -> weight; a candidate serves the hosts it fits.

    all_served: no host that could have a value may be left without one.
    """

    fits: Mapping[str, Sequence[str]]
    weight: Mapping[str, float]
    all_served: bool = True


def pool_size(axis: str, count: int, thresholds: Mapping[str, float] | None = None) -> int:
    """How many distinct values an axis gets in a plan of `count` shots.

    Its share of the shots, but never fewer than `check` asks for or than keep each value under the
    share it may repeat in.
    """
    needed = needed_distinct(count, thresholds).get(axis, min(4, ceil(count / 2)))
    if axis in ("setting", "outfit", "lighting"):
        most = max(2, floor(threshold("repeat_share", thresholds) * count))
        needed = max(needed, ceil(count / most) + 1)
    return max(needed, ceil(threshold(f"pool_{axis}", thresholds) * count))


def narrow(
    rules: Rules,
    count: int,
    targets: Mapping[str, Mapping[str, int]],
    random: Random,
    thresholds: Mapping[str, float] | None = None,
    *,
    wider: int = 1,
) -> Rules:
    """Rules for the values this plan uses. wider: a factor on every pool's size."""
    named = {axis: [v for v, n in targets.get(axis, {}).items() if v != REST and n]
             for axis in rules.values}  # fmt: skip

    def size(axis: str) -> int:
        if axis in targets and REST not in targets[axis]:
            return len(named[axis])
        return wider * pool_size(axis, count, thresholds)

    framings = {f: float(n) for f, n in targets["framing"].items() if n}
    phones = floor(threshold("phone_share", thresholds) * size("camera"))
    cameras = _choose(
        _few_phones(rules, phones, named["camera"], random),
        size("camera"), named["camera"], Wish(_hosts(rules.cameras), framings), random,
    )  # fmt: skip
    asked = set(named["lighting"])
    lit_by = [v for v in rules.values["lighting"] if v in asked or _some_camera(v, cameras)]
    lights = _choose(
        lit_by, size("lighting"), named["lighting"],
        Wish(_hosts(rules.lightings), dict.fromkeys(rules.values["setting"], 1.0), False), random,
    )  # fmt: skip
    settings = _settings(rules, size("setting"), named, set(lights), targets, random)
    lit = _hosts({s: rules.lightings[s] for s in settings})
    lights = _choose(  # without those that no chosen place has, with some for every place
        [v for v in lit_by if v in lit], size("lighting"),
        [v for v in lights if v in lit], Wish(lit, dict.fromkeys(settings, 1.0)), random,
    )  # fmt: skip
    outfits = _choose(
        rules.values["outfit"], size("outfit"), named["outfit"],
        Wish(_hosts(rules.outfits), dict.fromkeys(settings, 1.0)), random,
    )  # fmt: skip
    seats = rules.places  # what a pose needs must be at one of the places
    poses = [p for p in rules.values["pose"] if p not in seats or seats[p] & {*settings}]
    chosen = {
        "lighting": lights,
        "setting": settings,
        "outfit": outfits,
        "pose": _choose(
            poses, size("pose"), named["pose"], Wish(_hosts(rules.poses), framings), random
        ),
        "camera": cameras,
    }  # fmt: skip
    kept = {axis: [v for v in rules.values[axis] if v in set(own)] for axis, own in chosen.items()}
    return rules.narrowed(kept)


PHONE = ("candid_phone",)
"""Genres of a phone's camera."""


def _few_phones(rules: Rules, most: int, named: Sequence[str], random: Random) -> list[str]:
    """Cameras to choose from, `most` phones among them unless nothing else was asked for."""
    cameras = lexicon.cameras()
    phones = [c for c in rules.values["camera"] if cameras[c].genres == PHONE and c not in named]
    if rules.genres == PHONE:
        return list(rules.values["camera"])
    kept = sorted(phones, key=lambda c: (random.random(), c))[:most]
    return [c for c in rules.values["camera"] if c not in phones or c in kept]


def _some_camera(lighting: str, cameras: Sequence[str]) -> bool:
    """Whether a light shares its genre with one of the cameras."""
    own = set(lexicon.lightings()[lighting].genres)
    tags = (set(lexicon.cameras()[c].genres) for c in cameras)
    return not own or any(not tag or own & tag for tag in tags)


def _hosts(table: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Value -> the hosts that allow it, in the table's order (sums must not depend on hashes)."""
    found: dict[str, list[str]] = {}
    for host, values in table.items():
        for value in values:
            found.setdefault(value, []).append(host)
    return found


def _choose(
    candidates: Sequence[str], size: int, named: Sequence[str], wish: Wish, random: Random
) -> list[str]:
    """The named values, then those that serve most hosts which have too few yet; seeded.

    Goes beyond `size` where a host that must be served would be left with nothing.
    """
    jitter = {c: 0.6 + 0.8 * random.random() for c in candidates}
    chosen = [c for c in named if c in jitter]
    have = dict.fromkeys(wish.weight, 0)
    urgency = (8.0, 1.5, 0.8)  # of a host that has none, one, two values yet

    def hosts(value: str) -> list[str]:
        return [h for h in wish.fits.get(value, ()) if h in have]

    def worth(value: str) -> float:
        return jitter[value] * sum(
            wish.weight[h] * (urgency[have[h]] if have[h] < len(urgency) else 0.1)
            for h in hosts(value)
        )

    def take(value: str) -> None:
        for host in hosts(value):
            have[host] += 1

    for value in chosen:
        take(value)
    left = [c for c in candidates if c not in set(chosen)]

    def bare() -> bool:
        return wish.all_served and any(not have[h] for c in left for h in hosts(c))

    while (left and len(chosen) < size) or bare():
        best = max(left, key=worth)
        left.remove(best)
        chosen.append(best)
        take(best)
    return chosen


def _settings(
    rules: Rules,
    size: int,
    named: Mapping[str, Sequence[str]],
    lights: Set[str],
    targets: Mapping[str, Mapping[str, int]],
    random: Random,
) -> list[str]:
    """Places by kind in the mix's proportions; first those that serve what quotas name."""
    kinds = targets.get("mix") or {"": 1}
    per_kind = largest_remainder({k: float(n) for k, n in kinds.items()}, size)
    own = [s for s in named["setting"] if s in rules.values["setting"]]
    chosen = list(own)
    if "setting" in targets and REST not in targets["setting"]:
        return chosen

    def worth(setting: str) -> float:
        lit = len(lights & set(rules.lightings[setting]))
        asked = sum(v in rules.lightings[setting] for v in named["lighting"])
        asked += sum(v in rules.outfits[setting] for v in named["outfit"])
        asked += sum(setting in rules.places.get(p, ()) for p in named["pose"])
        return 2.0 * random.random() + min(lit, 4) * 0.5 + 1.5 * asked

    scores = {s: worth(s) for s in rules.values["setting"] if lights & set(rules.lightings[s])}
    for kind, wanted in per_kind.items():
        here = [s for s in scores if not kind or lexicon.settings()[s].mix == kind]
        here = sorted((s for s in here if s not in chosen), key=lambda s: -scores[s])
        have = sum(not kind or lexicon.settings()[s].mix == kind for s in own)
        some = 1 if kinds[kind] and not have else 0
        chosen += here[: max(wanted - have, some)]
    return chosen
