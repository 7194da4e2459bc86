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
from types import MappingProxyType
from typing import Any

from limner import lexicon
from limner.errors import InputError
from limner.project.records import Shot
from limner.shots.conflicts import explain
from limner.shots.dialects import dialect_of
from limner.shots.listing import by_domain, plain
from limner.shots.places import choose_places, mixed
from limner.shots.pools import narrow
from limner.shots.promptset import write_prompts
from limner.shots.quotas import REST, assign, fill_up, largest_remainder
from limner.shots.report import associations_of, make_report
from limner.shots.rules import PRESETS, Rules, gazes_of, rules_for, threshold, wear_of
from limner.shots.search import BLOCKS, Columns, Fits, mend, untangle
from limner.shots.signature import TAG, Signature, advice, tags_of, with_signature

COUNTS = (1, 400)
"""Shots a plan may have; evaluation asks for few."""
PLANNED_COUNTS = (8, 400)
"""Shots of a plan that a LoRA is trained on."""
MOVES_A_SHOT, MOST_MOVES = 800, 160_000
"""Work budget of the search: tried swaps."""
STARTS = 80
"""Shots arranged in all while the strongest association is too high: 6 starts of 12, 2 of 40."""
SMALL, SMALL_STARTS, SMALL_TRIES = 12, 40, 4
"""Plans of fewer shots than `SMALL` are started up to 40 times, each with 4 tries of every swap of
two shots: there another pool of values helps and more swaps do not (measured: of 60 starts of 8
shots 1 came out free, with 1,200 swaps each; of 20 with 6,400 none)."""
UNSEEN = "peaceful"
"""Expression of a shot that shows no face; it counts in no quota."""

Quotas = Mapping[str, Mapping[str, float]]
Targets = dict[str, dict[str, int]]


@dataclass(frozen=True)
class ShotPlan:
    """Shots in order (front, three-quarter, side, back) and the report (see `make_report`)."""

    shots: list[Shot]
    report: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values: `shots` (id, one key an axis, face_visible, prompt, seed), `report`."""
        return {"shots": [plain(s) for s in self.shots], "report": self.report}

    def text(self) -> str:
        """The prompts for the clipboard, by domain."""
        return by_domain(self.shots)


def make_plan(
    *,
    count: int,
    seed: int,
    preset: str = "seed",
    quotas: Quotas | None = None,
    abilities: Mapping[str, Sequence[str]] | None = None,
    genres: Sequence[str] | None = None,
    signature: Mapping[str, Signature] | None = None,
    trigger: str,
    class_word: str,
    wear: str | None = None,
    exclude_prompts: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
    moves: int | None = None,
    dialect: str = "atelier",
) -> ShotPlan:
    """Plan `count` shots (1 to 400).

    quotas: axis (or `mix`) -> value -> percent, over the preset; shares that sum to less than 100
    leave the rest to the other values. abilities: axis -> ids a source can make. genres: kinds of
    photography (None = all). signature: caption tag -> outfit and its exact number of shots. wear:
    feminine, masculine or neutral; default by the class word. exclude_prompts: texts with which no
    prompt may share a run of six words. moves: budget of the search, in tried swaps.
    Raises InputError for quotas that cannot be met, naming a smallest set that contradicts itself.
    """
    if not COUNTS[0] <= count <= COUNTS[1]:
        raise InputError(
            f"{count} shots are outside {COUNTS[0]} to {COUNTS[1]}", where="shots.count"
        )
    wear = wear or wear_of(class_word)
    rules = rules_for(wear, abilities, genres)
    targets = make_targets(count, preset, quotas or {}, rules)
    targets = with_signature(targets, signature or {}, count, rules)
    budget = _moves(count) if moves is None else moves
    columns, notes = arrange(count, targets, rules, seed, thresholds, quotas or {}, moves=budget)
    if notes:  # the preset's mix gave way
        targets.pop("mix")
    notes += advice(signature or {}, thresholds)
    seen = faces_seen(columns)
    rows = _rows(columns, rules, tags_of(signature or {}), named_genre=not abilities)
    ids = [f"shot_{i + 1:03d}" for i in range(count)]
    seeds = [shot_seed(seed, name) for name in ids]
    prompts = write_prompts(
        rows,
        trigger,
        seeds,
        class_word=dialect_of(dialect).word_of(class_word),
        dialect=dialect,
        taken=exclude_prompts,
        thresholds=thresholds,
    )
    shots = [
        Shot(name, i + 1, row, text, own, face_visible=face)
        for i, (name, row, text, own, face) in enumerate(
            zip(ids, rows, prompts, seeds, seen, strict=True)
        )
    ]
    report = make_report(shots, targets, thresholds, wear=wear, notes=notes)
    report["notes"] += _sticking(report, thresholds)
    return ShotPlan(shots, {"seed": seed, "preset": preset, "moves": budget, **report})


def _sticking(report: Mapping[str, Any], thresholds: Mapping[str, float] | None) -> list[str]:
    """What a plan says of itself where a pair of free axes is stronger than it should be."""
    limit = threshold("association", thresholds)
    strong = [p for p in report["association"]["pairs"] if (p["v"] or 0) > limit]
    free = [p for p in strong if not p["by_rule"]]
    if not free or report["count"] < PLANNED_COUNTS[0]:
        return []
    others = f" (and {len(free) - 1} weaker pairs)" if len(free) > 1 else ""
    return [
        f"{' and '.join(free[0]['axes'])} stick together{others}: Cramer's V {free[0]['v']:.2f}, "
        f"aimed at is {limit:g} at most. No better spread of {report['count']} shots was found for "
        "these quotas; more shots, or another seed, can have one."
    ]


def _moves(count: int) -> int:
    """Swaps tried in one start."""
    if count < SMALL:
        return SMALL_TRIES * len(BLOCKS) * count * (count - 1) // 2
    return min(MOVES_A_SHOT * count, MOST_MOVES)


def make_targets(count: int, preset: str, quotas: Quotas, rules: Rules) -> Targets:
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
    kinds = {lexicon.settings()[s].mix for s in rules.values["setting"]}
    able = {**rules.values, "mix": tuple(k for k in PRESETS[preset]["mix"] if k in kinds)}
    targets: Targets = {}
    for axis in known:
        shares = PRESETS[preset].get(axis, {})
        if axis == "mix" and "setting" in quotas and "mix" not in quotas:
            continue  # named places decide the mix
        if axis == "mix":  # a genre may have one kind of place alone
            shares = {kind: share for kind, share in shares.items() if kind in kinds}
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
            total = _faces(targets["angle"], asked="expression" in quotas)
        if shares:
            targets[axis] = largest_remainder(shares, total)
    return targets


def _faces(angles: Mapping[str, int], *, asked: bool) -> int:
    """Shots that show a face; moods are counted among them."""
    seen = sum(n for a, n in angles.items() if lexicon.angles()[a].face)
    if asked and not seen:
        hidden = ", ".join(f"angle {a} = {n} shots" for a, n in angles.items() if n)
        raise InputError(
            f"these quotas cannot hold together: {hidden}; any share of an expression",
            where="shots.quotas.expression",
            fix="Leave some shots that show a face, or drop the quota of expression.",
        )
    return seen


def arrange(
    count: int,
    targets: Mapping[str, Mapping[str, int]],
    rules: Rules,
    seed: int,
    thresholds: Mapping[str, float] | None = None,
    quotas: Quotas = MappingProxyType({}),
    *,
    moves: int,
) -> tuple[Columns, list[str]]:
    """The arrangement with the weakest free association; small plans are started several times.

    quotas: the user's own, which bind the mix and are named first where nothing fits.
    Ends at the first one that is weak enough, or when `STARTS` shots were arranged (small plans:
    after `SMALL_STARTS` starts).
    """
    best: tuple[float, Columns, list[str]] | None = None
    enough = threshold("association", thresholds)
    fits = fits_of(rules)
    for start in range(SMALL_STARTS if count < SMALL else max(1, STARTS // count)):
        random = Random(shot_seed(seed, "start", start))
        columns, notes = _first(count, targets, rules, random, thresholds, quotas)
        columns = untangle(columns, fits, random, moves, seen=faces_seen(columns))
        pairs = associations_of(columns, faces_seen(columns))
        worst = max((e["v"] for e in pairs if e["v"] and not e["by_rule"]), default=0.0)
        if best is None or worst < best[0]:
            best = (worst, columns, notes)
        if worst <= enough or not moves:
            break
    assert best is not None
    return best[1], best[2]


def faces_seen(columns: Columns) -> list[bool]:
    """Which shots show a face."""
    return [lexicon.angles()[a].face for a in columns["angle"]]


def _first(
    count: int,
    targets: Mapping[str, Mapping[str, int]],
    rules: Rules,
    random: Random,
    thresholds: Mapping[str, float] | None,
    quotas: Quotas,
) -> tuple[Columns, list[str]]:
    """A first arrangement that meets every quota and rule, from the smallest pool that can."""
    for wider in (1, 2, 4, 400):
        pool = narrow(rules, count, targets, random, thresholds, wider=wider)
        firm = "mix" in quotas or wider < 400  # the preset's mix gives way last
        try:
            columns, notes = _columns(count, targets, pool, random, firm_mix=firm)
        except InputError:
            continue
        columns, bad = mend(columns, fits_of(rules), random)
        if not bad or _free_poses(columns, bad, pool, targets):
            return columns, notes
    raise explain(count, targets, rules, quotas)


def _free_poses(
    columns: Columns, bad: Sequence[int], rules: Rules, targets: Mapping[str, Mapping[str, int]]
) -> bool:
    """Give the shots no swap could mend another pose and camera where no quota counts them."""
    fits = fits_of(rules)
    for i in bad:
        framing = columns["framing"][i]
        poses = rules.poses[framing] if "pose" not in targets else (columns["pose"][i],)
        cameras = rules.cameras[framing] if "camera" not in targets else (columns["camera"][i],)
        for pose, camera in ((p, c) for p in poses for c in cameras):
            columns["pose"][i], columns["camera"][i] = pose, camera
            if fits(columns, i):
                break
    return all(fits(columns, i) for i in bad)


def _columns(
    count: int,
    targets: Mapping[str, Mapping[str, int]],
    rules: Rules,
    random: Random,
    *,
    firm_mix: bool,
) -> tuple[Columns, list[str]]:
    """Columns that meet every quota; rules across places and framings may still be broken."""
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
        "gaze": _gazes(angle, expression, random),
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
        raise InputError(f"the quota of {axis} does not fit the framings ({short})")
    ready = {f: iter(mixed(_units(found.flow.get(f, {})), random)) for f in sorted(set(framing))}
    return [next(ready[f]) for f in framing]


def _gazes(angle: Sequence[str], expression: Sequence[str], random: Random) -> list[str]:
    """Gazes of each angle and mood in the mood's own proportions."""
    turn: Counter[tuple[str, str]] = Counter()
    found = []
    for pair in zip(angle, expression, strict=True):
        fitting = gazes_of(*pair)
        turn.setdefault(pair, int(random.random() * len(fitting)))
        found.append(fitting[turn[pair] % len(fitting)])
        turn[pair] += 1
    return found


def fits_of(rules: Rules) -> Fits:
    """The test whether one shot's values may stand together, by all rules at once."""
    lightings = {k: set(v) for k, v in rules.lightings.items()}
    outfits = {k: set(v) for k, v in rules.outfits.items()}
    poses = {k: set(v) for k, v in rules.poses.items()}
    cameras = {k: set(v) for k, v in rules.cameras.items()}
    places = rules.places
    gazes = {(a, m): set(gazes_of(a, m)) for a in lexicon.angles() for m in lexicon.moods()}
    known: dict[tuple[str, str, str], bool] = {}

    def genre(*triple: str) -> bool:
        if triple not in known:
            known[triple] = bool(rules.shared_genres(*triple))  # type: ignore[index]
        return known[triple]  # type: ignore[index]

    def fits(work: Mapping[str, Sequence[str]], i: int) -> bool:
        setting, framing, lighting = work["setting"][i], work["framing"][i], work["lighting"][i]
        pose, camera = work["pose"][i], work["camera"][i]
        return (
            lighting in lightings[setting]
            and work["outfit"][i] in outfits[setting]
            and pose in poses[framing]
            and camera in cameras[framing]
            and (pose not in places or setting in places[pose])
            and work["gaze"][i] in gazes[work["angle"][i], work["expression"][i]]
            and genre(setting, lighting, camera)
        )

    return fits


def shot_seed(seed: int, *names: object) -> int:
    """A 31-bit seed for one shot (and attempt), independent of all others."""
    text = "|".join(str(n) for n in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") >> 1


def _rows(
    columns: Columns, rules: Rules, tags: Mapping[str, str], *, named_genre: bool
) -> list[dict[str, str]]:
    """Attributes of each shot: its columns, which wording of the mood, genre and outfit tag."""
    turn: Counter[str] = Counter()
    rows = []
    for i, mood in enumerate(columns["expression"]):
        row = {axis: columns[axis][i] for axis in (*lexicon.AXES, "gaze")}
        row["expression_variant"] = str(turn[mood] % rules.variants[mood])
        turn[mood] += 1
        if named_genre:
            shared = rules.shared_genres(row["setting"], row["lighting"], row["camera"])
            row["genre"] = shared[turn[mood] % len(shared)]
        if row["outfit"] in tags:
            row[TAG] = tags[row["outfit"]]
        rows.append(row)
    return rows
