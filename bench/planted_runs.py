"""Does the product name the right fault? Whole runs on the miniature, one fault planted in each.

Run: python -m bench.planted_runs [--seeds 10] [--kinds right,copies] [--tiny] [--out FILE]
A run is a character of its own, from drawings to advice: about 5 minutes on two quiet cores, so ten
seeds of eight kinds take 7 hours. Every run is resumable and its answer is kept in
build/planted_runs.json; a stopped bench goes on where it was. --tiny proves that the bench works
and says nothing about the product: its runs are kept apart and never reported.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.evaluation import statistics as stats
from limner.events import collect
from limner.project import Project, files
from limner.project.records import Checkpoint

STATE = Path("build/planted_runs.json")
RUNS = Path("build/planted_runs")
LOOKS = ("auburn hair and green eyes", "black hair and brown eyes", "blonde hair and blue eyes",
         "grey hair and hazel eyes", "brown hair and grey eyes")  # fmt: skip
BASE_STEPS = 200
TINY: dict[str, Any] = {
    "shots__count": 10,
    "dataset__held_out": 3,
    "training__steps": 8,
    "training__checkpoints": 2,
    "evaluation__prompts": 6,
    "evaluation__seeds": 1,
    "evaluation__claim_seeds": 2,
}


@dataclass(frozen=True)
class Facts:
    """What a finished run says: verdict, advice, caption findings, copies tied."""

    verdict: dict[str, Any]
    found: frozenset[str]
    captions: frozenset[str]
    copies_tied: bool | None


@dataclass(frozen=True)
class Plant:
    """One kind. settings: of character.yaml; before: a hook by stage; right: the diagnosis."""

    says: str
    right: Callable[[Facts], bool]
    settings: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Callable[[Project, int], None]] = field(default_factory=dict)


def other_character(project: Project, seed: int) -> None:
    """Draw every training picture anew as somebody else; the references stay."""
    from limner import dataset
    from limner.atelier import identity_from_seed
    from limner.sources.atelier import AtelierSource
    from limner.sources.source import Request

    stranger = AtelierSource(identity_from_seed(90_000 + seed))
    kept = [s.id for s in project.store.shots() if s.state == "kept"]
    takes = [t for t in project.store.takes(state="done") if t.shot_id in kept]
    collect(dataset.build(project))  # once, to learn which pictures it holds back
    newest = project.store.dataset()
    held_out = set(newest.held_out) if newest else set()
    for take in takes:
        if take.id in held_out or take.path is None:
            continue
        data = stranger.make(Request(**take.request), {}, lambda facts: None)[0].data
        files.write_bytes(project.path(take.path), data)
        project.store.update_take(take.id, sha256=files.sha256_bytes(data))


def constants_in_captions(project: Project, seed: int) -> None:
    """Every caption names what never changes, as a careless person would."""
    look = LOOKS[seed % len(LOOKS)]
    for take_id, caption in project.store.captions().items():
        if look not in caption.text:
            project.store.put_caption(take_id, f"{caption.text}, {look}", "person")


def copy_of_the_last(project: Project, seed: int) -> None:
    """The last checkpoint again, under the next step and with another header."""
    from limner.models import lora

    run = project.store.run()
    assert run is not None
    last = max(project.store.checkpoints(run.version), key=lambda c: c.step)
    if last.data.get("copy"):
        return
    path = project.path(last.path)
    out = path.with_name(f"step_{last.step + 1:06d}.safetensors")
    sha256 = lora.with_metadata(path, out, {"limner.note": "a copy"})
    project.store.put_checkpoint(
        Checkpoint(run.version, last.step + 1, project.relative(out), sha256, {"copy": True})
    )


PLANTS: dict[str, Plant] = {
    "too few steps": Plant(
        "underfit", lambda f: "underfit" in f.found, {"training__steps": BASE_STEPS // 20}
    ),
    "right": Plant(
        "established, nothing found",
        lambda f: (
            bool(f.verdict["established"])
            and not f.found & {"underfit", "overfit", "copying", "frying", "background_bleed"}
        ),
    ),
    "six pictures": Plant(
        "overfit or copying",
        lambda f: bool(f.found & {"overfit", "copying"}),
        {"shots__count": 12, "dataset__held_out": 6, "training__steps": BASE_STEPS * 4},
    ),
    "other character": Plant(
        "not the person, or the pictures do not agree",
        lambda f: (
            f.verdict["outcome"] in ("not_same", "not_enough") or "inconsistent_dataset" in f.found
        ),
        before={"dataset": other_character},
    ),
    "one background": Plant(
        "background bleed",
        lambda f: "background_bleed" in f.found,
        {"shots__quotas": {"setting": {"modern_cafe": 100}}},
    ),
    "captions with constants": Plant(
        "the caption check names the constant",
        lambda f: "constant" in f.captions,
        before={"dataset": constants_in_captions},
    ),
    "learning rate x 10": Plant(
        "frying, or faces lost",
        lambda f: "frying" in f.found or any(a["state"] == "gate" for a in f.verdict["arms"]),
        {"training__learning_rate": "x10"},
    ),
    "copies": Plant(
        "a tie", lambda f: f.copies_tied is True, before={"evaluate": copy_of_the_last}
    ),
}


def steps(project: Project) -> list[tuple[str, Callable[[], bool], Callable[[], Any]]]:
    """(stage, whether it is still to do, its work), by the same calls as the commands."""
    from limner import captions, dataset, evaluation, training
    from limner.pipeline import wiring

    store = project.store

    def untrained() -> bool:
        run = store.run()
        return run is None or run.state != "done"

    return [
        ("shots", lambda: not store.shots(), lambda: wiring.plan_shots(project)),
        ("generate", lambda: any(s.state == "open" for s in store.shots()),
         lambda: wiring.generate(project, workers=1)),
        ("review", lambda: True, lambda: wiring.review(project)),
        ("captions", lambda: True, lambda: captions.compile(project)),
        ("dataset", lambda: store.plan() is None, lambda: dataset.build(project)),
        ("plan", lambda: store.plan() is None, lambda: training.plan(project)),
        ("train", untrained, lambda: training.train(project)),
        ("evaluate", lambda: store.verdict() is None, lambda: wiring.evaluate(project)),
        ("verdict", lambda: store.verdict() is None, lambda: evaluation.verdict(project)),
    ]  # fmt: skip


def run_one(kind: str, seed: int, tiny: bool) -> dict[str, Any]:
    """One run to its end; goes on where a stopped one was."""
    plant = PLANTS[kind]
    root = RUNS / f"{'tiny_' if tiny else ''}{kind.replace(' ', '_')}_{seed}"
    if (root / "character.yaml").exists():
        project = Project.open(root)
    else:
        project = Project.create(
            root, name=f"p{seed}", trigger="grace_char", class_word="woman", likeness="synthetic",
            description=f"A woman with {LOOKS[seed % len(LOOKS)]}.",
        )  # fmt: skip
        project.change_character(**settings_of(plant, seed, tiny))
    for stage, wanted, work in steps(project):
        if not wanted():
            continue
        if stage in plant.before:
            plant.before[stage](project, seed)
        found = work()
        if not isinstance(found, dict):
            collect(found)
    facts = read(project)
    project.store.close()
    return {
        "right": plant.right(facts),
        "word": facts.verdict["word"],
        "found": sorted(facts.found),
        "match_rate": facts.verdict["match_rate"],
    }


def settings_of(plant: Plant, seed: int, tiny: bool) -> dict[str, Any]:
    """The demo's settings, the plant's, and in a tiny run what makes it short."""
    from limner.models import resolve_base
    from limner.pipeline.walk import SETTINGS

    chosen: dict[str, Any] = {**SETTINGS, "source__identity_seed": 70_000 + seed}
    chosen |= {**plant.settings, **(TINY if tiny else {})}
    if chosen.get("training__learning_rate") == "x10":
        chosen["training__learning_rate"] = 10 * resolve_base("miniature").learning_rate
    return chosen


def read(project: Project) -> Facts:
    """What the product says of a finished run."""
    from limner import captions
    from limner.pipeline.advising import advise

    record = project.store.verdict()
    assert record is not None
    data = record.data
    run = project.store.run()
    assert run is not None
    twins = [c.step for c in project.store.checkpoints(run.version) if c.data.get("copy")]
    tied = None
    if twins:
        step = twins[0]
        rows = {a["step"]: a for a in data["arms"] if a["step"] is not None}
        held = {data["step"], *(t["step"] for t in data["tied"])}
        both_final = rows[step]["n"] == rows[step - 1]["n"] == max(r["n"] for r in rows.values())
        tied = not both_final or (step in held) == (step - 1 in held)
    advice = advise(project)
    rules = frozenset(str(f["rule"]) for f in captions.check(project))
    return Facts(data, frozenset(advice["found"]), rules, tied)


def table(state: dict[str, Any]) -> str:
    """The page of the manual: kinds, how many were named right, exact interval."""
    lines = [
        "# Planted runs",
        "",
        "Whole runs on the miniature, one fault planted in each; the product's own diagnosis. "
        "Made by `python -m bench.planted_runs --out docs/trust_runs.md`.",
        "",
        "| planted | the right answer | named right | 95 % interval |",
        "|---|---|---|---|",
    ]
    for kind, plant in PLANTS.items():
        mine = [v for k, v in state.items() if k.startswith(f"{kind} ") and "tiny" not in k]
        hits = sum(bool(v["right"]) for v in mine)
        span = stats.clopper_pearson(hits, len(mine))
        shown = f"{100 * span.low:.0f} to {100 * span.high:.0f} %" if mine else "not run"
        lines.append(f"| {kind} | {plant.says} | {hits} of {len(mine)} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, print the table, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kinds", default=",".join(PLANTS))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    state: dict[str, Any] = json.loads(STATE.read_text()) if STATE.is_file() else {}
    for seed in range(asked.seeds):
        for kind in asked.kinds.split(","):
            key = f"{kind} {seed}{' tiny' if asked.tiny else ''}"
            if key not in state:
                state[key] = run_one(kind, seed, asked.tiny)
                files.write_json(STATE, state)
                print(key, state[key], flush=True)
    page = table(state)
    print(page)
    if asked.out and not asked.tiny:
        files.write_bytes(asked.out, page.encode())


if __name__ == "__main__":
    main()
