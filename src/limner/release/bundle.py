"""Making a release: one folder with the LoRA, its guide, card, workflow, kit, report and receipt.

In: a project with a verdict. Out: release/v<n>/, whole or absent, and a Release record.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Progress, Result
from limner.project import Project, files
from limner.project.records import Checkpoint, Dataset, Render, Run
from limner.project.store import now
from limner.release import (
    cards,
    kits,
    likeness,
    locks,
    page,
    picking,
    pictures,
    reading,
    receipt,
    sheets,
    signing,
    story,
    weights,
    workflow,
)

SAMPLES = 12  # 10 to 15 previews, as model sites want them
COVER = 256  # px; ModelSpec recommends at most this for a thumbnail
PROVENANCE = "provenance"
WORKFLOW, WORKFLOW_API = "comfyui/workflow.json", "comfyui/workflow_api.json"


@dataclass(frozen=True)
class Wishes:
    """What a release shall hold. `civitai`: None = where the site takes it; `signature`: sign the
    previews with C2PA; `pick`: another arm than the verdict's."""

    force: bool = False
    civitai: bool | None = None
    dataset: bool = True
    signature: signing.Signature | None = None
    pick: picking.Pick | None = None


@dataclass
class _Work:
    """Everything one release is made from."""

    project: Project
    wishes: Wishes
    read: reading.Reading | None
    run: Run
    checkpoint: Checkpoint
    dataset: Dataset
    consent: dict[str, str] | None
    weights: weights.Weights
    version: int
    final: Path
    samples: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def part(self) -> Path:
        """Where the bundle grows until it is whole."""
        return self.final.with_name(f".{self.final.name}.part")

    @property
    def lora(self) -> str:
        """File name of the LoRA."""
        return f"{slug(self.project)}_v{self.version}.safetensors"

    @property
    def settings(self) -> dict[str, Any]:
        """What the judged pictures were drawn with."""
        return self.read.settings if self.read else {}


def release(
    project: Project,
    *,
    out: Path | None = None,
    force: bool = False,
    civitai: bool | None = None,
    dataset: bool = True,
    signature: signing.Signature | None = None,
    pick: picking.Pick | None = None,
) -> Events:
    """Bundle the checkpoint of the newest verdict; Result: {version, path, lora, sha256, ...}.

    `out`: the bundle's folder, default release/v<n>. `force`: release without a verdict (the last
    checkpoint; the card says "not evaluated") or with another one than "the same person".
    civitai: True refuses a person's LoRA, None leaves the kit out for one, False never makes it.
    dataset: add the training pictures as a zip (a person's only with the word dataset in the
    consent). signature: sign the previews with C2PA. pick: a checkpoint that the verdict calls tied
    with its choice, or with `force` any; card and receipt say that a person chose it. Raises
    NotReadyError (no verdict, no
    checkpoint, not the same person), InputError (dataset or LoRA changed since, another base's or a
    foreign LoRA, no consent), UsageError, MissingExtraError.
    """
    wishes = Wishes(force, civitai, dataset, signature, pick)
    if signature:
        signing.require()  # before anything is made
    with project.exclusive("release"):
        yield from _release(project, out, wishes)


def _release(project: Project, out: Path | None, wishes: Wishes) -> Events:
    yield Progress("release", 0, 4, note="checking the dataset against its lock")
    work = _prepare(project, out, wishes)
    read = work.read
    if read is not None and read.picked:
        yield Notice(read.sentence)
    elif read is None or read.outcome != "same_person":
        words = (
            "Nothing was evaluated" if read is None else f"The verdict is: {read.state[0].lower()}"
        )
        yield Notice(f"{words}; the card says so too.", "warning")
    if wishes.signature:
        yield Notice("A certificate of your own making reads as signed, not trusted.")
    shutil.rmtree(work.part, ignore_errors=True)  # what a killed run left
    try:
        yield from _pack(project, work)
    except Exception:
        shutil.rmtree(work.part, ignore_errors=True)  # half a bundle fills a full disk
        raise


def _pack(project: Project, work: _Work) -> Events:
    """Write every part, then the receipt, then give the folder its name."""
    read = work.read
    work.part.mkdir(parents=True)
    yield Progress("release", 1, 4, note="samples")
    work.samples = _samples(work)
    rounding = str(weights.facts(work.weights)["rounded"])
    work.told = cards.facts(project, work.read, work.version, work.samples, rounding)
    yield Progress("release", 2, 4, note="LoRA, guide, card, workflow, report")
    date = now()
    sha256 = _write_lora(work, date)
    _mark_samples(work, sha256)
    optional = _write_parts(work)
    _write_texts(work, optional)
    links = _links(work)
    yield Progress("release", 3, 4, note="receipt")
    _no_local_paths(project, work.part)
    bundle = receipt.write(work.part, links, work.lora, _facts(work, date), optional)
    shutil.rmtree(work.final, ignore_errors=True)  # a folder without a record: a killed run's
    work.part.rename(work.final)
    inside = work.final.resolve().is_relative_to(project.root.resolve())
    path = project.relative(work.final) if inside else str(work.final.resolve())
    value = {
        "version": work.version,
        "path": path,
        "lora": work.lora,
        "sha256": sha256,
        "bundle_sha256": bundle,
        "verdict": read.version if read else None,
        "samples": len(work.samples),
        "parts": optional,
        "chosen": _chosen(work),
    }
    project.store.add_release(verdict_version=read.version if read else 0, path=path, data=value)
    project.store.log("release", "done", **value)
    yield Progress("release", 4, 4)
    yield Result(value)


def _prepare(project: Project, out: Path | None, wishes: Wishes) -> _Work:
    """Choose and check everything before a byte is written."""
    store = project.store
    if wishes.civitai:
        likeness.require_synthetic(project, "Civitai")
    read = story.newest_reading(project)
    judged, picked = story.judged_run(project, read), None
    points = store.checkpoints(judged.version) if judged else []
    if wishes.pick and judged:  # a wrong name is said before what a verdict lacks
        picked = picking.find(wishes.pick, points)
    run, checkpoint = _choose(project, read, wishes.force)
    if wishes.pick and picked:
        checkpoint = picked
        if read is not None and read.step is not None:
            names = {c.step: c.called for c in points}
            read = picking.taken(read, wishes.pick, checkpoint, force=wishes.force, names=names)
    dataset = store.dataset(run.dataset_version)
    if dataset is None:
        raise NotReadyError("The run has no dataset record", fix="Build it: limner dataset build")
    consent = likeness.consent(project)
    _ensure_locked(project, dataset)
    if read is not None and (spoken := store.verdict()) is not None:
        _ensure_judged(project, spoken.grid_version)
    checked = weights.checked(project.path(checkpoint.path), checkpoint, run, checkpoint.path)
    last = store.release()
    version = (last.version if last else 0) + 1
    final = out or project.folder("release") / f"v{version}"
    if final.exists() and (out is not None or final.is_file()):
        fix = "Choose another folder."
        raise UsageError("The release folder exists already", where=str(final), fix=fix)
    return _Work(project, wishes, read, run, checkpoint, dataset, consent, checked, version, final)


def _write_lora(work: _Work, date: str) -> str:
    first = work.part / work.samples[0]["file"] if work.samples else None
    added = cards.metadata(
        work.project,
        work.told,
        trained=work.weights.header,
        lock_sha256=work.dataset.lock_sha256,
        captions=len(work.dataset.train),
        date=date,
        thumbnail=pictures.cover(first, COVER) if first else None,
    )
    return weights.write(work.weights, work.part / work.lora, added)


def _mark_samples(work: _Work, sha256: str) -> None:
    """Origin and generation data into each preview, a signature if wished, its facts beside it."""
    settings = {**public(work.project, work.settings), "base_name": work.told["subject"]["base"]}
    for sample in work.samples:
        sample["parameters"] = kits.parameters(sample, settings, work.lora, sha256)
        path = work.part / sample["file"]
        marked = pictures.marked_png(path, sample["parameters"])
        if work.wishes.signature:
            marked = signing.sign(marked, path.name, work.wishes.signature)
        files.write_bytes(path, marked)
        files.write_json(path.with_suffix(".json"), sample)


def _write_parts(work: _Work) -> list[str]:
    """The parts that may be left out whole: Civitai's kit and the dataset; returns their paths."""
    made = []
    synthetic = work.project.character.likeness == "synthetic"
    if work.wishes.civitai or (work.wishes.civitai is None and synthetic):
        kits.civitai(work.part, work.told, work.lora)
        made.append(f"{kits.CIVITAI}/")
    if work.wishes.dataset and likeness.allows(work.project, likeness.DATASET):
        name = f"{slug(work.project)}_dataset.zip"
        kits.dataset_zip(work.project, work.dataset, work.part / name)
        made.append(name)
    return made


def _write_texts(work: _Work, optional: list[str]) -> None:
    part, told = work.part, {**work.told, "parts": optional}
    api = workflow.graph(told, work.lora, work.settings)
    files.write_json(part / WORKFLOW_API, api)
    files.write_json(part / WORKFLOW, workflow.window(api, cards.workflow_note(told, work.lora)))
    files.write_text(part / "USAGE.md", cards.usage(told, work.lora))
    files.write_text(part / "README.md", cards.card(told, work.lora))
    files.write_text(part / "report.html", page.render(work.project, read=work.read))
    if work.consent is None:  # a person's lock names the consent and stays with its owner
        lock = locks.lock_path(work.project, work.dataset)
        files.write_bytes(part / locks.LOCK_FILE, lock.read_bytes())


def _facts(work: _Work, date: str) -> dict[str, Any]:
    character = work.project.character
    return {
        "made_at": date,
        "limner": story.versions(),
        "character": {
            "trigger": character.trigger,
            "class_word": character.class_word,
            "likeness": character.likeness,
            "consent": work.consent,
        },
        "release": work.version,
        "chosen": _chosen(work),
    }


def _chosen(work: _Work) -> dict[str, Any]:
    """What was taken and by whom: the verdict, a person, or nobody (the last checkpoint)."""
    read, step = work.read, work.checkpoint.step
    picked = read.picked if read else None
    if picked:
        return {"by": "person", **{k: v for k, v in picked.items() if k != "words"}}
    judged = read is not None and read.step == step
    by = "verdict" if judged else "person" if work.wishes.pick else "default: the last checkpoint"
    asked = work.wishes.pick.strength if work.wishes.pick else None
    strength = read.strength if read and judged else asked
    return {"by": by, "checkpoint": f"step_{step:06d}", "strength": strength}


def _choose(project: Project, read: reading.Reading | None, force: bool) -> tuple[Run, Checkpoint]:
    run = story.judged_run(project, read)
    if run is None:
        raise NotReadyError("Nothing is trained yet", fix="Run `limner train` first.")
    chosen = story.judged_checkpoint(project, read)
    if not force:
        if read is None or chosen is None:
            what = "There is no verdict yet" if read is None else "The verdict chose no checkpoint"
            fix = "Run `limner evaluate` and `limner verdict`, or release unmeasured with --force."
            raise NotReadyError(f"{what}, so there is nothing to release", fix=fix)
        if read.outcome != "same_person":
            raise NotReadyError(
                f"The verdict is not `the same person`. {read.sentence}",
                fix="Mend what it names, or release with --force; the card then says so.",
            )
    if chosen is not None:
        return run, chosen
    checkpoints = project.store.checkpoints(run.version)
    if not checkpoints:
        raise NotReadyError("The run has no checkpoint", fix="Run `limner train` first.")
    return run, checkpoints[-1]


def _ensure_locked(project: Project, dataset: Dataset) -> None:
    changed = locks.changed(project, dataset)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(
            f"The dataset has changed since the verdict: {'; '.join(changed[:3])}{more}",
            where=str(locks.lock_path(project, dataset)),
            fix="Put the files back, or build, train and judge the new dataset.",
        )


def _ensure_judged(project: Project, grid_version: int) -> None:
    """Raises InputError when pictures that a verdict rests on are other ones by now, or gone."""
    renders = project.store.renders(grid_version, state="done")
    changed = [
        r.path
        for r in renders
        if r.path and r.sha256 and any(receipt.recorded(project, "", r.path, r.sha256))
    ]
    if changed:
        raise InputError(
            f"{len(changed)} of the {len(renders)} pictures that the verdict rests on are gone or "
            f"have changed, first {changed[0]}",
            where=str(project.path(changed[0]).parent),
            fix="Run `limner evaluate` and `limner verdict`: only these are drawn again.",
        )


def slug(project: Project) -> str:
    """The character's name as a file name: ASCII, no spaces; the trigger when nothing is left."""
    slug = re.sub(r"[^a-z0-9]+", "_", project.character.name.lower()).strip("_")
    return slug or project.character.trigger


def _samples(work: _Work) -> list[dict[str, Any]]:
    """Copy samples/NN.png: fresh pictures, a different prompt first; returns their facts."""
    project, read = work.project, work.read
    embedder = read.embedder if read else None
    spread = _one_a_prompt_first(story.chosen_renders(project, read))[:SAMPLES]
    settings = public(project, work.settings)
    found = []
    for number, render in enumerate(spread, 1):
        score = sheets.identity_of(project.store.scores(render.id), embedder)
        name = f"samples/{number:02d}.png"
        files.write_bytes(work.part / name, pictures.marked_png(project.path(render.path or "")))
        found.append(
            {
                "file": name,
                "prompt": render.prompt,
                "negative": str(settings.get("negative_prompt") or "").strip(),
                "seed": render.seed,
                "strength": render.strength,
                "step": render.step,
                "phase": render.phase,
                "identity": score.value if score else None,
                "settings": settings,
            }
        )
    return found


def _one_a_prompt_first(renders: list[Render]) -> list[Render]:
    seen: dict[str, int] = {}
    turn = []
    for render in renders:
        turn.append(seen.get(render.prompt_id, 0))
        seen[render.prompt_id] = turn[-1] + 1
    return [r for _, r in sorted(zip(turn, renders, strict=True), key=lambda pair: pair[0])]


def _links(work: _Work) -> list[dict[str, str]]:
    """Write the documents of the chain, each naming the hash before it; return the links."""
    published = locks.LOCK_FILE if (work.part / locks.LOCK_FILE).exists() else ""
    links = [{"link": "lock", "file": published, "sha256": work.dataset.lock_sha256}]
    for name, data in documents(work.project, work.run, work.checkpoint, work.read, work.weights):
        file = work.part / PROVENANCE / f"{name}.json"
        files.write_bytes(file, receipt.document(links[-1]["sha256"], data))
        relative = file.relative_to(work.part).as_posix()
        links.append({"link": name, "file": relative, "sha256": files.sha256_file(file)})
    return links


def documents(
    project: Project,
    run: Run,
    checkpoint: Checkpoint,
    read: reading.Reading | None,
    checked: weights.Weights,
) -> list[tuple[str, dict[str, Any]]]:
    """What the links plan, run, checkpoint and verdict say, from the project's records."""
    plan = project.store.plan(run.plan_version)
    record = project.store.verdict(read.version) if read else None
    made: list[tuple[str, dict[str, Any]]] = [
        ("plan", {"version": run.plan_version, "data": plan.data if plan else {}}),
        ("run", {"version": run.version, "trainer": run.trainer, "config": run.config}),
        (
            "checkpoint",
            {"step": checkpoint.step, "sha256": checkpoint.sha256, **weights.facts(checked)},
        ),
    ]
    if record:
        made.append(("verdict", {"version": record.version, "data": record.data}))
    return [(name, public(project, data)) for name, data in made]


def public(project: Project, value: Any) -> Any:
    """`value` without paths of this machine: an absolute path becomes its last part."""
    if isinstance(value, dict):
        return {str(k): public(project, v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [public(project, v) for v in value]
    if isinstance(value, str):
        private = Path(value).is_absolute() or _private(project, value)
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if private else value
    return value


def _private(project: Project, text: str) -> bool:
    return any(place in text for place in _places(project))


def _places(project: Project) -> list[str]:
    """Folders of this machine that must not be published; "/" alone would be found everywhere."""
    return [str(p) for p in (project.root.resolve(), Path.home()) if len(p.parts) > 1]


def _no_local_paths(project: Project, part: Path) -> None:
    """Raises InputError when a text of the bundle names a folder of this machine."""
    for path in sorted(part.rglob("*")):
        if path.suffix not in (".md", ".json", ".html"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        text = re.sub(r"data:image/[^\"]*", "", text)  # base64 may spell anything by chance
        if _private(project, text):
            raise InputError(
                f"{path.name} would name a folder of this machine",
                where=path.relative_to(part).as_posix(),
                fix="Take the path out of character.yaml or the dataset's records.",
            )
