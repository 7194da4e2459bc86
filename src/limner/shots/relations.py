"""Which values of two axes can never stand in one shot, read off the lexicon's rules.

In: two axes and the values in use. Out: the forbidden value pairs. A pair of axes with any is tied
by rule: some association between them is built in, and the report shows it apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from itertools import product

from limner import lexicon
from limner.shots.rules import gazes_of, suits

Used = Mapping[str, Set[str]]


def _lit(setting: str, lighting: str) -> bool:
    return lighting in lexicon.lights_at(lexicon.settings()[setting])


def _worn(setting: str, outfit: str) -> bool:
    return suits(lexicon.outfits()[outfit], lexicon.settings()[setting])


def _posed(setting: str, pose: str) -> bool:
    needs = lexicon.poses()[pose].needs
    return not needs or bool(set(needs) & set(lexicon.settings()[setting].has))


def _shown(framing: str, pose: str) -> bool:
    return framing in lexicon.poses()[pose].framings


def _lens(framing: str, camera: str) -> bool:
    return framing in lexicon.cameras()[camera].framings


def _same_genre(*values: lexicon.Setting | lexicon.Lighting | lexicon.Camera) -> bool:
    tagged = [set(v.genres) for v in values if v.genres]
    return not tagged or bool(set.intersection(*tagged))


def _kind(setting: str, mix: str) -> bool:
    return lexicon.settings()[setting].mix == mix


DIRECT: dict[tuple[str, str], Callable[[str, str], bool]] = {
    ("setting", "lighting"): _lit,
    ("setting", "outfit"): _worn,
    ("setting", "pose"): _posed,
    ("setting", "mix"): _kind,
    ("setting", "camera"): lambda s, c: _same_genre(lexicon.settings()[s], lexicon.cameras()[c]),
    ("lighting", "camera"): lambda v, c: _same_genre(lexicon.lightings()[v], lexicon.cameras()[c]),
    ("framing", "pose"): _shown,
    ("framing", "camera"): _lens,
    ("expression", "gaze"): lambda e, g: g in lexicon.moods()[e].gaze or g == "away",
    ("angle", "gaze"): lambda a, g: any(g in gazes_of(a, m) for m in lexicon.moods()),
}
"""Pairs of axes with a rule of their own: may the two values stand together?"""

HOSTS = ("setting", "framing")
"""Axes that others lean on: two values that share no host value exclude each other."""


def forbidden(a: str, b: str, used: Used) -> set[tuple[str, str]]:
    """Pairs (value of a, value of b) among the values in use that no shot may have."""
    values = list(product(sorted(used[a]), sorted(used[b])))
    for first, second, turned in ((a, b, False), (b, a, True)):
        if rule := DIRECT.get((first, second)):
            return {(x, y) for x, y in values if not (rule(y, x) if turned else rule(x, y))}
    found: set[tuple[str, str]] = set()
    for host in HOSTS:
        one, two = DIRECT.get((host, a)), DIRECT.get((host, b))
        if one is None or two is None:
            continue
        of_a = {x: {h for h in used[host] if one(h, x)} for x in used[a]}
        of_b = {y: {h for h in used[host] if two(h, y)} for y in used[b]}
        found |= {(x, y) for x, y in values if not of_a[x] & of_b[y]}
    return found
