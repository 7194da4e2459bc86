"""Does the product name the right fault? Whole runs on the miniature, one fault planted in each.

Run: python -m bench.planted_runs [--seeds 10] [--jobs 2] [--kinds right,copies]
                                  [--keep] [--judge] [--out docs/trust.md]
A run is a character of its own, from drawings to advice, by the same calls as the commands. Kinds
of one seed share drawings, review, captions, looks, renders of base and control. Every kind of one
seed comes before the next. Resumable at every picture; answers lie in bench/planted_runs.json,
which is committed, so that another machine goes on with the next seed.
About 45 minutes for two seeds on two cores, so ten take 3.7 hours. Run it from a tree nobody edits.
--jobs: so many processes take every so manieth seed, each with its share of the threads.
--judge: no new picture; what was kept with --keep is judged once more by the code of today.
--tiny proves that the bench works and says nothing about the product: it is never reported.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.planted_table import publish, table

from limner.errors import LimnerError
from limner.events import collect
from limner.project import Project, files
from limner.project.records import Checkpoint

STATE = Path("bench/planted_runs.json")
RUNS = Path("build/planted_runs")
LOOKS = ("auburn hair and green eyes", "black hair and brown eyes", "blonde hair and blue eyes",
         "grey hair and hazel eyes", "brown hair and grey eyes")  # fmt: skip
BASE_STEPS = 160
SIX = 6
HELD_OUT = 8
TINY: dict[str, Any] = {
    "shots__count": 18, "training__steps": 8, "training__checkpoints": 2,
    "evaluation__prompts": 6, "evaluation__seeds": 1, "evaluation__claim_seeds": 2,
}  # fmt: skip
HARMS = frozenset(
    {"underfit", "overfit", "copying", "frying", "background_bleed", "inconsistent_dataset"}
    | {"crashes", "not_saving"}
)
"""Nothing of this may be said of a right run. That a face is kept in less than 85 % of the pictures
is true of the miniature, so `face_inconsistency` is no false alarm, nor is a measured leak."""


@dataclass(frozen=True)
class Facts:
    """What a finished run says. verdict: empty where none was reached; found: symptoms of the
    advice; told: facts that the advice shows as holding; captions: rules of the caption check."""

    verdict: dict[str, Any]
    found: frozenset[str]
    told: frozenset[str]
    captions: frozenset[str]
    copies_tied: bool | None = None

    @property
    def claimed(self) -> bool:
        """Whether anything is claimed of the LoRA: the person, or a lead over base and control."""
        return (
            bool(self.verdict.get("established")) or self.verdict.get("word") == "the same person"
        )


@dataclass(frozen=True)
class Plant:
    """One kind. says: the right diagnosis in words, right: as a test. settings: of character.yaml;
    before: plants the fault before the dataset is built (and may build it); trains: False where the
    product has all it needs to tell before; own: the settings change the shots, so the drawings are
    not shared; of: goes on with another kind."""

    says: str
    right: Callable[[Facts], bool]
    settings: dict[str, Any] = field(default_factory=dict)
    before: Callable[[Project], None] | None = None
    trains: bool = True
    own: bool = False
    of: str = ""


def other_character(project: Project) -> None:
    """Draw every training picture anew as somebody else; what is held back stays as it is.

    Which pictures are held back depends on all of them, so while the set is built again only those
    of before may be: the others' faces are said to be hidden, for that moment.
    """
    from limner import dataset
    from limner.atelier import identity_from_seed
    from limner.sources.atelier import AtelierSource
    from limner.sources.source import Request

    store = project.store
    collect(dataset.build(project))  # to learn which pictures it holds back
    first = store.dataset()
    assert first is not None
    stranger = AtelierSource(identity_from_seed(90_000 + int(project.character.shots.seed)))
    takes = [store.take(number) for number in first.train]
    for take in takes:
        data = stranger.make(Request(**take.request), {}, lambda facts: None)[0].data
        files.write_bytes(project.path(str(take.path)), data)
        store.update_take(take.id, sha256=files.sha256_bytes(data))
    shown = [t.shot_id for t in takes if (s := store.shot(t.shot_id)) and s.face_visible]
    for shot in shown:
        store.update_shot(shot, face_visible=False)
    collect(dataset.build(project))
    for shot in shown:
        store.update_shot(shot, face_visible=True)
    second = store.dataset()
    assert second is not None and second.held_out == first.held_out


def six_pictures(project: Project) -> None:
    """Reject all but six pictures and those to be held back, evenly over the plan."""
    from limner.review import reject

    kept = project.store.kept()
    wanted = SIX + HELD_OUT
    if len(kept) <= wanted:
        return
    stay = {kept[i * len(kept) // wanted].id for i in range(wanted)}
    for take in kept:
        if take.id not in stay:
            reject(project, take.id, "planted")


def constants_in_captions(project: Project) -> None:
    """Every caption file names what never changes, as a careless person writes it."""
    look = look_of(project.character.shots.seed - 1)
    for take_id, caption in project.store.captions().items():
        file = project.path(str(project.store.take(take_id).path)).with_suffix(".txt")
        files.write_text(file, f"{caption.text}, {look}\n")


def copy_of_the_chosen(project: Project) -> None:
    """The checkpoint that a verdict chose once more, as the next step and with another header."""
    from limner.models import lora

    record = project.store.verdict()
    assert record is not None
    step = int(record.data["step"])
    point = next(c for c in project.store.checkpoints(record.data["run"]) if c.step == step)
    path = project.path(point.path)
    out = path.with_name(f"step_{step + 1:06d}.safetensors")
    sha256 = lora.with_metadata(path, out, {"limner.note": "a copy"})
    data = {"copy_of": step}
    project.store.put_checkpoint(
        Checkpoint(record.data["run"], step + 1, project.relative(out), sha256, data)
    )


PLANTS: dict[str, Plant] = {
    "right": Plant(
        "leads base and control, nothing wrong is found",
        lambda f: f.claimed and not f.found & HARMS and "constant" not in f.captions,
    ),
    "too few steps": Plant(
        "underfit, and nothing is claimed",
        lambda f: "underfit" in f.found and not f.claimed,
        {"training__steps": BASE_STEPS // 16},
    ),
    "six pictures": Plant(
        "overfit or copying",
        lambda f: bool(f.found & {"overfit", "copying"}),
        {"training__steps": BASE_STEPS * 4},
        six_pictures,
    ),
    "other character": Plant(
        "nothing is claimed, and the dataset is named, not the steps",
        lambda f: (
            not f.claimed and ("inconsistent_dataset" in f.found or "underfit" not in f.found)
        ),
        before=other_character,
    ),
    "one background": Plant(
        "background bleed, or the one place shown as a risk",
        lambda f: "background_bleed" in f.found or "setting" in f.told,
        {"shots__quotas": {"setting": {"modern_cafe": 100}}},
        own=True,
    ),
    "captions with constants": Plant(
        "the caption check names the constant, before any training",
        lambda f: "constant" in f.captions,
        before=constants_in_captions,
        trains=False,
    ),
    "learning rate x 10": Plant(
        "frying (colour, light or lost faces), or the crash",
        lambda f: bool(f.found & {"frying", "crashes"}),
        {"training__learning_rate": "x10"},
    ),
    "copies": Plant("a tie", lambda f: f.copies_tied is True, of="right"),
}
Step = tuple[str, Callable[[], bool], Callable[[], Any]]


def look_of(seed: int) -> str:
    """What never changes of a character."""
    return LOOKS[seed % len(LOOKS)]


def steps(project: Project) -> list[Step]:
    """(stage, whether it is still to do, its work), by the same calls as the commands."""
    from limner import captions, dataset, evaluation, training
    from limner.evaluation.stage import Choices
    from limner.pipeline import wiring

    store = project.store

    def untrained() -> bool:
        run = store.run()
        return run is None or run.state != "done"

    def judge() -> Any:
        return wiring.evaluate(project, Choices(tests=("variety",)))

    return [
        ("shots", lambda: not store.shots(), lambda: wiring.plan_shots(project)),
        ("generate", lambda: not store.captions() and any(s.state == "open" for s in store.shots()),
         lambda: wiring.generate(project, workers=1)),
        ("review", lambda: not store.captions(), lambda: wiring.review(project)),
        ("captions", lambda: not store.captions(), lambda: captions.compile(project)),
        ("dataset", lambda: store.dataset() is None, lambda: dataset.build(project)),
        ("plan", lambda: store.plan() is None, lambda: training.plan(project)),
        ("train", untrained, lambda: training.train(project)),
        ("evaluate", lambda: store.verdict() is None, judge),
        ("verdict", lambda: store.verdict() is None, lambda: evaluation.verdict(project)),
    ]  # fmt: skip


STOCK = ("shots", "generate", "review", "captions")
"""Stages that the kinds of one seed share."""
PLANTED = ".planted"
"""Lies in a project whose fault is in; a project that was stopped on the way there begins anew."""


def work(project: Project, plant: Plant, only: Iterable[str] = ()) -> dict[str, float]:
    """Do the stages, all or only those; returns their seconds."""
    seconds: dict[str, float] = {}
    for stage, wanted, make in steps(project):
        if only and stage not in only:
            continue
        began = time.monotonic()
        if stage == "dataset" and plant.before and not (project.root / PLANTED).exists():
            plant.before(project)
            (project.root / PLANTED).touch()
        if stage == "dataset" and not plant.trains:
            break
        if wanted():
            found = make()
            if not isinstance(found, dict):
                collect(found)
        seconds[stage] = round(time.monotonic() - began, 1)
    return seconds


def run_one(root: Path, kind: str, seed: int, tiny: bool) -> dict[str, Any]:
    """One run to its end; goes on where a stopped one was."""
    plant = PLANTS[kind]
    place = root / kind.replace(" ", "_")
    stock = root / "stock"
    began = time.monotonic()
    if plant.of:
        return copies(root, plant, seed, tiny)
    if plant.before and place.exists() and not (place / PLANTED).exists():
        shutil.rmtree(place)
    if not (place / "character.yaml").exists():
        if plant.own:
            new(place, plant, seed, tiny).store.close()
        else:
            shared = new(stock, Plant("", bool), seed, tiny)
            work(shared, Plant("", bool), STOCK)
            shared.store.close()
            copy(stock, place)
            made = Project.open(place)
            made.change_character(**settings_of(plant, seed, tiny))
            made.store.close()
    if not plant.own or (stock / "renders").is_dir():
        lend(stock, place)
    project = Project.open(place)
    failed = ""
    seconds = {}
    try:
        seconds = work(project, plant)
    except LimnerError as error:  # a crash is an answer too: the advice has to name it
        failed = str(error)
    facts = read(project)
    give_back(project, stock)
    project.store.close()
    if failed and not facts.found & {"crashes"}:
        raise RuntimeError(f"{kind} {seed}: {failed}")
    return {**answer(plant, facts), "failed": failed, "seconds": seconds,
            "total": round(time.monotonic() - began, 1)}  # fmt: skip


def copies(root: Path, plant: Plant, seed: int, tiny: bool) -> dict[str, Any]:
    """The right run of the seed with its chosen checkpoint twice: draw, judge, look for the tie."""
    from limner import evaluation
    from limner.pipeline import wiring

    began = time.monotonic()
    right, place = root / "right", root / "copies"
    if not (right / "done").exists():
        run_one(root, "right", seed, tiny)
        (right / "done").touch()
    if not (place / "character.yaml").exists():
        copy(right, place)
    project = Project.open(place)
    points = project.store.checkpoints(1)
    if not any(c.data.get("copy_of") for c in points):
        copy_of_the_chosen(project)
    collect(wiring.evaluate(project))
    collect(evaluation.verdict(project))
    facts = read(project)
    project.store.close()
    return {**answer(plant, facts), "total": round(time.monotonic() - began, 1)}


def answer(plant: Plant, facts: Facts) -> dict[str, Any]:
    """What is kept of a run."""
    data = facts.verdict
    return {
        "right": plant.right(facts),
        "word": data.get("word"),
        "established": data.get("established"),
        "hits": data.get("hits"),
        "n": data.get("n"),
        "step": data.get("step"),
        "found": sorted(facts.found),
        "told": sorted(facts.told),
        "captions": sorted(facts.captions),
    }


def new(root: Path, plant: Plant, seed: int, tiny: bool) -> Project:
    """The project of a seed, made or opened."""
    if (root / "character.yaml").exists():
        return Project.open(root)
    part = root.with_name(f".{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    project = Project.create(
        part, name=f"p{seed}", trigger="grace_char", class_word="woman", likeness="synthetic",
        description=f"A woman with {look_of(seed)}.",
    )  # fmt: skip
    project.change_character(**settings_of(plant, seed, tiny))
    project.store.close()
    part.rename(root)
    return Project.open(root)


def copy(source: Path, target: Path) -> None:
    """A project again: pictures as links (they are replaced, never changed), the rest as copies."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)

    def place(one: str, other: str) -> None:
        if one.endswith((".png", ".safetensors")):
            os.link(one, other)
        else:
            shutil.copy2(one, other)

    shutil.copytree(source, part, copy_function=place, ignore=shutil.ignore_patterns("done"))
    part.rename(target)


SHARED = "grid_0"
"""Folder of renders beside the grids where the evaluation finds a picture by its key."""


def lend(stock: Path, place: Path) -> None:
    """Renders of base and control, and looks at the same pictures, from the kinds before."""
    for found in (stock / "renders").rglob("*"):
        target = place / found.relative_to(stock)
        if found.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(found, target)


def give_back(project: Project, stock: Path) -> None:
    """Leave what the next kinds can use in the stock."""
    grid = project.store.grid()
    if grid is None or not (stock / "character.yaml").exists():  # a stock is made as a whole
        return
    folder = stock / "renders" / SHARED
    folder.mkdir(parents=True, exist_ok=True)
    for render in project.store.renders(grid.version, state="done"):
        if render.arm in ("base", "control") and render.path:
            target = folder / f"{render.key}.png"
            if not target.exists():
                os.link(project.path(render.path), target)
    for looks in project.folder("renders").glob("looks_*.npz"):
        if not (folder.parent / looks.name).exists():
            os.link(looks, folder.parent / looks.name)


def settings_of(plant: Plant, seed: int, tiny: bool) -> dict[str, Any]:
    """The demo's settings, the plant's, and in a tiny run what makes it short."""
    from limner.models import resolve_base
    from limner.pipeline.walk import SETTINGS

    chosen: dict[str, Any] = {**SETTINGS, "source__identity_seed": 70_000 + seed}
    chosen |= {"shots__seed": seed + 1, "dataset__held_out": HELD_OUT}
    chosen |= {**plant.settings, **(TINY if tiny else {})}
    if chosen.get("training__learning_rate") == "x10":
        chosen["training__learning_rate"] = 10 * resolve_base("miniature").learning_rate
    return chosen


def read(project: Project) -> Facts:
    """What the product says of a finished run."""
    from limner import captions
    from limner.pipeline.advising import advise

    record = project.store.verdict()
    advice = advise(project)
    told = {f["id"] for s in advice["symptoms"] for f in s["evidence"] if f["holds"]}
    rules = frozenset(str(f["rule"]) for f in captions.check(project))
    data = record.data if record else {}
    return Facts(data, frozenset(advice["found"]), frozenset(told), rules, tie(project, data))


def tie(project: Project, data: dict[str, Any]) -> bool | None:
    """Whether a checkpoint and its copy are held to be one: the same pictures where both drew, and
    never one of them without the other among chosen and tied. None where there is no copy."""
    points = project.store.checkpoints(data["run"]) if data else []
    pair = next(((c.data["copy_of"], c.step) for c in points if c.data.get("copy_of")), None)
    if pair is None:
        return None
    rows = {a["step"]: a for a in data["arms"] if a["step"] is not None}
    held = {data["step"], *(t["step"] for t in data["tied"])}
    first, second = (rows[step] for step in pair)
    if first["n"] == second["n"]:
        return first["hits"] == second["hits"] and (pair[0] in held) == (pair[1] in held)
    return not (pair[1] in held and pair[0] not in held)  # one was dropped for want of room


def under_test() -> str:
    """The base and the embedder that answers are about: with another one they are made anew."""
    from limner.models import resolve_base
    from limner.vision.embedders import network_version

    return f"{resolve_base('miniature').fingerprint[:12]}-{network_version('drawing')[:8]}"


def recall() -> dict[str, Any]:
    """All answers so far, by what is under test and `kind seed`."""
    return json.loads(STATE.read_text()) if STATE.is_file() else {}


def remember(base: str, key: str, answer: dict[str, Any]) -> None:
    """Keep one answer; other processes keep theirs in the same file."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with RUNS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = recall()
        state.setdefault(base, {})[key] = answer
        files.write_json(STATE, state)
    print(key, json.dumps(answer), flush=True)


def spread(asked: argparse.Namespace) -> None:
    """Every job in a process of its own, with its share of the processor's threads."""
    threads = max(1, len(os.sched_getaffinity(0)) // asked.jobs)
    command = [sys.executable, "-m", "bench.planted_runs", "--seeds", str(asked.seeds)]
    command += ["--kinds", asked.kinds, "--parts", str(asked.jobs)]
    command += [f"--{name}" for name in ("tiny", "keep") if getattr(asked, name)]
    jobs = [
        subprocess.Popen(
            [*command, "--part", str(part)], env={**os.environ, "OMP_NUM_THREADS": str(threads)}
        )
        for part in range(asked.jobs)
    ]
    for job in jobs:
        job.wait()


def run_seed(base: str, seed: int, asked: argparse.Namespace) -> None:
    """Every kind of one seed that has no answer yet; with --judge every one that was kept."""
    root = RUNS / base.replace(" ", "_") / str(seed)
    root.mkdir(parents=True, exist_ok=True)
    for kind in asked.kinds.split(","):
        key = f"{kind} {seed}"
        place = root / kind.replace(" ", "_")
        known = recall().get(base, {}).get(key, {})
        if asked.judge:
            if "right" in known:
                remember(base, key, {**known, **judge_again(place, PLANTS[kind])})
            continue
        if "right" in known:
            continue
        try:
            came = run_one(root, kind, seed, asked.tiny)
        except Exception as error:  # one run must not end the night; tried again next time
            came = {"error": f"{type(error).__name__}: {error}"}
        remember(base, key, came)
        if kind == "right" and "right" in came:
            (place / "done").touch()
        elif "right" in came and not asked.keep:
            shutil.rmtree(place, ignore_errors=True)
    runs = recall().get(base, {})
    if all("right" in runs.get(f"{k} {seed}", {}) for k in PLANTS) and not (
        asked.keep or asked.judge
    ):
        shutil.rmtree(root, ignore_errors=True)


def judge_again(place: Path, plant: Plant) -> dict[str, Any]:
    """Verdict and advice of a kept run, from its pictures, by the code as it is now."""
    from limner import evaluation

    project = Project.open(place)
    try:
        if project.store.grid() is not None and project.store.verdict() is not None:
            collect(evaluation.verdict(project))
        return answer(plant, read(project))
    finally:
        project.store.close()


def main() -> None:
    """Run what is missing, print the table, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kinds", default=",".join(PLANTS))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--keep", action="store_true", help="Keep the projects of finished seeds")
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--part", type=int, default=0)  # the first seed of this process
    parser.add_argument("--parts", type=int, default=1)  # from one to its next
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    base = under_test() + (" tiny" if asked.tiny else "")
    if asked.jobs > 1 and not asked.judge:
        spread(asked)
    else:
        for seed in range(asked.part, asked.seeds, asked.parts):
            run_seed(base, seed, asked)
    runs = recall().get(base, {})
    if asked.parts > 1:
        return
    section = table(runs, base, {kind: plant.says for kind, plant in PLANTS.items()})
    print(section)
    if asked.out and not asked.tiny:
        publish(asked.out, section)


if __name__ == "__main__":
    main()
