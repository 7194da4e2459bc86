"""The stage: kept takes and their captions become a numbered training folder with its lock.

In: a `Project` with kept, captioned takes. Out: `dataset/40_grace_char/img_001.png` + `.txt`,
`20_grace_char_realbody/` if there are real bodies, `held_out/`, `prompt_mapping.txt`,
`limner.lock.json` and a record. Version 1 lies in `dataset/`, later ones in `dataset/v2/` and so
on; a finished version is never written again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.dataset.bodies import Body, bodies, folder_name, lock_rows, read_body
from limner.dataset.lock import (
    LOCK_FILE,
    MAPPING_FILE,
    Entry,
    find_dataset,
    folders,
    lock_text,
    make_lock,
    same_content,
    verify_lock,
)
from limner.dataset.split import Candidate, default_held_out, hold_out, yaw_of
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_bytes, write_text
from limner.project.records import Shot, Take

_OURS = re.compile(r"^\.?(img|ref|body)_\d+\.(png|jpg|jpeg|webp|txt)(\.\d+(-\d+)?\.part)?$")

Finding = dict[str, str]


def build(project: Project) -> Events:
    """Build the next dataset version; an unchanged one is found again instead of built twice.

    References are held out before training (character.yaml: dataset.held_out, else 15 %). Real
    bodies that the inbox took become a second folder with their licences in the lock. Raises
    NotReadyError without kept takes or captions, InputError when a picture is not the one that was
    reviewed. Result: {version, path, lock_sha256, train, held_out, bodies, reused}: three numbers
    and a flag.
    """
    with project.exclusive("dataset"):
        train, held_out = _entries(project)
        real = bodies(project)
        newest = project.store.dataset()
        version = newest.version + 1 if newest else 1
        root = "dataset" if version == 1 else f"dataset/v{version}"
        character = project.character
        folder = f"{character.dataset.repeats}_{character.trigger}"
        lock = make_lock(project, version, root, folder, train, held_out, real)
        if newest and same_content(lock, newest.lock) and not verify_lock(project):
            yield Notice(f"Dataset {newest.version} is up to date; nothing was built.")
            yield Result(_result(newest.version, newest.lock, newest.lock_sha256, reused=True))
            return
        body_folder = folder_name(project)
        wanted: dict[str, Sequence[Entry | Body]]
        wanted = {folder: train, "held_out": held_out, body_folder: real}
        _clear(project.root / root, wanted)
        ticker = Ticker("copying", len(train) + len(held_out) + len(real))
        for entries, name in ((train, folder), (held_out, "held_out")):
            for entry in entries:
                _copy(project, entry, project.root / root / name)
                yield ticker.tick(note=entry.stem)
        for body in real:
            write_bytes(project.root / root / body_folder / body.picture, read_body(body))
            write_text(project.root / root / body_folder / body.text, body.caption)
            yield ticker.tick(note=body.stem)
        text = lock_text(lock)
        write_text(project.root / root / MAPPING_FILE, _mapping(project, train, held_out, folder))
        write_text(project.root / root / LOCK_FILE, text)  # last: a folder with a lock is whole
        digest = sha256_bytes(text.encode())
        made = project.store.add_dataset(
            path=f"{root}/{folder}",
            lock_sha256=digest,
            lock=lock,
            train=[e.take.id for e in train],
            held_out=[e.take.id for e in held_out],
        )
        project.store.log("dataset", "built", version=made, train=len(train))
        if bare := sum(body.author == "rule" for body in real):
            yield Notice(
                f"{bare} real bodies are captioned with two words only; write what they show in "
                "takes/realism/real_001.txt and so on, and build again."
            )
        if len(held_out) == 0:
            yield Notice("No reference is held out, so nothing can be evaluated later.", "warning")
        yield Result(_result(made, lock, digest, reused=False))


def _result(version: int, lock: dict[str, Any], digest: str, *, reused: bool) -> dict[str, Any]:
    return {
        "version": version,
        "path": f"{lock['root']}/{lock['folder']}",
        "lock_sha256": digest,
        "train": len(lock["pictures"]),
        "held_out": len(lock["held_out"]),
        "bodies": len(lock["realism"]["pictures"]) if lock.get("realism") else 0,
        "reused": reused,
    }


def _entries(project: Project) -> tuple[list[Entry], list[Entry]]:
    """Entries to train on and to hold out, in shot order."""
    takes = project.store.kept()
    if not takes:
        raise NotReadyError(
            "No take is kept yet, so there is nothing to build from",
            where=str(project.root),
            fix="Run `limner generate` and `limner review` first.",
        )
    captions = project.store.captions()
    if bare := [t.shot_id for t in takes if t.id not in captions]:
        raise NotReadyError(
            f"{len(bare)} kept takes have no caption ({', '.join(bare[:3])}...)",
            where=str(project.root),
            fix="Run `limner captions compile`.",
        )
    planned = {s.id: s for s in project.store.shots()}
    shots = {take.shot_id: take.asked(planned[take.shot_id]) for take in takes}
    away = set(_held_out(project, takes, shots))
    entries = [
        Entry(
            take,
            shots[take.shot_id],
            captions[take.id],
            f"{'ref' if take.id in away else 'img'}_{shots[take.shot_id].position:03d}",
        )
        for take in takes
    ]
    train = [e for e in entries if e.take.id not in away]
    if not train:
        raise UsageError(
            "Every kept take would be held out, and none is left to train on",
            where="character.yaml: dataset.held_out",
            fix="Lower dataset.held_out, or keep more takes.",
        )
    return train, [e for e in entries if e.take.id in away]


def _held_out(project: Project, takes: list[Take], shots: dict[str, Shot]) -> list[int]:
    wanted = project.character.dataset.held_out
    candidates = []
    for take in takes:
        shot = shots[take.shot_id]
        yaw = yaw_of(take.labels, shot.attributes["angle"])
        seen = shot.face_visible and _shows_face(project, take)
        framing = shot.attributes["framing"]
        candidates.append(Candidate(take.id, take.sha256 or "", framing, yaw, seen))
    run = project.store.run()
    judged_by = project.store.dataset(run.dataset_version) if run else None
    stay = judged_by.held_out if judged_by else []
    if wanted is None:
        wanted = default_held_out(len(takes))
        if stay and (_answered(project) or len(stay) > wanted):
            wanted = len(stay)
    return hold_out(candidates, wanted, stay)


def _shows_face(project: Project, take: Take) -> bool:
    """As the source knows, else as review measured; what nobody looked at is taken to show one."""
    if "face_visible" in take.labels:
        return bool(take.labels["face_visible"])
    found = project.store.measures(take.id).get("face_count")
    return found is None or found.value is None or found.value > 0


def _answered(project: Project) -> bool:
    """Whether the newest verdict says something that a later one can be compared with. Where it
    does not, perhaps for want of references, a set that grew may hold back more."""
    verdict = project.store.verdict()
    return verdict is not None and verdict.data.get("outcome") != "not_enough"


def _clear(root: Path, wanted: Mapping[str, Sequence[Entry | Body]]) -> None:
    """Remove what a killed build of this version left and this one does not write again."""
    for name, entries in wanted.items():
        ours = {n for e in entries for n in (e.picture, e.text)}
        for file in (root / name).glob("*"):
            if file.name not in ours and _OURS.match(file.name):
                file.unlink()


def _copy(project: Project, entry: Entry, folder: Path) -> None:
    """Write picture and caption; the picture must be the one that was reviewed."""
    take = entry.take
    if take.path is None:
        raise InputError(f"take {take.id} has no picture", where=take.shot_id)
    source = project.path(take.path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(
            f"the picture of {take.shot_id} cannot be read: {error.strerror}",
            where=str(source),
            fix="Put the file back, or reject the take and generate it again.",
        ) from None
    if sha256_bytes(data) != take.sha256:
        raise InputError(
            f"the picture of {take.shot_id} is not the one that was reviewed",
            where=str(source),
            fix="Put the file back, or reject the take and generate it again.",
        )
    write_bytes(folder / entry.picture, data)
    write_text(folder / entry.text, entry.caption.text)


def _mapping(project: Project, train: list[Entry], held_out: list[Entry], folder: str) -> str:
    """The guide's `img_001.png = DOMAIN 1, Prompt 1: ...`, numbered inside each domain."""
    number: Counter[int] = Counter()
    places: dict[str, tuple[int, int]] = {}
    for shot in project.store.shots():
        domain = lexicon.angles()[shot.attributes["angle"]].domain
        number[domain] += 1
        places[shot.id] = (domain, number[domain])
    lines = []
    for entries, where in ((train, folder), (held_out, "held_out")):
        for e in entries:
            domain, prompt = places[e.shot.id]
            name = e.picture if where == folder else f"held_out/{e.picture}"
            lines.append(f"{name} = DOMAIN {domain}, Prompt {prompt}: {e.shot.prompt}")
    return "\n".join(lines) + "\n"


def check(project: Project, version: int | None = None) -> list[Finding]:
    """Findings on a dataset: changes since its lock, and what a trainer would stumble over.

    Raises NotReadyError when there is no dataset.
    """
    dataset = find_dataset(project, version)
    root = project.path(dataset.lock["root"])
    where = project.relative(root)
    fix = "Put the file back, or build the next version with `limner dataset build`."
    found = [_finding("lock", "error", where, text, fix) for text in verify_lock(project, version)]
    if not dataset.held_out:
        text = "no reference is held out, so the character cannot be judged"
        more = "Set dataset.held_out to 3 or more and build again."
        found.append(_finding("held_out", "warning", where, text, more))
    for folder in folders(dataset.lock):
        found += _check_pairs(root / folder, f"{where}/{folder}")
    if _newer(project, dataset.train + dataset.held_out, dataset.created_at) or _other_bodies(
        project, dataset.lock
    ):
        text = f"takes or captions changed since dataset {dataset.version} was built"
        more = "Run `limner dataset build`."
        found.append(_finding("stale", "warning", where, text, more))
    return found


def _finding(rule: str, severity: str, where: str, text: str, fix: str) -> Finding:
    return {"rule": rule, "severity": severity, "file": where, "text": text, "fix": fix}


def _check_pairs(folder: Path, where: str) -> list[Finding]:
    """Pictures without a caption, captions without a picture, captions in a wrong form."""
    found = []
    files = [f for f in sorted(folder.glob("*")) if not f.name.startswith(".")]
    texts = {f.stem for f in files if f.suffix == ".txt"}
    pictures = {f.stem for f in files if f.suffix != ".txt"}
    for stem in sorted(pictures - texts):
        fix = "Build the dataset again."
        found.append(_finding("missing", "error", f"{where}/{stem}", "no caption", fix))
    for stem in sorted(texts - pictures):
        fix = "Remove it, or put the picture back."
        found.append(_finding("orphan", "error", f"{where}/{stem}.txt", "no picture", fix))
    for stem in sorted(texts):
        data = (folder / f"{stem}.txt").read_bytes()
        if data.startswith(b"\xef\xbb\xbf") or b"\n" in data.strip() or not data.strip():
            fix = "One line of UTF-8 without a byte order mark."
            text = "the caption is empty, has several lines, or a byte order mark"
            found.append(_finding("form", "error", f"{where}/{stem}.txt", text, fix))
    return found


def _other_bodies(project: Project, lock: dict[str, Any]) -> bool:
    real = bodies(project)
    listed = lock["realism"]["pictures"] if lock.get("realism") else []
    return (lock_rows(real, folder_name(project)) if real else []) != listed


def _newer(project: Project, takes: list[int], built: str) -> bool:
    captions = project.store.captions()
    kept = {t.id for t in project.store.kept()}
    return kept != set(takes) or any(captions[t].created_at > built for t in takes if t in captions)
