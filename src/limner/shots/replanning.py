"""Another picture for a shot that was lost or rejected, in the same cell of the plan.

In: a plan's shots and which of them to plan anew. Out: new versions of those alone. Angle, framing,
mood, gaze, kind of place and whatever a quota counts stay, so that every count stays true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from random import Random

from limner import lexicon
from limner.errors import UsageError
from limner.project.records import Shot
from limner.shots.dialects import dialect_of
from limner.shots.planner import fits_of, shot_seed
from limner.shots.promptset import write_prompts
from limner.shots.rules import Rules
from limner.shots.signature import TAG

FREE = ("setting", "lighting", "outfit", "pose", "camera")
"""Axes that may change, where no quota counts them."""
AGAIN = "replanned"
"""Attribute that counts how often a shot was planned anew."""
OWN_WORDS = "own_words"
"""Attribute of an imported shot: its prompt is a person's and is never written anew."""
TRIES = 400
"""Combinations looked at for a shot (work budget)."""


def replan_shots(
    shots: Sequence[Shot],
    ids: Collection[str],
    *,
    rules: Rules,
    counted: Collection[str],
    seed: int,
    trigger: str,
    class_word: str | None = None,
    dialect: str = "atelier",
    thresholds: Mapping[str, float] | None = None,
) -> list[Shot]:
    """New versions of the shots named by `ids`, in their order.

    counted: axes with a quota of their own, which stay. The new combination is, among `TRIES`
    possible ones of values that the plan uses, the least like any other shot; it never has the
    old place, unless places are counted. Raises UsageError for an unknown id, and for an imported
    shot: its own words would be lost.
    """
    known = {s.id for s in shots}
    if missing := [i for i in ids if i not in known]:
        raise UsageError(f"There is no shot {missing[0]}", fix="`limner shots export` lists them.")
    current = {s.id: s for s in shots}
    for shot_id in dict.fromkeys(ids):
        was = current[shot_id].attributes
        if OWN_WORDS in was or not all(axis in was for axis in lexicon.AXES):
            raise UsageError(
                f"{shot_id} was imported: its own words would be lost if it were planned anew",
                where=shot_id,
                fix="Change its text and import it again (`limner shots import`).",
            )
    for shot_id in dict.fromkeys(ids):
        old = current[shot_id]
        others = [s for s in current.values() if s.id != shot_id]
        times = int(old.attributes.get(AGAIN, "0")) + 1
        own = shot_seed(seed, shot_id, "again", times)
        row = {**_other_values(old, others, rules, counted, Random(own)), AGAIN: str(times)}
        prompt = write_prompts(
            [row],
            trigger,
            [own],
            class_word=dialect_of(dialect).word_of(class_word),
            dialect=dialect,
            taken=[s.prompt for s in (*others, old)],
            thresholds=thresholds,
        )[0]
        current[shot_id] = replace(old, attributes=row, prompt=prompt, seed=own)
    return [current[i] for i in dict.fromkeys(ids)]


def _other_values(
    old: Shot, others: Sequence[Shot], rules: Rules, counted: Collection[str], random: Random
) -> dict[str, str]:
    """The attributes of the new version; the old ones where nothing else is possible."""
    was = old.attributes
    fixed = {*counted, *(("outfit",) if TAG in was else ())}
    options = {axis: _options(axis, was, others, rules, axis in fixed) for axis in FREE}
    use = {axis: Counter(s.attributes.get(axis, "") for s in others) for axis in FREE}
    fits = fits_of(rules)
    best: tuple[float, dict[str, str]] | None = None
    for _ in range(TRIES):
        row = dict(was)
        for axis in FREE:
            row[axis] = options[axis][int(random.random() * len(options[axis]))]
        if not fits({axis: [value] for axis, value in row.items()}, 0):
            continue
        cost = _likeness(row, others) + sum(use[axis][row[axis]] for axis in FREE)
        if best is None or cost < best[0]:
            best = (cost, row)
    found = best[1] if best else dict(was)
    if "genre" in was:
        shared = rules.shared_genres(found["setting"], found["lighting"], found["camera"])
        found["genre"] = was["genre"] if was["genre"] in shared else shared[0]
    return found


def _options(
    axis: str, was: Mapping[str, str], others: Sequence[Shot], rules: Rules, fixed: bool
) -> list[str]:
    """Values to choose from: those the plan uses; places of the same kind, not the old one."""
    if fixed:
        return [was[axis]]
    used = {s.attributes.get(axis, "") for s in others} | {was[axis]}
    values = [v for v in rules.values[axis] if v in used]
    if axis == "setting":
        kind = lexicon.settings()[was[axis]].mix
        values = [v for v in values if lexicon.settings()[v].mix == kind and v != was[axis]]
    return values or [was[axis]]


def _likeness(row: Mapping[str, str], others: Sequence[Shot]) -> float:
    """Pairs of values that the row shares with other shots, summed; the same place and clothes
    count as five."""
    total = 0.0
    for shot in others:
        same = sum(row[axis] == shot.attributes.get(axis) for axis in lexicon.AXES)
        total += same * (same - 1) / 2
        if all(row[axis] == shot.attributes.get(axis) for axis in ("setting", "outfit")):
            total += 5
    return total
