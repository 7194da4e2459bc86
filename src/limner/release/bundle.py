"""Making a release: one folder with the LoRA, its guide, card, report, samples and receipt.

In: a project with a verdict. Out: release/v<n>/, whole or absent, and a Release record.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Progress, Result
from limner.models import lora as lora_files
from limner.models import tensorfile
from limner.project import Project, files
from limner.project.records import Checkpoint, Dataset, Render, Run
from limner.project.store import now
from limner.release import cards, locks, page, pictures, reading, receipt, sheets, story

SAMPLES = 12  # 10 to 15 previews, as model sites want them
PROVENANCE = "provenance"


def release(project: Project, *, out: Path | None = None, force: bool = False) -> Events:
    """Bundle the checkpoint of the newest verdict; Result: {version, path, lora, sha256, ...}.

    `out`: the bundle's folder, default release/v<n>. `force`: release without a verdict (the last
    checkpoint; the card says "not evaluated") or with another one than "the same person".
    Raises NotReadyError (no verdict, no checkpoint, not the same person), InputError (dataset or
    LoRA changed since, no consent), UsageError.
    """
    with project.exclusive("release"):
        yield from _release(project, out, force)


def _release(project: Project, out: Path | None, force: bool) -> Events:
    store = project.store
    read = story.newest_reading(project)
    run, checkpoint = _choose(project, read, force)
    dataset = store.dataset(run.dataset_version)
    if dataset is None:
        raise NotReadyError("The run has no dataset record", fix="Build it: limner dataset build")
    consent = _consent(project)
    yield Progress("release", 0, 4, note="checking the dataset against its lock")
    lock = _locked(project, dataset)
    source = _trained(project, checkpoint)
    if read is None or read.outcome != "same_person":
        words = (
            "Nothing was evaluated" if read is None else f"The verdict is: {read.state[0].lower()}"
        )
        yield Notice(f"{words}; the card says so too.", "warning")

    last = store.release()
    version = (last.version if last else 0) + 1
    final = out or project.folder("release") / f"v{version}"
    if final.exists() and (out is not None or final.is_file()):
        fix = "Choose another folder."
        raise UsageError("The release folder exists already", where=str(final), fix=fix)
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left
    part.mkdir(parents=True)
    yield Progress("release", 1, 4, note="samples")
    samples = _samples(project, read, part)
    told = cards.facts(project, version, samples)
    yield Progress("release", 2, 4, note="LoRA, guide, card, report")
    lora = f"{_slug(project)}_v{version}.safetensors"
    date = now()
    tensors = tensorfile.tensor_sha256(source)
    added = cards.metadata(
        project,
        told,
        trained=tensorfile.header(source)[1],
        lock_sha256=dataset.lock_sha256,
        captions=len(dataset.train),
        date=date,
    )
    lora_sha256 = lora_files.with_metadata(source, part / lora, added)
    files.write_text(part / "USAGE.md", cards.usage(told, lora))
    files.write_text(part / "README.md", cards.card(told, lora))
    files.write_text(part / "report.html", page.render(project))
    if consent is None:  # a person's lock names the consent and stays with its owner
        files.write_bytes(part / locks.LOCK_FILE, lock.read_bytes())
    links = _links(project, part, dataset, run, checkpoint, read, tensors)
    yield Progress("release", 3, 4, note="receipt")
    _no_local_paths(project, part)
    facts = {
        "made_at": date,
        "limner": story.versions(),
        "character": {
            "trigger": project.character.trigger,
            "class_word": project.character.class_word,
            "likeness": project.character.likeness,
            "consent": consent,
        },
        "release": version,
    }
    bundle = receipt.write(part, links, lora, facts)
    shutil.rmtree(final, ignore_errors=True)  # a folder without a record: a killed run's
    part.rename(final)
    path = project.relative(final) if _inside(project, final) else str(final.resolve())
    value = {
        "version": version,
        "path": path,
        "lora": lora,
        "sha256": lora_sha256,
        "bundle_sha256": bundle,
        "verdict": read.version if read else None,
        "samples": len(samples),
    }
    store.add_release(verdict_version=read.version if read else 0, path=path, data=value)
    store.log("release", "done", **value)
    yield Progress("release", 4, 4)
    yield Result(value)


def _choose(project: Project, read: reading.Reading | None, force: bool) -> tuple[Run, Checkpoint]:
    run = story.judged_run(project, read)
    if run is None:
        raise NotReadyError("Nothing is trained yet", fix="Train first: limner train")
    chosen = story.judged_checkpoint(project, read)
    if not force:
        if read is None or chosen is None:
            what = "There is no verdict yet" if read is None else "The verdict chose no checkpoint"
            fix = "Run `limner evaluate` and `limner verdict`, or release unmeasured with --force."
            raise NotReadyError(f"{what}, so there is nothing to release", fix=fix)
        if read.outcome != "same_person":
            raise NotReadyError(
                f"The verdict is not `the same person`: {read.sentence}",
                fix="Mend what it names, or release with --force; the card then says so.",
            )
    if chosen is not None:
        return run, chosen
    checkpoints = project.store.checkpoints(run.version)
    if not checkpoints:
        raise NotReadyError("The run has no checkpoint", fix="Train first: limner train")
    return run, checkpoints[-1]


def _consent(project: Project) -> dict[str, str] | None:
    """Consent as the receipt names it: date and hash of the evidence, never the person.

    Raises InputError when a consented person's evidence is gone or does not cover publishing.
    """
    character = project.character
    if character.likeness == "synthetic":
        return None
    consent = character.consent
    if consent is None or not consent.evidence.strip():
        fix = "Write consent.evidence and consent.date."
        raise InputError("A person's consent needs evidence", where="character.yaml", fix=fix)
    if "publish" not in consent.scope.lower():
        raise InputError(
            "The consent does not say that the LoRA may be published",
            where="character.yaml: consent.scope",
            fix="Ask the person; then write what was agreed to, with the word publish.",
        )
    stated = files.sha256_bytes(consent.evidence.encode("utf-8"))
    evidence = project.root / consent.evidence
    if evidence.is_file():
        stated = files.sha256_file(evidence)
    elif "://" not in consent.evidence and re.search(r"\.\w{2,4}$", consent.evidence):
        fix = "Put the file there, or write a link or an id."
        raise InputError("The consent file is missing", where=consent.evidence, fix=fix)
    return {"date": consent.date, "evidence_sha256": stated, "scope": consent.scope}


def _locked(project: Project, dataset: Dataset) -> Path:
    changed = locks.changed(project, dataset)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise InputError(
            f"The dataset has changed since the verdict: {'; '.join(changed[:3])}{more}",
            where=str(locks.lock_path(project, dataset)),
            fix="Put the files back, or build, train and judge the new dataset.",
        )
    return locks.lock_path(project, dataset)


def _trained(project: Project, checkpoint: Checkpoint) -> Path:
    path = project.path(checkpoint.path)
    tensorfile.header(path)
    if files.sha256_file(path) != checkpoint.sha256:
        raise InputError(
            f"The LoRA of step {checkpoint.step:,} has changed since it was trained",
            where=checkpoint.path,
            fix="Put the file back, or train again.",
        )
    faults = [f for f in lora_files.check(path) if f["severity"] == "error"]
    if faults:
        raise InputError(f"{faults[0]['text']}", where=checkpoint.path, fix=faults[0]["fix"])
    return path


def _slug(project: Project) -> str:
    """The character's name as a file name: ASCII, no spaces; the trigger when nothing is left."""
    slug = re.sub(r"[^a-z0-9]+", "_", project.character.name.lower()).strip("_")
    return slug or project.character.trigger


def _samples(project: Project, read: reading.Reading | None, part: Path) -> list[dict[str, Any]]:
    """Write samples/NN.png with a JSON beside each: fresh pictures, a different prompt first."""
    embedder = read.embedder if read else None
    spread = _one_a_prompt_first(story.chosen_renders(project, read))[:SAMPLES]
    found = []
    for number, render in enumerate(spread, 1):
        score = sheets.identity_of(project.store.scores(render.id), embedder)
        name = f"samples/{number:02d}"
        files.write_bytes(
            part / f"{name}.png", pictures.marked_png(project.path(render.path or ""))
        )
        row = {
            "file": f"{name}.png",
            "prompt": render.prompt,
            "seed": render.seed,
            "strength": render.strength,
            "step": render.step,
            "phase": render.phase,
            "identity": score.value if score else None,
            "settings": public(project, read.settings if read else {}),
        }
        files.write_json(part / f"{name}.json", row)
        found.append(row)
    return found


def _one_a_prompt_first(renders: list[Render]) -> list[Render]:
    seen: dict[str, int] = {}
    turn = []
    for render in renders:
        turn.append(seen.get(render.prompt_id, 0))
        seen[render.prompt_id] = turn[-1] + 1
    return [r for _, r in sorted(zip(turn, renders, strict=True), key=lambda pair: pair[0])]


def _links(
    project: Project,
    part: Path,
    dataset: Dataset,
    run: Run,
    checkpoint: Checkpoint,
    read: reading.Reading | None,
    tensors: str,
) -> list[dict[str, str]]:
    """Write the documents of the chain, each naming the hash before it; return the links."""
    plan = project.store.plan(run.plan_version)
    record = project.store.verdict(read.version) if read else None
    documents: list[tuple[str, dict[str, Any]]] = [
        ("plan", {"version": run.plan_version, "data": plan.data if plan else {}}),
        ("run", {"version": run.version, "trainer": run.trainer, "config": run.config}),
        (
            "checkpoint",
            {"step": checkpoint.step, "sha256": checkpoint.sha256, "tensor_sha256": tensors},
        ),
    ]
    if record:
        documents.append(("verdict", {"version": record.version, "data": record.data}))
    published = locks.LOCK_FILE if (part / locks.LOCK_FILE).exists() else ""
    links = [{"link": "lock", "file": published, "sha256": dataset.lock_sha256}]
    for name, data in documents:
        file = part / PROVENANCE / f"{name}.json"
        files.write_json(file, {"after": links[-1]["sha256"], **public(project, data)})
        relative = file.relative_to(part).as_posix()
        links.append({"link": name, "file": relative, "sha256": files.sha256_file(file)})
    return links


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


def _inside(project: Project, path: Path) -> bool:
    return path.resolve().is_relative_to(project.root.resolve())
