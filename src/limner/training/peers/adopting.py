"""A LoRA that was trained elsewhere, taken into the project as a run with its checkpoints.

In: .safetensors files or folders of them, by any trainer of this model. Out: events, a Run of
trainer "elsewhere" that is done, models/run_<n> in diffusers' names. All files or none; what the
files do not say of their training is recorded as not known.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Progress, Result
from limner.models import lora, resolve_base, tensorfile
from limner.models.lora_convert import convert
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes, sha256_file, write_json
from limner.project.records import Checkpoint, Dataset, Run
from limner.project.store import now
from limner.training.peers import headers
from limner.training.peers.headers import Mark, Unit
from limner.training.peers.running import summary

if TYPE_CHECKING:
    from limner.models import BaseInfo

ELSEWHERE = "elsewhere"
"""The trainer of such a run, whoever it was."""
NOTE = "taken.json"
"""What was taken, beside the files; a folder with it and without a record is a killed take's."""
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_NEVER_KNOWN = "losses, held-out loss"
_UNLESS_STATED = {"learning_rate": "learning rate", "batch": "batch", "seed": "seed"}
_HEADER_FAULTS = ("lora-path", "lora-header")
"""Faults that lie in the header alone: what offends is left out of our copy."""


@dataclass(frozen=True)
class Ground:
    """What the files are held against. info and modules None: the base is not on this machine."""

    base: str
    template: str
    info: BaseInfo | None
    modules: Mapping[str, tuple[int, int]] | None

    @property
    def edition(self) -> str:
        """The base's edition in ModelSpec's words; "" when it is not here."""
        if self.info is None:
            return ""
        return headers.edition(lora.architecture(Path(self.info.path)))


@dataclass(frozen=True)
class Taken:
    """One file: as it was, and its copy in diffusers' names with alpha folded in."""

    source: Path
    sha256: str
    copy: Path
    tensors: str
    rank: int | None
    header: dict[str, str]
    made: dict[str, Any]
    mark: Mark
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a file stands in the run: the number it is known by, and what that counts."""

    step: int
    label: str
    unit: Unit
    file: Taken


def take(project: Project, paths: Sequence[Path], *, fresh: bool = False) -> Events:
    """Take LoRA files that were trained elsewhere into the project as one finished run.

    paths: files, or folders with files (also checkpoint-<n>/pytorch_lora_weights). They count as
    trained on the newest dataset, on `training.base` with `training.template`. fresh: a new run
    though the same files were taken before. Result: {run, trainer, state, path, checkpoints,
    counted_in, taken}. Raises NotReadyError without a dataset, UsageError for no files,
    InputError for a file that is no LoRA of this base, for two files of one step, and for files
    whose order nobody knows: then none is taken.
    """
    with project.exclusive("training"):
        yield from _take(project, paths, fresh=fresh)


def _take(project: Project, paths: Sequence[Path], *, fresh: bool) -> Events:
    dataset = project.store.dataset()
    if dataset is None:
        raise NotReadyError(
            "There is no dataset that the LoRA could have been trained on",
            where=str(project.root),
            fix="Build it first: limner dataset build.",
        )
    ground = _ground(project)
    hashed = [(path, sha256_file(path)) for path in _files(paths)]
    fingerprint = ground.info.fingerprint if ground.info else None
    facts = [ground.base, fingerprint, ground.template, dataset.version]
    digest = sha256_bytes(canonical_json([sorted(h for _, h in hashed), *facts]).encode())
    before = None if fresh else _taken_before(project, digest)
    if before is not None:
        yield Notice(_already(project, before))
        yield Result({**_told(project, before), "taken": False})
        return
    if ground.info is None:
        yield Notice(
            f"The base {ground.base} is not on this machine: the files are held against its "
            "family's names, not against its sizes. `limner evaluate` needs it.",
            "warning",
        )
    stage = project.folder("models") / ".taking"
    shutil.rmtree(stage, ignore_errors=True)  # what a killed take left
    stage.mkdir(parents=True)
    try:
        found = []
        for number, (path, digest_of) in enumerate(hashed):
            yield Progress("taking", number, len(hashed), note=path.name)
            found.append(_one(path, digest_of, stage / f"{number}.safetensors", ground))
        places, said = _in_order(found)
        run = _record(project, dataset, ground, places, digest, stage)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    yield Progress("taking", len(hashed), len(hashed))
    for text in [*said, *_doubts(project, dataset, [p.file for p in places])]:
        yield Notice(text, "warning")
    yield Notice(_on_your_word(dataset))
    yield Result({**_told(project, run), "taken": True})


def _ground(project: Project) -> Ground:
    """The base and template of character.yaml. Raises InputError for a base that is no model."""
    settings = project.character.training
    try:
        info = resolve_base(settings.base)
    except InputError:
        here = settings.base == "miniature" or Path(settings.base).expanduser().exists()
        if here or settings.base.count("/") != 1 or settings.base.startswith((".", "~", "/")):
            raise
        return Ground(settings.base, settings.template, None, None)
    info.require_template(settings.template)
    return Ground(settings.base, settings.template, info, lora.base_modules(Path(info.path)))


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files meant, each once. Raises UsageError for a path without any."""
    found: dict[Path, Path] = {}
    for given in paths:
        path = given.expanduser()
        listed = [path] if path.is_file() else []
        if path.is_dir():
            listed = [f for f in sorted(path.glob("*.safetensors")) if f.name[0] != "."]
            saved = sorted(path.glob("checkpoint-*/pytorch_lora_weights.safetensors"))
            listed += [f for f in saved if headers.FOLDER.match(f.parent.name)]
        if not listed:
            there = "no .safetensors file lies there" if path.is_dir() else "it is not there"
            raise UsageError(
                f"There is nothing to take: {there}",
                where=str(given),
                fix="Name LoRA files, or the folder that the trainer wrote them to.",
            )
        for file in listed:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _taken_before(project: Project, digest: str) -> Run | None:
    """The newest run that holds these very files, all of them still there."""
    newest = project.store.run()
    for version in range(newest.version if newest else 0, 0, -1):
        run = project.store.run(version)
        if run is None or run.trainer != ELSEWHERE or run.config.get("sha256") != digest:
            continue
        points = project.store.checkpoints(version)
        if points and all(project.path(p.path).is_file() for p in points):
            return run
    return None


def _already(project: Project, run: Run) -> str:
    newest = project.store.run()
    text = f"These files are taken already: run {run.version}."
    if newest is not None and newest.version != run.version:
        text += (
            f" The newest run is {newest.version}, and `limner evaluate` looks at that one; "
            "with `--fresh` they become a new run."
        )
    return text


def _one(path: Path, sha256: str, copy: Path, ground: Ground) -> Taken:
    """Check one file and copy it in diffusers' names. Raises InputError, which names the file."""
    try:
        lora.refuse_pickle(path)
        header = _header(path)
        _of_this_base(path, header, ground)
        made = convert(path, copy, "diffusers")
    except InputError as error:
        raise _none_taken(path, error.what, error.where, error.fix) from None
    faults = lora.check(copy, ground.modules)
    named = {f["rule"] for f in faults} & set(_HEADER_FAULTS)
    if named:
        ours = tensorfile.header(copy)[1]
        wrong = {k for k, v in ours.items() if lora.absolute_path(v)} | {"modelspec.thumbnail"}
        lora.with_metadata(copy, copy, dict.fromkeys(wrong))
    errors = [f for f in faults if f["severity"] == "error" and f["rule"] not in _HEADER_FAULTS]
    if errors:
        raise _none_taken(path, errors[0]["text"], None, errors[0]["fix"])
    info = lora.info(copy)
    notes = [f"{path.name}: {f['text']}. {f['fix']}" for f in faults if f["severity"] == "warning"]
    place = headers.mark(path, header)
    return Taken(
        path, sha256, copy, info.tensor_sha256, info.rank, header, made, place, tuple(notes)
    )


def _header(path: Path) -> dict[str, str]:
    try:
        return tensorfile.header(path)[1]
    except InputError as error:
        fix = "Copy it again from where it was trained."
        raise InputError(error.what, where=error.where, fix=fix) from None


def _none_taken(path: Path, what: str, where: str | None, fix: str | None) -> InputError:
    """The error of one file, with the word that the others were not taken either."""
    place = where if where and path.name in where else f"{path}{f': {where}' if where else ''}"
    text = f"{fix} " if fix else ""
    return InputError(what, where=place, fix=f"{text}Nothing was taken.")


def _of_this_base(path: Path, header: Mapping[str, str], ground: Ground) -> None:
    """Raise InputError for a file whose header names another model, base or template."""
    key, named = headers.architecture(header)
    if named and not headers.is_of_this_model(named):
        raise InputError(
            f"The LoRA was trained for another model: {named}",
            where=f"{path}: {key}",
            fix="Take LoRAs of Qwen-Image and its edit models only.",
        )
    theirs = headers.edition(named)
    if theirs and ground.edition and theirs != ground.edition:
        raise InputError(
            f"The LoRA was trained for {theirs}, and this project's base is {ground.edition}",
            where=f"{path}: {key}",
            fix="Name the base it was trained on as training.base in character.yaml.",
        )
    told = header.get("limner.base_fingerprint")
    if told and ground.info is not None and told != ground.info.fingerprint:
        raise InputError(
            "The LoRA was trained on another base",
            where=f"{path}: {told[:12]}, training.base: {ground.info.fingerprint[:12]}",
            fix="Name the base it was trained on as training.base in character.yaml.",
        )
    template = header.get("limner.template")
    if template and template != ground.template:
        raise InputError(
            f"The LoRA was trained with the {template} template, this project draws with "
            f"{ground.template}",
            where=f"{path}: limner.template",
            fix=f"Set training.template to {template} in character.yaml.",
        )


def _in_order(found: Iterable[Taken]) -> tuple[list[Place], list[str]]:
    """The files by their place in the run, and what is to be said of them. Raises InputError for
    files that have no order: two of one step, two without any, steps beside epochs."""
    kept, said = _each_once(found)
    numbered = [f for f in kept if f.mark.number is not None]
    nameless = [f for f in kept if f.mark.number is None]
    units = {f.mark.unit for f in numbered}
    if len(units) > 1 or len(nameless) > 1:
        names = ", ".join(f.source.name for f in (nameless if len(nameless) > 1 else kept)[:4])
        what = "neither their names nor their headers say at which step they were saved"
        if len(nameless) < 2:
            what = "some are numbered by steps and some by epochs"
        raise InputError(
            f"The order of the files is not known: {what}",
            where=names,
            fix="Rename them NAME-step00000500.safetensors, or give one alone. Nothing was taken.",
        )
    places: dict[int, Place] = {}
    for file in sorted(numbered, key=lambda f: f.mark.number or 0):
        step = file.mark.number or 0
        if step in places:
            raise InputError(
                f"Two files are of {_label(file.mark)}",
                where=f"{places[step].file.source.name}, {file.source.name}",
                fix="Give one of them, or rename the other. Nothing was taken.",
            )
        places[step] = Place(step, _label(file.mark), file.mark.unit, file)
        if file.mark.stated is not None:
            said.append(
                f"{file.source.name} is step {step} by its name and step {file.mark.stated} by its "
                "header; the name counts."
            )
    for file in nameless:  # the last one, which trainers leave unnumbered
        step = max(places, default=0) + 1
        places[step] = Place(step, "the last one, step not known", "order", file)
        said.append(
            f"{file.source.name} says no step: it stands after the others, and {step} is its place "
            "there, not its length."
        )
    if "epochs" in units:
        said.append("The files are numbered by epochs: their steps are not known.")
    return list(places.values()), [*said, *(n for f in kept for n in f.notes)]


def _label(mark: Mark) -> str:
    return f"epoch {mark.number}" if mark.unit == "epochs" else f"step {mark.number:,}"


def _each_once(found: Iterable[Taken]) -> tuple[list[Taken], list[str]]:
    """Files of the same weights once: the numbered one, the earlier."""
    kept: dict[str, Taken] = {}
    said = []
    last = float("inf")
    order = sorted(found, key=lambda f: f.mark.number if f.mark.number is not None else last)
    for file in order:
        first = kept.setdefault(file.tensors, file)
        if first is not file:
            said.append(
                f"{file.source.name} holds the same weights as {first.source.name}: left out."
            )
    return list(kept.values()), said


def _record(
    project: Project,
    dataset: Dataset,
    ground: Ground,
    places: Sequence[Place],
    digest: str,
    stage: Path,
) -> Run:
    """Put the files and their records in place, all at once: the folder takes its name inside the
    transaction that writes plan, run and checkpoints."""
    for place in places:
        place.file.copy.rename(stage / f"step_{place.step:06d}.safetensors")
    for rest in stage.glob("*.safetensors"):
        if not rest.name.startswith("step_"):
            rest.unlink()  # of the same weights as another
    facts = _facts(ground, places)
    rows = [{"file": p.file.source.name, "sha256": p.file.sha256, "as": p.label} for p in places]
    write_json(stage / NOTE, {"files": rows, "run": facts})
    store = project.store
    with store.transaction():
        last = store.run()
        folder = f"models/run_{last.version + 1 if last else 1}"
        target = project.path(folder)
        if (target / NOTE).is_file():
            shutil.rmtree(target)
        elif target.exists():
            raise UsageError(
                "The folder of the next run is there already, without a record",
                where=str(target),
                fix="Move it away and run the same command again.",
            )
        plan = store.add_plan(dataset_version=dataset.version, data=_plan(dataset, facts, places))
        version = store.add_run(
            plan_version=plan,
            dataset_version=dataset.version,
            trainer=ELSEWHERE,
            state="done",
            config={"sha256": digest, "run": facts},
            path=folder,
            error=None,
            finished_at=now(),
        )
        for place in places:
            file = stage / f"step_{place.step:06d}.safetensors"
            store.put_checkpoint(_checkpoint(version, f"{folder}/{file.name}", file, place))
        store.log("training", "take", run=version, files=[r["file"] for r in rows])
        stage.rename(target)
    run = store.run(version)
    assert run is not None
    return run


def _facts(ground: Ground, places: Sequence[Place]) -> dict[str, Any]:
    """What is known of the training, under the names of our own runs; None: not known."""
    files = [p.file for p in places]
    stated = [headers.settings(f.header) for f in files]
    agreed = {k: v for k, v in stated[0].items() if all(s.get(k) == v for s in stated)}
    programs = {headers.program(f.header) for f in files} - {""}
    origin = "trained elsewhere" + (f" by {' and '.join(sorted(programs))}" if programs else "")
    counted = {p.unit for p in places}
    length = places[-1].step if counted == {"updates"} else None
    unknown = [words for key, words in _UNLESS_STATED.items() if key not in agreed]
    unknown = [*unknown, *(["steps"] if length is None else []), _NEVER_KNOWN]
    ranks = {f.rank for f in files}
    return {
        "base": ground.base,
        "base_fingerprint": ground.info.fingerprint if ground.info else None,
        "template": ground.template,
        "trainer": ELSEWHERE,
        "origin": origin,
        "rank": ranks.pop() if len(ranks) == 1 else None,
        "learning_rate": None,
        "steps": length,
        "batch": None,
        "seed": None,
        **agreed,
        "checkpoints": [p.step for p in places],
        "counted_in": "updates" if counted == {"updates"} else sorted(counted - {"updates"})[0],
        "not_known": ", ".join(unknown),
        "files": [[f.source.name, f.sha256] for f in files],
    }


def _plan(dataset: Dataset, facts: Mapping[str, Any], places: Sequence[Place]) -> dict[str, Any]:
    """The plan of a run that nobody planned here: what it came to, as far as it is known."""
    return {
        "trainer": ELSEWHERE,
        "images": _pictures(dataset),
        "batch": facts["batch"],
        "optimizer_steps": facts["steps"],
        "image_passes": None,
        "turns": None,
        "checkpoints": [{"step": p.step, "label": p.label} for p in places],
        "seconds": None,
        "seconds_reason": "trained elsewhere",
        "warnings": [],
    }


def _checkpoint(run: int, path: str, file: Path, place: Place) -> Checkpoint:
    taken = place.file
    return Checkpoint(
        run_version=run,
        step=place.step,
        path=path,
        sha256=sha256_file(file),
        data={
            "label": place.label,
            "counted_in": place.unit,
            "rank": taken.rank,
            "loss": None,
            "held_out_loss": None,
            "reason": "trained elsewhere: no loss comes with the file",
            "file": taken.source.name,
            "file_sha256": taken.sha256,
            "was": taken.made["was"],
            "alpha": taken.made["alpha"],
        },
    )


def _pictures(dataset: Dataset) -> int:
    """Pictures of a dataset that are trained on, real bodies too, as its lock lists them."""
    names = [str(row.get("path", "")) for row in dataset.lock.get("files") or []]
    listed = [n for n in names if n.lower().endswith(_PICTURES) and "held_out" not in n]
    return len(listed) or len(dataset.train)


def _doubts(project: Project, dataset: Dataset, files: Sequence[Taken]) -> list[str]:
    """What in the headers speaks against this dataset."""
    ours, trigger = _pictures(dataset), project.character.trigger
    said = []
    for file in files:
        name, theirs = file.source.name, headers.pictures(file.header)
        if theirs is not None and ours and theirs != ours:
            said.append(
                f"{name} says it was trained on {theirs} pictures; dataset {dataset.version} has "
                f"{ours}. Is it the one?"
            )
        words = headers.words_of_captions(file.header)
        if words and not any(trigger in word for word in words):
            said.append(f"No caption word in the header of {name} holds the trigger {trigger}.")
        lock = file.header.get("limner.lock_sha256")
        if lock and lock != dataset.lock_sha256:
            said.append(f"{name} names another dataset's lock than that of {dataset.version}.")
    return list(dict.fromkeys(said))


def _on_your_word(dataset: Dataset) -> str:
    held = len(dataset.held_out)
    them = f" and not on the {held} held-out pictures" if held else ""
    return (
        f"Limner takes your word that this was trained on dataset {dataset.version} "
        f"({_pictures(dataset)} pictures){them}: no LoRA shows it. Had it seen the held-out ones, "
        "the verdict would be too good."
    )


def _told(project: Project, run: Run) -> dict[str, Any]:
    facts = run.config["run"]
    found = summary(project, run)
    return {**found, "counted_in": facts["counted_in"], "not_known": facts["not_known"]}
