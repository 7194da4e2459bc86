"""What helps against each symptom, cheapest first, with the size of the change for this project.

In: a symptom and `Records`. Out: `Step`s with a command that is ready to paste. The table is data;
where a value stands in it, so do its source and how far to trust it.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from limner.advice import reading
from limner.advice.evidence import Step
from limner.advice.records import Records
from limner.project.rules import Tag

Cost = Literal["look", "evaluate", "train", "captions", "dataset", "pictures", "machine"]
_JUDGE = "limner evaluate && limner verdict"
_TRAIN = f"limner plan && limner train --fresh && {_JUDGE}"
_BUILD = f"limner dataset build && {_TRAIN}"
_MAKE = f"limner generate && limner review && limner captions compile && {_BUILD}"
AFTER: dict[Cost, str] = {
    "look": "",
    "evaluate": _JUDGE,
    "train": _TRAIN,
    "captions": _BUILD,
    "dataset": _BUILD,
    "pictures": _MAKE,
    "machine": "limner train",
}
"""What has to be run after a change of this kind."""
COST_WORDS: dict[Cost, str] = {
    "look": "nothing to run",
    "evaluate": "new pictures of the same checkpoints",
    "train": "a new training",
    "captions": "new captions and a new training",
    "dataset": "a new dataset and a new training",
    "pictures": "new training pictures and a new training",
    "machine": "the same training again",
}
GUIDE = "guide 04, its order"


@dataclass(frozen=True)
class Remedy:
    """One row. `setting`: key of character.yaml with `times`, `plus` or `to` as its change;
    `special`: a function of `SPECIALS` that makes size, changes and command from the records."""

    id: str
    says: str
    cost: Cost
    source: str
    tag: Tag
    setting: str = ""
    times: float | None = None
    to: Any = None
    special: str = ""
    command: str = ""


def _r(id: str, says: str, cost: Cost, source: str, tag: Tag = "community", **more: Any) -> Remedy:
    return Remedy(id, says, cost, source, tag, **more)


OURS: Tag = "starting value"
_earlier = _r("earlier", "Use an earlier checkpoint", "look", GUIDE, special="earlier")
_weaker = _r("strength", "Judge lower strengths too", "evaluate", GUIDE,
             setting="evaluation.strengths", to=[0.6, 0.7, 0.8, 1.0])  # fmt: skip
_cfg = _r("guidance", "Draw with less guidance before blaming the LoRA", "evaluate",
          "guidance itself oversaturates (arXiv 2410.02416)", "published",
          setting="evaluation.true_cfg_scale", times=0.75)  # fmt: skip
_slower = _r("learning_rate", "Halve the learning rate", "train", GUIDE,
             setting="training.learning_rate", times=0.5)  # fmt: skip
_shorter = _r("steps", "Train for fewer steps", "train", "guide: 8 instead of 10 epochs",
              setting="training.steps", times=0.8)  # fmt: skip
_strange = _r("odd_pictures", "Make the training pictures of another face again", "pictures",
              "guide 04: regenerate one face", special="odd_pictures")  # fmt: skip
_close = _r("close_ups", "Plan more close-ups", "pictures", "guide 04: 30 and more close-ups",
            special="close_ups")  # fmt: skip
_captions = _r("captions", "Mend the captions", "captions", "ours: captions must agree", OURS,
               special="captions")  # fmt: skip
_more = _r("more_pictures", "Plan more pictures", "pictures", "guide 04: more variety",
           setting="shots.count", times=1.5)  # fmt: skip

REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "plastic_skin": (
        _cfg, _weaker, _earlier,
        _r("look", "Compare dataset and renders at full size: if the dataset is smooth, make its "
           "pictures again with a source that draws skin", "look", "ours: find out which", OURS),
        _r("bodies", "Add photographs of real bodies (40 to 50) with their papers", "pictures",
           "guide 04", command="limner inbox FOLDER --kind realism"),
    ),
    "face_inconsistency": (
        _strange, _close,
        _r("pose", "Plan more pictures of the pose that fails", "pictures",
           "ours: add the failing pose, not more steps", OURS, special="pose"),
        _captions, _slower,
    ),
    "background_bleed": (
        _captions,
        _r("places", "Make some pictures of the commonest place again elsewhere", "pictures",
           "guide 04: more variety", special="places"),
        _r("rank", "Lower the rank", "train", "guide: 12; no test known", "community",
           setting="training.rank", to=12),
        _more,
    ),
    "overfit": (
        _earlier, _weaker, _shorter, _slower,
        _r("dropout", "Leave out more captions while training", "train", GUIDE,
           setting="training.caption_dropout", to=0.1),
        _more,
    ),
    "underfit": (
        _r("longer", "Train for more steps", "train", "guide 04: 12 to 15 instead of 10 epochs",
           setting="training.steps", times=1.4),
        _r("faster", "Raise the learning rate by half", "train", "guide 04: 2e-4 to 3e-4",
           setting="training.learning_rate", times=1.5),
        _captions,
        _r("rank", "Raise the rank", "train", "guide: 32 if underfit; no test known",
           setting="training.rank", to=32),
        _more,
    ),
    "body_proportions": (
        _r("full_bodies", "Plan more full-body pictures", "pictures", "guide 04: 40 and more",
           special="full_bodies"),
        _r("bodies", "Use photographs of bodies that match this one, or none", "pictures",
           "guide 04", command="limner inbox FOLDER --kind realism"),
        _earlier,
    ),
    "crashes": (
        _r("batch", "Lower the batch", "machine", GUIDE, special="batch"),
        _r("resolution", "Train at a lower resolution", "train", GUIDE,
           setting="training.resolution", special="resolution"),
        _r("slower", "Halve the learning rate", "train", "guide: spikes mean it is too high",
           special="slower"),
        _r("doctor", "Look at this machine", "machine", "guide 04's checklist",
           command="limner doctor"),
        _r("again", "Go on where it stopped", "machine", "ours: runs are resumable", OURS),
    ),
    "not_saving": (
        _r("free", "Free some space, then go on", "machine", GUIDE, command="limner doctor"),
        _r("keep", "Keep all checkpoint files", "train", "ours: pruning deletes the best", OURS,
           setting="training.keep", to=0),
        _r("again", "Train again", "train", "ours", OURS),
    ),
    "copying": (_earlier, _weaker, _shorter, _more),
    "trigger_leakage": (
        _r("class_word", "Say the class word beside the trigger", "captions",
           "ours: keeps the class apart from the person", OURS,
           setting="captions.class_word", to=True, command="limner captions compile"),
        _earlier, _slower,
    ),
    "frying": (_cfg, _weaker, _earlier, _slower),
    "inconsistent_dataset": (_strange, _captions,
        _r("review", "Review the set again", "dataset", "ours: one face, one light hand", OURS,
           command="limner review --again")),
}  # fmt: skip
"""Symptom -> its remedies in order."""


def steps(symptom: str, found: Records) -> tuple[Step, ...]:
    """The remedies of a symptom that this project can follow, in order."""
    made = (_step(symptom, remedy, found) for remedy in REMEDIES[symptom])
    return tuple(step for step in made if step is not None)


def _step(symptom: str, remedy: Remedy, found: Records) -> Step | None:
    size, command = "", remedy.command
    changes: dict[str, Any] = {}
    if remedy.special:
        special = SPECIALS[remedy.special](found)
        if special is None:
            return None
        size, changes, command = special
    elif remedy.setting:
        changed = _changed(remedy, found)
        if changed is None:
            return None
        size, changes = changed
    name = f"{symptom}.{remedy.id}"
    after = AFTER[remedy.cost]
    if changes:
        command = " && ".join(filter(None, [f"limner advise --apply {name}", command]))
        if another_plan(changes):
            after = _elsewhere(f"shots plan && {after.replace('limner ', '')}", found)
    command = " && ".join(filter(None, [command, after]))
    words = COST_WORDS[remedy.cost]
    return Step(name, remedy.says, size, words, command, remedy.source, remedy.tag, changes)


def another_plan(changes: Mapping[str, Any]) -> bool:
    """Whether the shots would have to be planned anew. Shots with pictures are never planned over,
    so such a change begins another project."""
    return any(key.startswith("shots.") for key in changes)


def next_project(root: Path) -> Path:
    """The folder beside the project for its next plan: `grace_2`, `grace_3`, the first free one."""
    root = root.resolve()
    return next(
        p for n in itertools.count(2) if not (p := root.with_name(f"{root.name}_{n}")).exists()
    )


def _elsewhere(commands: str, found: Records) -> str:
    """`shots plan && generate` as commands of the next project."""
    place = shlex.quote(f"../{next_project(found.project.root).name}")
    return " && ".join(f"limner -C {place} {one}" for one in commands.split(" && "))


def _now(found: Records, key: str) -> Any:
    """The value in force: what the run was trained or drawn with, else character.yaml's; None where
    a run that was trained elsewhere does not say it."""
    stage, _, name = key.partition(".")
    if stage == "training" and "not_known" in found.config:
        return found.config.get(name)
    if stage == "training" and found.config.get(name) not in (None, 0):
        return found.config[name]
    if stage == "evaluation" and name == "true_cfg_scale":
        return (found.data.get("settings") or {}).get(name)
    return getattr(getattr(found.project.character, stage), name)


def _changed(remedy: Remedy, found: Records) -> tuple[str, dict[str, Any]] | None:
    """(`rank 16 -> 12`, the change); None when it would change nothing or nothing is known."""
    now, name = _now(found, remedy.setting), remedy.setting.split(".")[-1].replace("_", " ")
    new = remedy.to
    if now is None:
        return None
    if remedy.times is not None:
        if not now:
            return None
        new = now * remedy.times
        new = round(new) if isinstance(now, int) else float(f"{new:.2g}")
    if new == now or (isinstance(new, list) and set(new) <= set(now)):
        return None
    lower_wanted = remedy.says.startswith("Lower")
    if (isinstance(now, int | float) and lower_wanted and new >= now) or (
        remedy.says.startswith("Raise") and isinstance(now, int | float) and new <= now
    ):
        return None
    return f"{name} {_said(now)} -> {_said(new)}", {remedy.setting: new}


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_said(v) for v in value)
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else f"{value:,}"


# ---- remedies that need to look at the records

Special = tuple[str, dict[str, Any], str] | None


def _earlier_step(found: Records) -> Special:
    """The earliest tied checkpoint, else the one before the chosen."""
    step = found.data.get("step")
    if step is None or found.run is None:
        return None
    points = found.project.store.checkpoints(found.run.version)
    tied = sorted(t["step"] for t in found.data.get("tied") or [] if t.get("step"))
    before = [c.step for c in points if c.step < step]
    goal = next((s for s in tied if s < step), before[-1] if before else None)
    path = next((c.path for c in points if c.step == goal), None)
    return None if path is None else (f"step {step:,} -> {goal:,}: {path}", {}, "")


def _odd(found: Records) -> Special:
    takes = reading.odd_takes(found)
    if not takes:
        return None
    ids = " ".join(str(t) for t in takes)
    size = f"{len(takes)} of {len(found.trained)} pictures"
    return size, {}, f'limner reject {ids} --reason "another face"'


def _mend(found: Records) -> Special:
    """Only where the check of the captions found errors."""
    errors = [f for f in found.captions or [] if f.get("severity") == "error"]
    return (f"{len(errors)} errors", {}, "limner captions fix --apply") if errors else None


def _places(found: Records) -> Special:
    """Takes of the commonest place beyond its share of 15 %."""
    counts = found.attribute_counts("setting")
    if not counts:
        return None
    name, most = next(iter(counts.items()))
    excess = most - int(0.15 * sum(counts.values()))
    if excess <= 0:
        return None
    shots = {s.id for s in found.project.store.shots() if s.attributes.get("setting") == name}
    takes = [t for t in found.trained if t.shot_id in shots][-excess:]
    ids, size = " ".join(str(t.id) for t in takes), f"{len(takes)} pictures, {name}"
    places = " ".join(t.shot_id for t in takes)
    command = f'limner reject {ids} --reason "place too common" && limner shots replan {places}'
    return size.replace("_", " "), {}, command


def _share(found: Records, axis: str, value: str, share: float) -> Special:
    """Quotas of an axis with one value raised to `share` percent, the others scaled down."""
    counts = found.attribute_counts(axis)
    total = sum(counts.values())
    if not total or not counts.get(value) or 100 * counts[value] / total >= share:
        return None
    rest = {k: n for k, n in counts.items() if k != value}
    scale = (100 - share) / sum(rest.values()) if rest else 0
    quota = {k: round(n * scale, 1) for k, n in rest.items()}
    quota[value] = round(100 - sum(quota.values()), 1)
    own = found.project.character.shots.quotas
    size = f"{value.replace('_', ' ')} {100 * counts[value] / total:.0f} % -> {share:.0f} %"
    return size, {"shots.quotas": {**own, axis: quota}}, ""


def _pose(found: Records) -> Special:
    test = reading_pose(found)
    if test is None:
        return None
    counts = found.attribute_counts("angle")
    total = sum(counts.values()) or 1
    return _share(found, "angle", test, min(60.0, 100 * counts.get(test, 0) / total + 10))


def reading_pose(found: Records) -> str | None:
    """The angle id of the pose that fails, None when none does."""
    from limner.advice import looking
    from limner.advice.rules import rules

    test = looking.by_pose(found, rules())
    if test.holds is not True:
        return None
    return {"front": "front", "three-quarter": "three_quarter"}.get(
        test.fact.text.split(" views")[0], "side"
    )


def _crash(found: Records, kind: str) -> bool:
    run = found.newest_run
    return bool(run and run.error and reading.crash_kind(run.error)[0] == kind)


def _batch(found: Records) -> Special:
    batch = _now(found, "training.batch")
    if not _crash(found, "memory") or not batch or batch < 2:
        return None
    return f"batch {batch} -> {batch // 2}", {"training.batch": batch // 2}, ""


def _resolution(found: Records) -> Special:
    side = _now(found, "training.resolution")
    if not _crash(found, "memory") or not side or side < 128:
        return None
    new = int(side * 0.75) // 32 * 32
    return f"resolution {side} -> {new}", {"training.resolution": new}, ""


def _slower_after_nan(found: Records) -> Special:
    rate = _now(found, "training.learning_rate")
    if not _crash(found, "numbers") or not rate:
        return None
    new = float(f"{rate / 2:.2g}")
    return f"learning rate {rate:g} -> {new:g}", {"training.learning_rate": new}, ""


SPECIALS: dict[str, Callable[[Records], Special]] = {
    "earlier": _earlier_step,
    "odd_pictures": _odd,
    "captions": _mend,
    "places": _places,
    "close_ups": lambda found: _share(found, "framing", "close_up", 40.0),
    "full_bodies": lambda found: _share(found, "framing", "full_body", 35.0),
    "pose": _pose,
    "batch": _batch,
    "resolution": _resolution,
    "slower": _slower_after_nan,
}
