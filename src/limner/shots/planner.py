"""The planner: N shots with exact quotas on every axis at once, and a prompt each.

In: count, seed, preset, quotas, a source's abilities. Out: `ShotPlan`: shots in domain order and a
report. Pure and deterministic: same arguments, same plan, on every machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from limner import lexicon
from limner.errors import InputError
from limner.project.records import Shot
from limner.shots.places import choose_places, mixed
from limner.shots.quotas import REST, assign, fill_up, largest_remainder
from limner.shots.report import make_report, runs
from limner.shots.rules import PRESETS, Rules, rules_for, threshold, wear_of
from limner.shots.search import Columns, untangle
from limner.shots.writer import write_prompt

COUNTS = (1, 400)
"""Shots a plan may have; a project's own plan has at least 8 (evaluation asks for fewer)."""
MOVES_A_SHOT, MOST_MOVES = 300, 60_000
"""Work budget of the search: tried swaps."""
TRIES, TRIES_OF_MANY = 300, 8
"""Wordings tried a prompt: up to the size that may share no run, and beyond it."""
UNSEEN = "peaceful"
"""Expression of a shot that shows no face; it counts in no quota."""

Quotas = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class ShotPlan:
    """Shots in order (front, three-quarter, side, back) and the report (see `make_report`)."""

    shots: list[Shot]
    report: dict[str, Any]


def make_plan(
    *,
    count: int,
    seed: int,
    preset: str = "seed",
    quotas: Quotas | None = None,
    abilities: Mapping[str, Sequence[str]] | None = None,
    trigger: str,
    class_word: str,
    wear: str | None = None,
    exclude_prompts: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
    moves: int | None = None,
) -> ShotPlan:
    """Plan `count` shots (1 to 400).

    quotas: axis (or `mix`) -> value -> percent, over the preset; shares that sum to less than 100
    leave the rest to the other values. abilities: axis -> ids a source can make. wear: feminine,
    masculine or neutral; default by the class word. exclude_prompts: texts with which no prompt may
    share a run of six words. moves: budget of the search, in tried swaps.
    Raises InputError for quotas that cannot be met.
    """
    if not COUNTS[0] <= count <= COUNTS[1]:
        raise InputError(
            f"{count} shots are outside {COUNTS[0]} to {COUNTS[1]}", where="shots.count"
        )
    rules = rules_for(wear or wear_of(class_word), abilities)
    targets = make_targets(count, preset, quotas or {}, rules)
    random = Random(seed)
    columns, notes = _columns(count, targets, rules, random, firm_mix="mix" in (quotas or {}))
    if notes:  # the preset's mix gave way
        targets.pop("mix")
    seen = [lexicon.angles()[a].face for a in columns["angle"]]
    budget = min(MOVES_A_SHOT * count, MOST_MOVES) if moves is None else moves
    columns = untangle(columns, _allowed(rules), random, budget, movable=seen)
    shots = _write(columns, seed, trigger, exclude_prompts, thresholds)
    report = make_report(shots, targets, thresholds, wear=wear or wear_of(class_word), notes=notes)
    return ShotPlan(shots, {"seed": seed, "preset": preset, "moves": budget, **report})


def make_targets(
    count: int, preset: str, quotas: Quotas, rules: Rules
) -> dict[str, dict[str, int]]:
    """Exact counts by axis; `REST` holds what nobody named. Expression counts over seen faces."""
    if preset not in PRESETS:
        raise InputError(
            f"no preset {preset!r}", where="shots.preset", fix=f"Use one of: {', '.join(PRESETS)}"
        )
    known = (*lexicon.AXES, "mix")
    for axis in quotas:
        if axis not in known:
            raise InputError(
                f"no axis {axis!r}", where="shots.quotas", fix=f"Use one of: {', '.join(known)}"
            )
    able = {**rules.values, "mix": tuple(PRESETS[preset]["mix"])}
    targets: dict[str, dict[str, int]] = {}
    for axis in known:
        shares = PRESETS[preset].get(axis, {})
        if axis == "mix" and "setting" in quotas and "mix" not in quotas:
            continue  # named places decide the mix
        shares = fill_up(axis, quotas.get(axis, {}), shares, able[axis])
        unable = [v for v, share in shares.items() if share > 0 and v not in (*able[axis], REST)]
        if unable:
            raise InputError(
                f"the source cannot make {axis}: {', '.join(unable)}",
                where=f"shots.quotas.{axis}",
                fix=f"Give {unable[0]} a share of 0; the others take its part.",
            )
        total = count
        if axis == "expression":
            hidden = [a for a, n in targets["angle"].items() if not lexicon.angles()[a].face and n]
            total = count - sum(targets["angle"][a] for a in hidden)
        if shares:
            targets[axis] = largest_remainder(shares, total)
    return targets


def _columns(
    count: int,
    targets: Mapping[str, Mapping[str, int]],
    rules: Rules,
    random: Random,
    *,
    firm_mix: bool,
) -> tuple[Columns, list[str]]:
    """A first arrangement that meets every quota and rule; the search only reorders it."""
    order = [a for a in lexicon.angles() if a in targets["angle"]]
    angle = [a for a in order for _ in range(targets["angle"][a])]
    seen = [lexicon.angles()[a].face for a in angle]
    moods = iter(mixed(_units(targets["expression"]), random))
    expression = [next(moods) if face else UNSEEN for face in seen]
    triples, notes = choose_places(count, rules, targets, random, firm_mix=firm_mix)
    shuffled = [t for _, t in sorted((random.random(), t) for t in triples)]
    setting, lighting, outfit = ([t[i] for t in shuffled] for i in range(3))
    framing = mixed(_units(targets["framing"]), random)
    columns: Columns = {
        "angle": angle,
        "framing": framing,
        "expression": expression,
        "outfit": outfit,
        "setting": setting,
        "mix": [lexicon.settings()[s].mix for s in setting],
        "lighting": lighting,
        "pose": _beside(
            framing, rules.poses, targets.get("pose"), rules.values["pose"], random, "pose"
        ),
        "camera": _beside(
            framing, rules.cameras, targets.get("camera"), rules.values["camera"], random, "camera"
        ),
        "gaze": _gazes(angle, expression, rules),
    }
    return columns, notes


def _units(counts: Mapping[str, int]) -> list[str]:
    return [v for v, n in counts.items() for _ in range(n)]


def _beside(
    framing: Sequence[str],
    allowed: Mapping[str, Sequence[str]],
    quota: Mapping[str, int] | None,
    values: Sequence[str],
    random: Random,
    axis: str,
) -> list[str]:
    """A value beside each framing: quotas exactly, the rest evenly over what the framing shows."""
    exact = {k: n for k, n in (quota or {}).items() if k != REST}
    if quota and REST not in quota:
        exact = {**dict.fromkeys(values, 0), **exact}
    found = assign(Counter(framing), allowed, exact, mixed(values, random))
    if found.short or found.unplaced:
        short = ", ".join(found.short) or "a framing"
        raise InputError(
            f"the quota of {axis} does not fit the framings ({short})",
            where=f"shots.quotas.{axis}",
            fix="Lower its share, or ask for more of the framings that show it.",
        )
    ready = {f: iter(mixed(_units(found.flow.get(f, {})), random)) for f in sorted(set(framing))}
    return [next(ready[f]) for f in framing]


def _gazes(angle: Sequence[str], expression: Sequence[str], rules: Rules) -> list[str]:
    """Gazes of each angle and mood in the mood's own proportions."""
    turn: Counter[tuple[str, str]] = Counter()
    found = []
    for pair in zip(angle, expression, strict=True):
        fitting = rules.gazes(*pair)
        found.append(fitting[turn[pair] % len(fitting)])
        turn[pair] += 1
    return found


def _allowed(rules: Rules) -> Any:
    lightings = {k: set(v) for k, v in rules.lightings.items()}
    outfits = {k: set(v) for k, v in rules.outfits.items()}
    poses = {k: set(v) for k, v in rules.poses.items()}
    cameras = {k: set(v) for k, v in rules.cameras.items()}
    gazes = {(a, m): set(rules.gazes(a, m)) for a in lexicon.angles() for m in lexicon.moods()}

    def check(row: Mapping[str, str]) -> bool:
        return (
            row["lighting"] in lightings[row["setting"]]
            and row["outfit"] in outfits[row["setting"]]
            and row["pose"] in poses[row["framing"]]
            and row["camera"] in cameras[row["framing"]]
            and row["gaze"] in gazes[row["angle"], row["expression"]]
        )

    return check


def shot_seed(seed: int, *names: object) -> int:
    """A 31-bit seed for one shot (and attempt), independent of all others."""
    text = "|".join(str(n) for n in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") >> 1


def _write(
    columns: Columns,
    seed: int,
    trigger: str,
    exclude: Sequence[str],
    thresholds: Mapping[str, float] | None,
) -> list[Shot]:
    """Shots with prompts; each prompt takes the wording that shares fewest runs with the others."""
    length = int(threshold("shared_run", thresholds))
    total = len(columns["angle"])
    tries = TRIES if total <= threshold("shared_run_up_to", thresholds) else TRIES_OF_MANY
    used: set[tuple[str, ...]] = set()
    for text in exclude:
        used |= runs(text, length)
    turn: Counter[str] = Counter()
    shots = []
    for i in range(total):
        shot_id = f"shot_{i + 1:03d}"
        mood = columns["expression"][i]
        row = {axis: columns[axis][i] for axis in (*lexicon.AXES, "gaze")}
        row["expression_variant"] = str(turn[mood] % len(lexicon.moods()[mood].caption))
        turn[mood] += 1
        own = shot_seed(seed, shot_id)
        best: tuple[int, str, set[tuple[str, ...]]] | None = None
        for attempt in range(tries):
            text = write_prompt(row, trigger, own + attempt)
            grams = runs(text, length)
            shared = len(grams & used)
            if best is None or shared < best[0]:
                best = (shared, text, grams)
            if not shared:
                break
        assert best is not None
        used |= best[2]
        face = lexicon.angles()[row["angle"]].face
        shots.append(Shot(shot_id, i + 1, row, best[1], own, face_visible=face))
    return shots
