"""The lock: everything that made a dataset, so that it can be proved and verified later.

In: pictures, captions, shots, character. Out: `limner.lock.json`; later, what changed since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner import __version__
from limner.dataset.bodies import TAG, Body, folder_name, lock_rows
from limner.errors import NotReadyError
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes, sha256_file
from limner.project.records import Caption, Dataset, Shot, Take

LOCK_FILE = "limner.lock.json"
MAPPING_FILE = "prompt_mapping.txt"
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One picture of a dataset: what it was made of and how its file is called (no suffix)."""

    take: Take
    shot: Shot
    caption: Caption
    stem: str

    @property
    def picture(self) -> str:
        """File name of the picture."""
        return f"{self.stem}{Path(self.take.path or '.png').suffix}"

    @property
    def text(self) -> str:
        """File name of the caption."""
        return f"{self.stem}.txt"


def character_facts(project: Project) -> dict[str, Any]:
    """The constants of the character that a dataset rests on, as plain values."""
    keys = {"name", "trigger", "class_word", "likeness", "consent", "description", "traits"}
    facts: dict[str, Any] = project.character.model_dump(mode="json", include=keys)
    return facts


def make_lock(
    project: Project,
    version: int,
    root: str,
    folder: str,
    train: Sequence[Entry],
    held_out: Sequence[Entry],
    bodies: Sequence[Body] = (),
) -> dict[str, Any]:
    """The lock as a dict; no time in it, so the same inputs give the same lock.

    root: the version's folder in the project; folder: the training folder's name inside it;
    bodies: the second folder, beside it. `realism` stands in the lock only if there are any.
    """
    character = project.character
    facts = character_facts(project)
    pictures = [_entry(e, folder) for e in train]
    references = [_entry(e, "held_out") for e in held_out]
    real = lock_rows(bodies, folder_name(project)) if bodies else []
    lock: dict[str, Any] = {
        "format": FORMAT,
        "version": version,
        "limner": __version__,
        "root": root,
        "folder": folder,
        "character": facts,
        "character_sha256": sha256_bytes(canonical_json(facts).encode()),
        "likeness": character.likeness,
        "consent": facts["consent"],
        "settings": {
            "shots": character.shots.model_dump(mode="json"),
            "captions": character.captions.model_dump(mode="json"),
            "dataset": character.dataset.model_dump(mode="json"),
            "source": character.source.model_dump(mode="json"),
        },
        "pictures": pictures,
        "held_out": references,
        "files": [
            {"path": e[name], "sha256": e[digest]}
            for e in (*pictures, *references, *real)
            for name, digest in (("file", "sha256"), ("caption_file", "caption_sha256"))
        ],
    }
    if real:
        lock["realism"] = {
            "folder": folder_name(project),
            "repeats": character.dataset.realism_repeats,
            "tag": TAG,
            "pictures": real,
        }
    return lock


def folders(lock: dict[str, Any]) -> list[str]:
    """The folders of a dataset: character, real bodies if any, held-out references."""
    real = [str(lock["realism"]["folder"])] if lock.get("realism") else []
    return [str(lock["folder"]), *real, "held_out"]


def _entry(entry: Entry, folder: str) -> dict[str, Any]:
    take, shot = entry.take, entry.shot
    return {
        "file": f"{folder}/{entry.picture}",
        "sha256": take.sha256,
        "width": take.width,
        "height": take.height,
        "caption_file": f"{folder}/{entry.text}",
        "caption_sha256": sha256_bytes(entry.caption.text.encode()),
        "caption_author": entry.caption.author,
        "shot": shot.id,
        "attributes": shot.attributes,
        "face_visible": shot.face_visible,
        "prompt": shot.prompt,
        "prompt_sha256": sha256_bytes(shot.prompt.encode()),
        "take": take.id,
        "source": take.source,
        "seed": take.seed,
        "renderer": take.labels.get("renderer"),
        "drawing": bool(take.labels.get("drawing", False)),
    }


def same_content(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two locks list the same files and facts; version, place and settings aside."""

    def plain(lock: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in lock.items() if k not in ("version", "root", "limner", "settings")}

    return canonical_json(plain(first)) == canonical_json(plain(second))


def find_dataset(project: Project, version: int | None) -> Dataset:
    """A recorded dataset, or the newest. Raises NotReadyError."""
    found = project.store.dataset(version)
    if found is None:
        which = f"dataset {version}" if version else "dataset"
        raise NotReadyError(
            f"There is no {which} yet", where=str(project.root), fix="Run `limner dataset build`."
        )
    return found


def verify_lock(project: Project, version: int | None = None) -> list[str]:
    """What changed since a dataset was built, one sentence each; empty when it is as it was.

    Looks at the lock file itself, every listed file, files that are not listed, and the character.
    Raises NotReadyError when there is no such dataset.
    """
    dataset = find_dataset(project, version)
    lock = dataset.lock
    root = project.path(lock["root"])
    found = _lock_file(root / LOCK_FILE, dataset)
    for entry in lock["files"]:
        file = root / entry["path"]
        if not file.is_file():
            found.append(f"{entry['path']} is missing")
        elif sha256_file(file) != entry["sha256"]:
            found.append(f"{entry['path']} has changed")
    listed = {entry["path"] for entry in lock["files"]}
    for folder in folders(lock):
        for file in sorted((root / folder).glob("*")):
            name = f"{folder}/{file.name}"
            if name not in listed and not file.name.startswith("."):
                found.append(f"{name} is new")
    return found + _facts(project, lock)


def _lock_file(file: Path, dataset: Dataset) -> list[str]:
    if not file.is_file():
        return [f"{LOCK_FILE} is missing"]
    if sha256_file(file) != dataset.lock_sha256:
        return [f"{LOCK_FILE} has changed"]
    return []


def _facts(project: Project, lock: dict[str, Any]) -> list[str]:
    now = character_facts(project)
    return [
        f"character.yaml: {key} has changed"
        for key in now
        if now[key] != lock["character"].get(key)
    ]


def lock_text(lock: dict[str, Any]) -> str:
    """The lock as the file's text."""
    return json.dumps(lock, indent=1, ensure_ascii=False) + "\n"
