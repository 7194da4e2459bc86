"""The report of a plan: what was asked, what came out, what sticks together.

In: shots and their targets. Out: a JSON-able dict with counts, distinct values, caps, coverage and
associations (bias-corrected Cramer's V).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import ceil
from typing import Any

from limner import lexicon
from limner.project.records import Shot
from limner.shots.quotas import REST
from limner.shots.relations import forbidden
from limner.shots.rules import threshold
from limner.shots.search import FACE_AXES, cramers_v

_WORD = re.compile(r"[\w'/&.-]+")


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """All runs of `length` words of a text, punctuation and case aside."""
    words = [w.strip(".") for w in _WORD.findall(text.lower())]
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def column(shots: Sequence[Shot], axis: str) -> list[str]:
    """One axis of all shots; `mix` is the kind of place."""
    if axis == "mix":
        return [lexicon.settings()[s.attributes["setting"]].mix for s in shots]
    return [s.attributes[axis] for s in shots]


def counts(shots: Sequence[Shot]) -> dict[str, dict[str, int]]:
    """Axis -> value -> shots; expression over shots that show a face."""
    found = {}
    for axis in (*lexicon.AXES, "mix", "gaze"):
        among = [s for s in shots if s.face_visible] if axis == "expression" else shots
        found[axis] = dict(Counter(column(among, axis)).most_common())
    return found


def needed_distinct(total: int, own: Mapping[str, float] | None) -> dict[str, int]:
    """Fewest distinct settings, outfits and lights for a plan of `total` shots."""
    scaled = ceil(threshold("distinct_share", own) * total)
    names = {"setting": "distinct_settings", "outfit": "distinct_outfits"}
    names["lighting"] = "distinct_lightings"
    return {axis: min(int(threshold(name, own)), scaled) for axis, name in names.items()}


def associations(shots: Sequence[Shot]) -> list[dict[str, Any]]:
    """`associations_of` the columns of these shots."""
    columns = {axis: column(shots, axis) for axis in (*lexicon.AXES, "mix", "gaze")}
    return associations_of(columns, [s.face_visible for s in shots])


def associations_of(
    columns: Mapping[str, Sequence[str]], seen: Sequence[bool]
) -> list[dict[str, Any]]:
    """Bias-corrected Cramer's V and coverage of every pair of axes, strongest first.

    Each: {axes, v (None = not measurable, with reason), by_rule (the pair leans on each other
    because a rule forbids some of it), covered, possible}. possible: value pairs that the rules
    allow, at most one a shot. Expression and gaze count where a face is seen.
    """
    faces = [i for i, face in enumerate(seen) if face]
    found = []
    for a, b in combinations(columns, 2):
        among = faces if {a, b} & set(FACE_AXES) else range(len(seen))
        used = {axis: {values[i] for i in among} for axis, values in columns.items()}
        first, second = ([columns[x][i] for i in among] for x in (a, b))
        v = cramers_v(first, second)
        banned = forbidden(a, b, used)
        allowed = len(set(first)) * len(set(second)) - len(banned)
        found.append(
            {
                "axes": [a, b],
                "v": v,
                "reason": None if v is not None else "too few shots or a single value",
                "by_rule": bool(banned),
                "covered": len(set(zip(first, second, strict=True))),
                "possible": min(allowed, len(among)),
            }
        )
    return sorted(found, key=lambda e: -(e["v"] if e["v"] is not None else -1.0))


def make_report(
    shots: Sequence[Shot],
    targets: Mapping[str, Mapping[str, int]],
    thresholds: Mapping[str, float] | None,
    *,
    wear: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Counts, quotas, distinct values, repeats, coverage, associations and wording of a plan."""
    found = counts(shots)
    quotas = {
        axis: {v: {"asked": n, "got": found[axis].get(v, 0)} for v, n in asked.items() if v != REST}
        for axis, asked in targets.items()
    }
    pairs = Counter((s.attributes["setting"], s.attributes["outfit"]) for s in shots)
    strengths = associations(shots)
    free = [e["v"] for e in strengths if e["v"] is not None and not e["by_rule"]]
    tied = [e["v"] for e in strengths if e["v"] is not None and e["by_rule"]]
    nested = {"setting", "mix"}  # a place has one kind: nothing to cover
    crossed = [e for e in strengths if set(e["axes"]) != nested]
    words = [len(s.prompt.split()) for s in shots]
    return {
        "count": len(shots),
        "wear": wear,
        "exact": all(e["asked"] == e["got"] for axis in quotas.values() for e in axis.values()),
        "quotas": quotas,
        "axes": found,
        "max_association": max(free, default=None),
        "max_association_by_rule": max(tied, default=None),
        "pairs_covered": sum(e["covered"] for e in crossed)
        / max(1, sum(e["possible"] for e in crossed)),
        "distinct": {
            axis: {"got": len(found[axis]), "needed": need}
            for axis, need in needed_distinct(len(shots), thresholds).items()
        },
        "repeated_place_and_outfit": sum(n - 1 for n in pairs.values()),
        "coverage": coverage(shots),
        "association": {
            "measure": "bias-corrected Cramer's V",
            "pairs": strengths,
        },
        "words": {"fewest": min(words), "most": max(words), "mean": sum(words) / len(words)},
        "shared_runs": len(shared_runs(shots, int(threshold("shared_run", thresholds)))),
        "faces_hidden": sum(not s.face_visible for s in shots),
        "notes": list(notes),
    }


def coverage(shots: Sequence[Shot]) -> dict[str, dict[str, dict[str, int]]]:
    """Angle -> expression -> framing -> shots."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for shot in shots:
        a = shot.attributes
        mood = a["expression"] if shot.face_visible else "no face"
        cell = table.setdefault(a["angle"], {}).setdefault(mood, {})
        cell[a["framing"]] = cell.get(a["framing"], 0) + 1
    return table


def shared_runs(shots: Sequence[Shot], length: int) -> list[tuple[str, str, str]]:
    """Pairs of shots whose prompts share a run of `length` words: (shot, shot, the words)."""
    first: dict[tuple[str, ...], str] = {}
    found: dict[tuple[str, str], str] = {}
    for shot in shots:
        for run in sorted(runs(shot.prompt, length)):
            if run in first:
                found.setdefault((first[run], shot.id), " ".join(run))
            else:
                first[run] = shot.id
    return [(a, b, words) for (a, b), words in found.items()]
