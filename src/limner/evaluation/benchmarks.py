"""The guide's quality benchmarks and the tests of the winner: measured, or not and how it would be.

In: judged test pictures and the measured qualities. Out: plain rows for the verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from limner.evaluation import statistics as stats
from limner.evaluation.arms import BASE, Arm, Judged
from limner.evaluation.choose import bounds
from limner.evaluation.claim import Count, span
from limner.evaluation.report import prompt_interval
from limner.evaluation.testsets import PHASE, STRENGTHS, asking_for
from limner.vision.texture import SCALES

Row = dict[str, Any]


def count(judged: Sequence[Judged], arm: Arm) -> Count:
    """Matches of one arm."""
    mine = [j for j in judged if j.arm == arm]
    return Count(sum(j.match for j in mine), len(mine), prompt_interval(mine))


def tests(judged: Mapping[str, Sequence[Judged]], chosen: Arm) -> list[Row]:
    """One row a prompt set that was drawn: winner and base."""
    found = []
    for phase, pictures in judged.items():
        name = phase.removeprefix(PHASE)
        mine, base = count(pictures, chosen), count(pictures, BASE)
        if name in ("strengths", "styles") or not mine.n:
            continue
        row = {"test": name, "hits": mine.hits, "n": mine.n, "match_rate": mine.rate}
        row |= {"interval": mine.interval.as_list(), "base_hits": base.hits, "base_n": base.n}
        found.append(row)
    return found


def strengths(
    swept: Sequence[Judged], claimed: Sequence[Judged], chosen: Arm
) -> list[dict[str, Any]]:
    """The winner's checkpoint at each strength, on the same prompts and seeds."""
    cells = {j.cell for j in swept}
    pictures = [*swept, *(j for j in claimed if j.arm == chosen and j.cell in cells)]
    found = []
    for arm in sorted({j.arm for j in pictures if j.arm.step == chosen.step}):
        mine = count(pictures, arm)
        row = {"strength": arm.strength, "hits": mine.hits, "n": mine.n, "match_rate": mine.rate}
        found.append(row | {"interval": mine.interval.as_list()})
    return found


def styles(
    styled: Sequence[Judged],
    claimed: Sequence[Judged],
    chosen: Arm,
    files: Sequence[Sequence[Any]],
) -> list[Row]:
    """Loss of identity under each style LoRA: score difference to the winner alone, paired."""
    alone = {j.cell: j for j in claimed if j.arm == chosen}
    found = []
    for number, (name, _, strength) in enumerate(files):
        arm = Arm(number, 1.0, "styled")
        mine = [j for j in styled if j.arm == arm and j.cell in alone]
        row: Row = {"file": name, "strength": strength, "n": len(mine)}
        gaps: dict[str, list[float]] = {}
        for one in mine:
            gaps.setdefault(one.prompt_id, []).append(one.score - alone[one.cell].score)
        if not gaps:
            found.append(row | {"difference": None, "interval": None, "reason": "nothing drawn"})
            continue
        gap, hits = stats.paired(gaps), Count(sum(j.match for j in mine), len(mine))
        row |= {"difference": gap.mean, "interval": bounds(gap.interval), "reason": None}
        row |= {"hits": hits.hits, "match_rate": hits.rate}
        row |= {"match_interval": hits.interval.as_list()}
        row |= {"alone_hits": sum(alone[j.cell].match for j in mine)}
        found.append(row)
    return found


def outfits(claimed: Sequence[Judged], chosen: Arm, worn: Mapping[str, str]) -> list[Row]:
    """Match rate by outfit (prompt id -> outfit), for characters with several."""
    groups: dict[str, list[bool]] = {}
    for one in claimed:
        if one.arm == chosen and one.prompt_id in worn:
            groups.setdefault(worn[one.prompt_id], []).append(one.match)
    found = []
    for outfit, matches in sorted(groups.items()):
        hits = Count(sum(matches), len(matches))
        row = {"outfit": outfit, "hits": hits.hits, "n": hits.n, "match_rate": hits.rate}
        found.append(row | {"interval": hits.interval.as_list()})
    return found


def benchmarks(
    claimed: Count,
    goal: float,
    tested: Sequence[Row],
    swept: Sequence[Row],
    styled: Sequence[Row],
    qualities: Sequence[Row],
    have: Collection[str] = (),
) -> list[Row]:
    """The guide's six: consistent face, strengths 0.6 to 1.0, new prompts, natural skin, body
    proportions, style LoRAs. passed: True or False only where an interval says so. have: names of
    the tests that are drawn, for the command of one more."""
    by_key = {row["key"]: row for row in qualities}
    new = next((t for t in tested if t["test"] in ("far", "guide")), None)
    return [
        _share("consistent_face", "Consistent face in fresh pictures", claimed, goal, AGAIN),
        _strengths(swept, goal, _then(asking_for("strengths", have))),
        _share(
            "new_prompts",
            "Adapts to new prompts",
            Count(new["hits"], new["n"], stats.Interval(*new["interval"])) if new else Count(0, 0),
            goal,
            _then(asking_for("far", {*have, "guide"})),
        ),
        _quality("natural_skin", "Natural skin texture", by_key["skin_z"], -2.0, None, SKIN),
        _quality(
            "proportions", "Realistic body proportions", by_key["proportion_head"], 0.85, 1.18, BODY
        ),
        _styles(styled),
    ]


def _then(command: str) -> str:
    return f"{command} && limner verdict"


AGAIN = _then("limner evaluate")
SKIN = (
    f"8 close-ups with {SCALES[-1]} px or more between the eyes, in training and in the renders; "
    "or look at them"
)
BODY = "8 full-body shots in training and 8 full-body prompts; or look at them"


def _plain(key: str, name: str, how: str) -> Row:
    return {
        "key": key,
        "name": name,
        "state": "not_measured",
        "passed": None,
        "value": None,
        "interval": None,
        "words": "not measured",
        "how": how,
    }


def _share(key: str, name: str, found: Count, goal: float, command: str) -> Row:
    row = _plain(key, name, command)
    if not found.n:
        return row
    passed = True if found.reaches(goal) else False if found.interval.high < goal else None
    words = f"{found.words}, {span(found.interval)}; {100 * goal:g} % or more is asked for"
    row |= {"state": "measured", "passed": passed, "value": found.rate, "words": words}
    return row | {"interval": found.interval.as_list()}


def _strengths(swept: Sequence[Row], goal: float, command: str) -> Row:
    row = _plain("strengths", "Works at strengths 0.6 to 1.0", command)
    if not set(STRENGTHS) <= {r["strength"] for r in swept}:
        return row
    level = 1.0 - 0.05 / len(swept)  # all strengths at once: Bonferroni
    lows = [stats.exact_lower(r["hits"], r["n"], level) for r in swept]
    highs = [stats.exact_upper(r["hits"], r["n"], level) for r in swept]
    passed = True if min(lows) >= goal else False if min(highs) < goal else None
    words = "; ".join(f"{r['strength']:g}: {r['hits']} of {r['n']}" for r in swept)
    worst = min(swept, key=lambda r: r["match_rate"])
    row |= {"state": "measured", "passed": passed, "value": worst["match_rate"], "words": words}
    return row | {"interval": worst["interval"]}


def _quality(key: str, name: str, found: Row, low: float, high: float | None, how: str) -> Row:
    row = _plain(key, name, how)
    if found["value"] is None:
        return row | {"words": f"not measured: {found['reason']}"}
    passed = None  # without an interval a number decides nothing
    if found["interval"]:
        ends = found["interval"]
        inside = ends[0] >= low and (high is None or ends[1] <= high)
        outside = ends[1] < low or (high is not None and ends[0] > high)
        passed = True if inside else False if outside else None
    words = f"{found['value']:.2f} {found['unit']}, allowed from {low:g}"
    words += f" to {high:g}" if high is not None else ""
    row |= {"state": "measured", "passed": passed, "value": found["value"], "words": words}
    return row | {"interval": found["interval"]}


def _styles(styled: Sequence[Row]) -> Row:
    how = _then("limner evaluate --style OTHER.safetensors:0.6") + " (--style up to three times)"
    row = _plain("style_loras", "Compatible with style LoRAs", how)
    known = [s for s in styled if s["difference"] is not None]
    if not known:
        return row
    worst = min(known, key=lambda s: float(s["difference"]))
    words = "; ".join(f"{s['file']} at {s['strength']:g}: {s['difference']:+.3f}" for s in known)
    row |= {"state": "measured", "value": worst["difference"], "words": f"identity {words}"}
    return row | {"interval": worst["interval"]}
